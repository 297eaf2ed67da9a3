"""Many players: planted terms come back, nothing is lost."""

import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import interact
from interact import sparse
from interact.sparse import SparseOptions, design, proxy
from interact.sparse.dictionary import columns, merged
from interact.sparse.recovery import Recovered, Sample
from interact.sparse.refinement import strongest
from interact.sparse.shrinkage import left_out, shrink
from interact.sparse.stability import bootstrap
from tests.interact.conftest import causal
from tests.interact.planted_terms import FAST, found, planted


def test_planted_terms_come_back_with_error_bars_and_a_held_out_fit():
    truth, value = planted(40, 14, seed=1, noise=0.05)
    r = sparse.explain(value, 40, budget=1400)
    got = found(r)
    assert set(got) == set(truth)
    frame = r.to_frame()
    for kind, mask, effect, error, stability in zip(
        frame["kind"], frame["mask"], frame["effect"], frame["error"], frame["stability"], strict=True
    ):
        true = truth[(kind, frozenset(i for i in range(40) if mask >> i & 1))]
        assert abs(effect - true) < 6 * error < 0.3 and stability > 0.9
    assert r.fidelity(0.0).held_out and r.fidelity(0.0).r2 > 0.995
    masks = np.random.default_rng(5).random((50, 40)) < 0.5
    assert np.corrcoef(r.predict(masks), value(masks))[0, 1] > 0.998
    assert r.provenance["rounds"][-1]["coalitions"] < 1400, "it should stop before the budget is spent"


def test_the_error_bars_of_a_lasso_are_of_its_own_terms():
    rng = np.random.default_rng(0)
    masks = rng.random((200, 11)) < 0.5
    sample = Sample(masks, 5.0 * masks[:, [0, 1]].any(1) + masks[:, [2, 3, 4]].all(1), np.full(200, 2))
    # OR{0,1}, which the first may be mistaken for, speaks louder than all of these.
    terms = [merged("and", members) for members in ((0, 1, 5), (2, 3, 4), (5, 6, 7), (8, 9, 10))]
    shrunk = Recovered(terms, np.ones(4), 0.0, terms, alpha=0.1)
    errors, stability = bootstrap(sample, shrunk, max_order=4, times=5, rng=rng)
    assert np.isfinite(errors).all() and stability[0] == 1 and (stability <= 1).all()


def test_or_terms_are_not_written_as_many_and_terms():
    r = sparse.explain(lambda m: 2.0 * m[:, [3, 8, 20, 29]].any(1), 30, budget=400, options=FAST)
    assert r.and_terms == {} and r.or_terms == {frozenset({3, 8, 20, 29}): pytest.approx(2.0)}


def test_two_singles_are_not_an_and_and_an_or():
    r = sparse.explain(lambda m: 1.5 * m[:, 0] + 1.5 * m[:, 1] - 1.0 * m[:, 2:4].all(1), 30, budget=400, options=FAST)
    assert set(found(r)) == {merged("and", [0]), merged("and", [1]), merged("and", [2, 3])}


@pytest.mark.parametrize(("n", "noise"), [(8, 0.0), (8, 0.05), (40, 0.0), (40, 0.05)])
def test_equal_weights_are_singles_and_not_pairs(n, noise):
    rng = np.random.default_rng(0)
    r = sparse.explain(lambda m: m.sum(1) + noise * rng.normal(size=len(m)), n, options=FAST)
    assert found(r) == {merged("and", [i]): pytest.approx(1.0, abs=1e-6 + noise) for i in range(n)}


@settings(deadline=None, max_examples=15)
@given(n=st.integers(0, 7), seed=st.integers(0, 99))
def test_few_players_are_scored_in_full_and_nothing_is_asked_twice(n, seed):
    rng = np.random.default_rng(seed)
    table = rng.normal(size=1 << n)
    asked = []

    def value(masks):
        keys = masks @ (1 << np.arange(n))
        asked.extend(np.atleast_1d(keys).tolist())
        return table[keys.astype(int)]

    r = sparse.explain(value, n, budget=1 << n, max_order=max(n, 1), options=FAST)
    assert len(asked) == len(set(asked)) == 1 << n == len(r.values)
    everything = r.coalitions
    np.testing.assert_allclose(r.predict(everything), r.values + r.noise, atol=1e-9)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7])
