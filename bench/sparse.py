"""Terms of many players from sampled coalitions: planted games, real prompts, and what sharing beginnings gives.

The cases time the recovery (scores ready) beside LightGBM alone and a linear fit. ``python -m bench.sparse_quality``
measures what is found.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from sklearn.linear_model import RidgeCV

from bench.registry import Case, Check, Entry, Timed
from interact import Interactions, sparse
from interact.sparse.dictionary import Term, columns, merged
from interact.sparse.proxy import boost


def planted(n: int, terms: int, seed: int, noise: float = 0.02) -> tuple[dict[Term, float], sparse.Value]:
    """Return terms of order 1 to 4, 60 % of them AND, and their value function with noise relative to its spread."""
    rng = np.random.default_rng(seed)
    truth: dict[Term, float] = {}
    while len(truth) < terms:
        members = rng.choice(n, int(rng.integers(1, 5)), replace=False).tolist()
        truth[merged("and" if rng.random() < 0.6 else "or", members)] = float(rng.choice([-1, 1]) * rng.uniform(1, 3))
    effects = np.array(list(truth.values()))
    spread = float((columns(rng.random((4000, n)) < 0.5, truth) @ effects).std())

    def value(masks: np.ndarray) -> np.ndarray:
        return columns(masks, truth) @ effects + noise * spread * rng.normal(size=len(masks))

    return truth, value


def recovered(truth: dict[Term, float], result: Interactions) -> tuple[int, int]:
    """Return how many true terms came back with their sign, and how many came that are not true."""
    found: dict[Term, float] = {("and", s): e for s, e in result.and_terms.items()}
    found |= {("or", s): e for s, e in result.or_terms.items()}
    right = sum(1 for term, effect in found.items() if truth.get(term, 0.0) * effect > 0)
    return right, len(found) - right


def gate(quick: bool) -> Iterator[Check]:
    """At least 95 % of planted terms come back with their sign, and at most 10 % are false."""
    for n, terms, factor in ((64, 30, 8),) if quick else ((64, 30, 8), (200, 25, 3), (256, 30, 3)):
        truth, value = planted(n, terms, seed=0)
        result = sparse.explain(value, n, budget=int(factor * n * math.log2(n)))
        right, false = recovered(truth, result)
        yield Check(f"n={n}: share missed", 1 - right / terms, 0.05)
        yield Check(f"n={n}: share false", false / terms, 0.1)


def cases(quick: bool) -> Iterator[Case]:
    """Yield the recovery of planted games of growing size."""
    for n, terms, factor in ((64, 30, 4),) if quick else ((64, 30, 8), (200, 25, 3), (256, 30, 3)):
        budget = int(factor * n * math.log2(n))
        _, value = planted(n, terms, seed=1)
        masks = np.random.default_rng(0).random((budget, n)) < 0.5
        scores = value(masks)
        options = sparse.SparseOptions(bootstraps=0, stop=2.0)
        peers: dict[str, Timed | str] = {
            "LightGBM alone": Timed(lambda m=masks, y=scores: boost(m, y, seed=0)),
            "linear": Timed(lambda m=masks, y=scores: RidgeCV().fit(m, y)),
        }
        ours = Timed(lambda v=value, n=n, b=budget, o=options: sparse.explain(v, n, budget=b, options=o))
        yield Case(f"planted n={n}, {budget} coalitions", ours, peers, slow=True)


ENTRY = Entry("sparse", "s", cases, gate)
