"""The Gaussian process on coalitions: effects in closed form, errors that cover, terms that say the same."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

import interact
from interact import sparse
from interact.sparse import SparseOptions, design, gaussian, listing
from interact.sparse.absence import Absence
from interact.sparse.dictionary import columns, merged
from interact.sparse.recovery import Sample, predictive

N = 8
EVERY = (np.arange(1 << N)[:, None] >> np.arange(N) & 1).astype(bool)


def smooth(seed: int, n: int = N) -> tuple[np.ndarray, gaussian.Scales]:
    """Draw all scores of a game from the prior."""
    rng = np.random.default_rng(seed)
    scales = gaussian.Scales(rng.uniform(0.02, 0.5, n), 1.0, 1e-3)
    z = np.where((np.arange(1 << n)[:, None] >> np.arange(n) & 1).astype(bool), 1.0, -1.0)
    r = scales.players
    kernel = np.prod((1 + r * z[:, None] * z[None]) / (1 + r), axis=2) + 1e-3 * np.eye(1 << n)
    return np.linalg.cholesky(kernel) @ rng.normal(size=1 << n), scales


def by_hand(values: np.ndarray, kind: str, members: set[int], n: int = N) -> float:
    """Sum the definition of an effect over all coalitions."""
    others, total = [i for i in range(n) if i not in members], 0.0
    for size in range(len(others) + 1):
        for chosen in itertools.combinations(others, size):
            share = {
                "and": float(size == 0),
                "or": float(size == len(others)),
                "banzhaf": 0.5 ** len(others),
                "shapley": 1 / (math.comb(len(others), size) * (len(others) + 1)),
            }[kind]
            for k in range(len(members) + 1):
                for inside in itertools.combinations(sorted(members), k):
                    mask = sum(1 << i for i in (*chosen, *inside))
                    total += share * (-1) ** (len(members) - k) * values[mask]
    return -((-1) ** len(members)) * total if kind == "or" else total


@pytest.mark.parametrize("kind", gaussian.KINDS)
@pytest.mark.parametrize("terms", [(), (merged("and", [0, 3]), merged("or", [1, 2, 4]))])
def test_effects_are_those_of_the_expected_scores(kind, terms):
    values, _ = smooth(0)
    rows = np.random.default_rng(1).permutation(1 << N)[:60]
    process = gaussian.fit(EVERY[rows], values[rows], terms)
    sets = [{0}, {5}, {0, 3}, {1, 2, 4}, set(range(N))]
    effects, errors = process.effects(kind, sets)
    # What is alone in a coalition is known where it was scored, and part of an effect.
    expected, _ = process.predict(EVERY)
    expected[rows] = values[rows]
    np.testing.assert_allclose(effects, [by_hand(expected, kind, s) for s in sets], atol=1e-6)
    assert (errors > 0).all()
    whole = gaussian.fit(EVERY, values, terms).effects(kind, sets)
    np.testing.assert_allclose(whole[0], [by_hand(values, kind, s) for s in sets], atol=1e-6)
    np.testing.assert_allclose(whole[1], 0, atol=1e-4)


def test_the_shapley_values_sum_to_all_minus_none_where_these_were_scored():
    values, _ = smooth(3)
    rows = np.unique([0, (1 << N) - 1, *range(5, 200, 7)])
    effects, _ = gaussian.fit(EVERY[rows], values[rows]).effects("shapley", [{i} for i in range(N)])
    assert effects.sum() == pytest.approx(values[-1] - values[0], abs=1e-8)


def test_leaving_one_out_is_a_fit_without_it():
    values, _ = smooth(1)
    rows = np.random.default_rng(2).permutation(1 << N)[:40]
    process = gaussian.fit(EVERY[rows], values[rows])
    expected, deviation = process.left_out()
    kept = rows[1:]
    z = np.where(EVERY[rows], 1.0, -1.0)
    r = process.scales.players
    kernel = process.scales.amplitude * np.prod((1 + r * z[:, None] * z[None]) / (1 + r), axis=2)
    s, gone = process.scales.absent.reach, (z < 0).astype(float)
    kernel += process.scales.absent.extent * np.prod((1 + s * gone[:, None] * gone[None]) / (1 + s), axis=2)
    kernel += 100 + process.scales.noise * np.eye(len(rows)) + 4 * np.outer(*[~EVERY[rows].any(1)] * 2)
    kernel += 4 * np.outer(*[EVERY[rows].all(1)] * 2)
    y = (values[kept] - process.level) / process.unit
    by_others = np.linalg.solve(kernel[1:, 1:], kernel[1:, 0])
    assert expected[0] == pytest.approx(process.level + process.unit * by_others @ y, abs=1e-8)
    assert deviation[0] ** 2 == pytest.approx(process.unit**2 * (kernel[0, 0] - by_others @ kernel[1:, 0]), rel=1e-6)


def test_intervals_cover_scores_effects_and_terms():
    inside: dict[str, list[np.ndarray]] = {}
    sets = [{i} for i in range(N)] + [set(pair) for pair in itertools.combinations(range(N), 2)]
    for seed in range(6):
        values, _ = smooth(seed + 10)
        rows = np.random.default_rng(seed).permutation(1 << N)[:70]
        process = gaussian.fit(EVERY[rows], values[rows])
        expected, deviation = process.predict(EVERY)
        unseen = np.setdiff1d(np.arange(1 << N), rows)
        inside.setdefault("scores", []).append(np.abs(expected - values)[unseen] < 1.96 * deviation[unseen])
        for kind in gaussian.KINDS:
            effects, errors = process.effects(kind, sets)
            truth = np.array([by_hand(values, kind, s) for s in sets])
            inside.setdefault(kind, []).append(np.abs(effects - truth) < 1.96 * errors)
        found = listing.listed(process, 4)
        told = np.concatenate([np.ones((1 << N, 1)), columns(EVERY, found.terms)], axis=1)
        truth = np.linalg.lstsq(told, values, rcond=None)[0][1:]
        inside.setdefault("terms", []).append(np.abs(found.effects - truth) < 1.96 * found.errors)
    for what, covered in inside.items():
        # The terms listed are the strongest, which are the likelier to be overstated.
        assert (0.84 if what == "terms" else 0.88) < np.concatenate(covered).mean() <= 1, what


@pytest.mark.parametrize("terms", [(), (merged("and", [0, 3]), merged("or", [1, 2, 4]))])
def test_all_orders_as_terms_are_what_is_expected(terms, monkeypatch):
    monkeypatch.setattr(listing, "_NEGLIGIBLE", 0.0)
    values, _ = smooth(2)
    rows = 1 + np.random.default_rng(1).permutation((1 << N) - 2)[:90]
    process = gaussian.fit(EVERY[rows], values[rows], terms)
    found = listing.listed(process, N)
    assert {kind for kind, _ in found.terms} == {"and", "or"}
    rebuilt = found.bias + columns(EVERY, found.terms) @ found.effects
    np.testing.assert_allclose(rebuilt, process.predict(EVERY)[0], atol=1e-8)


def test_errors_of_terms_are_as_large_as_their_effects_are_wrong(monkeypatch):
    # All players and pairs, as AND, so that a process that knows all scores lists the true effects of the same terms.
    monkeypatch.setattr(listing, "_NEGLIGIBLE", 0.0)
    monkeypatch.setattr(listing, "_kinds", lambda wholes, _: ["and"] * len(wholes))
    wrong = []
    for seed in range(12):
        values, scales = smooth(seed + 30)
        rows = np.random.default_rng(seed).permutation(1 << N)[:70]
        found, truth = (
            listing.listed(gaussian.fit(EVERY[some], values[some], scales=in_units(scales, values[some])), 2)
            for some in (rows, np.arange(1 << N))
        )
        assert found.terms == truth.terms
        wrong.append((found.effects - truth.effects) / (found.errors / gaussian.CARE))
    assert 0.85 < np.sqrt(np.square(wrong).mean()) < 1.15


def in_units(scales: gaussian.Scales, values: np.ndarray) -> gaussian.Scales:
    return replace(scales, amplitude=scales.amplitude / values.var(), noise=scales.noise / values.var())


@pytest.mark.parametrize("seed", [0, 1])
def test_terms_of_many_players_say_what_is_expected_of_few_of_them(seed):
    # Of 100 players next to no coalition is small: the best approximation over all of them left out a twentieth here.
    n, rng = 100, np.random.default_rng(seed)
    effects, pairs = rng.normal(size=n) * 0.5, np.triu(rng.normal(size=(n, n)), 1) * 0.05
    masks, _ = design.draw(n, 1300, kind="mixed", paired=False, shared=1, rng=rng)
    sized, _ = design.draw(n, 1000, kind="balanced", paired=False, shared=1, rng=rng)
    z = masks[:300] * 2.0 - 1
    values = z @ effects + np.einsum("mi,ij,mj->m", z, pairs, z) + 24 * np.tanh(masks[:300] @ np.abs(effects) * 6 / n)
    process = gaussian.fit(masks[:300], values)
    found = listing.listed(process, 4)
    for judges in (masks[300:], sized):
        expected = process.predict(judges)[0]
        wrong = found.bias + columns(judges, found.terms) @ found.effects - expected
        assert (wrong**2).mean() < 0.015 * expected.var()


def test_scoring_ends_where_the_share_asked_for_is_explained():
    n, counts = 24, {}
    value, masks = game(n, 0), np.random.default_rng(5).random((2000, n)) < np.random.default_rng(6).random((2000, 1))
    truth = value(masks)
    for stop in (0.8, 0.95, 0.999):
        found = sparse.explain(value, n, budget=800, options=SparseOptions(bootstraps=0, stop=stop))
        counts[stop] = len(found.values)
        assert found.provenance["gaussian"] is not None
        wrong = sparse.posterior(found).predict(masks)[0] - truth
        assert 1 - (wrong**2).mean() / truth.var() > stop - 0.1
    # Many weak terms may turn into few with more scores, so nearly everything explained is no reason to end.
    assert counts[0.8] < 400 < counts[0.95] < counts[0.999] == 800
    # Known scores of one kind say nothing of the others, and one player has nothing held out.
    dense = np.random.default_rng(1).random((300, n)) < 0.97
    known = sparse.explain(
        value, n, budget=400, known=(dense, value(dense)), options=SparseOptions(bootstraps=0, stop=0.8)
    )
    assert known.fidelity(0.0).r2 > 0.6 or len(known.values) - known.provenance["known"] == 400
    one = SparseOptions(estimator="gaussian", stop=0.8)
    assert sparse.explain(lambda m: m[:, 0] * 2.0, 1, options=one).n == 1


def test_the_next_coalitions_are_those_that_take_most_variance():
    values, scales = smooth(4)
    rows = np.random.default_rng(5).permutation(1 << N)
    have, pool = rows[:30], rows[30:90]
    process = gaussian.fit(EVERY[have], values[have], scales=scales)

    def left(chosen: list[int]) -> float:
        asked = np.concatenate([have, pool[chosen]])
        again = gaussian.fit(EVERY[asked], np.concatenate([values[have], np.zeros(len(chosen))]), scales=scales)
        return float(((again.predict(EVERY[rows[90:]])[1] / again.unit) ** 2).sum())

    chosen = process.next(EVERY[pool], EVERY[rows[90:]], 2).tolist()
    assert chosen[0] == min(range(60), key=lambda k: left([k]))
    assert chosen[1] == min(set(range(60)) - {chosen[0]}, key=lambda k: left([chosen[0], k]))


def game(n: int, seed: int):
    """Return a game without few terms: a smooth function of weighted sums of presence."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(3, n)) * rng.exponential(size=n)

    def value(masks):
        hidden = (2.0 * masks - 1) @ weights.T / np.sqrt(n)
        return np.tanh(hidden) @ [1.0, -2.0, 1.5] + 0.5 * hidden[:, 0] * hidden[:, 1]

    return value