def test_all_coalitions_of_few_players_are_rebuilt(n):
    r = sparse.explain(lambda m: m.sum(1) * 1.0, n, budget=600)
    assert found(r) == {merged("and", [i]): pytest.approx(1.0) for i in range(n)}
    table = np.random.default_rng(n).normal(size=1 << n)
    # Such scores have no interactions of low order alone.
    rough = sparse.explain(lambda m: table[m @ (1 << np.arange(n))], n, budget=600, max_order=2, options=FAST)
    every = np.arange(1 << n)
    np.testing.assert_allclose(rough.predict(every), table, atol=1e-4)
    assert rough.fidelity(0.0).r2 > 0.999 and not rough.held_out.any()


def test_all_coalitions_need_no_order_above_the_one_that_suffices():
    _, value = planted(9, 12, seed=4)
    r = sparse.explain(value, 9, budget=512, options=FAST)
    assert r.fidelity(0.0).r2 > 0.999 and max(len(s) for s in [*r.and_terms, *r.or_terms]) <= 4


def test_one_player_and_constants():
    one = sparse.explain(lambda m: 3.0 * m[:, 0] + 1.0, 1)
    assert one.and_terms == {frozenset({0}): pytest.approx(2.0 + 1.0)} and one.bias == pytest.approx(1.0)
    for n in (1, 5, 60):
        flat = sparse.explain(lambda m: np.full(len(m), 7.25), n)
        assert flat.and_terms == {} == flat.or_terms and flat.bias == pytest.approx(7.25)
        assert flat.fidelity(0.0).r2 == pytest.approx(1.0) and "no interactions" in str(flat)


@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 1000), offset=st.sampled_from([0.0, 1e6, -3.0]), scale=st.sampled_from([1e-6, 1.0, 1e5]))
@example(seed=1, offset=0.0, scale=1e-13)
@example(seed=1, offset=0.0, scale=1e-60)
@example(seed=1, offset=0.0, scale=1e60)
@example(seed=1, offset=0.0, scale=1e13)
def test_scale_and_offset_change_nothing_but_scale_and_offset(seed, offset, scale):
    _, value = planted(12, 4, seed)
    r = sparse.explain(lambda m: offset + scale * value(m), 12, budget=300, options=FAST)
    masks = np.random.default_rng(0).random((40, 12)) < 0.5
    np.testing.assert_allclose(
        (r.predict(masks) - offset) / scale, value(masks), atol=2e-3 + 1e-9 * abs(offset) / scale
    )


@pytest.mark.parametrize(("offset", "scale"), [(0.0, 1e-13), (0.0, 1e-40), (1e9, 1.0), (1e3, 1e-6)])
def test_all_coalitions_are_rebuilt_at_any_scale(offset, scale):
    table = offset + scale * np.random.default_rng(0).normal(size=64)
    r = sparse.explain(lambda m: table[m @ (1 << np.arange(6))], 6, options=SparseOptions(bootstraps=0))
    np.testing.assert_allclose(r.predict(np.arange(64)), table, rtol=1e-12, atol=1e-5 * scale)
    assert r.provenance["rounds"][0]["r2"] < 0.999 < r.fidelity(0.0).r2


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 100), n=st.integers(2, 12))
def test_boosted_trees_become_terms_exactly(seed, n):
    rng = np.random.default_rng(seed)
    masks = rng.random((200, n)) < 0.5
    fitted = proxy.boost(masks, rng.normal(size=200) + masks @ rng.normal(size=n), seed=seed, trees=12)
    terms, bias = fitted.terms()
    unseen = rng.random((100, n)) < rng.random((100, 1))
    rebuilt = bias + columns(unseen, terms) @ np.array(list(terms.values()))
    np.testing.assert_allclose(rebuilt, fitted.predict(unseen), atol=1e-9)
    assert not any(kind == "or" and len(members) == 1 for kind, members in terms)


