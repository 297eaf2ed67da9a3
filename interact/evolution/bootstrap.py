"""Bootstrap intervals: over samples within a run, and over runs crossed with samples.

1. Draw as many samples as there are, with replacement, `resamples` times: a matrix of counts, one row per draw.
2. Every figure is a ratio of two sums over samples; the counts times the summands give all ratios of all draws.
3. The interval lies between two quantiles of the draws in which the ratio is defined. The quantiles are further out
   than 2.5 % and 97.5 %, for a bootstrap of n samples is too narrow by sqrt((n - 1) / n) and ignores Student's t: the
   plain percentile interval of 6, 12, 20 samples covers 86 %, 90 %, 92 % (expanded percentile bootstrap, Hesterberg
   2015).
4. Where runs share their samples, a figure moves with both (`crossed`): draw the runs anew with the samples held, draw
   the samples anew with the runs held, and add both variances (Owen 2007, the pigeonhole bootstrap, by its two parts).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95
"""How often an interval holds the truth."""
RESAMPLES = 1000
"""Draws behind an interval: the quantiles of few samples lie far out."""
CROSSED = 2000
"""Draws behind a test over runs and samples."""


def draws(samples: int, resamples: int, seed: int) -> np.ndarray:
    """Return how often each draw takes each sample, float64 [resamples, samples].

    Raises:
        ValueError: `resamples` is negative.
    """
    if resamples < 0:
        raise ValueError(f"The number of bootstrap samples must be 0 or more, but is {resamples}.")
    shares = np.full(samples, 1.0 / samples)
    return np.random.default_rng(seed).multinomial(samples, shares, size=resamples).astype(np.float64)


def levels(samples: int) -> tuple[float, float]:
    """Return the quantiles of the draws between which the interval lies: Phi(-+ sqrt(n / (n - 1)) t(n - 1)).

    >>> tuple(round(level, 4) for level in levels(6))
    (0.0024, 0.9976)
    """
    reach = np.sqrt(samples / (samples - 1)) * stats.t.ppf((1 + LEVEL) / 2, samples - 1)
    return float(stats.norm.cdf(-reach)), float(stats.norm.cdf(reach))


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Return above / below, NaN where there is nothing below; any one shape."""
    out = np.full(np.broadcast_shapes(above.shape, below.shape), np.nan)
    return np.divide(above, below, out=out, where=below > 0)


