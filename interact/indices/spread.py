"""Spread a game's terms over the sets of an index.

From all 2^n scores: 1. Moebius transform; 2. for each size s, the coefficients of that size alone are summed over
supersets (one butterfly); 3. each set T of size t takes a(s, t) times its sum. n + 1 butterflies, any index.

From terms: each term over S gives a(s, t) or its OR weight to every T in S of size t; equal sets are then added up.
Terms of one size go through together. The cost depends on the terms, not on n.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, combinations
from math import comb, log10

import numpy as np

from interact.indices.games import Game
from interact.indices.rules import Rule, Weight
from interact_kernels import lattice

Spread = list[tuple[np.ndarray, np.ndarray]]
"""For each order t: sets, int64, shape [c, t], ascending; effects by rule, float64, shape [rules, c]."""

Job = tuple[np.ndarray, np.ndarray]
"""Terms of one size: members, int64, shape [r, s]; what each rule gives their subsets, float64, shape [rules, r]."""

_MOST_NUMBERS = 1 << 25


def spread(game: Game, rules: Sequence[Rule], orders: Sequence[int]) -> Spread:
    """Return the sets of each order with what each rule gives them.

    From scores all C(n, t) sets are returned, from terms those inside a term.

    Raises:
        ValueError: There are too many sets of these orders.
    """
    if game.values is not None:
        _check_size([(game.n, 1, t) for t in orders], len(rules))
        return _spread_scores(game.values, game.n, rules, orders)
    jobs = [_jobs(game, rules, t) for t in orders]
    shapes = [(*members.shape[::-1], t) for t, found in zip(orders, jobs, strict=True) for members, _ in found]
    _check_size(shapes, len(rules))
    return [
        _spread_terms(found, t, game.n, len(rules)) if t else (np.zeros((1, 0), dtype=np.int64), _empty(game, rules))
        for t, found in zip(orders, jobs, strict=True)
    ]


def _spread_scores(values: np.ndarray, n: int, rules: Sequence[Rule], orders: Sequence[int]) -> Spread:
    coefficients = lattice.moebius(values)
    sizes = _sizes(n)
    masks = [np.flatnonzero(sizes == t) for t in orders]
    weights = [
        np.array([[float(rule.and_weight(s, t)) if s >= t else 0.0 for s in range(n + 1)] for rule in rules])
        for t in orders
    ]
    effects = [np.zeros((len(rules), len(chosen))) for chosen in masks]
    for s in range(n + 1):
        graded = np.where(sizes == s, coefficients, 0.0)
        # Without weight on smaller sets, a coefficient stays where it is.
        if any(weight[:, s].any() for t, weight in zip(orders, weights, strict=True) if t < s):
            graded = lattice.zeta(graded, adjoint=True)
        for effect, weight, chosen in zip(effects, weights, masks, strict=True):
            if weight[:, s].any():
                effect += weight[:, s, None] * graded[chosen]
    return [_sorted(_members(m, n, t), e) for m, t, e in zip(masks, orders, effects, strict=True)]


def _jobs(game: Game, rules: Sequence[Rule], t: int) -> list[Job]:
    jobs: list[Job] = []
    for groups, kind in ((game.and_groups, "and"), (game.or_groups, "or")):
        for members, effect in groups:
            weight = _weights(rules, kind, members.shape[1], t)
            if t and weight.any():
                jobs.append((members, weight[:, None] * effect))
    return jobs


def _spread_terms(jobs: Sequence[Job], t: int, n: int, rules: int) -> tuple[np.ndarray, np.ndarray]:
    sets, effects = [np.zeros((0, t), dtype=np.int64)], [np.zeros((rules, 0))]
    for members, effect in jobs:
        picks = _combinations(members.shape[1], t)
        sets.append(members[:, picks].reshape(-1, t))
        effects.append(np.repeat(effect, len(picks), axis=1))
    return _added_up(np.concatenate(sets), np.concatenate(effects, axis=1), n)


def _empty(game: Game, rules: Sequence[Rule]) -> np.ndarray:
    effects = game.bias * np.array([[float(rule.and_weight(0, 0))] for rule in rules])
    for groups, kind in ((game.and_groups, "and"), (game.or_groups, "or")):
        for members, effect in groups:
            effects += effect.sum() * _weights(rules, kind, members.shape[1], 0)[:, None]
    return effects


def _weights(rules: Sequence[Rule], kind: str, s: int, t: int) -> np.ndarray:
    if s < t:
        return np.zeros(len(rules))
    chosen: list[Weight] = [rule.and_weight if kind == "and" else rule.or_weight for rule in rules]
    return np.array([float(weight(s, t)) for weight in chosen])


def _check_size(shapes: Sequence[tuple[int, int, int]], rules: int) -> None:
    """Refuse to list too many sets; `shapes` holds (players of a term, terms, players of a set)."""
    numbers = sum(terms * comb(s, t) * (t + rules) for s, terms, t in shapes)
    if numbers > _MOST_NUMBERS:
        largest, highest = max(s for s, _, _ in shapes), max(t for _, _, t in shapes)
        raise ValueError(
            f"The sets of up to {highest} out of {largest} players are too many to list (10^{log10(numbers):.0f} "
            f"numbers, at most 10^{log10(_MOST_NUMBERS):.0f}); pass a lower order."
        )


def _added_up(sets: np.ndarray, effects: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Add up the effects of equal rows; rows come back in lexicographic order."""
    if not len(sets):
        return sets, effects
    # Column by column, so that the key of a row never exceeds rows * n and fits in 64 bits for any order.
    key = sets[:, 0]
    for column in range(1, sets.shape[1]):
        key = np.unique(key, return_inverse=True)[1] * n + sets[:, column]
    _, first, place = np.unique(key, return_index=True, return_inverse=True)
    added = np.stack([np.bincount(place, weights=row, minlength=len(first)) for row in effects])
    return sets[first], added


def _combinations(s: int, t: int) -> np.ndarray:
    flat = np.fromiter(chain.from_iterable(combinations(range(s), t)), dtype=np.int64, count=comb(s, t) * t)
    return flat.reshape(-1, t)


def _sizes(n: int) -> np.ndarray:
    sizes = np.zeros(1, dtype=np.int8)
    for _ in range(n):
        sizes = np.concatenate([sizes, sizes + 1])
    return sizes


def _members(masks: np.ndarray, n: int, t: int) -> np.ndarray:
    return np.nonzero(masks[:, None] >> np.arange(n) & 1)[1].reshape(len(masks), t)


def _sorted(sets: np.ndarray, effects: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.lexsort(sets.T[::-1]) if sets.shape[1] else np.arange(len(sets))
    return sets[order], effects[:, order]
