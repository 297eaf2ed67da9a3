"""The lists of implementations for attention over trees and in rows."""

from __future__ import annotations

import torch

from interact_kernels import triton_guard
from interact_kernels.attention import dense, native, reference
from interact_kernels.attention.request import RowRequest, TreeRequest
from interact_kernels.dispatch import Implementation, Operation


def _triton_refusal(request: TreeRequest | RowRequest) -> str | None:
    q, k, v = request[:3]
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        return "it has no gradient"
    if max(q.shape[-1], v.shape[-1]) > native.LARGEST_HEAD:
        return f"it holds heads of at most {native.LARGEST_HEAD} channels"
    return "it computes in float32" if q.dtype == torch.float64 else triton_guard.refusal(q.device)


def _triton_tree(request: TreeRequest) -> torch.Tensor:
    # Imported when it runs: triton takes a second, and is an extra.
    from interact_kernels.attention import triton

    return triton.tree_attention(request)


def _triton_rows(request: RowRequest) -> torch.Tensor:
    from interact_kernels.attention import triton_rows

    return triton_rows.row_attention(request)


TREE: Operation[TreeRequest, torch.Tensor] = Operation(
    "tree_attention",
    [
        Implementation("native", native.tree_attention, native.refusal),
        Implementation("triton", _triton_tree, _triton_refusal),
        Implementation("torch", dense.tree_attention, dense.refusal),
        Implementation("reference", reference.tree_attention),
    ],
)

_ROWS = [
    Implementation("native", native.row_attention, native.refusal),
    Implementation("triton", _triton_rows, _triton_refusal),
    Implementation("reference", reference.row_attention),
]
MASKED: Operation[RowRequest, torch.Tensor] = Operation("masked_attention", _ROWS)
PACKED: Operation[RowRequest, torch.Tensor] = Operation("packed_attention", _ROWS)