def weighted_means(
    above: np.ndarray, below: np.ndarray, *, axis: int, resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return sum above / sum below over samples, with the 95 % bootstrap interval.

    Args:
        above: Numerators, float64 [...], samples along `axis`.
        below: Denominators >= 0, of the same shape.
        axis: Axis of the samples.
        resamples: Number of draws; 0 for no intervals.
        seed: Of the draws.

    Returns:
        Value, low and high, float64 [...] without `axis`. The bounds are NaN for a single sample, which has no spread.
    """
    above, below = np.moveaxis(above, axis, 0), np.moveaxis(below, axis, 0)
    value = ratio(above.sum(0), below.sum(0))
    counts = draws(len(above), resamples, seed)
    if len(above) < 2 or not resamples:
        return value, np.full_like(value, np.nan), np.full_like(value, np.nan)
    shape = (resamples, *value.shape)
    resampled = ratio(
        (counts @ above.reshape(len(above), -1)).reshape(shape), (counts @ below.reshape(len(below), -1)).reshape(shape)
    )
    low, high = bounds(resampled, levels(len(above)))
    return value, low, high


def bounds(resampled: np.ndarray, at: tuple[float, float] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return two quantiles over the first axis, NaN left out; float64 [draws, ...] to [...] twice.

    Args:
        resampled: The draws.
        at: Which quantiles; None for those that hold the middle 95 %.
    """
    at = at or ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    known = np.isfinite(resampled).any(0)
    low, high = np.full(known.shape, np.nan), np.full(known.shape, np.nan)
    low[known], high[known] = np.nanquantile(resampled[:, known], at, axis=0)
    return low, high


@dataclass(frozen=True)
class Crossed:
    """A figure over runs and samples, with its standard error.

    Attributes:
        value: The figure.
        error: Its standard error.
        freedom: Degrees of freedom of the error.
    """

    value: float
    error: float
    freedom: float

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval, by Student's t."""
        reach = stats.t.ppf((1 + LEVEL) / 2, self.freedom) * self.error if self.freedom > 0 else np.nan
        return float(self.value - reach), float(self.value + reach)

    def p_value(self, margin: float = 0.0) -> float:
        """Return the two-sided p-value of |figure| <= margin; NaN where the error is unknown."""
        beyond = max(abs(self.value) - margin, 0.0)
        if not self.freedom > 0 or not np.isfinite(self.error):
            return float("nan")
        if self.error == 0:
            return 0.0 if beyond else 1.0
        return float(2 * stats.t.sf(beyond / self.error, self.freedom))


def crossed(
    figure: Callable[[np.ndarray], np.ndarray],
    runs: int,
    samples: int,
    *,
    resamples: int = CROSSED,
    seed: int = 0,
) -> Crossed:
    """Estimate a figure of runs that follow the same samples.

    ``error^2 = V_runs R / (R - 1) + V_samples S / (S - 1)``, V the variance of the figure over draws of the one with
    the other held; Satterthwaite's degrees of freedom. With one run the error is about that run alone.

    Args:
        figure: Takes weights float64 [draws, runs, samples], returns float64 [draws]; NaN where it is not defined.
        runs: R.
        samples: S.
        resamples: Draws of each.
        seed: Of the draws.

    >>> crossed(lambda w: (w * [[1.0, 3.0]]).sum((1, 2)) / w.sum((1, 2)), 1, 2).value
    2.0
    """
    value = float(figure(np.ones((1, runs, samples)))[0])
    parts = []
    for count, shape, offset in ((runs, (-1, runs, 1), 0), (samples, (-1, 1, samples), 1)):
        if count > 1:
            weights = draws(count, resamples, 2 * seed + offset).reshape(shape) * np.ones((1, runs, samples))
            drawn = figure(weights)
            drawn = drawn[np.isfinite(drawn)]
            spread = drawn.var(ddof=1) * count / (count - 1) if len(drawn) > 1 else np.nan
            parts.append((float(spread), count - 1))
    total = sum(spread for spread, _ in parts) if parts else np.nan
    below = sum(spread**2 / freedom for spread, freedom in parts)
    freedom = total**2 / below if below > 0 else float(min((f for _, f in parts), default=0))
    return Crossed(value, float(np.sqrt(total)), float(freedom))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Correct p-values for there being several (Holm 1979); NaN ones are no tests; float64 [k] to [k].

    >>> holm(np.array([0.01, 0.04, 0.03])).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    corrected = np.full(p_values.shape, np.nan)
    tests = np.flatnonzero(np.isfinite(p_values))
    order = tests[np.argsort(p_values[tests], kind="stable")]
    factors = len(order) - np.arange(len(order))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(p_values[order] * factors))
    return corrected


def place_in_null(observed: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Return the two-sided p-value of what was observed among draws of chance: the place of one in a distribution.

    ``min(1, 2 (1 + the smaller of how many are as large, how many are as small) / (1 + draws))``

    Args:
        observed: float64 [...].
        drawn: float64 [draws, ...].

    Returns:
        float64 [...]; NaN where a figure is unknown.

    >>> place_in_null(np.array([9.0]), np.arange(99.0)[:, None]).round(2).tolist()
    [0.2]
    """
    above = 1 + (drawn >= observed - 1e-12).sum(0)
    beneath = 1 + (drawn <= observed + 1e-12).sum(0)
    p_value = np.minimum(1.0, 2 * np.minimum(above, beneath) / (1 + len(drawn)))
    return np.where(np.isfinite(observed) & np.isfinite(drawn).all(0), p_value, np.nan)
