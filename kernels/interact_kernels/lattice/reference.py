"""The truth for the lattice transforms: one butterfly pass per player, in plain torch."""

from __future__ import annotations

import torch

from interact_kernels.lattice.request import TransformRequest, in_single
from interact_kernels.lattice.transform import Matrix2, Transform


def kronecker_(x: torch.Tensor, matrix: Matrix2) -> None:
    """Apply the n-fold Kronecker power of a 2x2 matrix (row-major) to the last axis of contiguous `x`, in place."""
    a, b, c, d = matrix
    half = 1
    while half < x.shape[-1]:
        pairs = x.view(x.numel() // (2 * half), 2, half)
        lo, hi = pairs[:, 0].clone(), pairs[:, 1].clone()
        pairs[:, 0] = a * lo + b * hi
        pairs[:, 1] = c * lo + d * hi
        half *= 2


@in_single
def run(request: TransformRequest) -> None:
    """Serve a request on any device."""
    x, y, transform = request
    if y.data_ptr() != x.data_ptr() or y.device.type == "meta":
        y.copy_(x)
    kronecker_(y, transform.matrix)
    if transform.scale != 1.0:
        y *= transform.scale
    follow(y, transform)


def follow(y: torch.Tensor, transform: Transform) -> None:
    """Do in place what follows ``scale K x``."""
    if transform.zero_first:
        y[..., 0] = 0
    if transform.from_first:
        torch.sub(y[..., :1].clone(), y, out=y)


def order_sums(y: torch.Tensor) -> torch.Tensor:
    """Return [..., 2, n + 1] float64: sums of the positive and of the negative values by order."""
    n = y.shape[-1].bit_length() - 1
    order = torch.tensor([i.bit_count() for i in range(y.shape[-1])], device=y.device)
    signed = torch.stack([y.clamp(min=0), y.clamp(max=0)], dim=-2).double()
    return torch.zeros(*signed.shape[:-1], n + 1, dtype=torch.float64, device=y.device).index_add_(-1, order, signed)
