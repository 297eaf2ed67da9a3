"""Value functions of planted AND-OR terms, and what a sparse fit found of them."""

import numpy as np

from interact.sparse import SparseOptions
from interact.sparse.dictionary import columns, merged

FAST = SparseOptions(bootstraps=0, proxy=False, repeats=0)


def planted(n: int, terms: int, seed: int, noise: float = 0.0):
    """Return terms of order 1 to 4, 60 % AND, and their value function."""
    rng = np.random.default_rng(seed)
    truth = {}
    while len(truth) < terms:
        members = rng.choice(n, rng.integers(1, 5), replace=False).tolist()
        truth[merged("and" if rng.random() < 0.6 else "or", members)] = rng.choice([-1, 1]) * rng.uniform(1, 3)

    def value(masks):
        return columns(masks, truth) @ np.array(list(truth.values())) + noise * rng.normal(size=len(masks))

    return truth, value


def found(result):
    return {("and", s): e for s, e in result.and_terms.items()} | {("or", s): e for s, e in result.or_terms.items()}
