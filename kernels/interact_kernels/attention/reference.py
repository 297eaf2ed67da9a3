"""The truth for attention over trees and rows: one dense mask over all pairs of tokens."""

from __future__ import annotations

from itertools import pairwise

import torch

from interact_kernels.attention.request import RowRequest, TreeRequest
from interact_kernels.attention.rows import Rows
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


def visible_in_row(rows: Rows, position: torch.Tensor, hidden: torch.Tensor | None) -> torch.Tensor:
    """Say which keys each query of a row sees: bool, shape [tokens, tokens]."""
    mask = torch.ones(len(position), len(position), dtype=torch.bool)
    if rows.causal:
        mask &= position[:, None] >= position
    if rows.window is not None:
        mask &= (position[:, None] - position).abs() < rows.window
    if hidden is not None:
        mask &= ~hidden | torch.eye(len(position), dtype=torch.bool)
    return mask


def tree_attention(request: TreeRequest) -> torch.Tensor:
    """Attend by a masked softmax over all keys."""
    q, k, v, tree, scale, softcap, sinks = request
    return _attend(q, k, v, visible(tree), scale, softcap, sinks)


def row_attention(request: RowRequest) -> torch.Tensor:
    """Attend row by row."""
    q, k, v, rows, scale, softcap, sinks = request
    hidden = rows.hidden()
    out = q.new_empty(q.shape[0], q.shape[2], q.shape[1], v.shape[3])
    ends = [0, q.shape[2]] if rows.offsets is None else rows.offsets.tolist()
    for entry in range(q.shape[0]):
        for begin, end in pairwise(ends):
            position = torch.arange(end - begin) if rows.position is None else rows.position[begin:end]
            mask = visible_in_row(rows, position, None if hidden is None else hidden[entry])
            row = slice(begin, end)
            of_row = _attend(q[entry, :, row], k[entry, :, row], v[entry, :, row], mask, scale, softcap, sinks)
            out[entry, row] = of_row
    return out


def _attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor,
    scale: float,
    softcap: float,
    sinks: torch.Tensor | None,
) -> torch.Tensor:
    groups = q.shape[0] // k.shape[0]
    k, v = (x.repeat_interleave(groups, dim=0) for x in (k, v))
    scores = (q @ k.transpose(-1, -2)) * scale
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores.masked_fill(~mask.to(q.device), -torch.inf)
    if sinks is not None:
        logits = sinks.to(scores.dtype)[:, None, None].expand(-1, scores.shape[1], 1)
        scores = torch.cat([scores, logits], dim=-1)
    weights = scores.softmax(-1)[..., : k.shape[1]]
    return (weights @ v).transpose(0, 1).contiguous()
