"""A Gaussian process as terms: the coefficients that may matter, written as AND and OR with their standard errors.

1. In the Walsh basis the coefficient of a set T has the prior variance a prod_{i in T} r_i / prod_i (1 + r_i). Of the
   sets of up to `max_order` players those of the largest prior variance are looked at, order by order.
2. Their posterior means are products of the coalitions with the weights; those that carry next to nothing of the
   variance of all scores are left out.
3. prod_{i in T} (2 x_i - 1) is a sum of AND terms of the subsets of T. From the highest order down, a term is written
   as OR where that takes strength from its subsets.
4. Least squares fit the effects to what is expected of coalitions of all sizes, beginning with these.
5. Each effect is a sum of coefficients and scores, so that its standard error follows from their posterior covariance.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve
from scipy.special import ndtr

from interact.sparse.design import draw
from interact.sparse.dictionary import Term, columns
from interact.sparse.gaussian import CARE, GaussianProcess

_MOST_SETS = 3000
"""Sets looked at of each order; of the error bars, the time grows with the square of the sets listed."""
_MOST_LISTED = 1200
_DRAWN = 1000
"""Coalitions to which the effects of terms are fitted."""
_RIDGE = 1.0
"""Of that fit, in what a term varies by: with less, few players of many texts follow the draws."""
_NEGLIGIBLE = 1e-3
"""Share of the variance over all coalitions that the weakest sets may take with them when they are left out."""


@dataclass(frozen=True)
class Listed:
    """Terms of a Gaussian process.

    Attributes:
        terms: The terms, those that the process was given included.
        effects: float64, one per term.
        errors: Standard error of each.
        sure: How sure the sign of each is, the posterior probability of it.
        bias: phi(empty).
    """

    terms: list[Term]
    effects: np.ndarray
    errors: np.ndarray
    sure: np.ndarray
    bias: float


def listed(process: GaussianProcess, max_order: int) -> Listed:
    """Write what is expected of the scores as AND and OR terms of up to `max_order` players."""
    sets, prior, basis = _coefficients(process, max_order)
    mean = prior * (basis.T @ process.weights)
    mean += process.scales.absent.coefficient_means(process.z, _rows(sets, process.n), process.weights)
    kept = _strongest(mean)
    sets, prior, mean = [sets[k] for k in kept], prior[kept], mean[kept]
    wholes = _subsets(sets)
    place = {members: k for k, members in enumerate(wholes)}
    as_and = _as_and(sets, place)
    kinds = _kinds(wholes, as_and @ mean)
    terms: list[Term] = [(kinds[k], members) for k, members in enumerate(wholes)]
    as_terms = sparse.csr_matrix(_from_and(wholes, kinds, place) @ as_and)
    parts = _Parts(process, _rows(sets, process.n), prior)
    every = list(dict.fromkeys([*process.terms, *terms]))
    return _at_all_sizes(process, every, parts, _shares(process.terms, terms, as_terms, every))


def _rows(sets: list[frozenset[int]], n: int) -> np.ndarray:
    """Return who is in each set, bool [sets, n]."""
    found = np.zeros((len(sets), n), dtype=bool)
    for row, members in zip(found, sets, strict=True):
        row[list(members)] = True
    return found


@dataclass(frozen=True)
class _Parts:
    """What effects are sums of: the effects of the given terms, then coefficients; all in units.

    Attributes:
        process: The process.
        sets: Those of the coefficients, bool [sets, n].
        prior: Their variances in the Walsh prior, [sets].
    """

    process: GaussianProcess
    sets: np.ndarray
    prior: np.ndarray

    def covariance(self, z: np.ndarray) -> np.ndarray:
        """Return the covariance of coalitions (-1 or 1, [m, n]) with the parts before any score was seen."""
        scales = self.process.scales
        told = columns(z > 0, self.process.terms) * scales.given**2
        # The product of the signs of a set: 1 where an even number of its players is absent.
        absent = (z < 0).astype(np.float64) @ self.sets.T.astype(np.float64)
        own = (1 - 2 * (absent % 2)) * self.prior + scales.absent.coefficients(z, self.sets)
        return np.concatenate([told, own], axis=1)

    def variance(self) -> np.ndarray:
        """Return their covariance with each other, [parts, parts]."""
        given = len(self.process.terms)
        whole = np.zeros((given + len(self.prior), given + len(self.prior)))
        whole[given:, given:] = self.process.scales.absent.coefficient_variance(self.sets)
        own = np.concatenate([np.full(given, self.process.scales.given**2), self.prior])
        whole[np.diag_indices_from(whole)] += own
        return whole


def _shares(given: Sequence[Term], terms: list[Term], as_terms: sparse.csr_matrix, every: list[Term]) -> np.ndarray:
    """Return what each part adds to each term, [every, parts]: a given term has its own effect, and may be listed."""
    place = {term: k for k, term in enumerate(every)}
    whole = np.zeros((len(every), len(given) + as_terms.shape[1]))
    whole[[place[term] for term in given], range(len(given))] = 1
    whole[[place[term] for term in terms], len(given) :] = as_terms.toarray()
    return whole


def _at_all_sizes(process: GaussianProcess, terms: list[Term], parts: _Parts, shares: np.ndarray) -> Listed:
    """Fit the effects of terms to what is expected of coalitions of all sizes; return everything with its error.

    The coefficients alone are the best approximation over all coalitions, of which next to none are small or large;
    what terms leave out there is much. So least squares correct the effects b that the coefficients have:
    b + M (f - X b), with X the terms at coalitions of a mixed design, f what is expected of these, and
    M = X^T (X X^T + ridge)^-1. An effect is still a sum of parts and of scores.
    """
    masks = _of_all_sizes(process.n)
    expected = float(process.predict(masks)[0].mean())
    if not terms:
        return Listed([], np.zeros(0), np.zeros(0), np.zeros(0), expected)
    x = np.asarray(columns(masks, terms), dtype=np.float64)
    share = x.mean(axis=0)
    x -= share
    gram = x @ x.T
    gram[np.diag_indices_from(gram)] += max(_RIDGE * float((x**2).sum()) / len(terms), 1e-12)
    fitted = cho_solve(cho_factor(gram), x).T
    # M (f - X b) of b = A c, f and c being Gaussian: the sum of (A - M X A) c and M f.
    own = shares - fitted @ (x @ shares)
    z = np.where(masks, 1.0, -1.0)
    told, cross = process.covariance(process.z > 0, masks), parts.covariance(process.z)
    seen = own @ process.whitened(cross).T + fitted @ process.whitened(told).T
    variance = ((own @ parts.variance()) * own).sum(axis=1) - (seen**2).sum(axis=1)
    variance += 2 * ((fitted @ parts.covariance(z)) * own).sum(axis=1)
    variance += ((fitted @ process.covariance(masks, masks)) * fitted).sum(axis=1)
    effects = own @ (cross.T @ process.weights) + fitted @ (told.T @ process.weights)
    given = len(process.terms)
    errors = np.sqrt(CARE**2 * np.maximum(variance, 0) + (shares[:, :given] @ process.pulled()) ** 2)
    sure = ndtr(np.abs(effects) / np.maximum(errors, 1e-12 * max(float(np.abs(effects).max(initial=0.0)), 1e-300)))
    effects, errors = process.unit * effects, process.unit * errors
    return Listed(terms, effects, errors, sure, expected - float(share @ effects))


def _of_all_sizes(n: int) -> np.ndarray:
    """Return draws of a mixed design, or all coalitions of few players; without the ends, which are like no others."""
    if 1 << n <= _DRAWN:
        masks = (np.arange(1 << n)[:, None] >> np.arange(n) & 1).astype(bool)
    else:
        masks, _ = draw(n, _DRAWN, kind="mixed", paired=False, shared=1, rng=np.random.default_rng(0))
    inner = masks.any(axis=1) & ~masks.all(axis=1)
    return masks[inner] if inner.any() else masks


def _coefficients(process: GaussianProcess, max_order: int) -> tuple[list[frozenset[int]], np.ndarray, np.ndarray]:
    """Return sets, the prior variance of their coefficients, and their products over the fitted coalitions."""
    r = process.scales.players
    order = np.argsort(-r, kind="stable")
    first = process.scales.amplitude * np.exp(-np.log1p(r).sum())
    sets, prior, found = np.zeros((1, 0), dtype=np.int64), np.array([first]), []
    products = np.ones((len(process.z), 1))
    for _ in range(min(max_order, process.n)):
        # Each set is met once: by adding the player that matters least.
        last = sets[:, -1] if sets.shape[1] else np.full(1, -1)
        grown = np.where(np.arange(process.n) > last[:, None], prior[:, None] * r[order], -1.0).ravel()
        many = np.argsort(-grown, kind="stable")[:_MOST_SETS]
        many = many[grown[many] > 0]
        parent, player = np.divmod(many, process.n)
        sets = np.concatenate([sets[parent], player[:, None]], axis=1)
        prior, products = grown[many], products[:, parent] * process.z[:, order[player]]
        found.append(([frozenset(order[row].tolist()) for row in sets], prior, products))
    if not found:
        return [], np.zeros(0), np.zeros((len(process.z), 0))
    every = [members for part, _, _ in found for members in part]
    return every, np.concatenate([p for _, p, _ in found]), np.concatenate([c for _, _, c in found], axis=1)


def _strongest(mean: np.ndarray) -> np.ndarray:
    """Return which coefficients are kept: those of the basis are of uncorrelated functions of variance 1."""
    power = mean**2
    order = np.argsort(-power, kind="stable")
    needed = np.searchsorted(np.cumsum(power[order]), (1 - _NEGLIGIBLE) * power.sum()) + 1
    return order[: min(int(needed), _MOST_LISTED)] if power.sum() > 0 else order[:0]


def _subsets(sets: list[frozenset[int]]) -> list[frozenset[int]]:
    """Return the sets and all that lie in them, but the empty one, by order."""
    every = {
        frozenset(part) for s in sets for k in range(1, len(s) + 1) for part in itertools.combinations(sorted(s), k)
    }
    return sorted(every, key=lambda s: (len(s), sorted(s)))


def _as_and(sets: list[frozenset[int]], place: dict[frozenset[int], int]) -> sparse.csr_matrix:
    """Return what each coefficient adds to the AND terms: prod (2 x_i - 1), multiplied out."""
    entries = []
    for column, whole in enumerate(sets):
        for k in range(1, len(whole) + 1):
            effect = 2.0**k * (-1.0) ** (len(whole) - k)
            entries += [(effect, place[frozenset(s)], column) for s in itertools.combinations(sorted(whole), k)]
    return _matrix(entries, (len(place), len(sets)))


def _kinds(wholes: list[frozenset[int]], effects: np.ndarray) -> list[str]:
    """Say which terms are written as OR: those that so take strength from their subsets."""
    left = dict(zip(wholes, effects.tolist(), strict=True))
    kinds = dict.fromkeys(wholes, "and")
    for members in sorted(wholes, key=lambda s: (-len(s), -abs(left[s]))):
        if len(members) > 1:
            moved = defaultdict(float)
            for subset, sign in _proper(members):
                moved[subset] = left[subset] + sign * left[members]
            if sum(map(abs, moved.values())) < sum(abs(left[subset]) for subset in moved):
                kinds[members] = "or"
                left.update(moved)
    return [kinds[members] for members in wholes]


def _from_and(wholes: list[frozenset[int]], kinds: list[str], place: dict[frozenset[int], int]) -> sparse.csr_matrix:
    """Return the map from effects written as AND to effects of these kinds."""
    steps = sparse.identity(len(wholes), format="csr")
    # AND of an order is rewritten by terms of lower orders only, so that whole orders are rewritten at once.
    for order in sorted({len(s) for s, kind in zip(wholes, kinds, strict=True) if kind == "or"}, reverse=True):
        entries = [(1.0, k, k) for k in range(len(wholes))]
        for k, members in enumerate(wholes):
            if kinds[k] == "or" and len(members) == order:
                entries[k] = ((-1.0) ** (order + 1), k, k)
                entries += [(sign, place[subset], k) for subset, sign in _proper(members)]
        steps = _matrix(entries, (len(wholes), len(wholes))) @ steps
    return sparse.csr_matrix(steps)


def _proper(members: frozenset[int]) -> list[tuple[frozenset[int], float]]:
    """Return what AND of a set is beside its OR: AND(T) = -(-1)^|T| OR(T) + sum over proper subsets of sign AND."""
    found, size = [], len(members)
    for k in range(1, size):
        sign = -((-1.0) ** (size + k))
        found += [(frozenset(part), sign) for part in itertools.combinations(sorted(members), k)]
    return found


def _matrix(entries: list[tuple[float, int, int]], shape: tuple[int, int]) -> sparse.csr_matrix:
    values, rows, columns = zip(*entries, strict=True) if entries else ((), (), ())
    return sparse.csr_matrix((values, (rows, columns)), shape=shape)
