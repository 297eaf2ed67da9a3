"""Attention over trees and rows in C++ on the CPU: what a query sees lies end to end in one scratch.

Numbers stay in memory as they are (float32, bfloat16, float16); the arithmetic is float32.
"""

from __future__ import annotations

from typing import Any

import torch

from interact_kernels import _native
from interact_kernels.attention.request import RowRequest, TreeRequest

LARGEST_HEAD = 256
_Tensors = tuple[int, list[int], list[tuple[int, int, int]], tuple[int, int, int, int], float, float, int]
_STORAGE = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}


def refusal(request: TreeRequest | RowRequest) -> str | None:
    """Say why the native kernel cannot run on the tensors of a request, or None."""
    q, k, v = request[:3]
    if q.device.type != "cpu":
        return f"it runs on the CPU, not on {q.device.type!r}"
    if q.dtype not in _STORAGE:
        return "it computes in float32"
    if max(q.shape[-1], v.shape[-1]) > LARGEST_HEAD:
        return f"it holds heads of at most {LARGEST_HEAD} channels"
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        return "it has no gradient"
    return None


def tree_attention(request: TreeRequest) -> torch.Tensor:
    """Attend over a tree."""
    q, k, v, tree, scale, softcap, sinks = request
    out = torch.empty(q.shape[1], q.shape[0], v.shape[2], dtype=q.dtype)
    if out.numel():
        tensors, kept = _tensors(q[None], k[None], v[None], out, scale, softcap, sinks)
        fields = [f.contiguous() for f in (tree.start, tree.length, tree.parent, tree.position, tree.first)]
        addresses = [f.data_ptr() for f in fields]
        threads = torch.get_num_threads()
        _native.tree_attention(*tensors, addresses, len(tree.start), tree.keys, tree.queries, threads)
        del kept
    return out


def row_attention(request: RowRequest) -> torch.Tensor:
    """Attend in rows."""
    q, k, v, rows, scale, softcap, sinks = request
    out = torch.empty(q.shape[0], q.shape[2], q.shape[1], v.shape[3], dtype=q.dtype)
    if out.numel():
        tensors, kept = _tensors(q, k, v, out, scale, softcap, sinks)
        fields = (rows.offsets, rows.position, rows.coalitions, rows.player)
        fields = [None if f is None else f.contiguous() for f in fields]
        addresses = [0 if f is None else f.data_ptr() for f in fields]
        count = q.shape[0] if rows.offsets is None else len(rows.offsets) - 1
        threads = torch.get_num_threads()
        _native.row_attention(*tensors, addresses, count, q.shape[2], rows.causal, rows.window or 0, threads)
        del kept
    return out


def _tensors(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    out: torch.Tensor,
    scale: float,
    softcap: float,
    sinks: torch.Tensor | None,
) -> tuple[_Tensors, list[Any]]:
    """Return the first arguments of a native call, and what must live as long as the call."""
    parts = [x if x.stride(-1) == 1 else x.contiguous() for x in (q, k, v)]
    logits = None if sinks is None else sinks.float().contiguous()
    addresses = [*(x.data_ptr() for x in parts), out.data_ptr()]
    strides = [(x.stride(0), x.stride(2), x.stride(1)) for x in parts]
    heads_and_sizes = (q.shape[1], k.shape[1], q.shape[3], v.shape[3])
    pointer = 0 if logits is None else logits.data_ptr()
    return (_STORAGE[q.dtype], addresses, strides, heads_and_sizes, scale, softcap, pointer), [*parts, logits]
