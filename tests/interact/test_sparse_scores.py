"""The scores that a sparse fit asks for: rounds, failures, bad arguments, interrupted runs."""

import numpy as np
import pytest

from interact import sparse
from interact.sparse import ScoreCache, SparseOptions, design
from interact.sparse.dictionary import merged
from tests.interact.planted_terms import FAST, found, planted


def test_rounds_are_sorted_before_they_are_cut_into_calls():
    calls = []

    def value(masks):
        calls.append(masks)
        return 2.0 * masks[:, 1]

    cache = ScoreCache()
    cache.open(30)
    masks = np.random.default_rng(0).random((900, 30)) < 0.5
    scores = sparse.asking.score(value, masks, cache, sparse.Asking(batch=50))
    np.testing.assert_array_equal(scores, 2.0 * masks[:, 1])
    assert {len(m) for m in calls} <= {50, 28, 22, 23} and sum(map(len, calls)) == 900
    # As drawn while little is known, then eight calls' worth are in the order of the text.
    np.testing.assert_array_equal(np.concatenate(calls[:3]), masks[:128])
    window = np.concatenate(calls[3:11])
    assert window.astype(int).tolist() == sorted(window.astype(int).tolist())


@pytest.mark.parametrize(("player", "other"), [(0, 5), (29, 5), (0, 0)])
def test_failures_of_one_beginning_are_not_failures_of_all(player, other):
    def value(masks):
        return np.where(masks[:, [player, other]].any(1), 2.0 * masks[:, [1, 4]].all(1), np.nan)

    with pytest.warns(UserWarning, match="which are left out"):
        r = sparse.explain(value, 30, budget=1600, options=FAST)
    assert found(r) == {merged("and", [1, 4]): pytest.approx(2.0)}


def test_balanced_sizes_are_all_seen():
    masks, _ = design.draw(9, 100, kind="balanced", paired=False, shared=1, rng=np.random.default_rng(0))
    assert np.bincount(masks.sum(1), minlength=10).tolist() == [10] * 10


def test_failures_are_left_out_and_the_mask_is_named():
    truth, clean = planted(30, 5, seed=3)

    def value(masks):
        if (masks[:, 0] & masks[:, 1] & masks[:, 2] & masks[:, 3] & ~masks[:, 4]).any():
            raise OverflowError("too much")
        return np.where(masks[:, 5:11].all(1) & ~masks[:, 11], np.nan, clean(masks))

    with pytest.warns(UserWarning, match=r"failed for \d+ coalitions, which are left out; the first is the mask 0x"):
        r = sparse.explain(value, 30, budget=900, options=SparseOptions(bootstraps=0, proxy=False, batch=64))
    assert set(found(r)) == set(truth) and r.provenance["failed"] > 0 and np.isfinite(r.values).all()


@pytest.mark.parametrize(("n", "raises"), [(30, False), (30, True), (10, False), (10, True)])
def test_a_quarter_of_the_masks_may_fail(n, raises):
    def value(masks):
        bad = ~masks[:, [8, 9]].any(1)
        if raises and bad.any():
            raise OverflowError("too much")
        return np.where(bad, np.nan, 2.0 * masks[:, [1, 4]].all(1))

    # The 2**10 coalitions in bit order would begin with 256 failures.
    with pytest.warns(UserWarning, match="which are left out"):
        r = sparse.explain(value, n, budget=1024, options=FAST)
    assert found(r) == {merged("and", [1, 4]): pytest.approx(2.0)} and 100 < r.provenance["failed"] < 400


