"""A request for a split."""

# No postponed annotations: a NamedTuple keeps them as strings that no documentation tool can resolve.
from collections.abc import Hashable
from typing import NamedTuple

import numpy as np
import torch

from interact_kernels.sparsify.form import NoiseForm
from interact_kernels.sparsify.options import SplitOptions


class SplitRequest(NamedTuple):
    """Split samples into AND and OR interactions.

    Attributes:
        v: Scores, float64, shape [batch, 2**n].
        bound: Bounds of |noise|, or its gamma in the soft form: kappa |v[full] - v[empty]|; float64, shape [batch].
        rtol: Relative duality gap to reach.
        options: Warm start, polish and limits; `options.delta` is in `bound` already.
        device: Where the scores were given as a tensor, or None for a NumPy array.
        form: How noise is treated.
    """

    v: np.ndarray
    bound: np.ndarray
    rtol: float
    options: SplitOptions
    device: torch.device | None
    form: NoiseForm

    in_place = False

    @property
    def kind(self) -> Hashable:
        """Where it runs, and for how many players."""
        return self.device, self.n

    @property
    def n(self) -> int:
        """Number of players."""
        return self.v.shape[-1].bit_length() - 1