@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(1, 40),
    count=st.integers(1, 90),
    kind=st.sampled_from(design.DESIGNS),
    paired=st.booleans(),
    shared=st.sampled_from([1, 2, 4, 8]),
)
def test_designs_give_what_was_asked(n, count, kind, paired, shared):
    rng = np.random.default_rng(0)
    masks, strata = design.draw(n, count, kind=kind, paired=paired, shared=shared, rng=rng)
    assert masks.shape == (count, n) and strata.shape == (count,) and set(strata.tolist()) <= {0, 1, 2}
    if paired:
        whole = masks[: count // (2 * shared) * 2 * shared].reshape(-1, 2, shared, n)
        assert (whole[:, 0] == ~whole[:, 1]).all()
    if shared > 1 and count >= shared and n >= 20 and not paired:
        assert (masks[:shared, : n // (2 * shared)] == masks[0, : n // (2 * shared)]).all()


def test_a_quarter_of_a_mixed_design_is_of_every_size_and_many_players_get_it():
    shape = {"paired": False, "shared": 1, "rng": np.random.default_rng(0)}
    sizes = design.draw(100, 404, kind="mixed", **shape)[0].sum(axis=1)
    assert sorted(sizes[::4].tolist()) == list(range(101)) and abs(sizes[1::4] - 50).max() < 25
    # Few are spread over all sizes, too.
    few = design.draw(40, 60, kind="mixed", **shape)[0].sum(axis=1)[::4]
    assert few.min() <= 2 and few.max() >= 38 and abs(few.mean() - 20) < 2
    ends = np.array([[False] * 40, [True] * 40])
    for kind in ("mixed", "balanced"):
        assert [len(design.distinct(40, count, ends, **shape, kind=kind)[0]) for count in (1, 2, 50)] == [1, 2, 50]
    chosen = [sparse.explain(lambda m: m[:, 0] * 1.0, n, budget=128).provenance["sparse"]["design"] for n in (20, 21)]
    assert chosen == ["uniform", "mixed"]


@pytest.mark.parametrize("shared", [1, 8])
def test_coalitions_that_share_a_beginning_are_not_divided(shared):
    shape = {"kind": "uniform", "paired": False, "shared": shared}
    rng = np.random.default_rng(0)
    masks, strata, groups = design.distinct(20, 200, np.zeros((0, 20), dtype=bool), **shape, rng=rng)
    # A coalition that was drawn twice is drawn again, in another group.
    assert len(masks) == 200 and 200 // shared <= len(np.unique(groups)) < 200 // shared + 12
    for group in np.unique(groups):
        members = masks[groups == group]
        assert (members[:, :1] == members[0, :1]).all()
    sample = Sample(masks, np.arange(200.0), strata, groups)
    both = sample.joined(Sample(masks[:16], np.arange(200.0, 216.0), strata[:16], groups[:16]))
    check, rest = both.split(6, rng)
    assert len(check) + len(rest) == 216 and 36 <= len(check) < 36 + shared
    of = both.groups[np.argsort(both.values)].astype(int)
    assert not set(of[check.values.astype(int)]) & set(of[rest.values.astype(int)])
    again = np.bincount(both.resampled(rng), minlength=216)
    for group in np.unique(both.groups):
        assert len(set(again[both.groups == group])) == 1, "a group is drawn as a whole"


def test_the_choice_of_weak_effects_leaves_out_groups():
    rng = np.random.default_rng(1)
    y, groups = rng.normal(size=12), np.repeat(np.arange(4), [1, 3, 3, 5])
    covariance = np.cov(rng.normal(size=(12, 40))) + np.eye(12)
    wrong = left_out(np.linalg.inv(covariance), y, groups)
    for group in range(4):
        out, kept = groups == group, groups != group
        expected = covariance[np.ix_(out, kept)] @ np.linalg.solve(covariance[np.ix_(kept, kept)], y[kept])
        np.testing.assert_allclose(wrong[out], y[out] - expected, atol=1e-10)


TEXT = " ".join(f"gorgeous witty seductive movie{i}. Not boring film {i}!" for i in range(5))


REVIEW = interact.Template(user="Review: {text}", answer_prefix="This review is")


def test_a_prompt_of_many_words(byte_level, tmp_path):
    model = causal()
    options = {"target": "positive", "template": REVIEW, "progress": False, "masking": "attention"}
    words = interact.PlayerChoice(limit=24)
    asked = {**options, "players": words, "method": "sparse", "budget": 130, "sparse": SparseOptions(bootstraps=2)}
    r = interact.extract(model, byte_level, TEXT, **asked, cache=tmp_path / "scores")
    assert r.n > 20 and isinstance(r, interact.SampledInteractions) and len(r.values) <= 130
    assert r.provenance["sparse"]["budget"] == 130 and r.provenance["engine"]["used"] in ("flat", "tree")
    inputs = interact.prepare(byte_level, TEXT, players=words, target="positive", template=REVIEW, most_players=99)
    import torch

    truth = interact.coalition_values(
        model, inputs, coalitions=torch.from_numpy(r.coalitions), masking="attention", engine="flat"
    )
    np.testing.assert_allclose(r.values, truth, atol=1e-3)
    again = interact.extract(model, byte_level, TEXT, **asked, cache=tmp_path / "scores")
    assert np.array_equal(again.values, r.values) and again.provenance["engine"]["used"] is None
    with pytest.raises(ValueError, match="holds no scores of this value function"):
        interact.extract(model, byte_level, TEXT, **{**asked, "target": "negative"}, cache=tmp_path / "scores")
    back = interact.load(r.save(tmp_path / "x.interactions"))
    assert back.and_terms == r.and_terms and str(back) == str(r)


def test_no_players_are_a_result_without_interactions(byte_level, tmp_path):
    for options in (FAST, SparseOptions(), SparseOptions(design="balanced", paired=True, shared=4)):
        r = sparse.explain(lambda m: np.full(len(m), 2.5), 0, budget=600, options=options)
        assert r.bias == 2.5 and r.and_terms == {} == r.or_terms and "no interactions" in str(r)
    for _ in range(2):
        assert sparse.explain(lambda m: np.full(len(m), 2.5), 0, cache=tmp_path / "x.scores").bias == 2.5
    text = interact.extract(causal(), byte_level, TEXT, players=[], method="sparse", target=5)
    assert text.n == 0 and text.and_terms == {} and len(text.values) == 1 and text.bias == text.values[0]


def test_rebuilding_takes_booleans_of_numpy_and_torch_and_no_zeros_and_ones():
    import torch

    r = sparse.explain(lambda m: 2.0 * m[:, 0], 8, budget=100, options=FAST)
    masks = np.eye(8, dtype=bool)
    np.testing.assert_array_equal(r.predict(torch.from_numpy(masks)), r.predict(masks))
    assert r.predict(torch.from_numpy(masks[0])) == r.predict(masks[0]) == r.predict(1)
    for bad in (masks.astype(int), masks.astype(np.uint8), torch.from_numpy(masks).int(), masks.astype(int).tolist()):
        with pytest.raises(ValueError, match=r"must be booleans of shape \[m, 8\], but are int|are uint8"):
            r.predict(bad)


def test_methods_that_do_not_fit_are_sentences(byte_level):
    with pytest.raises(ValueError, match="method='x' is not known"):
        interact.extract(causal(), byte_level, TEXT, method="x")
    with pytest.raises(ValueError, match="pass method='sparse'"):
        interact.extract(causal(), byte_level, TEXT, budget=100)
    with pytest.raises(ValueError, match=r"a full lattice holds at most 20; set a limit .* or method='sparse'"):
        interact.extract(causal(), byte_level, TEXT * 3, players="sentences")
    # What concerns every coalition is said in its own words.
    with pytest.raises(ValueError, match=r"^The prompt is .* tokens long, but the model's context holds"):
        interact.extract(causal(), byte_level, TEXT * 6, method="sparse", players="sentences", target=5)


def test_sentences_are_opened_into_words():
    from functools import partial

    n_sentences = 12
    text = " ".join(f"The alpha{i} of, beta{i} and gamma{i}!" for i in range(n_sentences))
    asked = []

    def again(*, players, budget, known=None):
        spans = interact.prompt.players.choose_spans(text, players, 4096)[1]
        asked.append(spans)
        strong = [i for i, (a, b) in enumerate(spans) if any(w in text[a:b] for w in ("beta3", "gamma3", "alpha7"))]
        named = [interact.Player(text[a:b], (a, b), (i, i + 1)) for i, (a, b) in enumerate(spans)]
        whole = partial(sparse.explain, options=FAST, players=named, text=text)
        return whole(lambda m: 2.0 * m[:, strong].all(1), len(spans), budget=budget, known=known)

    coarse = again(players="sentences", budget=300)
    assert coarse.n == n_sentences and strongest(coarse, 5) == [3, 7]
    fine = sparse.refine(coarse, again, budget=300, keep=2)
    words = [p.text for p in fine.players]
    assert words[3:6] == ["The alpha3", "of, beta3", "and gamma3!"] and words[0] == "The alpha0 of, beta0 and gamma0!"
    # The parts make up the whole: nothing but spaces is left between players.
    edges = [edge for span in asked[1] for edge in span]
    assert not any(text[a:b].strip() for a, b in zip(edges[1::2], edges[2::2], strict=False))
    (members,) = fine.and_terms
    assert [words[i] for i in sorted(members)] == ["of, beta3", "and gamma3!", "The alpha7"]
    assert len(fine.provenance["refined"]["opened"]) == 2
    # The scores of the sentences are fitted too, but for the two ends, which are asked anyway.
    assert fine.provenance["known"] == len(coarse.values) - 2
    with pytest.raises(ValueError, match="no player is worth opening"):
        sparse.refine(sparse.explain(lambda m: np.zeros(len(m)), 3), again, budget=300)
    with pytest.raises(ValueError, match="keep says how many"):
        sparse.refine(coarse, again, budget=300, keep=0)


def test_many_players_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        r = sparse.explain(lambda m: 1.0 * m[:, 0] - m[:, [1, 2]].all(1), 120, budget=600, options=FAST)
    assert set(found(r)) == {merged("and", [0]), merged("and", [1, 2])}


def many_weak_effects(n):
    """Every player and every pair matters a little: no few terms explain this."""
    rng = np.random.default_rng(3)
    alone, pairs = rng.normal(size=n), np.triu(rng.normal(size=(n, n)) * 0.3, 1)
    return lambda masks: masks @ alone + np.einsum("mi,ij,mj->m", masks, pairs, masks.astype(float))


@pytest.mark.parametrize("estimator", ["terms", "auto"])
def test_many_weak_effects_are_shrunk_and_predict(estimator):
    n, value = 18, many_weak_effects(18)
    options = SparseOptions(bootstraps=3, estimator=estimator, proxy=estimator == "terms")
    found = interact.sparse.explain(value, n, budget=200, options=options)
    assert found.provenance["shrunk"] == (estimator == "terms") != (found.provenance["gaussian"] is not None)
    assert found.fidelity(0.0).r2 > 0.8
    masks = np.random.default_rng(0).random((500, n)) < 0.5
    truth, straight = value(masks), Sample(masks[:200], value(masks[:200]), np.full(200, 2))
    left = ((truth - found.predict(masks)) ** 2).mean() / truth.var()
    x = np.column_stack([np.ones(200), straight.masks])
    line = np.column_stack([np.ones(500), masks]) @ np.linalg.lstsq(x, straight.values, rcond=None)[0]
    assert left < 0.8 * ((truth - line) ** 2).mean() / truth.var()
    told = found.terms
    assert np.isfinite(told.and_errors).all() and (told.and_errors > 0).any()
    assert all(0 <= s <= 1 for s in [*told.and_stability, *told.or_stability])


@pytest.mark.parametrize(("n", "max_order"), [(1, 4), (2, 4), (9, 1), (9, 4), (300, 2)])
def test_shrunk_effects_are_exact_as_terms_and_follow_a_shift(n, max_order):
    rng = np.random.default_rng(n)
    masks = rng.random((60, n)) < 0.5
    values = masks @ rng.normal(size=n) + 0.1 * rng.normal(size=60)
    found = shrink(masks, values, max_order=max_order)
    assert all(len(members) <= max_order for _, members in found.terms)
    assert len(set(found.terms)) == len(found.terms) and np.isfinite(found.effects).all()
    moved = shrink(masks, values + 100, max_order=max_order, prior=found.prior)
    fitted = [f.bias + columns(masks, f.terms) @ f.effects for f in (found, moved)]
    np.testing.assert_allclose(fitted[1], fitted[0] + 100, atol=1e-6)
    # What is left of a shrunk fit without pruned pairs is its noise times its weights, so it predicts what it saw.
    assert np.corrcoef(fitted[0], values)[0, 1] > 0.7
