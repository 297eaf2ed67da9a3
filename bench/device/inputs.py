"""Inputs of the stages: prompts of random tokens, their trees, and the tensors of attention."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from bench.device.clock import Target
from interact.engines.coalition_tree import CoalitionTree
from interact.games.coalition_values import all_coalitions
from interact.prompt.inputs import CoalitionInputs
from interact_kernels.attention import SegmentTree

_TAIL = 8


@dataclass(frozen=True)
class Heads:
    """Query heads, key heads and their channels."""

    queries: int
    keys: int
    size: int


def lengths(target: Target) -> dict[int, int]:
    """Return the tokens of the prompts, most telling first, and the rows of flat's best batch for each."""
    return {24: 8, 40: 8} if target.tiny else {256: 256, 64: 1024, 1024: 64}


def players(target: Target) -> int:
    """Return the players of a prompt."""
    return 3 if target.tiny else 10


def prompt(length: int, n: int) -> CoalitionInputs:
    """Return random ids with n players of one token at even distances and a tail of 8 tokens."""
    ids = torch.randint(10, 30000, (length,), generator=torch.Generator().manual_seed(0)).tolist()
    ends = np.linspace(4, length - _TAIL, n + 1).astype(int)[1:].tolist()
    return CoalitionInputs(ids, [(end - 1, end) for end in ends], [77], special_ids={"unk": 0})


def coalition_tree(inputs: CoalitionInputs) -> CoalitionTree:
    """Return the tree of all coalitions of a prompt."""
    return CoalitionTree(len(inputs.input_ids), inputs.spans, all_coalitions(inputs.n).numpy(), drop_absent=False)


def segment_trees(tree: CoalitionTree, most_tokens: int) -> list[SegmentTree]:
    """Return what attention sees of each run of at most so many tokens."""
    found = []
    for run in tree.runs(most_tokens, 1 << 30):
        start, length, parent, position = map(torch.from_numpy, (run.start, run.length, run.parent, run.position))
        first, queries = torch.zeros_like(position), len(position) - run.kept
        found.append(SegmentTree(start, length, parent, position, first, queries))
    return found


def heads_of(
    target: Target, queries: int, keys: int, heads: Heads, dtype: torch.dtype, batch: tuple[int, ...] = ()
) -> list[torch.Tensor]:
    """Return q, k and v with tokens before heads in memory, as a model's projections leave them."""
    shapes = ((queries, heads.queries), (keys, heads.keys), (keys, heads.keys))
    return [target.random(*batch, tokens, count, heads.size, dtype=dtype).transpose(-3, -2) for tokens, count in shapes]