def test_scores_without_few_terms_are_explained_by_the_process():
    value, masks = game(10, 0), np.random.default_rng(3).random((2000, 10)) < 0.5
    truth, r2 = value(masks), {}
    for estimator in ("terms", "auto", "gaussian"):
        r = sparse.explain(value, 10, budget=100, options=SparseOptions(estimator=estimator, proxy=False, bootstraps=0))
        assert (r.provenance["gaussian"] is None) == (estimator == "terms")
        r2[estimator] = 1 - ((r.predict(masks) - truth) ** 2).mean() / truth.var()
    assert r2["auto"] > r2["terms"] + 0.02 and r2["gaussian"] > r2["terms"] + 0.02
    frame = r.to_frame()
    assert np.isfinite(frame["error"]).all() and frame["stability"].between(0.5, 1).all()
    assert len(set(r.provenance["gaussian"]["scales"])) == 10


def test_a_result_gives_its_process_again(tmp_path):
    import interact

    value, n = game(10, 1), 10
    r = sparse.explain(value, n, budget=130, options=SparseOptions(estimator="gaussian"))
    process = sparse.posterior(interact.load(r.save(tmp_path / "x.interactions")))
    sets = [{i} for i in range(n)]
    effects, errors = process.effects("shapley", sets)
    every = (np.arange(1 << n)[:, None] >> np.arange(n) & 1).astype(bool)
    truth = np.array([by_hand(value(every), "shapley", s, n) for s in sets])
    assert (np.abs(effects - truth) < 2.5 * errors).mean() > 0.8 and np.corrcoef(effects, truth)[0, 1] > 0.95
    terms = sparse.explain(value, n, budget=130, options=SparseOptions(estimator="terms", proxy=False, bootstraps=0))
    assert np.corrcoef(sparse.posterior(terms).effects("shapley", sets)[0], truth)[0, 1] > 0.95


