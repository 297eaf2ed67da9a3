"""What explains a value function from sampled coalitions, ours and peers', each as a predictor of scores.

Kang et al., SPEX (2025, arXiv:2502.13870); Butler et al., ProxySPEX (2025, arXiv:2505.17495) and the others of THEIRS
by shapiq; Ribeiro et al., LIME (2016); ridge on players and pairs.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import numpy as np
from sklearn.linear_model import Ridge, RidgeCV

from bench.peers.judging import Effects, Predictor, moebius, predicted
from bench.peers.process import Process, Refused
from interact import SampledInteractions, sparse
from interact.indices import shapley as shapley_of
from interact.sparse import Value

OURS = {
    "ours": sparse.SparseOptions(bootstraps=0, stop=2.0),
    "ours, drawn": sparse.SparseOptions(bootstraps=0, stop=2.0, adaptive=False),
    "ours, mixed": sparse.SparseOptions(bootstraps=0, stop=2.0, design="mixed"),
    "ours, all sizes": sparse.SparseOptions(bootstraps=0, stop=2.0, design="balanced"),
    "ours, terms": sparse.SparseOptions(bootstraps=0, stop=2.0, estimator="terms"),
}
THEIRS = (
    "ProxySPEX",
    "ProxySHAP",
    "SPEX",
    "KernelSHAP",
    "LeverageSHAP",
    "RegressionMSR",
    "PolySHAP",
    "OddSHAP",
)
LISTED = "ours, listed terms"
FITS = (LISTED, "pairwise", "LIME")
"""What needs no scores but those that ours asks for: the terms that ours lists, which predict alone, and other fits."""


class Asked:
    """A value function that knows what it was asked for, and what CPU that took.

    Args:
        value: The scores.
    """

    def __init__(self, value: Value) -> None:
        self._value = value
        self._seen: dict[bytes, np.ndarray] = {}
        self.seconds = 0.0

    def __call__(self, masks: np.ndarray) -> np.ndarray:
        """Return the scores of coalitions, bool [m, n]."""
        rows = np.asarray(masks, dtype=bool)
        start = time.process_time()
        scores = self._value(rows)
        self.seconds += time.process_time() - start
        self._seen.update((row.tobytes(), row) for row in rows)
        return scores

    def __len__(self) -> int:
        return len(self._seen)

    @property
    def coalitions(self) -> np.ndarray:
        """Distinct ones, bool [m, n], as they came."""
        return np.array(list(self._seen.values()))


@dataclass(frozen=True)
class Fit:
    """What a method found.

    Attributes:
        predictors: Scores of coalitions, by what predicts them; empty for a method of Shapley values alone.
        values: One number a player: Shapley values, or None where they were not asked for.
        effects: AND effects of sets of players; None where the method has none.
        seconds: CPU of the fit, without that of the scores.
        calls: Distinct coalitions asked for.
        coalitions: These, bool [m, n].
        result: Ours alone.
    """

    predictors: dict[str, Predictor]
    values: np.ndarray | None
    effects: Effects | None
    seconds: float
    calls: int
    coalitions: np.ndarray
    result: SampledInteractions | None = None

    def ranked(self, empty: float) -> Predictor:
        """Return what says which players matter: the first predictor, or the sum of the values of players."""
        if self.predictors:
            return next(iter(self.predictors.values()))
        assert self.values is not None
        return predicted({frozenset({i}): float(v) for i, v in enumerate(self.values)}, empty)


@dataclass
class Contest:
    """Methods on one game, with one budget and seed.

    Attributes:
        value: The scores that a method may ask for.
        n: Players.
        budget: Coalitions a method may ask for.
        seed: Of its draws.
        peers: The process of shapiq.
        both: Whether Shapley values are wanted beside predictions.
    """

    value: Value
    n: int
    budget: int
    seed: int
    peers: Process
    both: bool = False
    _ours: Fit | None = field(default=None, init=False)

    def fit(self, method: str) -> Fit:
        """Fit a method.

        Raises:
            Refused: The method does not take this budget, in its words.
        """
        ask, start = Asked(self.value), time.process_time()
        if method in OURS:
            return self._of_ours(method, ask, start)
        if method in THEIRS:
            empty = float(self.value(np.zeros((1, self.n), dtype=bool))[0])
            given = {"method": method, "n": self.n, "budget": self.budget, "seed": self.seed}
            found = self.peers.fit({**given, "empty": empty, "both": self.both}, ask)
            tables = {k: {frozenset(members): e for members, e in t} for k, t in found["tables"].items()}
            predictors = {name: predicted(table, empty) for name, table in tables.items()}
            values = None if found["shapley"] is None else np.array(found["shapley"])
            effects = next(iter(tables.values()), None)
            return Fit(predictors, values, effects, found["seconds"], len(ask), ask.coalitions)
        # The scores are known already, but for a run that goes on.
        ours = self._ours or self.fit("ours")
        masks = ours.coalitions
        if method == LISTED:
            assert ours.result is not None
            return replace(ours, predictors={"terms": ours.result.predict})
        scores, start = ask(masks), time.process_time()
        predict = (_lime if method == "LIME" else _pairwise)(masks, scores)
        return Fit({method: predict}, None, None, time.process_time() - start, len(ask), masks)

    def _of_ours(self, method: str, ask: Asked, start: float) -> Fit:
        try:
            result = sparse.explain(
                ask, self.n, budget=self.budget, seed=self.seed, options=OURS[method], progress=False
            )
        except ValueError as error:
            raise Refused(str(error)) from error
        foretell = _foretelling(result)
        seconds = time.process_time() - start - ask.seconds
        values = _shapley(result) if self.both else None
        effects = moebius(result.and_terms, result.or_terms)
        fit = Fit({"whole": foretell}, values, effects, seconds, len(ask), ask.coalitions, result)
        if method == "ours":
            self._ours = fit
        return fit


def _foretelling(found: SampledInteractions) -> Predictor:
    """Return what expects scores of any coalition: the Gaussian process where there is one, else the terms."""
    if found.provenance["gaussian"] is None:
        return found.predict
    process = sparse.posterior(found)
    return lambda masks: process.predict(masks)[0]


def _shapley(found: SampledInteractions) -> np.ndarray:
    if found.provenance["gaussian"] is None:
        return np.asarray(shapley_of(found))
    return sparse.posterior(found).effects("shapley", [{i} for i in range(found.n)])[0]


def _lime(masks: np.ndarray, scores: np.ndarray) -> Predictor:
    """Fit a weighted linear model with LIME's kernel on the share of absent players."""
    distance = 1 - np.sqrt(masks.mean(axis=1))
    fit = Ridge(alpha=1.0).fit(masks, scores, sample_weight=np.exp(-(distance**2) / 0.25**2))
    return lambda m: np.asarray(fit.predict(m))


def _pairwise(masks: np.ndarray, scores: np.ndarray) -> Predictor:
    """Fit a ridge on players and pairs, its strength by cross-validation."""
    first, second = np.triu_indices(masks.shape[1], 1)

    def wide(m: np.ndarray) -> np.ndarray:
        return np.concatenate([m, m[:, first] & m[:, second]], axis=1).astype(np.float32)

    fit = RidgeCV(np.geomspace(1, 1e4, 9)).fit(wide(masks), scores)
    return lambda m: np.asarray(fit.predict(wide(m)))
