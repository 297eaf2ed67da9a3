"""Newton's matrix of a batch of splits, scaled to a diagonal of 1, and its factor; for CUDA above all.

With d1, d2, d3 >= 0 the matrix is D1 + U D2 U^T + L D3 L^T (docs/split.md). Its entry of two sets S and S' is
``upper[S | S'] + lower[S & S']``, plus D1 on the diagonal: so it is gathered, and its diagonal is known before.
"""

from __future__ import annotations

import torch

from interact_kernels import triton_guard

_EXTRA = 1e-13
"""What is added to the diagonal: a matrix that is singular to rounding gets a factor all the same."""
_BLOCKED = 512
"""From this size on blocks of matrix products are faster than cuSOLVER's batch (bench/RESULTS.md)."""
_WIDTH = 128


def scaled_matrix(upper: torch.Tensor, lower: torch.Tensor, root: torch.Tensor) -> torch.Tensor:
    """Gather ``root[S] (upper[S | S'] + lower[S & S']) root[S']`` with a diagonal of 1.

    Args:
        upper: Sums over the supersets of S of d2; float64, shape [batch, 2**n].
        lower: Sums over the subsets of S of d3; the same shape.
        root: One over the root of the diagonal, 0 for the empty set; the same shape.

    Returns:
        Float64, shape [batch, 2**n, 2**n].
    """
    gather = _gather
    if upper.device.type == "cuda" and triton_guard.refusal(upper.device) is None:
        from interact_kernels.sparsify.normal_triton import scaled_matrix as gather
    matrix = gather(upper, lower, root)
    matrix.diagonal(dim1=-2, dim2=-1).fill_(1 + _EXTRA)
    return matrix


def factor(matrix: torch.Tensor) -> torch.Tensor:
    """Return the lower Cholesky factors of a batch, NaN where there is none; the matrix may be overwritten."""
    if matrix.device.type == "cuda" and matrix.shape[-1] >= _BLOCKED:
        return cholesky_in_blocks(matrix, _WIDTH)
    return torch.linalg.cholesky_ex(matrix)[0]


def cholesky_in_blocks(matrix: torch.Tensor, width: int) -> torch.Tensor:
    """Factor a batch [batch, size, size] in place by blocks of columns, from the left; the upper half keeps numbers."""
    size = matrix.shape[-1]
    for low in range(0, size, width):
        high = min(size, low + width)
        corner = torch.linalg.cholesky_ex(matrix[:, low:high, low:high])[0]
        matrix[:, low:high, low:high] = corner
        if high < size:
            one = torch.eye(high - low, dtype=matrix.dtype, device=matrix.device).expand(len(matrix), -1, -1)
            inverse = torch.linalg.solve_triangular(corner, one, upper=False)
            matrix[:, high:, low:high] = below = matrix[:, high:, low:high] @ inverse.mT
            matrix[:, high:, high:].baddbmm_(below, below.mT, alpha=-1)
    return matrix


def _gather(upper: torch.Tensor, lower: torch.Tensor, root: torch.Tensor) -> torch.Tensor:
    index = torch.arange(upper.shape[-1], device=upper.device)
    matrix = upper[:, index[:, None] | index]
    matrix += lower[:, index[:, None] & index]
    matrix *= root[:, :, None]
    matrix *= root[:, None, :]
    return matrix