def test_what_is_wrong_is_a_sentence():
    with pytest.raises(ValueError, match="estimator='x' is not known; choose one of"):
        SparseOptions(estimator="x")
    process = gaussian.fit(EVERY[:20], np.arange(20.0))
    with pytest.raises(ValueError, match="kind='x' is not known; choose one of"):
        process.effects("x", [{1}])
    for bad in (set(), {8}, {-1}):
        with pytest.raises(ValueError, match="one or more of the players 0 to 7, such as"):
            process.effects("banzhaf", [bad])
    for bad in (range(8), [{0.7}], ["a"]):
        with pytest.raises(ValueError, match="one or more of the players 0 to 7, such as"):
            process.effects("shapley", bad)
    for bad in (EVERY[:3, :5], EVERY[0], EVERY[:3].astype(int), [3, 4]):
        with pytest.raises(ValueError, match=r"Coalitions are booleans of shape \[m, 8\], but"):
            process.predict(bad)
    with pytest.raises(ValueError, match="A posterior is of a result of method='sparse'"):
        sparse.posterior(interact.game_from(lambda m: m.sum(1), 3).interactions())


@pytest.mark.parametrize("n", [0, 1, 2, 5, 40])
def test_constants_and_few_players(n):
    for value in (lambda m: np.full(len(m), 7.25), lambda m: m[:, :6].sum(1) * 1.0):
        r = sparse.explain(value, n, options=SparseOptions(estimator="gaussian"), budget=256)
        masks = np.random.default_rng(0).random((40, n)) < 0.5
        np.testing.assert_allclose(r.predict(masks), value(masks), atol=0.3 if n == 40 else 1e-3)


