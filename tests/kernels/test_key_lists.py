"""The lists of keys that blocks of query tokens meet: together they say what the dense mask says, and are short."""

import numpy as np
import pytest
import torch

from interact.engines.coalition_tree import CoalitionTree
from interact.games.coalition_values import all_coalitions
from interact_kernels.attention import SegmentTree, reference
from interact_kernels.attention.key_lists import key_lists
from tests.kernels.test_attention import random_tree

CPU = torch.device("cpu")


def as_mask(tree, tokens, tile):
    """Unpack the lists: how often each query sees each key."""
    lists = key_lists(tree, tokens, tile, CPU)
    mask = torch.zeros(tree.queries, tree.keys, dtype=torch.int32)
    for block in range(lists.blocks):
        entries = slice(int(lists.offset[block]) * tile, int(lists.offset[block + 1]) * tile)
        for token in range(min(tokens, tree.queries - block * tokens)):
            seen = (lists.seen[token // 32, entries] >> (token % 32)) & 1
            mask[block * tokens + token].index_add_(0, lists.key[entries].long(), seen)
    return mask


@pytest.mark.parametrize("tokens, tile", [(64, 64), (18, 16), (32, 32), (1, 16), (33, 64)])
def test_lists_say_what_the_dense_mask_says(tokens, tile):
    for i in range(24):
        tree = random_tree(i, 1 + i % 30, 1 + i % 37, [None, 1, 7, 40][i % 4], (i * 7) % 50)
        if tree.queries:
            # Each pair that sees is listed once, and no other.
            assert torch.equal(as_mask(tree, tokens, tile), reference.visible(tree).int()), i


@pytest.mark.parametrize("tokens, tile", [(64, 16), (18, 16), (1, 16), (33, 4)])
def test_tiles_without_a_mask_are_all_that_lead_and_that_every_token_sees(tokens, tile):
    for i in range(8):
        tree = random_tree(i, 1 + i % 30, 1 + i % 67, [None, 1, 7, 40][i % 4], (i * 7) % 50)
        if not tree.queries:
            continue
        lists = key_lists(tree, tokens, tile, CPU)
        for block in range(lists.blocks):
            there = min(tokens, tree.queries - block * tokens)
            words = lists.seen.view(-1, int(lists.offset[-1]), tile)[:, lists.offset[block] : lists.offset[block + 1]]
            bits = torch.stack([(words[token // 32] >> (token % 32)) & 1 for token in range(there)])
            whole = [*bits.all(dim=0).all(dim=-1).tolist(), False]
            assert int(lists.full[block] - lists.offset[block]) == whole.index(False), (i, block)


def prompt_runs(length: int, n: int, most: int, tail: int = 8) -> list[SegmentTree]:
    """Return the trees of a prompt's runs, players of one token at even distances."""
    ends = np.linspace(4, length - tail, n + 1).astype(int)[1:].tolist()
    tree = CoalitionTree(length, [(e - 1, e) for e in ends], all_coalitions(n).numpy(), drop_absent=False)
    trees = []
    for run in tree.runs(most, 1 << 30):
        parts = [torch.from_numpy(x) for x in (run.start, run.length, run.parent, run.position)]
        trees.append(SegmentTree(*parts, torch.zeros_like(parts[3]), len(run.position) - run.kept))
    return trees


@pytest.mark.parametrize("length, share", [(64, 0.47), (256, 0.81), (1024, 0.94)])
def test_most_slots_of_a_prompts_tiles_are_useful(length, share):
    trees = prompt_runs(length, 10, 16384)
    useful = sum(int((tree.position[tree.keys - tree.queries :] + 1).sum()) for tree in trees)
    # Four query heads to a key head and 64 rows: 16 tokens a block.
    tiles = sum(int(key_lists(tree, 16, 64, CPU).offset[-1]) for tree in trees)
    assert useful / (tiles * 16 * 64) >= share


def test_lists_are_built_once_a_tree_and_shape():
    tree = random_tree(3, 9)
    assert key_lists(tree, 32, 64, CPU) is key_lists(tree, 32, 64, CPU)
    assert key_lists(tree, 32, 64, CPU) is not key_lists(tree, 16, 64, CPU)
