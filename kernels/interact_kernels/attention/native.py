"""Tree attention in C++ on the CPU: a walk in preorder with the path's keys and values in one scratch."""

from __future__ import annotations

import torch

from interact_kernels import _native
from interact_kernels.attention.tree import SegmentTree

LARGEST_HEAD = 256


def refusal(q: torch.Tensor, v: torch.Tensor) -> str | None:
    """Say why the native kernel cannot run on these tensors, or None."""
    if q.device.type != "cpu":
        return f"it runs on the CPU, not on {q.device.type!r}"
    if q.dtype == torch.float64:
        return "it computes in float32"
    if max(q.shape[-1], v.shape[-1]) > LARGEST_HEAD:
        return f"it holds heads of at most {LARGEST_HEAD} channels"
    if torch.is_grad_enabled() and (q.requires_grad or v.requires_grad):
        return "it has no gradient"
    return None


def tree_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    tree: SegmentTree,
    scale: float,
    softcap: float,
    sinks: torch.Tensor | None,
) -> torch.Tensor:
    """Attend in float32. Shapes as in `interact_kernels.attention.tree_attention`."""
    wide = [x.float() if x.dtype != torch.float32 else x for x in (q, k, v)]
    wide = [x if x.stride(-1) == 1 else x.contiguous() for x in wide]
    out = torch.empty(q.shape[1], q.shape[0], v.shape[2], dtype=torch.float32)
    if tree.queries and q.shape[0]:
        strides = [(x.stride(1), x.stride(0)) for x in wide]
        fields = (tree.start, tree.length, tree.parent, tree.position, tree.first)
        fields = [f.contiguous() for f in fields]
        logits = None if sinks is None else sinks.float().contiguous()
        _native.tree_attention(
            wide[0].data_ptr(),
            strides[0],
            wide[1].data_ptr(),
            strides[1],
            wide[2].data_ptr(),
            strides[2],
            out.data_ptr(),
            [f.data_ptr() for f in fields],
            len(tree.start),
            tree.keys,
            tree.queries,
            (q.shape[0], k.shape[0], q.shape[2], v.shape[2]),
            scale,
            softcap,
            0 if logits is None else logits.data_ptr(),
            torch.get_num_threads(),
        )
    return out.to(q.dtype)
