"""What is certain of a split: its classes and ranges against HiGHS and against least squares, and bad input."""

import itertools

import numpy as np
import pytest

from bench.certainty import columns, highs_range, soft_cost
from interact_kernels import sparsify
from interact_kernels.sparsify import STATUSES
from tests.kernels.test_sparsify import planted

EPS = 1e-3


def places(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Kind and set of each column."""
    return columns(n)[1:]


def found(v: np.ndarray, **given) -> tuple[sparsify.AndOrSplit, np.ndarray, sparsify.Certainty]:
    options = {name: given.pop(name) for name in ("every", "ranges", "eps", "time_limit") if name in given}
    split = sparsify.merge_order_one(sparsify.and_or_split(v, rtol=1e-7, impl="native", **given))
    effects = np.stack([split.i_and, split.i_or])
    levels = np.full(effects.shape, 0.05 * np.abs(effects).max())
    bound = (split.form.kappa or 0.0) * abs(v[-1] - v[0])
    known = sparsify.certainty(v, split, bound, levels=levels, **{"eps": EPS} | options)
    return split, levels, known


@pytest.mark.parametrize("kappa", [0.0, 0.04])
def test_classes_and_ranges_are_those_of_highs(kappa):
    n = 4
    for seed in range(3):
        v = planted(n, 8, 0.1, seed)
        split, levels, known = found(v, kappa=kappa, every=True, ranges=True)
        kinds, sets = places(n)
        seen = set()
        for column, (kind, mask) in enumerate(zip(kinds, sets, strict=True)):
            low, high = highs_range(v, kappa * abs(v[-1] - v[0]), known.limit, column)
            level, effect = levels[kind, mask], (split.i_and, split.i_or)[kind][mask]
            small = 0.01 * level
            assert known.low[kind, mask] <= low + 1e-7 and known.high[kind, mask] >= high - 1e-7
            assert known.low[kind, mask] >= low - small and known.high[kind, mask] <= high + small
            beyond = low > level or high < -level
            truth = "certain" if beyond else "excluded" if -level <= low and high <= level else "possible"
            # Ends that touch the level may fall on either side of it.
            if min(abs(low - level), abs(low + level), abs(high - level), abs(high + level)) > small:
                assert STATUSES[known.status[kind, mask]] == truth, (kind, mask, effect, low, high, level)
                seen.add(truth)
        assert seen


@pytest.mark.parametrize("seed", range(3))
def test_soft_prices_are_those_of_least_squares(seed):
    n = 5
    v = planted(n, 10, 0.1, seed)
    split, levels, known = found(v)
    effects = np.stack([split.i_and, split.i_or])
    kinds, sets = places(n)
    decided = 0
    for column, (kind, mask) in enumerate(zip(kinds, sets, strict=True)):
        effect, level = effects[kind, mask], levels[kind, mask]
        if abs(effect) <= level:
            assert STATUSES[known.status[kind, mask]] in ("excluded", "undecided")
            continue
        price = soft_cost(v, column, np.sign(effect) * level) * (1 + EPS) / known.limit - 1
        status = STATUSES[known.status[kind, mask]]
        if abs(price - EPS) > 1e-6:
            assert status == ("certain" if price > EPS else "possible"), (kind, mask, price)
            decided += 1
        if status == "certain":
            assert EPS < known.price[kind, mask] <= price + 1e-6
        else:
            assert price - 1e-6 <= known.price[kind, mask] <= EPS
    assert decided > 3


def test_ends_of_soft_ranges_cost_what_a_near_optimal_split_may():
    n = 4
    v = planted(n, 7, 0.1, 2)
    split, levels, known = found(v, ranges=True)
    effects = np.stack([split.i_and, split.i_or])
    kinds, sets = places(n)
    for column, (kind, mask) in enumerate(zip(kinds, sets, strict=True)):
        if abs(effects[kind, mask]) <= levels[kind, mask]:
            continue
        for end, inwards in ((known.low[kind, mask], 1), (known.high[kind, mask], -1)):
            assert soft_cost(v, column, end) >= known.limit * (1 - 1e-6)
            assert soft_cost(v, column, end + inwards * 0.02 * levels[kind, mask]) <= known.limit * (1 + 1e-6)


def test_what_the_ridge_alone_chooses_is_not_certain():
    # AND + OR of two players is the sum of both players: of the splits that cost the same the ridge takes the middle.
    present = (np.arange(8)[:, None] >> np.arange(3)) & 1
    v = 1.9 * present[:, 0] + 1.8 * present[:, 1] - 3.0 * present[:, 2]
    split, levels, known = found(v, eps=1e-4)
    assert split.i_and[3] > levels[0, 3] and split.i_or[3] > levels[1, 3]
    status = {place: STATUSES[known.status[place]] for place in ((0, 1), (0, 2), (0, 3), (1, 3), (0, 4))}
    assert status == {**dict.fromkeys([(0, 1), (0, 2), (0, 3), (1, 3)], "possible"), (0, 4): "certain"}


def test_the_response_is_the_derivative_of_the_split():
    v = planted(5, 10, 0.1, 1)
    rng = np.random.default_rng(0)
    change = rng.normal(size=32)

    def split(scores: np.ndarray) -> np.ndarray:
        made = sparsify.merge_order_one(sparsify.and_or_split(scores))
        return np.stack([made.i_and, made.i_or])

    effects = split(v)
    answer = sparsify.response(v, effects, 0.01 * abs(v[-1] - v[0]), change=change)
    slope = (split(v + 1e-6 * change) - split(v - 1e-6 * change)) / 2e-6
    active = np.abs(effects) > 1e-6
    assert np.abs(answer.moved - slope)[active].max() < 1e-4 * np.abs(slope).max() and not slope[~active].any()
    # Its size is the norm of the answers to changes of single scores.
    each = np.stack([sparsify.response(v, effects, 0.01 * abs(v[-1] - v[0]), change=e).moved for e in np.eye(32)])
    np.testing.assert_allclose(answer.size, np.sqrt((each**2).sum(0)), rtol=1e-6, atol=1e-9)
    few = active & (np.arange(32) % 2 == 1)
    some = sparsify.response(v, effects, 0.01 * abs(v[-1] - v[0]), among=few)
    np.testing.assert_allclose(some.size, answer.size * few, rtol=1e-7)


def test_noise_that_crosses_a_level_leaves_nothing_certain():
    v = planted(5, 8, 0.1, 3)
    split, levels, known = found(v)
    effects, place = np.stack([split.i_and, split.i_or]), np.unravel_index(np.argmax(known.status == 0), (2, 32))
    gone = np.argwhere((known.status == 2) & (known.high > known.low))[0]
    reach = np.zeros((2, 32))
    bound = 0.01 * abs(v[-1] - v[0])
    reach[place] = abs(effects[place]) - levels[place] * 0.99
    reach[tuple(gone)] = levels[tuple(gone)] * 1.01
    noisy = sparsify.certainty(v, split, bound, levels=levels, eps=EPS, reach=reach)
    changed = {tuple(map(int, p)) for p in np.argwhere(noisy.status != known.status)}
    assert changed == {tuple(map(int, place)), tuple(map(int, gone))}
    assert STATUSES[noisy.status[place]] == STATUSES[noisy.status[tuple(gone)]] == "possible"


def test_a_larger_eps_makes_less_certain_and_ranges_wider():
    v = planted(6, 14, 0.1, 1)
    known = [found(v, eps=eps, ranges=True)[2] for eps in (0.0, 1e-4, 1e-2)]
    certain = [(k.status == 0).sum() for k in known]
    assert certain[0] >= certain[1] >= certain[2] and certain[0] > 0
    for before, after in itertools.pairwise(known):
        assert (after.low <= before.low + 1e-6).all() and (after.high >= before.high - 1e-6).all()


def test_scale_and_constant_scores():
    v = planted(5, 8, 0.1, 3)
    for given in ({}, {"kappa": 0.04}):
        one, other = found(v, **given)[2], found(v * 1e150, **given)[2]
        np.testing.assert_array_equal(one.status, other.status)
    flat = found(np.full(16, 2.0))[2]
    assert (flat.status == STATUSES.index("excluded")).all() and flat.solved == 0


def test_what_the_time_does_not_allow_is_undecided():
    v = planted(6, 14, 0.3, 1)
    split, levels, known = found(v, kappa=0.04, time_limit=0.0)
    salient = np.abs(np.stack([split.i_and, split.i_or])) > levels
    assert known.solved == 0 and (known.status[salient] == STATUSES.index("undecided")).any()
    assert np.isnan(known.price[known.status == STATUSES.index("undecided")]).all()


def test_bad_input_is_a_sentence():
    v = planted(3, 3, 0.1, 0)
    split = sparsify.and_or_split(v)
    with pytest.raises(ValueError, match="eps, levels and time_limit must be >= 0, but eps is -1"):
        sparsify.certainty(v, split, 0.1, levels=np.ones((2, 8)), eps=-1)
    blind = sparsify.AndOrSplit(**{**vars(split), "certificate": np.zeros(8)})
    with pytest.raises(ValueError, match="proves no bound"):
        sparsify.certainty(v, blind, 0.1, levels=np.ones((2, 8)))
    with pytest.raises(ValueError, match="at most 12 players and a price above 0, not 3 and 0"):
        sparsify.response(v, np.ones((2, 8)), 0.0)


@pytest.mark.parametrize(
    ("form", "ends"),
    [({"kappa": 0.0}, (2.0, 2.0)), ({"kappa": 0.04}, (1.92, 2.08)), ({}, (1.97, 1.99))],
)
def test_the_effect_of_one_player_is_certain(form, ends):
    split, _, known = found(np.array([0.0, 2.0]), eps=1e-4, ranges=True, **form)
    assert STATUSES[known.status[0, 1]] == "certain"
    assert ends[0] - 0.01 <= known.low[0, 1] <= split.i_and[1] + 1e-9 <= known.high[0, 1] + 2e-9 <= ends[1] + 0.01


@pytest.mark.parametrize("v", [[0, 2, -2, 0], [0, -1, 1, 0], [0, 0, -2, 0]])
@pytest.mark.parametrize("kappa", [0.0, 0.04])
def test_no_slack_at_all_keeps_the_split_that_was_found(v, kappa):
    split, _, known = found(np.array(v, dtype=float), kappa=kappa, eps=0.0, ranges=True)
    effects = np.stack([split.i_and, split.i_or])
    assert (known.low <= effects + 1e-6).all() and (effects <= known.high + 1e-6).all()