def test_effects_at_an_empty_input_unlike_all_others_are_covered():
    covered, known = [], []
    sets = [{0}, {3}, {7}, {0, 1}, {2, 5}, {6, 8}]
    n = 10
    every = (np.arange(1 << n)[:, None] >> np.arange(n) & 1).astype(bool)
    for seed in range(36):
        rng = np.random.default_rng(seed)
        single = rng.normal(size=n)
        # What is said of next to nothing has little to do with what is said of half a text.
        values = every @ single - 4 * 0.4 ** every.sum(axis=1) * (1 + 0.3 * rng.normal(size=1 << n))
        rows = np.unique(np.r_[0, rng.choice(1 << n, 150, replace=False), (1 << n) - 1])
        effects, errors = gaussian.fit(every[rows], values[rows]).effects("and", sets)
        truth = np.array([by_hand(values, "and", s) for s in sets])
        covered += (np.abs(effects - truth) < 1.96 * errors).tolist()
        alone = np.unique(np.r_[0, 1, rows])
        known.append(gaussian.fit(every[alone], values[alone]).effects("and", [{0}])[1][0])
    # No draw of the prior looks like this, so less than 0.95; without the error of the empty input itself, under 0.3.
    assert np.mean(covered) >= 0.85
    # What was scored is known.
    assert max(known) < 1e-3


