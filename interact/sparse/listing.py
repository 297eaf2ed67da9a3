"""A Gaussian process as terms: the coefficients that may matter, written as AND and OR with their standard errors.

1. In the Walsh basis the coefficient of a set T has the prior variance a prod_{i in T} r_i / prod_i (1 + r_i). Of the
   sets of up to `max_order` players those of the largest prior variance are looked at, order by order.
2. Their posterior means are products of the coalitions with the weights; those that carry next to nothing of the
   variance of all scores are left out.
3. prod_{i in T} (2 x_i - 1) is a sum of AND terms of the subsets of T. From the highest order down, a term is written
   as OR where that takes strength from its subsets.
4. Each effect is a sum of coefficients, so that its standard error follows from their posterior covariance.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.special import ndtr

from interact.sparse.dictionary import Term, columns
from interact.sparse.gaussian import CARE, GaussianProcess

_MOST_SETS = 3000
"""Sets looked at of each order; of the error bars, the time grows with the square of the sets listed."""
_MOST_LISTED = 1200
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
    absent = process.scales.absent
    mean = prior * (basis.T @ process.weights)
    mean += absent.coefficient_means(process.z, _rows(sets, process.n), process.weights)
    kept = _strongest(mean)
    sets, prior, basis, mean = [sets[k] for k in kept], prior[kept], basis[:, kept], mean[kept]
    wholes = _subsets(sets)
    place = {members: k for k, members in enumerate(wholes)}
    as_and = _as_and(sets, place)
    kinds = _kinds(wholes, as_and @ mean)
    terms: list[Term] = [(kinds[k], members) for k, members in enumerate(wholes)]
    as_terms = sparse.csr_matrix(_from_and(wholes, kinds, place) @ as_and)
    rows = _rows(sets, process.n)
    cross = basis * prior + absent.coefficients(process.z, rows)
    return _with_given(process, terms, as_terms, (prior, absent.coefficient_variance(rows)), cross)


def _rows(sets: list[frozenset[int]], n: int) -> np.ndarray:
    """Return who is in each set, bool [sets, n]."""
    found = np.zeros((len(sets), n), dtype=bool)
    for row, members in zip(found, sets, strict=True):
        row[list(members)] = True
    return found


def _with_given(
    process: GaussianProcess,
    terms: list[Term],
    as_terms: sparse.csr_matrix,
    before: tuple[np.ndarray, np.ndarray],
    cross: np.ndarray,
) -> Listed:
    """Add the terms that the process was given; return everything with its error.

    Args:
        process: The process.
        terms: Those that it is written in.
        as_terms: What each coefficient adds to these, [terms, sets].
        before: The variances of the coefficients in the Walsh prior, [sets], and their covariance by absence.
        cross: Their covariance with the scores, [m, sets].
    """
    given = list(process.terms)
    every = list(dict.fromkeys([*given, *terms]))
    place = {term: k for k, term in enumerate(every)}
    # Effects are sums of the given terms' effects and of coefficients.
    rows = [place[term] for term in given]
    own = sparse.csr_matrix((np.ones(len(given)), (rows, range(len(given)))), shape=(len(every), len(given)))
    moved = sparse.csr_matrix(
        (np.ones(len(terms)), ([place[term] for term in terms], range(len(terms)))), shape=(len(every), len(terms))
    )
    added = sparse.csr_matrix(moved @ as_terms)
    whole = sparse.csr_matrix(sparse.hstack([own, added]))
    told = columns(process.z > 0, given) * process.scales.given**2
    cross = np.concatenate([told, cross], axis=1)
    mean = whole @ (cross.T @ process.weights)
    seen = whole @ process.whitened(cross).T
    apart, by_absence = before
    first = np.concatenate([np.full(len(given), process.scales.given**2), apart])
    variance = whole.multiply(whole) @ first - (seen**2).sum(axis=1)
    variance = variance + np.asarray(added.multiply(added @ by_absence) @ np.ones(len(by_absence)))
    pulled = whole[:, : len(given)] @ process.pulled()
    errors = np.sqrt(CARE**2 * np.maximum(variance, 0) + pulled**2)
    sure = ndtr(np.abs(mean) / np.maximum(errors, 1e-12 * max(float(np.abs(mean).max(initial=0.0)), 1e-300)))
    bias = _bias(process, every, mean)
    return Listed(every, process.unit * mean, process.unit * errors, sure, bias)


def _bias(process: GaussianProcess, terms: list[Term], mean: np.ndarray) -> float:
    """Return phi(empty): the mean over all coalitions is that of the process, and each term's mean is known."""
    share = np.array([0.5 ** len(s) if kind == "and" else 1 - 0.5 ** len(s) for kind, s in terms])
    return process.mean() - process.unit * float(share @ mean if len(terms) else 0.0)


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
