"""How the effects of the soft split answer to changes of its scores, to first order: from noise to standard errors.

The soft split is the least of a strictly convex cost, so it is a function of the scores (docs/split.md). With A the
columns of the effects that are not 0, K = A^T A, lambda = gamma r, and w the scores less that of the empty coalition::

    (K + lambda) x_A = A^T w - gamma sign(x_A)
    (K + lambda) dx_A = A^T dw - (sign(x_A) + r x_A) dgamma - gamma x_A dr,      gamma = kappa |w_N|, r ~ 1 / max |w|

An effect that is 0 stays 0 for a while. It is let in beside the others to say what noise might make of it: with c its
column and c' the rest of c that A does not give, dx = c'^T dw / (c^T c' + lambda).

1. The columns of A, of both kinds, and a Cholesky factor of K + lambda.
2. For each effect its row of the response, of norm h. Independent noise sigma in every score, that of the empty
   coalition too, gives the effect a standard error sigma h.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from interact_kernels.sparsify.form import NoiseForm

LARGEST = 12
"""Most players: the columns of all effects take 2**(2 n + 4) bytes, a part at a time."""
_CHUNK = 512
_ACTIVE = 1e-9


@dataclass(frozen=True)
class Response:
    """Result of `response`; arrays of shape [2, 2**n], the AND effects and then the OR effects.

    Attributes:
        size: Norm of each effect's response: its standard error where independent noise of each score has sigma 1.
            NaN where the effect is not told apart from the others.
        moved: How the effects answer to the change of the scores that was handed in.
    """

    size: np.ndarray
    moved: np.ndarray


def response(
    v: np.ndarray,
    effects: np.ndarray,
    gamma: float,
    *,
    also: np.ndarray | None = None,
    change: np.ndarray | None = None,
) -> Response:
    """Return how the effects of a soft split answer to changes of its scores.

    Args:
        v: The scores, float64, shape [2**n].
        effects: The effects of their soft split, shape [2, 2**n], ORs of single players merged into AND.
        gamma: The absolute price of the noise, kappa |v[full] - v[empty]|, above 0.
        also: Effects that may move though they are 0, bool, shape [2, 2**n].
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
    moves = np.zeros_like(v) if change is None else change - change[0]
    held = _Held(_dictionary(np.argwhere(moving), len(v)), (v - v[0])[1:], effects[moving], gamma)
    size, moved = np.zeros(effects.shape), np.zeros(effects.shape)
    for own, chosen in ((True, moving), (False, columns & ~moving)):
        places = np.argwhere(chosen)
        for first in range(0, len(places), _CHUNK):
            part = places[first : first + _CHUNK]
            rows = held.own(np.arange(first, first + len(part))) if own else held.beside(_dictionary(part, len(v)))
            at = part[:, 0], part[:, 1]
            # The score of the empty coalition is in all that are taken less it.
            size[at] = np.sqrt((rows**2).sum(0) + rows.sum(0) ** 2)
            moved[at] = rows.T @ moves[1:]
    return Response(size, moved)


class _Held:
    """The effects x that move together, by their columns a, float64 [2**n - 1, m]; w are the scores."""

    def __init__(self, a: np.ndarray, w: np.ndarray, x: np.ndarray, gamma: float) -> None:
        top = int(np.abs(w).argmax())
        ridge = NoiseForm.of("soft").ridge / abs(w[top])
        self.a, self.weight = a, gamma * ridge
        self.factor = cho_factor(a.T @ a + self.weight * np.eye(a.shape[1])) if a.shape[1] else None
        # The price follows the score of all players, the ridge the largest score: where, and by how much.
        self.last, self.top = len(w) - 1, top
        self.by_price = -(np.sign(x) + ridge * x) * gamma / w[-1]
        self.by_ridge = self.weight * x / w[top]

    def own(self, which: np.ndarray) -> np.ndarray:
        """Return the rows of the response of some of these effects, as columns."""
        chosen = np.zeros((self.a.shape[1], len(which)))
        chosen[which, np.arange(len(which))] = 1.0
        solved = cho_solve(self.factor, chosen)
        rows = self.a @ solved
        rows[self.last] += self.by_price @ solved
        rows[self.top] += self.by_ridge @ solved
        return rows

    def beside(self, c: np.ndarray) -> np.ndarray:
        """Return the same of other effects, by their columns c, each of them let in alone."""
        rest = c - self.a @ cho_solve(self.factor, self.a.T @ c) if self.factor is not None else c
        return rest / ((rest * c).sum(0) + self.weight)


def _dictionary(places: np.ndarray, size: int) -> np.ndarray:
    """Return the columns of effects (their kinds and sets, [m, 2]) over the coalitions but the empty one."""
    sets = np.arange(1, size)[:, None]
    kind, term = places[:, 0], places[:, 1]
    return np.where(kind == 0, (sets & term) == term, (sets & term) != 0).astype(np.float64)