def test_strong_terms_that_the_process_is_given_lie_in_their_error_bars():
    rng, n = np.random.default_rng(0), 16
    masks, inside = rng.random((200, n)) < 0.5, []
    sets = [frozenset(rng.choice(n, 3, replace=False).tolist()) for _ in range(5)]
    for _ in range(4):
        # Many weak pairs beside five strong terms, which the prior pulls to zero.
        pairs, strong = np.triu(rng.normal(size=(n, n)), 1) * 0.3, rng.choice([-1, 1], 5) * rng.uniform(2, 3, 5)
        z = np.where(masks, 1.0, -1.0)
        values = np.einsum("mi,ij,mj->m", z, pairs, z)
        values += sum(e * masks[:, sorted(s)].all(axis=1) for s, e in zip(sets, strong, strict=True))
        process = gaussian.fit(masks, values, [("and", s) for s in sets])
        found = listing.listed(process, 4)
        rows = [found.terms.index(("and", s)) for s in sets]
        inside += (np.abs(found.effects[rows] - strong) < 1.96 * found.errors[rows]).tolist()
        assert (np.abs(found.effects[rows]) < 1.1 * np.abs(strong)).all()
    assert np.mean(inside) >= 0.85


@pytest.mark.parametrize("seed", [5, 7, 9])
def test_a_few_lucky_coalitions_do_not_choose_the_terms(seed):
    # A document of 49 sentences: three terms left .2 of the variance of 40 coalitions, and .34 of that of all 276.
    rng, n, m = np.random.default_rng(seed), 24, 240
    masks = rng.random((m, n)) < 0.5
    blank = Sample(masks, np.zeros(m), np.full(m, 2), np.arange(m))
    judging = {row.tobytes() for row in blank.split(6, np.random.default_rng(0))[0].masks}
    lucky = np.array([row.tobytes() in judging for row in masks])
    single, pairs, signs = rng.normal(size=n) * 0.45, np.triu(rng.normal(size=(n, n)), 1) * 0.12, masks * 2.0 - 1
    rest = signs @ single + np.einsum("ij,jk,ik->i", signs, pairs, signs)
    values = 3 * masks[:, 0] + 3 * masks[:, 1] + np.where(lucky, 0.4 * rng.normal(size=m), rest)
    found = predictive(replace(blank, values=values), max_order=4, seed=0, proxy=False)
    assert found.process is not None


