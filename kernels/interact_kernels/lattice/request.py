"""A request to a lattice transform."""

# No postponed annotations: a NamedTuple keeps them as strings that no documentation tool can resolve.
import functools
from collections.abc import Callable, Hashable
from typing import NamedTuple

import torch

from interact_kernels.lattice.arrays import HALVES
from interact_kernels.lattice.transform import Transform


class TransformRequest(NamedTuple):
    """Write the transform of `x` to `y`.

    Attributes:
        x: Values, contiguous, shape [..., 2**n], not empty; float32, float64, bfloat16 or float16.
        y: Where the result goes, contiguous and like `x`; it may be `x`.
        transform: The 2x2 matrix, and what follows it.
    """

    x: torch.Tensor
    y: torch.Tensor
    transform: Transform

    @property
    def kind(self) -> Hashable:
        """Device, dtype and size, on which a kernel's code depends."""
        return self.x.device, self.x.dtype, self.x.shape[-1]

    @property
    def in_place(self) -> bool:
        """Whether `y` is `x`."""
        # Tensors without data have the address 0.
        return self.x.data_ptr() == self.y.data_ptr() != 0


def in_single(run: Callable[[TransformRequest], None]) -> Callable[[TransformRequest], None]:
    """Let a `run` for float32 and float64 serve bfloat16 and float16: computed in float32, rounded once at the end."""

    @functools.wraps(run)
    def rounded(request: TransformRequest) -> None:
        if request.x.dtype in HALVES:
            single = request.x.float()
            run(TransformRequest(single, single, request.transform))
            request.y.copy_(single)
        else:
            run(request)

    return rounded
