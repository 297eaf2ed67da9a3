"""From sampled scores to AND and OR terms.

1. Candidates: every player, the pairs that stand out in what is left of the scores, the terms of boosted trees, and
   supersets and near misses of the terms found (`interact.sparse.screening`): low orders first, then their supersets.
2. Choose few of them by a lasso path and steps (`interact.sparse.selection`), refit, and go on with what is left, until
   the criterion falls no more.
3. Where no sparse set of terms exists, more and weaker terms predict better: a lasso on the candidates and further
   pairs, and shrunk effects of all players and pairs (`interact.sparse.shrinkage`), are fitted to part of the sample
   too; their mean is taken where it predicts the rest clearly better. The one knows high orders, the other all pairs.
   So it is with ``estimator="terms"``; otherwise a Gaussian process (`interact.sparse.gaussian`) takes their place,
   alone or on what the sparse terms leave, whichever predicts the rest better, and is written as terms
   (`interact.sparse.listing`).

Source: the two-sided reading of the residual is ours; the hierarchy (supersets of what is found) is reported by
ProxySPEX (arXiv 2505.17495); the criterion is the extended BIC of Chen and Chen 2008 (Biometrika 95).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from interact.sparse.dictionary import Products, Term, columns, products
from interact.sparse.gaussian import GIVEN, GaussianProcess, fit
from interact.sparse.listing import Listed, listed
from interact.sparse.proxy import proxy_candidates
from interact.sparse.screening import grown, kin, pair_candidates
from interact.sparse.selection import Fit, ebic, exchange, lasso, select
from interact.sparse.shrinkage import Prior, shrink

ESTIMATORS = ("auto", "terms", "gaussian")
_ROUNDS = 16
_ROUNDING = 1e-13
"""Scores that differ by less than this share of their size are equal."""
_FOUND = 0.01
"""Few terms that leave less than this share of the variance of their own sample are taken to be all."""


@dataclass(frozen=True)
class Sample:
    """Scored coalitions.

    Attributes:
        masks: bool, shape [m, n].
        values: float64, shape [m].
        strata: Number of the stratum of density of each, int64, shape [m].
        groups: Number of the group of each, int64, shape [m]: those of one group share a beginning, so that none of
            them may validate a fit to the others. Without it every coalition is a group of its own.
    """

    masks: np.ndarray
    values: np.ndarray
    strata: np.ndarray
    groups: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __post_init__(self) -> None:
        groups = self.groups if len(self.groups) else np.arange(len(self.values))
        object.__setattr__(self, "groups", np.unique(groups, return_inverse=True)[1].reshape(-1))

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: np.ndarray) -> Sample:
        """Return some of the coalitions."""
        return Sample(self.masks[rows], self.values[rows], self.strata[rows], self.groups[rows])

    def joined(self, other: Sample) -> Sample:
        """Return these coalitions and others, of which none shares a group with these."""
        return Sample(
            np.concatenate([self.masks, other.masks]),
            np.concatenate([self.values, other.values]),
            np.concatenate([self.strata, other.strata]),
            np.concatenate([self.groups, other.groups + len(self)]),
        )

    def split(self, parts: int, rng: np.random.Generator) -> tuple[Sample, Sample]:
        """Return one part of so many, and the rest; no group is divided."""
        place = np.argsort(rng.permutation(int(self.groups.max(initial=-1)) + 1))[self.groups]
        rows = np.argsort(place, kind="stable")
        cut = len(self) // parts
        while 0 < cut < len(self) and place[rows[cut]] == place[rows[cut - 1]]:
            cut += 1
        return self.take(rows[:cut]), self.take(rows[cut:])

    def resampled(self, rng: np.random.Generator) -> np.ndarray:
        """Return the rows of a bootstrap sample: whole groups, drawn with replacement."""
        order = np.argsort(self.groups, kind="stable")
        members = np.split(order, np.cumsum(np.bincount(self.groups))[:-1])
        chosen = rng.integers(len(members), size=len(members))
        return np.concatenate([members[group] for group in chosen])


@dataclass(frozen=True)
class Recovered:
    """Terms and their effects.

    Attributes:
        terms: The terms.
        effects: float64, one per term.
        bias: phi(empty).
        pool: The candidates of the last round; of a Gaussian process the sparse terms that lost against it.
        alpha: Penalty of the lasso that gave the effects, 0 for none.
        prior: That of shrunk effects, None for others.
        parts: What these are the mean of, if of anything.
        process: The Gaussian process that these are the terms of, if of one.
        written: Its terms, with their errors.
    """

    terms: list[Term]
    effects: np.ndarray
    bias: float
    pool: list[Term]
    alpha: float = 0.0
    prior: Prior | None = None
    parts: tuple[Recovered, ...] = ()
    process: GaussianProcess | None = None
    written: Listed | None = None

    @property
    def weak(self) -> bool:
        """Whether these are many weak terms that predict well, instead of few that explain."""
        return bool(self.alpha or self.parts) or self.prior is not None or self.process is not None

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
    level = float(sample.values.mean()) if len(sample) else 0.0
    if constant(sample.values):
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
    return _named(data, exchange(data, fit, penalty, listed), listed)


def constant(values: np.ndarray) -> bool:
    """Say whether scores differ by no more than rounding; scores of any size may be explained, such as of 1e-12."""
    return not len(values) or float(np.ptp(values)) <= _ROUNDING * float(np.abs(values).max())


def term_cost(rows: int, n: int, max_order: int) -> float:
    """Return what one term costs: log m + log P, P the number of terms of order up to `max_order`."""
    return math.log(rows) + math.log(2 * sum(math.comb(n, k) for k in range(1, max_order + 1)))


def _named(data: Products, fit: Fit, pool: list[Term], alpha: float = 0.0) -> Recovered:
    terms = [pool[i] for i in fit.chosen]
    return Recovered(terms, fit.effects, data.level - float(data.mean[fit.chosen] @ fit.effects), pool, alpha)


def predictive(
    sample: Sample, *, max_order: int, seed: int, proxy: bool, start: Sequence[Term] = (), estimator: str = "auto"
) -> Recovered:
    """Find the terms that predict scores: the sparse ones, or more where more are needed; arguments as `recover`.

    One part in six validates; the choice is then fitted to the whole sample. `estimator` is one of ESTIMATORS.
    """
    if estimator == "gaussian" and not constant(sample.values):
        return _written(fit(sample.masks, sample.values), max_order)
    check, inner = sample.split(6, np.random.default_rng(seed))
    options: dict[str, Any] = {"max_order": max_order, "seed": seed, "proxy": proxy}
    if len(check) < 8:
        return recover(sample, **options, start=start)
    plain = {**options, "proxy": False}
    sparse = recover(inner, **plain, start=start)
    spread = float(((check.values - check.values.mean()) ** 2).mean())
    left = float(((check.values - sparse.predict(check.masks)) ** 2).mean())
    if not sparse.pool or left <= 0.005 * spread:
        return recover(sample, **plain, start=sparse.terms)
    if proxy:
        # Only where the search alone leaves something: its many near misses blur terms that are found without it.
        sparse = recover(inner, **options, start=sparse.terms)
        left = float(((check.values - sparse.predict(check.masks)) ** 2).mean())
    if estimator != "terms":
        return _between(sample, (inner, check), sparse, left, options)
    weak = _weak(inner, sparse, max_order)
    if left <= 1.02 * float(((check.values - weak.predict(check.masks)) ** 2).mean()):
        return recover(sample, **options, start=sparse.terms)
    # The candidates are sought again, for a sixth more coalitions show more of them.
    return _weak(sample, recover(sample, **options, start=sparse.terms), max_order)


def _between(
    sample: Sample, parts: tuple[Sample, Sample], sparse: Recovered, left: float, options: dict[str, Any]
) -> Recovered:
    """Return sparse terms, a Gaussian process, or one on what the terms leave: what predicts the second part best.

    Args:
        sample: What the choice is fitted to.
        parts: What the candidates are fitted to, and what they are judged by.
        sparse: The terms of the first part.
        left: Mean squared error of the terms on the second part.
        options: Those of `recover`.
    """
    inner, check = parts
    tried, errors = [((), GIVEN[0]), *((sparse.terms, given) for given in GIVEN)], []
    for terms, given in tried:
        expected, _ = fit(inner.masks, inner.values, terms, given=given).predict(check.masks)
        errors.append(float(((check.values - expected) ** 2).mean()))
    # The terms are sought again, for a sixth more coalitions show more of them: sometimes all.
    again = recover(sample, **options, start=sparse.terms)
    if _all_found(again, sample):
        # What an earlier round began with may hold near misses.
        fresh = recover(sample, **{**options, "proxy": False})
        return fresh if _all_found(fresh, sample) and len(fresh.terms) < len(again.terms) else again
    # A few coalitions judge roughly, so what believes the terms more must be clearly better.
    clearly = 1 + 2 / math.sqrt(len(check))
    best = int(np.argmin(errors[:2]))
    best = 2 if errors[2] * clearly <= errors[best] else best
    beside, given = again.terms if best else (), tried[best][1]
    process = fit(sample.masks, sample.values, beside, given=given)
    if left * clearly <= min(errors) and _surely(again, process, sample):
        return again
    return replace(_written(process, options["max_order"]), pool=again.terms)


def _surely(found: Recovered, process: GaussianProcess, sample: Sample) -> bool:
    """Say whether terms leave less of their own scores than the process leaves of each score that it is not told.

    A few coalitions that favour terms may all be of one kind. Terms leave less of the scores they were fitted to than
    of others; where even that is more than the process leaves, the few were luck.
    """
    some = sample.take(np.arange(len(process.z)))  # Of very many the process knows the first.
    return _left_of(found, some) <= float(((some.values - process.left_out()[0]) ** 2).mean())


def _all_found(found: Recovered, sample: Sample) -> bool:
    """Say whether few terms leave next to nothing of their own sample."""
    return 8 * len(found.terms) <= len(sample) and _left_of(found, sample) <= _FOUND * float(sample.values.var())


def _left_of(found: Recovered, sample: Sample) -> float:
    """Return the mean squared error of terms on scores."""
    return float(((sample.values - found.predict(sample.masks)) ** 2).mean())


def _written(process: GaussianProcess, max_order: int) -> Recovered:
    """Return a Gaussian process with the terms that it is written in."""
    found = listed(process, max_order)
    return Recovered(found.terms, found.effects, found.bias, [], process=process, written=found)


def _weak(sample: Sample, sparse: Recovered, max_order: int) -> Recovered:
    """Return the mean of a lasso and of shrunk effects."""
    pool = _wider(sample, sparse, max_order)
    alpha = _penalty(sample, pool)
    data = products(columns(sample.masks, pool), sample.values)
    parts = [_named(data, fit, pool, alpha) for _, fit in lasso(data, len(pool), np.array([alpha]))]
    parts.append(_shrunk(sample, max_order))
    effects: defaultdict[Term, float] = defaultdict(float)
    for part in parts:
        for term, effect in zip(part.terms, part.effects.tolist(), strict=True):
            effects[term] += effect / len(parts)
    bias = sum(part.bias for part in parts) / len(parts)
    return Recovered(list(effects), np.array(list(effects.values())), bias, pool, alpha, parts[-1].prior, tuple(parts))


def _shrunk(sample: Sample, max_order: int) -> Recovered:
    found = shrink(sample.masks, sample.values, max_order=max_order, groups=sample.groups)
    return Recovered(found.terms, found.effects, found.bias, found.terms, prior=found.prior)


def _wider(inner: Sample, sparse: Recovered, max_order: int) -> list[Term]:
    """Return the candidates of a lasso: those of the sparse search and the pairs in what it left."""
    n = inner.masks.shape[1]
    pool = dict.fromkeys(sparse.pool)
    if max_order > 1:
        residual = inner.values - sparse.predict(inner.masks)
        pool.update(dict.fromkeys(pair_candidates(inner.masks, residual, inner.strata, max(200, 4 * n))))
    return list(pool)


def _penalty(sample: Sample, pool: list[Term]) -> float:
    """Return the lasso's alpha that predicts best in cross-validation."""
    x = columns(sample.masks, pool)
    top = products(x, sample.values)
    scale = np.sqrt(np.maximum(np.diag(top.gram), 1e-12) / len(sample))
    alphas = float(np.abs(top.target / scale).max()) / len(sample) * np.geomspace(0.5, 0.004, 20)
    errors = np.zeros(len(alphas))
    fold = sample.groups % (5 if len(pool) < 2500 else 3)
    for out in np.unique(fold):
        data = products(x[fold != out], sample.values[fold != out])
        unseen, truth = x[fold == out], sample.values[fold == out]
        reached = 0
        for place, (_, found) in enumerate(lasso(data, len(sample), alphas)):
            level = data.level - float(data.mean[found.chosen] @ found.effects)
            errors[place] += float(((truth - level - unseen[:, found.chosen] @ found.effects) ** 2).sum())
            reached = place + 1
        # A path that was cut short has grown too many terms.
        errors[reached:] += math.inf
    return float(alphas[int(np.argmin(errors))])
