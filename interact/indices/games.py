"""The game behind a result: either all 2^n scores, or the AND and OR terms that make them.

A result with its 2^n scores stands for v itself; one with terms only for
phi(S) = bias + sum_{T subset S} and(T) + sum_{T meets S} or(T). A bare array stands for v.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from interact.indices.values import IndexValues

LARGEST = 26
"""Most players of a game given by all its scores: 2^26 of them are half a gigabyte."""

Group = tuple[np.ndarray, np.ndarray]
"""Terms of one size s: members, int64, shape [r, s], each row ascending; effects, float64, shape [r]."""


@dataclass(frozen=True)
class Game:
    """A cooperative game, ready for `interact.indices`.

    Attributes:
        n: Number of players.
        bias: v(empty).
        values: v of all coalitions, float64, shape [2**n] in the bit order of docs/math.md, or None.
        and_groups: AND terms by size, where there are no values.
        or_groups: OR terms by size, where there are no values.
        names: The players in words; empty when unknown.
    """

    n: int
    bias: float
    values: np.ndarray | None = None
    and_groups: tuple[Group, ...] = ()
    or_groups: tuple[Group, ...] = ()
    names: tuple[str, ...] = ()


def read_game(result: Any) -> Game:
    """Read the game behind interactions (exact or sampled), Moebius coefficients, or an array of scores.

    Args:
        result: Something with `all_scores` of shape [2**n], something with `n`, `bias`, `and_terms` and `or_terms`
            (mappings from sets of player indices to effects), or an array of scores, shape [2**n].

    Raises:
        ValueError: It is none of these, its length is not a power of two, or it holds numbers that are not finite.
    """
    if isinstance(result, Game):
        return result
    if isinstance(result, IndexValues) and result.index != "Moebius":
        raise ValueError(
            f"These are values of the index {result.index}, from which the game cannot be computed; pass the "
            "interactions they were computed from, all 2**n scores, or Moebius coefficients of every order."
        )
    if isinstance(result, IndexValues) and result.order < result.n:
        raise ValueError(
            f"These Moebius coefficients stop at order {result.order} of {result.n} players, so they may not be the "
            "whole game; compute them without order=, or, where no larger term exists, say so by max_order=n_players."
        )
    players = getattr(result, "players", ())
    names = tuple(str(getattr(player, "text", player)) for player in players)
    # A sampled result has scores too, but only all of them are a game by themselves.
    scores = getattr(result, "all_scores", None)
    if scores is not None:
        return _from_scores(scores, names)
    if hasattr(result, "and_terms") and hasattr(result, "or_terms"):
        return _from_terms(result, names)
    if hasattr(result, "__array__") or isinstance(result, (list, tuple)):
        return _from_scores(result, ())
    raise ValueError(
        f"An index is computed from interactions or from an array of 2**n scores, but got {type(result).__name__}."
    )


def _from_scores(scores: Any, names: tuple[str, ...]) -> Game:
    try:
        given = np.asarray(scores)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"The scores of a game are real numbers, one per coalition, but NumPy says: {error}"
        ) from error
    if given.dtype.kind not in "biuf":
        raise ValueError(f"The scores of a game are real numbers, one per coalition, but these are {given.dtype}.")
    n = given.size.bit_length() - 1
    if given.ndim != 1 or given.size != 1 << max(n, 0) or n > LARGEST:
        raise ValueError(
            f"The scores of a game are an array of 2**n numbers, n at most {LARGEST}, one per coalition in the order "
            f"of docs/math.md, but the shape is {given.shape}."
        )
    values = np.ascontiguousarray(given, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise ValueError(
            f"The score of coalition {int(bad[0])} is {values[bad[0]]} ({len(bad)} scores are not finite); score them "
            "again or leave these coalitions to the sparse method."
        )
    return Game(n, float(values[0]), values, names=names)


def _from_terms(result: Any, names: tuple[str, ...]) -> Game:
    n, bias = int(result.n), float(result.bias)
    if not np.isfinite(bias):
        raise ValueError(f"The bias v(empty) must be a finite number, but is {bias}.")
    groups = [_groups(terms, kind, n) for kind, terms in (("AND", result.and_terms), ("OR", result.or_terms))]
    return Game(n, bias, None, *groups, names=names)


def _groups(terms: Mapping[Iterable[int], float], kind: str, n: int) -> tuple[Group, ...]:
    by_size: dict[int, list[tuple[list[int], float]]] = {}
    for players, effect in terms.items():
        members = sorted({int(i) for i in players})
        if not members or members[0] < 0 or members[-1] >= n:
            raise ValueError(f"An {kind} term is a set of players in [0, {n}), not empty, but one is {members}.")
        if not np.isfinite(effect):
            raise ValueError(f"The effect of the {kind} term {members} is {effect}; effects must be finite.")
        by_size.setdefault(len(members), []).append((members, float(effect)))
    return tuple(
        (np.array([m for m, _ in rows], dtype=np.int64), np.array([e for _, e in rows], dtype=np.float64))
        for _, rows in sorted(by_size.items())
    )
