"""Which coalitions to score: densities, balance of sizes, complements, shared beginnings.

- ``uniform``: every player present with probability 1/2.
- ``mixed``: three quarters uniform, one quarter of every size, so that few players alone, and all but few, are seen.
- ``two-sided``: 40 % of the coalitions nearly empty, 40 % nearly full, 20 % half full. Seen from the empty
  input almost only OR terms act, seen from the full one almost only AND terms.
- ``balanced``: every size from 0 to n equally often.

`paired` draws every coalition with its complement. `shared` draws groups whose members agree on the first players and
part only later, half by half: the coalition tree then computes their beginning once. Each coalition alone is
distributed as without sharing; what is lost is independence inside a group.
"""

from __future__ import annotations

import numpy as np

DESIGNS = ("mixed", "uniform", "two-sided", "balanced")
_SIZED = {"balanced": 1, "mixed": 4}
"""Every so many groups of a design have an exact size, so that the smallest and the largest coalitions are seen."""


def density(n: int) -> float:
    """Return the density of the nearly empty side: about 2 sqrt(n) players."""
    return min(0.5, 2 / n**0.5) if n else 0.5


def draw(
    n: int, count: int, *, kind: str, paired: bool, shared: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw coalitions.

    Args:
        n: Number of players.
        count: Number of coalitions.
        kind: One of `DESIGNS`.
        paired: Whether each comes with its complement.
        shared: Size of the groups with a shared beginning, a power of two; 1 for none.
        rng: Source of the draws.

    Returns:
        bool [count, n], and the number of each coalition's stratum, int64 [count]: 0 sparse, 1 dense, 2 between.
    """
    groups = -(-count // shared)
    drawn = -(-groups // 2) if paired else groups
    chances = _chances(n, drawn, kind, rng)
    masks = rng.random((drawn, shared, n)) < chances[:, None, None]
    if every := _SIZED.get(kind):
        sizes = np.round(chances[::every] * n).astype(int)
        ranks = rng.random((len(sizes), shared, n)).argsort(axis=2).argsort(axis=2)
        masks[::every] = ranks < sizes[:, None, None]
    _share(masks, rng)
    if paired:
        masks = np.stack([masks, ~masks], axis=1)
        chances = np.stack([chances, 1 - chances], axis=1)
    masks = masks.reshape(masks.size // n if n else chances.size * shared, n)[:count]
    chances = np.repeat(chances.reshape(-1), shared)[:count]
    return masks, np.where(chances < 0.45, 0, np.where(chances > 0.55, 1, 2))


def distinct(
    n: int, count: int, taken: np.ndarray, *, kind: str, paired: bool, shared: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw coalitions that differ from each other and from those `taken` (bool, [m, n]); fewer where none are left.

    Returns:
        What `draw` returns, and the number of the group of each coalition, int64: those of one group were drawn with a
        shared beginning.
    """
    seen = {row.tobytes() for row in np.packbits(taken, axis=1)}
    masks, strata, groups = np.zeros((0, n), dtype=bool), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    for turn in range(20):
        if len(masks) >= count:
            break
        more, where = draw(n, count - len(masks), kind=kind, paired=paired, shared=shared, rng=rng)
        fresh = []
        for row, key in enumerate(np.packbits(more, axis=1)):
            if key.tobytes() not in seen:
                seen.add(key.tobytes())
                fresh.append(row)
        masks, strata = np.concatenate([masks, more[fresh]]), np.concatenate([strata, where[fresh]])
        groups = np.concatenate([groups, turn * count + np.array(fresh, dtype=np.int64) // shared])
    return masks, strata, groups


def _chances(n: int, groups: int, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Return the density of each group."""
    if kind == "two-sided":
        p = density(n)
        # Interleaved, so that any beginning of the list is a design of its own.
        return np.resize([p, 1 - p, p, 1 - p, 0.5], groups)
    chances = np.full(groups, 0.5)
    if every := _SIZED.get(kind):
        sized = len(chances[::every])
        # Spread evenly from 0 to n, however few they are; where they begin differs from draw to draw.
        places = (np.arange(sized) + rng.random()) / max(sized, 1)
        chances[::every] = rng.permutation((places * (n + 1)).astype(int)) / max(n, 1)
    return chances


def _share(masks: np.ndarray, rng: np.random.Generator) -> None:
    """Let the members of each group, bool [groups, size, n], agree on their first players, in place."""
    groups, size, n = masks.shape
    levels = size.bit_length() - 1
    for level in range(levels):
        # The beginnings of all, of halves, of quarters ...: each level's cut lies in its own part of the text.
        cuts = ((level + rng.random(groups) + 0.5) / (levels + 1) * n).astype(int).clip(0, n)
        block = size >> level
        first = masks[:, np.arange(size) // block * block]
        before = np.arange(n) < cuts[:, None, None]
        masks[:] = np.where(before, first, masks)
