"""Tree attention through torch's fused attention and a dense mask: any device, more work than needed."""

from __future__ import annotations

import torch

from interact_kernels.attention.reference import visible
from interact_kernels.attention.request import TreeRequest


def refusal(request: TreeRequest) -> str | None:
    """Say why this implementation cannot run, or None."""
    if request.softcap:
        return "torch's fused attention has no soft cap"
    return None if request.sinks is None else "torch's fused attention has no sinks"


def tree_attention(request: TreeRequest) -> torch.Tensor:
    """Attend by scaled_dot_product_attention."""
    q, k, v, tree, scale, _, _ = request
    groups = q.shape[0] // k.shape[0]
    k, v = (x.repeat_interleave(groups, dim=0) for x in (k, v))
    mask = visible(tree).to(q.device)
    out = torch.nn.functional.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=mask, scale=scale)
    return out[0].transpose(0, 1).contiguous()
