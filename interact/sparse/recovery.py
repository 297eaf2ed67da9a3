"""From sampled scores to AND and OR terms.

1. Candidates: every player, the pairs that stand out in what is left of the scores, the terms of boosted trees, and
   supersets and near misses of the terms found (`interact.sparse.screening`): low orders first, then their supersets.
2. Choose few of them by a lasso path and steps (`interact.sparse.selection`), refit, and go on with what is left, until
   the criterion falls no more.
3. Where no sparse set of terms exists, more terms predict better. Supports for smaller penalties are fitted too, with a
   ridge, on part of the sample; the smallest that predicts the rest about as well as the best is taken.

Source: the two-sided reading of the residual is ours; the hierarchy (supersets of what is found) is reported by
ProxySPEX (arXiv 2505.17495); the criterion is the extended BIC of Chen and Chen 2008 (Biometrika 95).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from interact.sparse.dictionary import Products, Term, columns, products
from interact.sparse.proxy import proxy_candidates
from interact.sparse.screening import grown, kin, pair_candidates
from interact.sparse.selection import Fit, ebic, exchange, lasso_supports, least_squares, select

_ROUNDS = 16
_RIDGES = (1e-4, 1e-3, 1e-2, 3e-2, 0.1, 0.3)


@dataclass(frozen=True)
class Sample:
    """Scored coalitions.

    Attributes:
        masks: bool, shape [m, n].
        values: float64, shape [m].
        strata: Number of the stratum of density of each, int64, shape [m].
    """

    masks: np.ndarray
    values: np.ndarray
    strata: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: np.ndarray) -> Sample:
        """Return some of the coalitions."""
        return Sample(self.masks[rows], self.values[rows], self.strata[rows])


@dataclass(frozen=True)
class Recovered:
    """Terms and their effects.

    Attributes:
        terms: The terms.
        effects: float64, one a term.
        bias: phi(empty).
        pool: The candidates of the last round.
        ridge: Relative ridge of the refit, 0 for least squares.
    """

    terms: list[Term]
    effects: np.ndarray
    bias: float
    pool: list[Term]
    ridge: float = 0.0

    def predict(self, masks: np.ndarray) -> np.ndarray:
        """Return phi of coalitions (bool, [m, n]), float64 [m]."""
        return self.bias + columns(masks, self.terms) @ self.effects


def recover(sample: Sample, *, max_order: int, seed: int, proxy: bool, start: Sequence[Term] = ()) -> Recovered:
    """Find the terms that explain scores.

    Args:
        sample: Scored coalitions.
        max_order: Most players of a term.
        seed: Seed of the proxy.
        proxy: Whether boosted trees name candidates too.
        start: Terms to begin with, of an earlier round.
    """
    n = sample.masks.shape[1]
    spread = float(sample.values.std())
    level = float(sample.values.mean()) if len(sample) else 0.0
    if spread <= 1e-12 * (1 + abs(level)):
        return Recovered([], np.zeros(0), level, [])
    penalty, most = term_cost(len(sample), n, max_order), max(1, min(len(sample) // 4, 600))
    singles: list[Term] = [("and", frozenset((i,))) for i in range(n)]
    named = proxy_candidates(sample.masks, sample.values, seed=seed, max_order=max_order, most=4 * n) if proxy else []
    support, residual, score = list(start), sample.values - level, math.inf
    best: tuple[Products, Fit, list[Term]] | None = None
    for turn in range(_ROUNDS):
        pool = dict.fromkeys([*support, *singles, *named])
        if max_order > 1:
            width = max(100, 3 * n) if turn < 4 else n
            pool.update(dict.fromkeys(pair_candidates(sample.masks, residual, sample.strata, width)))
            pool.update(dict.fromkeys(grown(sample.masks, residual, support, max_order, 4 * n)))
            pool.update(dict.fromkeys(kin(support)))
        listed = list(pool)
        x = columns(sample.masks, listed)
        data = products(x, sample.values)
        fit = select(data, penalty, most, np.arange(len(support)))
        if ebic(data, fit, penalty) >= score - 1e-6:
            fit = exchange(data, fit, penalty, listed)
        if best is not None and ebic(data, fit, penalty) >= score - 1e-6:
            break
        score, best = ebic(data, fit, penalty), (data, fit, listed)
        support = [listed[i] for i in fit.chosen]
        residual = sample.values - data.level - (x[:, fit.chosen] - data.mean[fit.chosen]) @ fit.effects
        # The proxy's names have had their chance; what is left speaks for itself.
        named = [] if turn >= 2 else named
    assert best is not None
    data, fit, listed = best
    return _named(data, fit, listed)


def term_cost(rows: int, n: int, max_order: int) -> float:
    """Return what one term costs: log m + log P, P the number of terms of order up to `max_order`."""
    return math.log(rows) + math.log(2 * sum(math.comb(n, k) for k in range(1, max_order + 1)))


def _named(data: Products, fit: Fit, pool: list[Term], ridge: float = 0.0) -> Recovered:
    terms = [pool[i] for i in fit.chosen]
    return Recovered(terms, fit.effects, data.level - float(data.mean[fit.chosen] @ fit.effects), pool, ridge)


def predictive(sample: Sample, *, max_order: int, seed: int, proxy: bool, start: Sequence[Term] = ()) -> Recovered:
    """Find the terms that predict scores: the sparse ones, or more where more are needed; arguments as `recover`.

    One part in six validates the size of the support and the ridge; the effects are then refitted to the whole sample.
    """
    rows = np.random.default_rng(seed).permutation(len(sample))
    check, inner = sample.take(rows[: len(rows) // 6]), sample.take(rows[len(rows) // 6 :])
    options = {"max_order": max_order, "seed": seed, "proxy": proxy}
    if len(check) < 8:
        return recover(sample, **options, start=start)
    sparse = recover(inner, **options, start=start)
    spread = float(((check.values - check.values.mean()) ** 2).mean())
    left = float(((check.values - sparse.predict(check.masks)) ** 2).mean())
    if not sparse.pool or left <= 0.005 * spread:
        return recover(sample, **options, start=sparse.terms)
    denser = _denser(inner, check, sparse)
    if denser is None or left <= 1.02 * float(((check.values - denser.predict(check.masks)) ** 2).mean()):
        return recover(sample, **options, start=sparse.terms)
    data = products(columns(sample.masks, denser.terms), sample.values)
    return _named(data, least_squares(data, np.arange(len(denser.terms)), denser.ridge), denser.terms, denser.ridge)


def _denser(inner: Sample, check: Sample, sparse: Recovered) -> Recovered | None:
    """Return the support of a lasso path or of a smaller penalty, with its ridge, that validates best."""
    x = columns(inner.masks, sparse.pool)
    data = products(x, inner.values)
    place = {term: i for i, term in enumerate(sparse.pool)}
    known = np.array([place[t] for t in sparse.terms], dtype=np.int64)
    supports = [s for s in lasso_supports(data, max(1, len(inner) // 2)) if len(s)]
    unseen = columns(check.masks, sparse.pool)
    found: list[tuple[float, Recovered]] = []
    for support in [known, *supports, *(np.union1d(known, s) for s in supports)]:
        for ridge in _RIDGES:
            fit = _named(data, least_squares(data, support, ridge), sparse.pool, ridge)
            error = check.values - fit.bias - unseen[:, support] @ fit.effects
            found.append((float((error**2).mean()), fit))
    if not found:
        return None
    best = min(error for error, _ in found)
    return min((fit for error, fit in found if error <= 1.01 * best), key=lambda fit: len(fit.terms))
