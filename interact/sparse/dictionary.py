"""AND and OR terms as columns: what each says of every sampled coalition, and their inner products.

A term is (kind, players). Of one player both kinds are the same function, so it is always AND; two OR players are
x_i + x_j - x_i x_j, so which of the two a pair is, only sparsity decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from interact.results.terms import triggered

Term = tuple[str, frozenset[int]]


def merged(kind: str, members: Iterable[int]) -> Term:
    """Name a term; one player alone is AND."""
    players = frozenset(members)
    return ("and" if len(players) == 1 else kind), players


def columns(masks: np.ndarray, terms: Iterable[Term]) -> np.ndarray:
    """Return which coalitions trigger each term: bool, shape [m, terms]; `masks` is bool [m, n]."""
    found = [triggered(masks, members, kind) for kind, members in terms]
    return np.stack(found, axis=1) if found else np.zeros((len(masks), 0), dtype=bool)


@dataclass(frozen=True)
class Products:
    """Centred inner products of some terms and of the scores: all that a least-squares fit needs.

    Attributes:
        gram: X^T X, float64, shape [p, p].
        target: X^T y, float64, shape [p].
        power: y^T y.
        rows: Number of coalitions.
        mean: Mean of each column, shape [p].
        level: Mean of the scores.
    """

    gram: np.ndarray
    target: np.ndarray
    power: float
    rows: int
    mean: np.ndarray
    level: float


def products(x: np.ndarray, y: np.ndarray) -> Products:
    """Compute the centred products of bool columns [m, p] with scores [m]."""
    rows = len(y)
    # Counts of coalitions are whole numbers, exact in float32 up to 2**24.
    small = x.astype(np.float32)
    mean = x.mean(axis=0, dtype=np.float64)
    level = float(y.mean())
    gram = (small.T @ small).astype(np.float64)
    # Row by row: of thousands of terms a second array of this shape would be a gigabyte.
    for row, share in zip(gram, mean, strict=True):
        row -= rows * (share * mean)
    centred = y - level
    return Products(gram, _dot(small, centred), float(centred @ centred), rows, mean, level)


def _dot(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    total = np.zeros(x.shape[1])
    for low in range(0, len(y), 4096):
        total += y[low : low + 4096] @ x[low : low + 4096].astype(np.float64)
    return total
