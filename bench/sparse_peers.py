"""What explains a value function from sampled coalitions, ours and peers', each as a predictor of scores.

Kang et al., SPEX (2025, arXiv:2502.13870); Butler et al., ProxySPEX (2025, arXiv:2505.17495), both by shapiq;
Ribeiro et al., LIME (2016); ridge on players and pairs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from sklearn.linear_model import Ridge, RidgeCV

from interact import sparse
from interact.sparse.design import draw

Predictor = Callable[[np.ndarray], np.ndarray]
METHODS = ("ours", "ours, two-sided", "ProxySPEX", "SPEX", "LIME", "pairwise")
REMOVED = 5
"""The most players that are taken away to see whether a method knows those that matter."""


def judges(n: int, count: int) -> np.ndarray:
    """Return coalitions to judge by: half of density 1/2, half of every size."""
    rng = np.random.default_rng(10_007)
    kinds = ("uniform", "balanced")
    return np.concatenate([draw(n, count // 2, kind=k, paired=False, shared=1, rng=rng)[0] for k in kinds])


def compared(
    value: sparse.Value,
    n: int,
    budget: int,
    held: np.ndarray,
    names: Sequence[str],
    *,
    true: sparse.Value | None = None,
    seed: int = 0,
) -> Iterator[dict[str, Any]]:
    """Yield one row a method: what it predicts of coalitions it never saw, what it knows to remove, what it took.

    LIME and pairwise fit the coalitions that ours asked for, if ours runs before them, else uniform ones.

    Args:
        value: The scores; asked for `budget` coalitions by each method.
        n: Players.
        budget: Coalitions a method may ask for.
        held: Held-out coalitions, bool [M, n], the first half uniform.
        names: Of METHODS.
        true: The scores to judge by, where `value` is noisy.
        seed: For what a method draws.

    Yields:
        ``method``; ``uniform`` and ``mixed``, R^2 on the halves of `held`; ``removal``, the mean over r = 1..REMOVED of
        |v(all) - v(all but the r players that the method, greedily, thinks matter most)|; ``calls``, the
        coalitions asked for; ``seconds`` of process time, those of the fit where `value` remembers scores; ``result``,
        ours alone. Or ``method`` and ``refused``, in the method's words.
    """
    judge = true or value
    truth, half = judge(held), len(held) // 2
    asked: list[np.ndarray] = []

    def count(masks: np.ndarray) -> np.ndarray:
        asked.append(np.asarray(masks, bool))
        return value(asked[-1])

    uniform = draw(n, budget, kind="uniform", paired=False, shared=1, rng=np.random.default_rng(seed + 1))[0]
    for name in names:
        asked.clear()
        start, result = time.process_time(), None
        try:
            if name.startswith("ours"):
                design = "two-sided" if "two-sided" in name else sparse.SparseOptions().design
                result = sparse.explain(count, n, budget=budget, seed=seed, options=sparse.SparseOptions(design=design))
                predict: Predictor = result.predict
            elif "SPEX" in name:
                predict = _shapiq(name, count, n, budget, seed)
            else:
                predict = (_lime if name == "LIME" else _pairwise)(uniform, count(uniform))
        except ValueError as error:
            yield {"method": name, "refused": str(error)}
            continue
        seconds, calls = time.process_time() - start, sum(map(len, asked))
        if name == "ours" and calls:
            uniform = np.concatenate([*asked, uniform])[:budget]
        rebuilt = predict(held)
        yield {
            "method": name,
            "uniform": r2(truth[:half], rebuilt[:half]),
            "mixed": r2(truth[half:], rebuilt[half:]),
            "removal": _removal(judge, predict, n),
            "calls": calls,
            "seconds": seconds,
            "result": result,
        }


def r2(truth: np.ndarray, rebuilt: np.ndarray) -> float:
    """Return the share of variance explained."""
    return float(1 - ((truth - rebuilt) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


def _removal(judge: sparse.Value, predict: Predictor, n: int) -> float:
    everything = np.ones(n, dtype=bool)
    whole, rows, mask = predict(everything[None])[0], [everything], everything
    for _ in range(min(REMOVED, n)):
        there = np.flatnonzero(mask)
        without = np.repeat(mask[None], len(there), axis=0)
        without[np.arange(len(there)), there] = False
        mask = without[np.abs(whole - predict(without)).argmax()]
        rows.append(mask)
    full, *left = judge(np.array(rows))
    return float(np.mean(np.abs(full - np.array(left))))


def _shapiq(name: str, value: sparse.Value, n: int, budget: int, seed: int) -> Predictor:
    """Fit shapiq's SPEX or ProxySPEX and return its Moebius form as a predictor."""
    from shapiq.approximator import SPEX, ProxySPEX

    kept: dict[tuple[int, ...], float] = {}
    kind: Any = SPEX if name == "SPEX" else ProxySPEX

    class Keeping(kind):
        def _process_moebius(self, moebius_transform: dict[tuple, float]) -> np.ndarray:
            kept.update(moebius_transform)
            return super()._process_moebius(moebius_transform)

    Keeping(n=n, index="SV", max_order=1, random_state=seed).approximate(budget, lambda m: value(np.asarray(m, bool)))

    def predict(masks: np.ndarray) -> np.ndarray:
        total = np.zeros(len(masks))
        for members, effect in kept.items():
            total += effect * masks[:, list(members)].all(axis=1)
        return total

    return predict


def _lime(masks: np.ndarray, values: np.ndarray) -> Predictor:
    """Fit a weighted linear model with LIME's kernel on the share of absent players."""
    distance = 1 - np.sqrt(masks.mean(axis=1))
    fit = Ridge(alpha=1.0).fit(masks, values, sample_weight=np.exp(-(distance**2) / 0.25**2))
    return lambda m: np.asarray(fit.predict(m))


def _pairwise(masks: np.ndarray, values: np.ndarray) -> Predictor:
    """Fit a ridge on players and pairs, its strength by cross-validation."""
    first, second = np.triu_indices(masks.shape[1], 1)

    def wide(m: np.ndarray) -> np.ndarray:
        return np.concatenate([m, m[:, first] & m[:, second]], axis=1).astype(np.float32)

    fit = RidgeCV(np.geomspace(1, 1e4, 9)).fit(wide(masks), values)
    return lambda m: np.asarray(fit.predict(wide(m)))
