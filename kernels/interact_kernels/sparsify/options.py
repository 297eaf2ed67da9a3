"""What a caller may set about a split beyond the noise and the gap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from interact_kernels.sparsify.result import AndOrSplit


@dataclass(frozen=True)
class SplitOptions:
    """Options of `and_or_split`; the defaults serve most people.

    Attributes:
        delta: Absolute bounds of |noise|, one number or an array of the batch shape; a box without kappa. For a bound
            relative to a data-set mean pass ``kappa * abs(v[..., -1] - v[..., 0]).mean()``.
        start: An earlier split of similar scores of the same shape to start from (interior point only).
        polish: Re-solve on the active set so that interactions that vanish are exactly 0 (interior point only).
        max_iterations: Limit of the solver's steps, None for the solver's own (200, ADMM 20000).
        time_limit: Limit in seconds for each sample.
        correctors: Centrality correctors an interior point iteration may add, None for 3 up to n = 10 and 8 beyond,
            where a factor costs much more than a solve.
        single_precision: Factor in float32 while that is enough; results are float64 either way.
        rho: First penalty of the ADMM; it adapts.
    """

    delta: Any = None
    start: AndOrSplit | None = None
    polish: bool = False
    max_iterations: int | None = None
    time_limit: float = float("inf")
    correctors: int | None = None
    single_precision: bool = True
    rho: float = 3.0
