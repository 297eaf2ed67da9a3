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

from dataclasses import dataclass

import numpy as np
import torch

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
        key, seen, offset, full = _build(tree, tokens, tile)
        parts = [key, *seen, offset, full]
        packed = torch.from_numpy(np.concatenate(parts).astype(np.uint32, copy=False).view(np.int32))
        packed = to_device(packed, device)
        whole = packed.split([len(key), seen.size, len(offset), len(full)])
        made = KeyLists(whole[0], whole[1].view(len(seen), -1), *whole[2:])
        tree.prepared[tokens, tile, device] = made
    return made


def _build(tree: SegmentTree, tokens: int, tile: int) -> tuple[np.ndarray, ...]:
    """List keys, bits, offsets and ends of full tiles; the arguments of `key_lists`, arrays of uint32 and int64."""
    owner = np.repeat(np.arange(len(tree.start)), tree.length.numpy())
    head = np.arange(tree.keys - tree.queries, tree.keys, tokens)
    tail = np.minimum(head + tokens, tree.keys)
    above, until = _bounds(tree)
    key, of, count = _paths(tree, above, owner, head, tail)
    begin = np.maximum(key - head[of], 0)
    end = np.minimum(until[owner[key]], tail[of]) - head[of]
    bits = _ones(end) & ~_ones(begin)
    if bool((tree.first > 0).any()):
        # A key that is too far away for every token of the block is not listed.
        bits &= _near(tree, key, head[of])
        key, of, bits = key[bits > 0], of[bits > 0], bits[bits > 0]
        count = np.bincount(of, minlength=len(head))
    offset = np.append(0, np.cumsum(-(-count // tile)))
    to = np.arange(len(key)) + np.repeat(offset[:-1] * tile - (np.cumsum(count) - count), count)
    words = -(-tokens // 32)
    # Nobody sees the padding: it has no bits.
    listed, seen = np.zeros(offset[-1] * tile, np.uint32), np.zeros((words, offset[-1] * tile), np.uint32)
    listed[to] = key
    for word in range(words):
        seen[word, to] = (bits >> np.uint64(32 * word)).astype(np.uint32)
    return listed, seen, offset, offset[:-1] + _leading(bits == _ones(tail - head)[of], count) // tile


def _leading(true: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Count how many entries of each list of `count` entries are true before its first that is not."""
    end = np.cumsum(count)
    other = np.append(np.flatnonzero(~true), len(true))
    begin = end - count
    return np.minimum(other[np.searchsorted(other, begin)], end) - begin


def _paths(
    tree: SegmentTree, above: np.ndarray, owner: np.ndarray, head: np.ndarray, tail: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """List the path of each block's first token and the block: keys, their blocks, and how many each block has."""
    start, length, parent = (field.numpy() for field in (tree.start, tree.length, tree.parent))
    segment, number = owner[head], np.arange(len(head))
    path = above[segment] + head - start[segment]
    count = path + tail - head
    offset = np.cumsum(count) - count
    # Ranges of keys: where they go in the lists, where they lie in the packing, how long they are.
    ranges = [(offset + path, head, tail - head), (offset + above[segment], start[segment], head - start[segment])]
    while len(number):
        up = parent[segment]
        number, segment = number[up >= 0], up[up >= 0]
        ranges.append((offset[number] + above[segment], start[segment], length[segment]))
    to, source, long = (np.concatenate(part) for part in zip(*ranges, strict=True))
    step = np.arange(long.sum()) - np.repeat(np.cumsum(long) - long, long)
    key = np.empty(len(step), np.int64)
    key[np.repeat(to, long) + step] = np.repeat(source, long) + step
    return key, np.repeat(np.arange(len(head)), count), count


def _bounds(tree: SegmentTree) -> tuple[np.ndarray, np.ndarray]:
    """Return the tokens on the path above each segment, and where its subtree ends."""
    length, end = tree.length.numpy(), (tree.start + tree.length).numpy()
    # Index -1, above a root, is the last entry.
    up, size = np.append(tree.parent.numpy(), -1), np.append(length, 0)
    above, until, at = np.zeros_like(length), end.copy(), up[:-1]
    while (at >= 0).any():
        np.maximum.at(until, at[at >= 0], end[at >= 0])
        above, at = above + size[at], up[at]
    return above, until


def _ones(count: np.ndarray) -> np.ndarray:
    """Return numbers whose lowest `count` bits are set, uint64; count from 0 to 64."""
    count = np.maximum(count, 0).astype(np.uint64)
    full = np.uint64(2**64 - 1)
    # A shift by all 64 bits is undefined.
    return np.where(count > 0, full >> (np.uint64(64) - np.maximum(count, 1)), np.uint64(0)).astype(np.uint64)


def _near(tree: SegmentTree, key: np.ndarray, head: np.ndarray) -> np.ndarray:
    """Say which tokens of a block see as far back as a key, bits in uint64."""
    position, first = tree.position.numpy(), tree.first.numpy()
    low = first[np.minimum(head[:, None] + np.arange(MOST_TOKENS), tree.keys - 1)]
    return np.packbits(position[key, None] >= low, axis=1, bitorder="little").view(np.uint64)[:, 0]
