"""The truth for the lattice transforms: one butterfly pass a player, in plain torch."""

from __future__ import annotations

import torch


def kronecker_(x: torch.Tensor, matrix: tuple[float, float, float, float]) -> None:
    """Apply the n-fold Kronecker power of a 2x2 matrix (row-major) to the last axis of contiguous `x`, in place."""
    a, b, c, d = matrix
    half = 1
    while half < x.shape[-1]:
        pairs = x.view(x.numel() // (2 * half), 2, half)
        lo, hi = pairs[:, 0].clone(), pairs[:, 1].clone()
        pairs[:, 0] = a * lo + b * hi
        pairs[:, 1] = c * lo + d * hi
        half *= 2
