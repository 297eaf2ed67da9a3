"""How the effects of the soft split answer to changes of its scores, to first order: from noise to standard errors.

The soft split is the least of a strictly convex cost, so it is a function of the scores (docs/split.md). With A the
columns of the effects that are not 0, K = A^T A, lambda = gamma r, and w the scores less that of the empty coalition::

    (K + lambda) x_A = A^T w - gamma sign(x_A)
    (K + lambda) dx_A = A^T dw - (sign(x_A) + r x_A) dgamma - gamma x_A dr,      gamma = kappa |w_N|, r ~ 1 / max |w|

An effect that is 0 stays 0 for a while. It is added to the others to say what noise might make of it: with c its
column and c' the rest of c that A does not give, dx = c'^T dw / (c^T c' + lambda).

1. K counts the coalitions in which two interactions both show, which needs no columns; a Cholesky factor of K + lambda.
2. For each effect the norm h of its row of the response. Independent noise sigma in every score, that of the empty
   coalition too, gives the effect a standard error sigma h.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from interact_kernels.sparsify.form import NoiseForm, dual_slopes

LARGEST = 12
"""Most players: the effects that are not 0 are thousands then, and their counts a matrix."""
_CHUNK = 512
_ACTIVE = 1e-9


@dataclass(frozen=True)
class Response:
    """Result of `response`; arrays of shape [2, 2**n], the AND effects and then the OR effects.

    Attributes:
        size: Norm of each effect's response: its standard error where independent noise of each score has sigma 1.
            NaN where the effect cannot be distinguished from the others.
        moved: How the effects answer to the change of the scores that was given.
    """

    size: np.ndarray
    moved: np.ndarray


def response(
    v: np.ndarray,
    effects: np.ndarray,
    gamma: float,
    *,
    also: np.ndarray | None = None,
    among: np.ndarray | None = None,
    change: np.ndarray | None = None,
) -> Response:
    """Return how the effects of a soft split answer to changes of its scores.

    Args:
        v: The scores, float64, shape [2**n].
        effects: The effects of their soft split, shape [2, 2**n], ORs of single players merged into AND.
        gamma: The absolute price of the noise, kappa |v[full] - v[empty]|, above 0.
        also: Effects that may move though they are 0, bool, shape [2, 2**n].
        among: Effects to answer for, bool, shape [2, 2**n], the others 0; None for all.
        change: A change of the scores, shape [2**n]; None for none.

    Raises:
        ValueError: There are more than 12 players, or gamma is not above 0.

    >>> v = np.array([0.0, 0.0, 0.0, 1.0])
    >>> response(v, np.array([[0, 0, 0, 1.0], [0, 0, 0, 0]]), 0.01).size[0, 3].round(2)
    1.41
    """
    n = len(v).bit_length() - 1
    if n > LARGEST or not gamma > 0:
        raise ValueError(f"The response takes at most {LARGEST} players and a price above 0, not {n} and {gamma}.")
    columns = np.ones(effects.shape, dtype=bool)
    columns[:, 0] = columns[1, 1 << np.arange(n)] = False
    largest = np.abs(effects).max(initial=0.0)
    moving = columns & (np.abs(effects) > _ACTIVE * largest)
    moving |= columns & (False if also is None else also)
    asked = columns if among is None else columns & among
    moves = np.zeros_like(v) if change is None else change - change[0]
    held = _Held(np.argwhere(moving), v - v[0], effects[moving], gamma, moves)
    place = np.zeros(effects.shape, dtype=np.int64)
    place[moving] = np.arange(int(moving.sum()))
    size, moved = np.zeros(effects.shape), np.zeros(effects.shape)
    for own, chosen in ((True, asked & moving), (False, asked & ~moving)):
        places = np.argwhere(chosen)
        for first in range(0, len(places), _CHUNK):
            part = places[first : first + _CHUNK]
            at = part[:, 0], part[:, 1]
            size[at], moved[at] = held.own(place[at]) if own else held.beside(part)
    return Response(size, moved)


class _Held:
    """The effects x that move together, by their kinds and sets [m, 2]; w are the scores."""

    def __init__(self, terms: np.ndarray, w: np.ndarray, x: np.ndarray, gamma: float, moves: np.ndarray) -> None:
        self.terms, self.n = terms, len(w).bit_length() - 1
        top = int(np.abs(w).argmax())
        ridge = NoiseForm.of("soft").ridge / (abs(w[top]) or 1.0)
        self.weight = gamma * ridge
        self.counts = _counts(terms, terms, self.n)
        self.factor = cho_factor(self.counts + self.weight * np.eye(len(terms))) if len(terms) else None
        # What the columns give of a change of the scores, and how often each shows.
        slopes = dual_slopes(np.stack([moves, np.r_[0.0, np.ones(len(w) - 1)]]))
        self.given, self.shown = (slopes[:, row] for row in (0, 1))
        # The price follows the score of all players, the ridge the largest score: where, and by how much.
        self.moves = moves[[-1, top]]
        same = top == len(w) - 1
        by_price, by_ridge = -(np.sign(x) + ridge * x) * gamma / w[-1], self.weight * x / (w[top] or 1.0)
        self.extra = np.stack([by_price + same * by_ridge, (not same) * by_ridge])
        self.there = np.stack([np.ones(len(terms)), _shows(terms, top)])

    def own(self, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the norms of the responses of some of these effects, and their answers to the change."""
        chosen = np.zeros((len(self.terms), len(which)))
        chosen[which, np.arange(len(which))] = 1.0
        x = self._solve(chosen)
        at = self.terms[:, 0], self.terms[:, 1]
        extra = self.extra @ x
        squares = (x * (self.counts @ x)).sum(0) + (extra**2 + 2 * extra * (self.there @ x)).sum(0)
        total = self.shown[at] @ x + extra.sum(0)
        # The score of the empty coalition is in all that are taken less it.
        return np.sqrt(squares + total**2), self.given[at] @ x + self.moves @ extra

    def beside(self, terms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the same of other effects, each of them let in alone."""
        at = terms[:, 0], terms[:, 1]
        own = self.terms[:, 0], self.terms[:, 1]
        often, shared = self.shown[at], _counts(self.terms, terms, self.n)
        x = self._solve(shared)
        squares = often - 2 * (shared * x).sum(0) + (x * (self.counts @ x)).sum(0)
        given, total = self.given[at] - self.given[own] @ x, often - self.shown[own] @ x
        below = often - (shared * x).sum(0) + self.weight
        return np.sqrt(np.maximum(squares, 0.0) + total**2) / below, given / below

    def _solve(self, right: np.ndarray) -> np.ndarray:
        return right if self.factor is None else cho_solve(self.factor, right)


def _counts(one: np.ndarray, other: np.ndarray, n: int) -> np.ndarray:
    """Return in how many coalitions two interactions both show; kinds and sets [m, 2] and [k, 2] to [m, k]."""
    kind, term = one[:, 0][:, None], one[:, 1][:, None]
    others, sets = other[:, 0][None], other[:, 1][None]

    left = np.full(1, 2.0**n)
    for _ in range(n):
        left = np.concatenate([left, left / 2])

    def without(players: np.ndarray) -> np.ndarray:
        return left[players]

    union, apart = without(term | sets), (term & sets) == 0
    mixed = np.where(kind == 0, without(term), without(sets)) - apart * union
    either = 2.0**n - without(term) - without(sets) + union
    return np.where(kind != others, mixed, np.where(kind == 0, union, either))


def _shows(terms: np.ndarray, coalition: int) -> np.ndarray:
    """Return 1 where an interaction shows in a coalition."""
    kind, term = terms[:, 0], terms[:, 1]
    return np.where(kind == 0, (term & coalition) == term, (term & coalition) != 0).astype(np.float64)
