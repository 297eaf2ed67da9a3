"""Attention of masked prompts: who sees whom follows from coalitions, never from a mask over pairs of tokens.

- `tree_attention`: a tree of token segments; many prompts that share beginnings, each token computed once.
- `masked_attention`: a flat batch, one coalition a row; the tokens of absent players are hidden.
- `packed_attention`: rows of any lengths end to end; for encoders that carry only the present tokens.

The implementations have one signature; `reference` is the truth, `native` (C++) is the fast one on a CPU, `triton`
the one for CUDA and ROCm; for trees, `torch` runs torch's fused attention with a dense mask on any device. Each
returns tokens before heads, as the linear layer that follows wants them.
"""

from __future__ import annotations

from typing import Any

import torch

from interact_kernels import dispatch, triton_guard
from interact_kernels.attention import arguments, dense, native, reference
from interact_kernels.attention.rows import Rows
from interact_kernels.attention.tree import SegmentTree

__all__ = ["SegmentTree", "explain", "masked_attention", "packed_attention", "tree_attention"]


def _triton_tree(*inputs: Any) -> torch.Tensor:
    # Imported when it runs: triton takes a second, and is an extra.
    from interact_kernels.attention import triton

    return triton.tree_attention(*inputs)


def _triton_rows(*inputs: Any) -> torch.Tensor:
    from interact_kernels.attention import triton_rows

    return triton_rows.row_attention(*inputs)


_TREE = {
    "native": native.tree_attention,
    "triton": _triton_tree,
    "torch": dense.tree_attention,
    "reference": reference.tree_attention,
}
_ROWS = {"native": native.row_attention, "triton": _triton_rows, "reference": reference.row_attention}


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
    name = dispatch.choose("tree_attention", _tree_candidates(q, k, v, softcap, sinks), impl)
    factor = q.shape[-1] ** -0.5 if scale is None else scale
    return _TREE[name](q, k, v, tree, factor, softcap, sinks)


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
    return _in_rows("masked_attention", q, k, v, rows, scale, softcap, sinks, impl)


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
            window asks for it. None: the index in the row.
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
    return _in_rows("packed_attention", q[None], k[None], v[None], rows, scale, softcap, sinks, impl)[0]


def explain(q: torch.Tensor, operation: str = "tree_attention") -> str:
    """Say which implementation of an operation runs for queries like `q`, and why the others do not.

    Raises:
        ValueError: There is no such operation.
    """
    if operation not in ("tree_attention", "masked_attention", "packed_attention"):
        raise ValueError(f"There is no operation {operation!r}; ask for one of {__all__[2:]}.")
    if operation == "tree_attention":
        return dispatch.explain(operation, _tree_candidates(q, q, q, 0.0, None))
    return dispatch.explain(operation, _row_candidates(q, q, q))


def _in_rows(
    operation: str,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    rows: Rows,
    scale: float | None,
    softcap: float,
    sinks: torch.Tensor | None,
    impl: str,
) -> torch.Tensor:
    name = dispatch.choose(operation, _row_candidates(q, k, v), impl)
    factor = q.shape[-1] ** -0.5 if scale is None else scale
    return _ROWS[name](q, k, v, rows, factor, softcap, sinks)


def _row_candidates(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> list[dispatch.Candidate]:
    return [
        dispatch.Candidate("native", native.refusal(q, k, v)),
        dispatch.Candidate("triton", _no_triton(q, k, v)),
        dispatch.Candidate("reference"),
    ]


def _tree_candidates(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, softcap: float, sinks: torch.Tensor | None
) -> list[dispatch.Candidate]:
    native_and_triton, truth = _row_candidates(q, k, v)[:2], dispatch.Candidate("reference")
    return [*native_and_triton, dispatch.Candidate("torch", dense.refusal(softcap, sinks)), truth]


def _no_triton(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> str | None:
    if torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v)):
        return "it has no gradient"
    if max(q.shape[-1], v.shape[-1]) > native.LARGEST_HEAD:
        return f"it holds heads of at most {native.LARGEST_HEAD} channels"
    return "it computes in float32" if q.dtype == torch.float64 else triton_guard.refusal(q.device)
