# Triton turns numbers into tl.constexpr at the call, and kernels are not Python; its annotations do not say so.
# pyright: reportArgumentType=false, reportOperatorIssue=false, reportGeneralTypeIssues=false
"""The gathered matrix in Triton: one pass over its entries, where torch takes five; imported only when it runs."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from interact_kernels import triton_guard

_ROWS, _COLUMNS = 32, 128


@triton.jit
def gather_kernel(upper, lower, root, out, size, rows: tl.constexpr, columns: tl.constexpr):
    """Write one block of one sample's matrix; `size` is a power of two."""
    sample = tl.program_id(2).to(tl.int64)
    i = tl.program_id(1) * rows + tl.arange(0, rows)[:, None]
    j = tl.program_id(0) * columns + tl.arange(0, columns)[None, :]
    inside = (i < size) & (j < size)
    first = sample * size
    value = tl.load(upper + first + (i | j), inside) + tl.load(lower + first + (i & j), inside)
    value = value * tl.load(root + first + i, i < size) * tl.load(root + first + j, j < size)
    tl.store(out + (first + i) * size + j, value, inside)


def scaled_matrix(upper: torch.Tensor, lower: torch.Tensor, root: torch.Tensor) -> torch.Tensor:
    """Gather the matrices of a batch, their diagonals too; see `interact_kernels.sparsify.normal.scaled_matrix`."""
    upper, lower, root = upper.contiguous(), lower.contiguous(), root.contiguous()
    batch, size = upper.shape
    out = torch.empty(batch, size, size, dtype=upper.dtype, device=upper.device)
    grid = (triton.cdiv(size, _COLUMNS), triton.cdiv(size, _ROWS), batch)
    with triton_guard.current_device(upper.device):
        gather_kernel[grid](upper, lower, root, out, size, _ROWS, _COLUMNS)
    return out
