"""Tree attention through torch's fused attention and a dense mask: any device, more work than needed."""

from __future__ import annotations

import torch

from interact_kernels.attention.reference import visible
from interact_kernels.attention.tree import SegmentTree


def refusal(softcap: float, sinks: torch.Tensor | None) -> str | None:
    """Say why this implementation cannot run, or None."""
    if softcap:
        return "torch's fused attention has no soft cap"
    return None if sinks is None else "torch's fused attention has no sinks"


def tree_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    tree: SegmentTree,
    scale: float,
    softcap: float,
    sinks: torch.Tensor | None,
) -> torch.Tensor:
    """Attend by scaled_dot_product_attention. Shapes as in `interact_kernels.attention.tree_attention`."""
    del softcap, sinks
    groups = q.shape[0] // k.shape[0]
    k, v = (x.repeat_interleave(groups, dim=0) for x in (k, v))
    mask = visible(tree).to(q.device)
    out = torch.nn.functional.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=mask, scale=scale)
    return out[0].transpose(0, 1).contiguous()
