"""Many weak effects of players and pairs, shrunk: what predicts best where no few terms explain the scores.

1. With z_i = 1 for a present player and -1 for an absent one, phi = c + sum c_i z_i + sum c_ij z_i z_j, each with a
   normal prior around 0: a Gaussian process, whose kernel has all pairs at once from inner products of coalitions.
2. Heredity: a first fit with equal variances says how much each player matters, s_i; then c_i has a variance
   proportional to s_i and c_ij one proportional to s_i s_j, so that pairs of players that matter are shrunk least.
3. The two variances beside the noise are those of the least error of leaving one coalition out, or one group that
   shares a beginning, which a fit knows without repeating it.
4. The effects are written as AND terms exactly, and a pair as OR where that takes less strength from its players:
   c AND{i,j} = c x_i + c x_j - c OR{i,j}.

Source: the kernel is the ANOVA kernel of order two (Saunders et al. 1998); heredity as in Chipman 1996 (Canadian
Journal of Statistics 24); leaving one out in closed form is in Rasmussen and Williams 2006, section 5.4.2.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from interact.sparse.dictionary import Term

_MOST_ROWS, _MOST_ROWS_OF_A_CHOICE, _MOST_PLAYERS = 6000, 500, 256
_LEVEL = 100.0
"""Variance of the constant: as good as free."""
_LEAST = 0.1
"""The least that a player matters, relative to the one that matters most."""
_NEGLIGIBLE = 1e-3
"""Share of the variance over all coalitions that the weakest pairs may take with them when they are left out."""
_MAIN, _PAIR = np.geomspace(0.3, 100, 6), np.array([0.0, *np.geomspace(0.1, 30, 6)])


@dataclass(frozen=True)
class Prior:
    """How much effects may vary.

    Attributes:
        matters: How much each player matters, float64, shape [n], at most 1.
        main: Variance of what the players alone add, in units of the noise.
        pair: The same of pairs.
    """

    matters: np.ndarray
    main: float
    pair: float


@dataclass(frozen=True)
class Shrunk:
    """Terms and effects, and the prior that gave them."""

    terms: list[Term]
    effects: np.ndarray
    bias: float
    prior: Prior


def shrink(
    masks: np.ndarray,
    values: np.ndarray,
    *,
    max_order: int,
    prior: Prior | None = None,
    ors: Collection[frozenset[int]] | None = None,
    groups: np.ndarray | None = None,
) -> Shrunk:
    """Fit the effects of players and pairs.

    Args:
        masks: bool, shape [m, n]; of more than 6,000 the first are taken, and with more than 256 players pairs only
            among those that matter most.
        values: float64, shape [m].
        max_order: 1 for no pairs.
        prior: What an earlier fit chose; None chooses.
        ors: The pairs that an earlier fit wrote as OR; None chooses.
        groups: Number of the group of each coalition, int64, shape [m]: the choice leaves groups out as a whole.
    """
    z, y = np.where(masks[:_MOST_ROWS], 1.0, -1.0), values[:_MOST_ROWS]
    level = float(y.mean())
    if prior is None:
        few = slice(_MOST_ROWS_OF_A_CHOICE)
        prior = _chosen(z[few], y[few] - level, max_order, np.arange(len(y))[few] if groups is None else groups[few])
    alone, together = _kernels(z, prior.matters)
    weights = _weights(prior.main * alone + prior.pair * together, y - level)
    share, paired = _shares(prior.matters)
    main = prior.main * share * (weights @ z)
    pairs = np.triu(prior.pair * paired * (z.T @ (z * weights[:, None])), 1)
    return _as_terms(level + _LEVEL * float(weights.sum()), main, _without_weakest(main, pairs), prior, ors)


def _chosen(z: np.ndarray, y: np.ndarray, max_order: int, groups: np.ndarray) -> Prior:
    """Choose how much players matter, then the variances."""
    pair = _PAIR if max_order > 1 and z.shape[1] > 1 else _PAIR[:1]
    equal = np.ones(z.shape[1])
    first = _least_error(z, y, equal, pair, groups)
    alone, together = _kernels(z, equal)
    main = np.abs(_weights(first.main * alone + first.pair * together, y) @ z)
    matters = np.maximum(main / max(float(main.max()), 1e-300), 0) + _LEAST
    if len(matters) > _MOST_PLAYERS:
        # Nothing else is listed as a pair.
        matters[np.argsort(-matters)[_MOST_PLAYERS:]] = 1e-6
    return _least_error(z, y, matters / matters.max(), pair, groups)


def left_out(inverse: np.ndarray, y: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return what a fit makes wrong of the scores of each group that it does not see, float64 [m].

    Args:
        inverse: Inverse of the covariance of the scores, [m, m].
        y: The scores, [m].
        groups: Number of the group of each, int64, [m].
    """
    weights = inverse @ y
    wrong = weights / np.diag(inverse)
    for group in np.flatnonzero(np.bincount(groups) > 1):
        rows = np.flatnonzero(groups == group)
        wrong[rows] = np.linalg.solve(inverse[np.ix_(rows, rows)], weights[rows])
    return wrong


