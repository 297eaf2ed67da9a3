"""Attention over trees of token segments: many prompts that share beginnings, each token computed once.

A token sees the segments on the path from its own segment to the root, and the earlier tokens of its own segment.
The implementations have one signature; `reference` is the truth, `native` (C++) is the fast one on a CPU, `triton`
the one for CUDA and ROCm, `torch` runs torch's fused attention with a dense mask on any device.
"""

from __future__ import annotations

from typing import Any

import torch

from interact_kernels import dispatch, triton_guard
from interact_kernels.attention import masked, native, reference
from interact_kernels.attention.tree import SegmentTree

__all__ = ["SegmentTree", "explain", "tree_attention"]


def _triton(*arguments: Any) -> torch.Tensor:
    # Imported when it runs: triton takes a second, and is an extra.
    from interact_kernels.attention import triton

    return triton.tree_attention(*arguments)


_IMPLEMENTATIONS = {
    "native": native.tree_attention,
    "triton": _triton,
    "torch": masked.tree_attention,
    "reference": reference.tree_attention,
}


def tree_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    tree: SegmentTree,
    *,
    scale: float | None = None,
    softcap: float = 0.0,
    sinks: torch.Tensor | None = None,
    impl: str = "auto",
) -> torch.Tensor:
    """Softmax attention in which each token sees its path in a tree of segments.

    ``out[t] = sum_{s seen by t} softmax_s(scale q_t . k_s) v_s`` with s on the path of t, s <= t and
    ``position[s] >= first[t]``.

    Args:
        q: Queries, shape [heads, queries, size]; they belong to the last tokens of the tree.
        k: Keys, shape [kv_heads, keys, size]; heads is a multiple of kv_heads.
        v: Values, shape [kv_heads, keys, value_size].
        tree: Which token sees which.
        scale: Factor of the scores, None for size**-0.5.
        softcap: c of ``c tanh(score / c)``, 0 for none.
        sinks: Logits that take part in the softmax and carry no value, shape [heads].
        impl: ``"auto"``, ``"native"``, ``"triton"``, ``"torch"`` or ``"reference"``.

    Returns:
        Shape [queries, heads, value_size], in the dtype of `q`.

    Raises:
        ValueError: Shapes, dtypes or devices do not fit each other or the tree.
        RuntimeError: The named implementation cannot run here.

    Source: tree attention as in cascade and radix attention (Juravsky et al. 2024, arXiv 2402.05099; Zheng et al.
    2024, arXiv 2312.07104), here for prefills.
    """
    _check(q, k, v, tree, sinks)
    name = dispatch.choose("tree_attention", _candidates(q, v, softcap, sinks), impl)
    factor = q.shape[-1] ** -0.5 if scale is None else scale
    return _IMPLEMENTATIONS[name](q, k, v, tree, factor, softcap, sinks)


def explain(q: torch.Tensor) -> str:
    """Say which implementation runs for queries like `q`, and why the others do not."""
    return dispatch.explain("tree_attention", _candidates(q, q, 0.0, None))


def _candidates(
    q: torch.Tensor, v: torch.Tensor, softcap: float, sinks: torch.Tensor | None
) -> list[dispatch.Candidate]:
    return [
        dispatch.Candidate("native", native.refusal(q, v)),
        dispatch.Candidate("triton", _no_triton(q, v)),
        dispatch.Candidate("torch", masked.refusal(softcap, sinks)),
        dispatch.Candidate("reference"),
    ]


def _no_triton(q: torch.Tensor, v: torch.Tensor) -> str | None:
    if torch.is_grad_enabled() and (q.requires_grad or v.requires_grad):
        return "it has no gradient"
    if max(q.shape[-1], v.shape[-1]) > native.LARGEST_HEAD:
        return f"it holds heads of at most {native.LARGEST_HEAD} channels"
    return "it computes in float32" if q.dtype == torch.float64 else triton_guard.refusal(q.device)


def _check(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, tree: SegmentTree, sinks: torch.Tensor | None) -> None:
    shapes = f"q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}"
    if not q.dim() == k.dim() == v.dim() == 3 or k.shape[:2] != v.shape[:2] or q.shape[2] != k.shape[2]:
        raise ValueError(f"q, k and v must be [heads, tokens, size] with k and v alike, but are {shapes}.")
    if k.shape[0] == 0 or q.shape[0] % k.shape[0]:
        raise ValueError(f"The number of query heads must be a multiple of the key heads, but the shapes are {shapes}.")
    if q.shape[1] != tree.queries or k.shape[1] != tree.keys:
        raise ValueError(f"The tree has {tree.queries} queries and {tree.keys} keys, but the shapes are {shapes}.")
    if not q.dtype == k.dtype == v.dtype or not q.is_floating_point():
        raise ValueError(f"q, k and v must share a floating dtype, but have {q.dtype}, {k.dtype}, {v.dtype}.")
    if not q.device == k.device == v.device:
        raise ValueError(f"q, k and v must be on one device, but are on {q.device}, {k.device}, {v.device}.")
    if sinks is not None and sinks.shape != q.shape[:1]:
        raise ValueError(f"sinks must hold one logit for each of {q.shape[0]} heads, but have {tuple(sinks.shape)}.")
