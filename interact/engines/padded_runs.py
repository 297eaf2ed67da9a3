"""Runs of a tree padded to one of a few sizes, so that what was captured of one run serves others.

1. All runs of a prompt get one size: of new tokens, of the rows that are read, and of the keys kept from before.
2. Padding tokens lie behind the new tokens, padding keys before the kept ones. They are segments of their own without
   a parent, so no other token sees them.
3. Further rows that are read are the first padding token's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from interact.engines.coalition_tree import Run

_PIECE = 64
"""Tokens of a padding segment: as many as a block of queries, which then meets no other padding."""


@dataclass(frozen=True)
class Size:
    """The size of a padded run.

    Attributes:
        tokens: New tokens, at least one of them padding.
        rows: New tokens whose logits are read.
        kept: Keys kept from before, and keys that the next run needs.
    """

    tokens: int
    rows: int
    kept: int


def rounded(count: int) -> int:
    """Return a number from `count` on that is 4, 5, 6 or 7 times a power of two, or less than 8.

    >>> [rounded(count) for count in (1, 7, 9, 17, 1000, 1024, 1025)]
    [1, 7, 10, 20, 1024, 1024, 1280]
    """
    step = 1 << max(0, (count - 1).bit_length() - 3)
    return -(-count // step) * step


def most_tokens(size: int) -> int:
    """Return how many tokens a run may have so that it has at most `size` when it is padded, but at least one."""
    step = 1 << max(0, size.bit_length() - 3)
    return max(1, size // step * step - 1)


def common_size(runs: Sequence[Run], answer: int) -> Size:
    """Return the size to which all runs of a prompt are padded; the answer has so many tokens that are scored."""
    tokens = max(len(run.position) - run.kept for run in runs)
    leaves = max(1, *(len(run.leaves) for run in runs))
    kept = max(len(run.carry) for run in runs)
    return Size(rounded(tokens + 1), rounded(leaves) * answer, rounded(max(_PIECE, kept)) if kept else 0)


def padded(run: Run, size: Size) -> Run:
    """Pad a run; leaves and rows stay what they are."""
    front, behind = size.kept - run.kept, size.tokens - (len(run.position) - run.kept)
    # Positions of the prompt: others may lie outside the model's context.
    piece = min(_PIECE, int(run.position.max(initial=0)) + 1)
    before, after = _pieces(front, piece), _pieces(behind, piece)
    length = np.concatenate([before, run.length, after])
    rooted = np.where(run.parent >= 0, run.parent + len(before), -1)
    return Run(
        position=np.concatenate([np.arange(front) % piece, run.position, np.arange(behind) % piece]),
        absent=np.pad(run.absent, (front, behind)),
        start=np.cumsum(length) - length,
        length=length,
        parent=np.pad(rooted, (len(before), len(after)), constant_values=-1),
        kept=size.kept,
        carry=np.pad(run.carry + front, (size.kept - len(run.carry), 0)),
        leaves=run.leaves,
        rows=run.rows,
    )


def _pieces(count: int, piece: int) -> np.ndarray:
    whole, rest = divmod(count, piece)
    return np.array([piece] * whole + [rest] * (rest > 0), dtype=np.int64)