@pytest.mark.parametrize("kind", ["and", "or", "banzhaf", "shapley"])
def test_effects_of_what_is_absent_together_are_those_of_the_whole_posterior(kind):
    n, rng = 6, np.random.default_rng(3)
    every = (np.arange(1 << n)[:, None] >> np.arange(n) & 1).astype(bool)
    scales = gaussian.Scales(rng.uniform(0.05, 0.4, n), 0.7, 0.05, absent=Absence(0.8, 3.0))
    rows = rng.permutation(1 << n)[:30]
    values = rng.normal(size=1 << n) + 2.0 * (every.sum(1) < 2)
    process = gaussian.fit(every[rows], values[rows], scales=scales)
    z, gone = np.where(every, 1.0, -1.0), (~every).astype(float)
    r, s = scales.players, scales.absent.reach
    prior = scales.amplitude * np.prod((1 + r * z[:, None] * z[None]) / (1 + r), axis=2)
    prior += scales.absent.extent * np.prod((1 + s * gone[:, None] * gone[None]) / (1 + s), axis=2)
    prior += 100 + scales.noise * np.eye(1 << n)
    for end in (~every.any(1), every.all(1)):
        prior += 4 * np.outer(end, end)
    known = np.linalg.inv(prior[np.ix_(rows, rows)])
    mean = process.level + prior[:, rows] @ known @ (values[rows] - process.level)
    left = prior - prior[:, rows] @ known @ prior[rows]
    sets = [{0}, {1, 4}, {2, 3, 5}]
    found, errors = process.effects(kind, sets)
    for members, effect, error in zip(sets, found, errors, strict=True):
        # The effect as a linear function of all scores.
        weights = np.array([by_hand(one, kind, members, n) for one in np.eye(1 << n)])
        assert effect == pytest.approx(weights @ mean, abs=1e-8)
        told = gaussian.CARE**2 * (weights @ left @ weights)
        own = (error / process.unit) ** 2
        assert own == pytest.approx(told, rel=1e-6) if kind != "and" else own >= told - 1e-9
    expected, deviation = process.predict(every)
    unseen = np.setdiff1d(np.arange(1 << n), rows)
    np.testing.assert_allclose(expected[unseen], mean[unseen], atol=1e-8)
    np.testing.assert_allclose((deviation[unseen] / process.unit) ** 2, np.diag(left)[unseen], atol=1e-8)
    # Its terms of any order say the same, but for the two ends, of which they are not told, and a thousandth.
    written, inner = listing.listed(process, n), every.any(1) & ~every.all(1)
    terms = written.bias + columns(every, written.terms) @ written.effects
    assert ((terms - expected)[inner] ** 2).mean() < 0.01 * expected[inner].var()
    assert (written.errors > 0).all()


def test_a_text_of_which_little_is_left_is_another_text():
    # 36 sentences of a real document: of 30 coalitions with fewer than a tenth of them the scores vary by 2.2, of
    # those with half of them by .8. One kernel for all explained .2 of the scores of all sizes.
    n, rng = 30, np.random.default_rng(0)
    effects, base = rng.normal(size=n) * 0.5, rng.normal(size=n) * 2

    def value(masks):
        left = np.exp(-masks.sum(axis=1) / 3.0)
        return masks @ effects + 4 * left * np.tanh(masks @ base)

    result = sparse.explain(value, n, budget=300, seed=0, options=SparseOptions(bootstraps=0, stop=2.0))
    masks = rng.random((500, n)) < rng.random((500, 1))
    expected, deviation = sparse.posterior(result).predict(masks)
    wrong = expected - value(masks)
    few = masks.mean(axis=1) < 0.2
    assert np.abs(wrong[~few]).mean() < 0.1 * value(masks).std()
    assert deviation[few].mean() > 2 * deviation[~few].mean()
    assert (np.abs(wrong) < 3 * deviation).mean() > 0.9


def test_more_scores_than_the_process_takes_are_no_error(monkeypatch):
    monkeypatch.setattr(gaussian, "MOST_ROWS", 150)
    rng = np.random.default_rng(0)
    effects, pairs = rng.normal(size=22), rng.normal(size=(22, 22)) * 0.2

    def value(masks):
        z = masks * 2.0 - 1
        return np.tanh(z @ effects / 2) * 4 + np.einsum("ij,jk,ik->i", z, pairs, z)

    result = sparse.explain(value, 22, budget=320, seed=0, options=SparseOptions(bootstraps=0, stop=2.0))
    assert result.fidelity(0.0).r2 > 0.3


def test_results_without_a_prior_on_absence_read_as_they_were():
    rng = np.random.default_rng(1)
    effects = rng.normal(size=24)
    result = sparse.explain(lambda m: np.tanh(m @ effects), 24, budget=200, seed=0, options=SparseOptions(bootstraps=0))
    told = {k: v for k, v in result.provenance["gaussian"].items() if k not in ("absence", "extent")}
    older = replace(result, provenance={**result.provenance, "gaussian": told})
    scales = sparse.posterior(older).scales
    assert scales.absent.extent == 0
    np.testing.assert_array_equal(scales.players, told["scales"])
    assert sparse.posterior(result).scales.absent.extent == result.provenance["gaussian"]["extent"] > 0
