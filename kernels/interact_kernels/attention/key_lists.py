"""Which keys a block of query tokens meets: one compacted list per block, for kernels that work on tiles.

In preorder a key s is seen by a query q when s <= q < until[s], the end of the subtree of its segment. So

1. consecutive query tokens form a block; every key that one of them sees lies on the path of the block's first token
   or in the block itself;
2. these keys are listed, and each carries one bit for every token of the block: whether that token sees it (subtree,
   causality and the lowest visible position at once);
3. lists are padded to whole tiles with keys that nobody sees, and begin with the keys that all tokens of a block see.

A kernel then needs neither parents nor positions. Lists depend on the tree alone: they are built once for all layers
and heads, and kept with the tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from interact_kernels import _native
from interact_kernels.attention.tree import SegmentTree
from interact_kernels.transfer import to_device

MOST_TOKENS = 64
"""Tokens of a block: as many as two words have bits."""


@dataclass(frozen=True)
class KeyLists:
    """The keys of each block of query tokens.

    Attributes:
        key: Index of each listed key, int32, shape [entries]; entries are whole tiles.
        seen: Bit r of word w says whether token 32 w + r of the block sees the key, int32, shape [words, entries].
        offset: First tile of each block and the end of the last, int32, shape [blocks + 1].
        full: Where each block's tiles end that all its tokens see whole, from its first tile on, int32, shape [blocks].
    """

    key: torch.Tensor
    seen: torch.Tensor
    offset: torch.Tensor
    full: torch.Tensor

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return len(self.offset) - 1


def key_lists(tree: SegmentTree, tokens: int, tile: int, device: torch.device) -> KeyLists:
    """Return the lists of a tree on a device; the first call builds them, in one copy to the device.

    Args:
        tree: Which token sees which.
        tokens: Query tokens of a block, at most 64.
        tile: Keys of a tile.
        device: Where the kernel runs.
    """
    made = tree.prepared.get((tokens, tile, device))
    if made is None:
        fields = [f.contiguous() for f in (tree.start, tree.length, tree.parent, tree.position, tree.first)]
        addresses = [f.data_ptr() for f in fields]
        numbers, entries, words, blocks = _native.key_lists(
            addresses, len(tree.start), tree.keys, tree.queries, tokens, tile
        )
        whole = to_device(torch.from_numpy(numbers), device).split([entries, words * entries, blocks + 1, blocks])
        made = KeyLists(whole[0], whole[1].view(words, entries), *whole[2:])
        tree.prepared[tokens, tile, device] = made
    return made


def make_room(tree: SegmentTree, times: float) -> bool:
    """Lay the lists of a tree in new memory that holds lists so many times as long; False where it has none."""
    found = list(_lists(tree))
    for shape, lists in found:
        words, entries = lists.seen.shape
        room = int(times * entries)
        key, seen = lists.key.new_zeros(room), lists.seen.new_zeros(words, room)
        key[:entries].copy_(lists.key)
        seen[:, :entries].copy_(lists.seen)
        tree.prepared[shape] = replace(lists, key=key, seen=seen, offset=lists.offset.clone(), full=lists.full.clone())
    return bool(found)


def refill(tree: SegmentTree, other: SegmentTree) -> bool:
    """Put the lists of another tree, with as many keys and queries, where a tree's own lists lie.

    Whatever reads them from there then attends by the other tree. Returns False where they do not fit.
    """
    for (tokens, tile, device), lists in list(_lists(tree)):
        made = key_lists(other, tokens, tile, device)
        entries = len(made.key)
        if entries > len(lists.key) or made.blocks != lists.blocks:
            return False
        lists.key[:entries].copy_(made.key)
        lists.seen[:, :entries].copy_(made.seen)
        lists.offset.copy_(made.offset)
        lists.full.copy_(made.full)
    return True


def _lists(tree: SegmentTree) -> Iterator[tuple[tuple[int, int, torch.device], KeyLists]]:
    yield from ((shape, made) for shape, made in tree.prepared.items() if isinstance(made, KeyLists))
