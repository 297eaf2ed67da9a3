"""Attention of masked prompts: who sees whom follows from coalitions, never from a mask over pairs of tokens.

- `tree_attention`: a tree of token segments; many prompts that share beginnings, each token computed once.
- `masked_attention`: a flat batch, one coalition per row; the tokens of absent players are hidden.
- `packed_attention`: rows of any lengths end to end; for encoders that carry only the present tokens.

The implementations have one signature; `reference` is the truth, `native` (C++) is the fast one on a CPU, `triton`
the one for CUDA and ROCm; for trees, `torch` runs torch's fused attention with a dense mask on any device. Each
returns tokens before heads, as the linear layer that follows expects them.
"""

from __future__ import annotations

import torch

from interact_kernels.attention import arguments
from interact_kernels.attention.registration import MASKED, PACKED, TREE
from interact_kernels.attention.request import RowRequest, TreeRequest
from interact_kernels.attention.rows import Rows
from interact_kernels.attention.tree import SegmentTree

__all__ = [
    "MASKED",
    "PACKED",
    "TREE",
    "RowRequest",
    "Rows",
    "SegmentTree",
    "TreeRequest",
    "explain",
    "masked_attention",
    "packed_attention",
    "tree_attention",
]


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
    arguments.check(q, k, v, sinks, softcap, batched=False)
    if q.shape[1] != tree.queries or k.shape[1] != tree.keys:
        raise ValueError(
            f"The tree has {tree.queries} queries and {tree.keys} keys, but the shapes are q {tuple(q.shape)}, k "
            f"{tuple(k.shape)}, v {tuple(v.shape)}."
        )
    return TREE.run(TreeRequest(q, k, v, tree, _factor(q, scale), softcap, sinks), impl)


def masked_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    coalitions: torch.Tensor | None = None,
    player: torch.Tensor | None = None,
    *,
    causal: bool = True,
    window: int | None = None,
    scale: float | None = None,
    softcap: float = 0.0,
    sinks: torch.Tensor | None = None,
    impl: str = "auto",
) -> torch.Tensor:
    """Softmax attention in a flat batch, from each row of which a coalition hides the absent players' tokens.

    ``out[b, t] = sum_{s seen by t} softmax_s(scale q_bt . k_bs) v_bs`` with s present in coalition b (or s = t),
    s <= t if `causal`, and ``|t - s| < window``. A token is present when it belongs to no player or to one in the
    coalition. With `attention` masking give the coalitions; with `baseline` masking every token is visible: leave
    `coalitions` and `player` out, and this is plain attention.

    No mask over pairs of tokens is made, and keys (on a GPU: blocks of keys) that no query sees are not read.

    Args:
        q: Queries, shape [batch, heads, tokens, size].
        k: Keys, shape [batch, kv_heads, tokens, size]; heads is a multiple of kv_heads.
        v: Values, shape [batch, kv_heads, tokens, value_size].
        coalitions: Bit i says whether player i is present, int64 on the CPU, shape [batch]; None hides nothing.
        player: The player of each token, -1 for tokens that are always present, int64 on the CPU, shape [tokens];
            players are below 63.
        causal: Whether a token sees only itself and earlier ones.
        window: Number of tokens seen backwards (and forwards, if not causal), the token itself counted; None for all.
        scale: Factor of the scores, None for size**-0.5.
        softcap: c of ``c tanh(score / c)``, 0 for none.
        sinks: Logits that take part in the softmax and carry no value, shape [heads].
        impl: ``"auto"``, ``"native"``, ``"triton"`` or ``"reference"``.

    Returns:
        Shape [batch, tokens, heads, value_size], in the dtype of `q`.

    Raises:
        ValueError: Shapes, dtypes or devices do not fit each other; a coalition or player is out of range.
        RuntimeError: The named implementation cannot run here.

    Source: docs/math.md, Masking.

    >>> q = k = v = torch.ones(2, 4, 3, 16)
    >>> masked_attention(q, k, v, torch.tensor([0, 1]), torch.tensor([-1, 0, -1])).shape
    torch.Size([2, 3, 4, 16])
    """
    arguments.check(q, k, v, sinks, softcap, batched=True)
    arguments.check_tokens(q, k)
    rows = Rows(coalitions=coalitions, player=player, causal=causal, window=window)
    rows.check_coalitions(q.shape[0], q.shape[2])
    return MASKED.run(RowRequest(q, k, v, rows, _factor(q, scale), softcap, sinks), impl)