def test_a_function_that_always_fails_is_said_with_its_reason():
    def broken(masks):
        raise KeyError("no such tensor")

    with pytest.raises(ValueError, match=r"failed for \d+ coalitions and scored 0; .* mask 0x.*no such tensor"):
        sparse.explain(broken, 30, budget=300)
    with pytest.raises(ValueError, match=r"one score per coalition, shape \(\d+,\), but returned \(\)"):
        sparse.explain(lambda m: 1.0, 30, budget=300)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"n": 30, "budget": 100}, r"budget of 100 coalitions is below .* 30 players; give at least 136"),
        ({"n": 3, "budget": 7}, "give at least 8"),
        ({"n": -1}, "n must be a number of players"),
        ({"n": 2.5}, "n must be a number of players"),
        *(({"n": n}, "n must be a number of players") for n in (None, "x", float("nan"), True)),
        *(
            ({"n": 5, "budget": budget}, "budget must be a whole number of coalitions")
            for budget in ("x", float("nan"), float("inf"), 600.7)
        ),
        *(({"n": 5, "max_order": o}, "max_order must be a whole number and at least 1") for o in (0, "2", 1.5, None)),
        *(({"n": 5, "seed": seed}, "seed must be a whole number, 0 or more") for seed in (-1, 1.5, "2", None)),
        ({"n": 5, "players": []}, "0 players are named, but n is 5"),
        ({"n": 2, "players": ["a", "b"]}, "must be of interact.Player, but one is 'a'; interact.game_from takes plain"),
        ({"n": 5, "options": {"design": "mixed"}}, "options must be interact.sparse.SparseOptions"),
        ({"n": 5, "cache": 5}, "A cache of scores is a file or a ScoreCache, but is 5"),
    ],
)
def test_bad_arguments_are_sentences(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        sparse.explain(lambda m: m.sum(1), **arguments)


def test_complex_and_boundless_scores_are_sentences():
    with pytest.raises(ValueError, match="must return real scores, but returned complex128"):
        sparse.explain(lambda m: m.sum(1) * 1j, 30, budget=200)
    for boundless in (np.inf, -1e101):
        with pytest.raises(ValueError, match=r"scored 0; .* its score is (inf|-1e\+101), not a number up to 1e\+100"):
            sparse.explain(lambda m, score=boundless: np.full(len(m), score), 30, budget=800)
    with pytest.warns(UserWarning, match=r"left out; .* its score is 1e\+300"):
        r = sparse.explain(lambda m: np.where(m[:, :5].all(1), 1e300, 2.0 * m[:, 7]), 30, budget=300, options=FAST)
    assert found(r) == {merged("and", [7]): pytest.approx(2.0)}


def test_bad_options_are_sentences():
    for bad, sentence in (
        ({"design": "x"}, "design='x' is not known"),
        ({"shared": 3}, "shared must be a power of two"),
        ({"batch": 0}, "batch must be positive, but is 0"),
        ({"retries": -1}, r"retries \(-1\) and wait \(1.0\) must be 0 or more"),
        ({"wait": float("nan")}, r"wait \(nan\) must be 0 or more"),
        ({"repeats": -2}, "repeats must be 0 or more, or None, but is -2"),
        ({"repeats": 1.5}, r"repeats \(1.5\) a whole one or None"),
        ({"wait": "1"}, r"wait \('1'\) must be a number"),
        ({"shared": 2.0}, "shared must be a power of two, such as 1, 4 or 8, but is 2.0"),
        ({"bootstraps": 2.5}, "bootstraps must be a whole number, 0 or more, but is 2.5"),
        ({"stop": "x"}, "stop must be a share of the variance, such as 0.999, but is 'x'"),
        ({"stop": float("nan")}, "stop must be a share of the variance"),
    ):
        with pytest.raises(ValueError, match=sentence):
            SparseOptions(**bad)


def test_an_interrupted_run_goes_on_where_it_was(tmp_path):
    _, value = planted(25, 4, seed=2)
    calls, options = [], SparseOptions(bootstraps=0, proxy=False, batch=100, repeats=0)

    def stopping(masks):
        calls.append(len(masks))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return value(masks)

    for cache in (tmp_path / "x.scores", None):
        calls.clear()
        with pytest.raises(sparse.Interrupted, match=r"after 1\d\d scores") as stopped:
            sparse.explain(stopping, 25, budget=600, cache=cache, options=options)
        known = len(stopped.value.scores)
        whole = sparse.explain(value, 25, budget=600, options=options)
        if cache is not None:
            with cache.open("ab") as file:
                file.write(b"torn")
        calls.clear()
        calls.extend([0] * 3)
        again = sparse.explain(stopping, 25, budget=600, cache=cache or stopped.value.scores, options=options)
        # Four at most are asked again, to see whether the function is the same.
        assert len(whole.values) - known <= sum(calls) <= len(whole.values) - known + 4
        assert again.and_terms == whole.and_terms and np.array_equal(again.values, whole.values)


def test_scores_of_something_else_are_refused(tmp_path):
    path = tmp_path / "x.scores"
    sparse.explain(lambda m: m.sum(1), 3, cache=path)
    with pytest.raises(ValueError, match="holds no scores of this value function over 4 players"):
        sparse.explain(lambda m: m.sum(1), 4, cache=path)
    with pytest.raises(ValueError, match="holds no scores of this value function"):
        sparse.explain(lambda m: m.sum(1), 3, cache=ScoreCache(path, "another model"))
    path.write_bytes(b"\x00" * 50)
    with pytest.raises(ValueError, match="name another file, or delete it"):
        sparse.explain(lambda m: m.sum(1), 3, cache=path)
    with pytest.raises(RuntimeError, match="scores cannot be kept in"):
        sparse.explain(lambda m: m.sum(1), 3, cache="/proc/x/y")


def pair_sum(masks):
    return masks @ np.arange(1, 1 + masks.shape[1]) / 3 + 3 * (masks[:, 0] & masks[:, 1])


def test_more_coalitions_than_there_are_cost_nothing():
    for budget in (10**9, 2**70):
        r = sparse.explain(pair_sum, 6, budget=budget, options=FAST)
        assert len(r.values) == 64 and r.fidelity(0.0).r2 > 0.999


def test_scores_of_another_function_are_refused(tmp_path):
    path = tmp_path / "x.scores"

    def first(masks):
        return 1e3 + 2.0 * masks[:, [1, 4]].all(1)

    r = sparse.explain(first, 30, budget=300, cache=path, options=FAST)
    # Rounding is not another function.
    same = sparse.explain(lambda m: np.float32(first(m) + 1e-4), 30, budget=300, cache=path, options=FAST)
    assert np.array_equal(same.values, r.values)
    before = path.read_bytes()
    for other in (lambda m: 1e3 + 2.0 * m[:, [2, 7]].all(1), lambda m: 1e3 + 1.9 * m[:, [1, 4]].all(1)):
        with pytest.raises(ValueError, match=r"x.scores holds scores of another value function: of the mask 0x"):
            sparse.explain(other, 30, budget=300, cache=path, options=FAST)
    assert path.read_bytes() == before
    memory = ScoreCache()
    sparse.explain(first, 30, budget=300, cache=memory, options=FAST)
    with pytest.raises(ValueError, match="The cache holds scores of another value function"):
        sparse.explain(lambda m: -first(m), 30, budget=300, cache=memory, options=FAST)
    # A large offset hides no other function.
    far = ScoreCache()
    sparse.explain(lambda m: 1e6 + pair_sum(m) / 160, 30, budget=300, cache=far, options=FAST)
    with pytest.raises(ValueError, match="The cache holds scores of another value function"):
        sparse.explain(lambda m: 1e6 + pair_sum(~m) / 160, 30, budget=300, cache=far, options=FAST)
    huge = ScoreCache()
    for _ in range(2):
        sparse.explain(lambda m: 1e90 * pair_sum(m), 6, cache=huge, options=FAST)
    # With a name, what a random function scored is gone on with.
    noise = np.random.default_rng(0)
    for _ in range(2):
        named = ScoreCache(tmp_path / "y.scores", "random")
        sparse.explain(lambda m: noise.normal(size=len(m)), 8, budget=100, cache=named, options=FAST)


def test_a_value_function_that_writes_into_its_masks_harms_nothing():
    def value(masks):
        scores = masks[:, 0] * 2.0
        masks[:] = False
        return scores

    assert sparse.explain(value, 25, budget=200, options=FAST).and_terms == {frozenset({0}): pytest.approx(2.0)}


def test_known_scores_are_fitted_beside_the_budget():
    n, rng = 40, np.random.default_rng(0)
    pairs = [tuple(rng.choice(n, 2, replace=False)) for _ in range(25)]

    def value(masks):
        return sum(masks[:, a] & masks[:, b] for a, b in pairs).astype(float)

    masks = rng.random((300, n)) < 0.5
    options = sparse.SparseOptions(proxy=False, bootstraps=0)
    least = sparse.least_budget(n)
    alone = sparse.explain(value, n, budget=least, options=options)
    helped = sparse.explain(value, n, budget=least, options=options, known=(masks, value(masks)))
    assert alone.fidelity(0.0).r2 < 0.99 < 0.999 < helped.fidelity(0.0).r2
    assert helped.provenance["known"] == 300 and 300 < len(helped.values) <= 300 + least
    assert set(helped.and_terms) == {frozenset(int(i) for i in pair) for pair in pairs}
    with pytest.warns(UserWarning, match="known scores are left out, because .* of another value function"):
        wrong = sparse.explain(value, n, budget=least, options=options, known=(masks, 2 * value(masks)))
    assert wrong.provenance["known"] == 0 and wrong.and_terms == alone.and_terms
    # What is known twice counts once, so that it is not taken for all coalitions.
    table = np.random.default_rng(0).normal(size=64)
    every = (np.arange(64)[:, None] >> np.arange(6) & 1).astype(bool)
    few = {"budget": 40, "options": sparse.SparseOptions(proxy=False, stop=2.0, bootstraps=0)}
    twice = np.repeat(every[[21]], 24, axis=0)
    r = sparse.explain(lambda m: table[m @ (1 << np.arange(6))], 6, **few, known=(twice, np.full(24, table[21])))
    assert r.provenance["known"] <= 1 and len(np.unique(r.coalitions, axis=0)) == len(r.values) <= 41
    with pytest.warns(UserWarning, match="None of the known scores is a number"):
        sparse.explain(lambda m: table[m @ (1 << np.arange(6))], 6, **few, known=(twice, np.full(24, np.nan)))
    with pytest.raises(ValueError, match=r"known must hold booleans of shape \[m, 40\] and m scores, but holds int64"):
        sparse.explain(value, n, budget=least, known=(masks.astype(int), value(masks)))
