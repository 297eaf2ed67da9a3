"""What a split returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from interact_kernels.sparsify.form import NoiseForm, cost, dual_bound

if TYPE_CHECKING:
    from interact_kernels.sparsify.request import SplitRequest


@dataclass(frozen=True)
class AndOrSplit:
    """Result of `and_or_split`; arrays are float64 and of the kind (tensor or NumPy) of the scores given.

    Attributes:
        i_and: AND interactions, shape [..., 2**n], i_and[0] = 0.
        i_or: OR interactions, shape [..., 2**n], i_or[0] = 0.
        noise: The tolerated deviation q, shape [..., 2**n], q[0] = 0.
        primal: Cost of the split under its form, shape [...]: its L1 strength and, in the soft form, ridge and price.
        dual: Certified lower bound of the optimum, shape [...].
        gap: (primal - dual) / primal, 0 when both are 0, shape [...].
        iterations: Steps of the solver, int64, shape [...].
        converged: Whether the gap reached the requested rtol, bool, shape [...].
        certificate: The dual vector y behind `dual`, shape [..., 2**n], y[0] = 0.
        form: How noise was treated, a `NoiseForm`.
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
    form: NoiseForm


def assemble(
    request: SplitRequest,
    vectors: Sequence[np.ndarray],
    iterations: np.ndarray,
) -> AndOrSplit:
    """Build the result of a request from i_and, i_or, noise and y [batch, 2**n]; both values are recomputed."""
    i_and, i_or, noise, y = vectors
    primal = cost(request.form, request.v, request.bound, i_and, i_or, noise)
    dual = np.maximum(dual_bound(request.form, request.v, request.bound, y), 0.0)
    gap = np.where(primal > 0, (primal - dual) / np.where(primal > 0, primal, 1.0), 0.0)
    return AndOrSplit(i_and, i_or, noise, primal, dual, gap, iterations, gap <= request.rtol, y, request.form)