def packed_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    offsets: torch.Tensor,
    *,
    position: torch.Tensor | None = None,
    causal: bool = False,
    window: int | None = None,
    scale: float | None = None,
    softcap: float = 0.0,
    sinks: torch.Tensor | None = None,
    impl: str = "auto",
) -> torch.Tensor:
    """Softmax attention inside rows of different lengths that lie end to end in one sequence.

    ``out[t] = sum_{s seen by t} softmax_s(scale q_t . k_s) v_s`` with s in the row of t, s <= t if `causal`, and
    ``|position[t] - position[s]| < window``.

    Args:
        q: Queries, shape [heads, tokens, size].
        k: Keys, shape [kv_heads, tokens, size]; heads is a multiple of kv_heads.
        v: Values, shape [kv_heads, tokens, value_size].
        offsets: Row r has the tokens ``offsets[r]`` to ``offsets[r + 1] - 1``, int64 on the CPU, shape [rows + 1];
            grows from 0 to the number of tokens. A row may be empty.
        position: Place of each token in its prompt, growing inside a row, int64 on the CPU, shape [tokens]; only a
            window needs it. None: the index in the row.
        causal: Whether a token sees only itself and earlier ones.
        window: Smallest distance of positions that is not seen; None for no limit.
        scale: Factor of the scores, None for size**-0.5.
        softcap: c of ``c tanh(score / c)``, 0 for none.
        sinks: Logits that take part in the softmax and carry no value, shape [heads].
        impl: ``"auto"``, ``"native"``, ``"triton"`` or ``"reference"``.

    Returns:
        Shape [tokens, heads, value_size], in the dtype of `q`.

    Raises:
        ValueError: Shapes, dtypes or devices do not fit each other; offsets or positions do not grow.
        RuntimeError: The named implementation cannot run here.

    Source: unpadded encoders (Zeng et al. 2022, arXiv 2208.08124).

    >>> q = k = v = torch.ones(4, 5, 16)
    >>> packed_attention(q, k, v, torch.tensor([0, 2, 5])).shape
    torch.Size([5, 4, 16])
    """
    arguments.check(q, k, v, sinks, softcap, batched=False)
    arguments.check_tokens(q, k)
    rows = Rows(offsets=offsets, position=position, causal=causal, window=window)
    rows.check_packing(q.shape[1])
    return PACKED.run(RowRequest(q[None], k[None], v[None], rows, _factor(q, scale), softcap, sinks), impl)[0]


def explain(q: torch.Tensor, operation: str = "tree_attention") -> str:
    """Say which implementation of an operation runs for queries like `q`, and why the others do not.

    Raises:
        ValueError: There is no such operation.
    """
    if operation == TREE.name:
        nothing = torch.zeros(0, dtype=torch.int64)
        return TREE.explain(TreeRequest(q, q, q, SegmentTree(*[nothing] * 5, queries=0), 1.0, 0.0, None))
    for in_rows in (MASKED, PACKED):
        if operation == in_rows.name:
            return in_rows.explain(RowRequest(q, q, q, Rows(), 1.0, 0.0, None))
    raise ValueError(f"There is no operation {operation!r}; choose one of {[TREE.name, MASKED.name, PACKED.name]}.")


def _factor(q: torch.Tensor, scale: float | None) -> float:
    return q.shape[-1] ** -0.5 if scale is None else scale
