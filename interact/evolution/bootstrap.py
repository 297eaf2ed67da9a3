"""Bootstrap intervals over samples, for ratios of sums.

1. Draw as many samples as there are, with replacement, `resamples` times: a matrix of counts, one row a draw.
2. Every figure is a ratio of two sums over samples; the counts times the summands give all ratios of all draws.
3. The interval holds the middle 95 % of the draws in which the ratio is defined (percentile bootstrap, Efron 1979).
"""

from __future__ import annotations

import numpy as np

LEVELS = (0.025, 0.975)


def draws(samples: int, resamples: int, seed: int) -> np.ndarray:
    """Return how often each draw takes each sample, float64 [resamples, samples].

    Raises:
        ValueError: `resamples` is negative.
    """
    if resamples < 0:
        raise ValueError(f"The number of bootstrap samples must be 0 or more, but is {resamples}.")
    shares = np.full(samples, 1.0 / samples)
    return np.random.default_rng(seed).multinomial(samples, shares, size=resamples).astype(np.float64)


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
    low, high = bounds(resampled)
    return value, low, high


def bounds(resampled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the 2.5 % and 97.5 % quantiles over the first axis, NaN left out; float64 [draws, ...] to [...] twice."""
    known = np.isfinite(resampled).any(0)
    low, high = np.full(known.shape, np.nan), np.full(known.shape, np.nan)
    low[known], high[known] = np.nanquantile(resampled[:, known], LEVELS, axis=0)
    return low, high