def _least_error(z: np.ndarray, y: np.ndarray, matters: np.ndarray, pair: np.ndarray, groups: np.ndarray) -> Prior:
    alone, together = _kernels(z, matters)
    errors = {}
    for main, both in itertools.product(_MAIN, pair):
        inverse = np.linalg.inv(main * alone + both * together + _LEVEL + np.eye(len(y)))
        errors[float(main), float(both)] = float((left_out(inverse, y, groups) ** 2).sum())
    return Prior(matters, *min(errors, key=errors.__getitem__))


def _shares(matters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the prior variance of each player, [n], and of each pair, [n, n], as shares of all players' and pairs'."""
    whole = matters.sum() ** 2 - (matters**2).sum()
    return matters / matters.sum(), np.outer(matters, matters) / max(float(whole) / 2, 1e-300)


def _kernels(z: np.ndarray, matters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the covariances of coalitions by players and by pairs: sum over i < j of a_ij is (a^2 - sum a_ii) / 2."""
    inner = (z * matters) @ z.T
    pairs = (inner**2 - (matters**2).sum()) / max(float(matters.sum() ** 2 - (matters**2).sum()), 1e-300)
    return inner / matters.sum(), pairs


def _weights(kernel: np.ndarray, y: np.ndarray) -> np.ndarray:
    return cho_solve(cho_factor(kernel + _LEVEL + np.eye(len(y))), y)


def _without_weakest(main: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Leave out the weakest pairs: the effects of z are those of uncorrelated functions."""
    power = np.sort((pairs**2).ravel())
    gone = np.searchsorted(np.cumsum(power), _NEGLIGIBLE * float((main**2).sum() + power.sum()))
    return np.where(pairs**2 > (power[gone - 1] if gone else 0.0), pairs, 0.0)


def _as_terms(
    level: float, main: np.ndarray, pairs: np.ndarray, prior: Prior, ors: Collection[frozenset[int]] | None
) -> Shrunk:
    """Write effects of z as those of AND and OR: z_i = 2 x_i - 1."""
    single = 2 * main - 2 * (pairs.sum(axis=0) + pairs.sum(axis=1))
    terms: dict[Term, float] = {}
    first, second = np.nonzero(pairs)
    for k in np.argsort(-np.abs(pairs[first, second]), kind="stable"):
        i, j = int(first[k]), int(second[k])
        effect, members = 4 * float(pairs[i, j]), frozenset((i, j))
        weaker = abs(single[i] + effect) + abs(single[j] + effect) < abs(single[i]) + abs(single[j])
        if weaker if ors is None else members in ors:
            single[[i, j]] += effect
            terms["or", members] = -effect
        else:
            terms["and", members] = effect
    alone: dict[Term, float] = {("and", frozenset((i,))): float(e) for i, e in enumerate(single) if e}
    found = alone | terms
    bias = level - float(main.sum()) + float(pairs.sum())
    return Shrunk(list(found), np.array(list(found.values())), bias, prior)
