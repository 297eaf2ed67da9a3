"""What a split returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class AndOrSplit:
    """Result of `and_or_split`; arrays are float64 and of the kind (tensor or NumPy) of the scores given.

    Attributes:
        i_and: AND interactions, shape [..., 2**n], i_and[0] = 0.
        i_or: OR interactions, shape [..., 2**n], i_or[0] = 0.
        noise: The tolerated deviation q, shape [..., 2**n], |q| <= kappa |v[full] - v[empty]|, q[0] = 0.
        primal: L1 strength of the split, shape [...].
        dual: Certified lower bound of the optimum, shape [...].
        gap: (primal - dual) / primal, 0 when both are 0, shape [...].
        iterations: Steps of the solver, int64, shape [...].
        converged: Whether the gap reached the requested rtol, bool, shape [...].
        certificate: The feasible dual vector y behind `dual`, shape [..., 2**n], y[0] = 0.
    """

    i_and: Any
    i_or: Any
    noise: Any
    primal: Any
    dual: Any
    gap: Any
    iterations: Any
    converged: Any
    certificate: Any


def assemble(
    v: np.ndarray,
    delta: np.ndarray,
    rtol: float,
    vectors: Sequence[np.ndarray],
    iterations: np.ndarray,
) -> AndOrSplit:
    """Build the result of rows [batch, 2**n] from feasible i_and, i_or, noise and y; both values are recomputed."""
    i_and, i_or, noise, y = vectors
    w = v - v[..., :1]
    primal = np.abs(i_and).sum(-1) + np.abs(i_or).sum(-1)
    dual = np.maximum((w * y).sum(-1) - delta * np.abs(y).sum(-1), 0.0)
    gap = np.where(primal > 0, (primal - dual) / np.where(primal > 0, primal, 1.0), 0.0)
    return AndOrSplit(i_and, i_or, noise, primal, dual, gap, iterations, gap <= rtol, y)
