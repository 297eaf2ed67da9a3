"""Intervals: how often they hold the truth, where it is known, and how several tests are corrected."""

import numpy as np
import pytest
from scipy import stats

from interact.evolution.bootstrap import bounds, crossed, draws, holm, levels, place_in_null, weighted_means


def covered(low, high, truth=0.0):
    return float(((low <= truth) & (truth <= high)).mean())


@pytest.mark.parametrize(("samples", "plainly"), [(6, 0.88), (12, 0.925)])
def test_intervals_of_few_samples_hold_the_truth(samples, plainly):
    values = np.random.default_rng(samples).normal(size=(samples, 800))
    _, low, high = weighted_means(values, np.ones_like(values), axis=0, resamples=1000, seed=1)
    assert 0.93 <= covered(low, high) <= 0.97
    # The plain percentiles do not.
    drawn = draws(samples, 1000, 1) @ values / samples
    assert covered(*bounds(drawn)) < plainly
    assert levels(10**6) == pytest.approx((0.025, 0.975), abs=1e-5)


def test_runs_on_the_same_samples_do_not_repeat_them():
    # What a sample is like is the same in every run: runs alone would be far too sure.
    rng = np.random.default_rng(0)
    held = alone = 0
    for seed in range(200):
        figures = rng.normal(size=(5, 1)) * 0.3 + rng.normal(size=(1, 12)) + 0.3 * rng.normal(size=(5, 12))
        found = crossed(lambda w, f=figures: (w * f).sum((1, 2)) / w.sum((1, 2)), 5, 12, resamples=300, seed=seed)
        low, high = found.interval
        held += low <= 0 <= high
        means = figures.mean(1)
        half = stats.t.ppf(0.975, 4) * means.std(ddof=1) / np.sqrt(5)
        alone += abs(means.mean()) <= half
        assert found.value == pytest.approx(figures.mean())
        assert (found.p_value() < 0.05) == (not low <= 0 <= high)
    assert 0.92 <= held / 200 <= 1.0 and alone / 200 < 0.85


def test_one_run_speaks_of_itself_and_one_figure_of_nothing():
    figures = np.arange(8.0)[None]
    found = crossed(lambda w: (w * figures).sum((1, 2)) / w.sum((1, 2)), 1, 8, seed=3)
    assert found.freedom == pytest.approx(7) and found.error == pytest.approx(
        figures.std(ddof=1) / np.sqrt(8), rel=0.05
    )
    assert found.p_value(100.0) == 1.0
    nothing = crossed(lambda w: w.sum((1, 2)), 1, 1)
    assert np.isnan(nothing.error) and np.isnan(nothing.p_value()) and np.isnan(nothing.interval).all()


def test_several_tests_are_corrected_and_no_test_is_none():
    assert holm(np.array([0.01, np.nan, 0.02, 0.9])).tolist() == pytest.approx([0.03, np.nan, 0.04, 0.9], nan_ok=True)
    assert holm(np.array([0.6, 0.6])).tolist() == [1.0, 1.0] and holm(np.array([])).shape == (0,)


def test_an_observed_figure_has_a_place_in_the_null():
    null = np.linspace(0.36, 0.56, 99)[:, None]
    # Below all that chance gives: shown, although the interval of the figure itself reaches into that of the null.
    assert place_in_null(np.array([0.31]), null)[0] == pytest.approx(0.02)
    assert place_in_null(np.array([0.46]), null)[0] > 0.9
    assert np.isnan(place_in_null(np.array([np.nan]), null)[0])
    # Where chance gives one figure only, that figure is no news.
    assert place_in_null(np.array([1.0]), np.ones((99, 1)))[0] == 1.0
