"""What a split returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


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
