"""A request to an attention operation."""

# No postponed annotations: a NamedTuple keeps them as strings that no documentation tool can resolve.
from collections.abc import Hashable
from typing import NamedTuple

import torch

from interact_kernels.attention.rows import Rows
from interact_kernels.attention.tree import SegmentTree


class TreeRequest(NamedTuple):
    """Attend over a tree.

    Attributes:
        q: Queries, shape [heads, queries, size].
        k: Keys, shape [kv_heads, keys, size].
        v: Values, shape [kv_heads, keys, value_size]; the result has shape [queries, heads, value_size].
        tree: Which token sees which.
        scale: Factor of the scores.
        softcap: c of ``c tanh(score / c)``, 0 for none.
        sinks: Logits that take part in the softmax and carry no value, shape [heads], or None.
    """

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    tree: SegmentTree
    scale: float
    softcap: float
    sinks: torch.Tensor | None

    in_place = False

    @property
    def kind(self) -> Hashable:
        """What a kernel's code depends on."""
        return _kind(self)


class RowRequest(NamedTuple):
    """Attend in rows; they are the entries of q, k and v, or lie end to end in one entry.

    Attributes:
        q: Queries, shape [entries, heads, tokens, size].
        k: Keys, shape [entries, kv_heads, tokens, size].
        v: Values, shape [entries, kv_heads, tokens, value_size]; the result has shape
            [entries, tokens, heads, value_size].
        rows: Which token sees which.
        scale: Factor of the scores.
        softcap: c of ``c tanh(score / c)``, 0 for none.
        sinks: Logits that take part in the softmax and carry no value, shape [heads], or None.
    """

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    rows: Rows
    scale: float
    softcap: float
    sinks: torch.Tensor | None

    in_place = False

    @property
    def kind(self) -> Hashable:
        """What a kernel's code depends on."""
        return _kind(self)


def _kind(request: TreeRequest | RowRequest) -> Hashable:
    q, k, v = request[:3]
    sizes = (q.shape[-3], k.shape[-3], q.shape[-1], v.shape[-1])
    return q.device, q.dtype, sizes, request.softcap != 0, request.sinks is not None
