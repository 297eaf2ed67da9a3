"""Whether the tensors given to an attention fit each other."""

from __future__ import annotations

import math

import torch


def check(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    sinks: torch.Tensor | None,
    softcap: float,
    *,
    batched: bool,
) -> None:
    """Raise ValueError unless q, k and v are heads of tokens of one dtype and device.

    Args:
        q: Shape [heads, tokens, size], with a first axis of entries if `batched`.
        k: Like q, but with heads of its own.
        v: Like k, but with a size of its own.
        sinks: None or shape [heads].
        softcap: Finite and not negative.
        batched: Whether the tensors have an axis of entries.
    """
    shapes = f"q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}"
    form, axes = ("[entries, heads, tokens, size]", 4) if batched else ("[heads, tokens, size]", 3)
    if not q.dim() == k.dim() == v.dim() == axes or k.shape[:-1] != v.shape[:-1] or q.shape[-1] != k.shape[-1]:
        raise ValueError(f"q, k and v must be {form} with k and v alike, but are {shapes}.")
    if k.shape[-3] == 0 or q.shape[-3] % k.shape[-3]:
        raise ValueError(f"The number of query heads must be a multiple of the key heads, but the shapes are {shapes}.")
    if not q.dtype == k.dtype == v.dtype or not q.is_floating_point():
        raise ValueError(f"q, k and v must share a floating dtype, but have {q.dtype}, {k.dtype}, {v.dtype}.")
    if not q.device == k.device == v.device:
        raise ValueError(f"q, k and v must be on one device, but are on {q.device}, {k.device}, {v.device}.")
    heads = q.shape[-3]
    if sinks is not None and (sinks.shape != (heads,) or not sinks.is_floating_point() or sinks.device != q.device):
        raise ValueError(
            f"sinks must hold one logit for each of {heads} heads on {q.device}, but are {tuple(sinks.shape)} of "
            f"{sinks.dtype} on {sinks.device}."
        )
    if not (math.isfinite(softcap) and softcap >= 0):
        raise ValueError(f"softcap must be positive, or 0 for none, but is {softcap}.")


def check_tokens(q: torch.Tensor, k: torch.Tensor) -> None:
    """Raise ValueError unless there are as many queries as keys, in as many entries."""
    if q.shape[-2] != k.shape[-2] or q.shape[:-3] != k.shape[:-3]:
        raise ValueError(f"Every token is a query and a key, but q is {tuple(q.shape)} and k is {tuple(k.shape)}.")
