"""The truth for tree attention: one dense mask over all pairs of tokens."""

from __future__ import annotations

import torch

from interact_kernels.attention.tree import SegmentTree


def visible(tree: SegmentTree) -> torch.Tensor:
    """Say which keys each query sees: bool, shape [queries, keys]."""
    owner = torch.repeat_interleave(torch.arange(len(tree.start)), tree.length)
    above = torch.eye(len(tree.start), dtype=torch.bool)
    for segment, parent in enumerate(tree.parent.tolist()):
        if parent >= 0:
            above[segment] |= above[parent]
    place = torch.arange(tree.keys)
    mask = above[owner][:, owner] & (place[:, None] >= place)
    mask &= tree.position >= tree.first[:, None]
    return mask[tree.keys - tree.queries :]


def tree_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    tree: SegmentTree,
    scale: float,
    softcap: float,
    sinks: torch.Tensor | None,
) -> torch.Tensor:
    """Attend by a masked softmax over all keys. Shapes as in `interact_kernels.attention.tree_attention`."""
    groups = q.shape[0] // k.shape[0]
    k, v = (x.repeat_interleave(groups, dim=0) for x in (k, v))
    scores = (q @ k.transpose(-1, -2)) * scale
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores.masked_fill(~visible(tree).to(q.device), -torch.inf)
    if sinks is not None:
        scores = torch.cat([scores, sinks[:, None, None].expand(-1, scores.shape[1], 1)], dim=-1)
    weights = scores.softmax(-1)[..., : k.shape[1]]
    return (weights @ v).transpose(0, 1).contiguous()
