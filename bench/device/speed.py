"""The speed of tree attention: against other attentions, against the matrix product, and by other cuts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from bench.device.child import Cases
from bench.device.clock import Target, Time, clock, copy_rate, distance, in_full, kernels_alone, matrix_rate
from bench.device.inputs import Heads, coalition_tree, heads_of, lengths, players, prompt, segment_trees
from interact.engines.tree import MOST_TOKENS
from interact_kernels import attention as attention_operations
from interact_kernels.attention import SegmentTree, TreeRequest, reference
from interact_kernels.attention.key_lists import MOST_TOKENS as MOST_TOKENS_OF_A_BLOCK
from interact_kernels.attention.key_lists import key_lists

BF16, F32, F64 = torch.bfloat16, torch.float32, torch.float64
LLAMA = Heads(32, 8, 128)
_ONE_RUN = 4096
"""Tokens of the run that others attend for, too: a dense mask of more does not fit everywhere."""
_OFF = 2e-2
"""Most |difference| / |other| of two attentions in bfloat16."""
_CUTS = (
    (64, 64, 4, 2),
    (64, 64, 4, 3),
    (64, 64, 4, 4),
    (64, 32, 4, 4),
    (64, 64, 8, 3),
    (128, 64, 8, 3),
)
"""Rows, keys, warps and stages that are tried beside the shipped ones."""


def attention(cases: Cases, _: str) -> None:
    """Time one run against FlexAttention and a dense mask, then a layer of all runs against the matrix product."""
    target = cases.target
    dtype = F32 if target.rehearsal else BF16
    rate, bandwidth = matrix_rate(target, dtype)[1], copy_rate(target)[1]
    for length in lengths(target):
        cases.case(f"one run, L={length}", partial(_one_run, cases, length, dtype))
        cases.case(f"all coalitions, L={length}", partial(_all_runs, cases, length, dtype, rate, bandwidth))


def _implementation(target: Target) -> str:
    return "native" if target.rehearsal else "triton"


def _red(cases: Cases, dtype: torch.dtype) -> bool:
    return f"tree {dtype} 128" in cases.red


def _one_run(cases: Cases, length: int, dtype: torch.dtype) -> tuple[str, bool]:
    target = cases.target
    trees = segment_trees(coalition_tree(prompt(length, players(target))), _ONE_RUN)
    tree = trees[len(trees) // 2]
    q, k, v = heads_of(target, tree.queries, tree.keys, LLAMA, dtype)
    group = LLAMA.queries // LLAMA.keys
    wide = [q[None], *(x.repeat_interleave(group, 0)[None] for x in (k, v))]
    mask = reference.visible(tree).to(target.device)
    impl = _implementation(target)
    tries: dict[str, Callable[[], torch.Tensor]] = {
        "tree": lambda: attention_operations.tree_attention(q, k, v, tree, impl=impl),
        "FlexAttention": flex_attention(target, tree, (q, k, v)),
        "dense": lambda: scaled_dot_product_attention(*wide, attn_mask=mask)[0].transpose(0, 1),
    }
    ours = tries["tree"]()
    off = max(distance(ours, tries[name]()) for name in ("FlexAttention", "dense"))
    useful = 4e-9 * LLAMA.queries * LLAMA.size * int(mask.sum())
    cells = {"L": str(length), "queries": str(tree.queries), "useful GFLOP": f"{useful:.1f}"}
    said = f"differs by {off:.2g} of at most {_OFF:.2g}"
    if off <= _OFF and not _red(cases, dtype):
        times = {name: clock(target, call) for name, call in tries.items()}
        alone = {name: kernels_alone(target, call) for name, call in tries.items()}
        cells |= {f"{name}, ms": time.against(times["tree"]) for name, time in times.items()}
        cells |= {f"{name}, kernels alone": f"{ms:.4g} = {ms / alone['tree']:.2f}x" for name, ms in alone.items()}
        cases.line(f"L={length}", "attention, one run", cells, times=in_full(times), alone=alone)
    return said, off <= _OFF


def flex_attention(target: Target, tree: SegmentTree, parts: tuple[torch.Tensor, ...]) -> Callable[[], torch.Tensor]:
    """Return FlexAttention of a tree: a key sees from itself to the end of its segment's subtree, in preorder."""
    from torch.nn.attention.flex_attention import create_block_mask
    from torch.nn.attention.flex_attention import flex_attention as flex

    reach = (tree.start + tree.length).tolist()
    for segment, above in reversed(list(enumerate(tree.parent.tolist()))):
        if above >= 0:
            reach[above] = max(reach[above], reach[segment])
    until = torch.tensor(reach).repeat_interleave(tree.length).to(target.device)
    silent = tree.keys - tree.queries

    def sees(_: Any, __: Any, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return (key <= query + silent) & (query + silent < until[key])

    mask = create_block_mask(sees, None, None, tree.queries, tree.keys, device=target.device)
    fused: Any = flex if target.rehearsal else torch.compile(flex, dynamic=False)
    q, k, v = (x[None] for x in parts)
    return lambda: fused(q, k, v, block_mask=mask, enable_gqa=True)[0].transpose(0, 1)


def _all_runs(cases: Cases, length: int, dtype: torch.dtype, rate: float, bandwidth: float) -> str | None:
    if _red(cases, dtype):
        return "refused: its correctness is red"
    target, whole = cases.target, coalition_tree(prompt(length, players(cases.target)))
    trees = segment_trees(whole, MOST_TOKENS.get(target.device, _ONE_RUN))
    parts = [heads_of(target, tree.queries, tree.keys, LLAMA, dtype) for tree in trees]
    impl, runs = _implementation(target), list(zip(parts, trees, strict=True))

    def layer() -> list[torch.Tensor]:
        return [attention_operations.tree_attention(q, k, v, tree, impl=impl) for (q, k, v), tree in runs]

    time, alone = clock(target, layer), kernels_alone(target, layer)
    # A query sees its path and itself: as many keys as its place in the prompt says.
    seen = sum(int((tree.position[tree.keys - tree.queries :] + 1).sum()) for tree in trees)
    useful = 4e-9 * LLAMA.queries * LLAMA.size * seen
    cells = {"L": str(length), "tokens": str(whole.tokens), "runs": str(len(trees)), "useful GFLOP": f"{useful:.1f}"}
    cells |= {"ms": f"{time.ms:.4g}", "kernels alone, ms": f"{alone:.4g}", "useful TFLOP/s": f"{useful / alone:.0f}"}
    # Queries and results, keys and values: each once.
    moved = sum(2 * q.nbytes + k.nbytes + v.nbytes for q, k, v in parts) * 1e-9
    roof = max(useful / rate, moved / bandwidth)
    cells |= {"products alone, ms": f"{useful / rate:.3g}", "bytes alone, ms": f"{moved / bandwidth:.3g}"}
    cells["kernels / roof"] = f"{alone / roof:.2f}x"
    cases.line(f"L={length}", "attention, all coalitions", cells, time=asdict(time))
    return None


def tilings(cases: Cases, _: str) -> None:
    """Time other cuts of the tree kernel, lists made before, against the shipped one."""
    target = cases.target
    for length in list(lengths(target))[:1] if target.tiny else (256, 1024):
        for heads in (Heads(9, 3, 64), LLAMA)[: 1 if target.tiny else None]:
            trees = segment_trees(
                coalition_tree(prompt(length, players(target))), MOST_TOKENS.get(target.device, _ONE_RUN)
            )
            dtype = F32 if target.rehearsal else BF16
            parts = [heads_of(target, tree.queries, tree.keys, heads, dtype) for tree in trees]
            cells = {"heads": f"{heads.queries}/{heads.keys} of {heads.size}", "L": str(length)}
            shipped: list[Time] = []
            masked = [_all_masked(tree, heads, target) for tree in trees]
            tries = [(None, trees, "shipped"), (None, masked, "shipped, bits of all keys")]
            tries += [(cut, trees, str(cut).strip("()")) for cut in _CUTS[: 1 if target.tiny else None]]
            for cut, some, name in tries:
                timed = partial(_cut, cases, cut, list(zip(parts, some, strict=True)), cells, shipped, name)
                cases.case(f"{cells['heads']}, L={length}, {name}", timed)


def _all_masked(tree: SegmentTree, heads: Heads, target: Target) -> SegmentTree:
    """Return the tree with lists in which no tile counts as seen whole, for the shipped cut."""
    from interact_kernels.attention import triton

    dtype = F32 if target.rehearsal else BF16
    capability = 9 if target.rehearsal else torch.cuda.get_device_capability()[0]
    group = heads.queries // heads.keys
    cut = triton.tiling(dtype, heads.size, group, capability)
    tokens, device = min(MOST_TOKENS_OF_A_BLOCK, cut.rows // group), torch.empty(0, device=target.device).device
    other = replace(tree)
    lists = key_lists(other, tokens, cut.keys, device)
    other.prepared[tokens, cut.keys, device] = replace(lists, full=lists.offset[:-1].contiguous())
    return other


def _cut(
    cases: Cases,
    cut: tuple[int, int, int, int] | None,
    runs: list[tuple[list[torch.Tensor], SegmentTree]],
    cells: dict[str, str],
    shipped: list[Time],
    name: str,
) -> None:
    """Time one cut and write its cell; the first is the shipped one."""
    from interact_kernels.attention import triton

    tiling = triton.Tiling(*cut) if cut else None

    def layer() -> None:
        for (q, k, v), tree in runs:
            triton.tree_attention(TreeRequest(q, k, v, tree, q.shape[-1] ** -0.5, 0.0, None), tiling)

    time = clock(cases.target, layer, seconds=0.2)
    shipped.append(time)
    cells[f"{name}, ms"] = time.against(shipped[0])
    cases.line(f"{cells['heads']}, L={cells['L']}", "tilings", cells)
