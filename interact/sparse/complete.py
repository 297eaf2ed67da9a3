"""When every coalition was scored: the certified split, where the terms found leave something unexplained.

1. The linear programme of `interact_kernels.sparsify.and_or_split` without noise gives terms of all orders that rebuild
   every score.
2. AND{i,j} and OR{i,j} of one sign share a part that is x_i + x_j; it is moved into the single players, which never
   adds strength.
3. Terms above `max_order` are dropped only if the others still rebuild the scores.
"""

from __future__ import annotations

import warnings

import numpy as np

from interact.sparse.dictionary import Term, merged
from interact.sparse.recovery import Recovered, Sample, constant
from interact_kernels.sparsify import and_or_split

MOST_PLAYERS = 10
"""Beyond these the split takes more than a second."""
EXPLAINED = 0.999
"""The share of the variance of all scores that terms must explain to be kept instead of the split."""

_ZERO = 1e-7


def complete(sample: Sample, *, max_order: int) -> Recovered:
    """Return terms that rebuild the scores of all coalitions of few players.

    Args:
        sample: All 2**n coalitions, in any order.
        max_order: Most players of a term where such terms suffice.
    """
    n = sample.masks.shape[1]
    values = np.full(1 << n, np.nan)
    values[sample.masks @ (1 << np.arange(n))] = sample.values
    with warnings.catch_warnings():
        # A split a little above the least strength rebuilds the scores as well.
        warnings.simplefilter("ignore", RuntimeWarning)
        split = and_or_split(values, kappa=0.0, rtol=1e-7)
    effects: dict[Term, float] = {}
    for kind, found in (("and", split.i_and), ("or", split.i_or)):
        for mask in np.flatnonzero(found).tolist():
            term = merged(kind, (i for i in range(n) if mask >> i & 1))
            effects[term] = effects.get(term, 0.0) + float(found[mask])
    _singled(effects)
    least = _ZERO * float(np.abs(values - values[0]).max())
    kept = {term: effect for term, effect in effects.items() if abs(effect) > least}
    whole = _recovered(kept, values[0])
    low = _recovered({term: effect for term, effect in kept.items() if len(term[1]) <= max_order}, values[0])
    return low if explained(low, sample) >= EXPLAINED else whole


def explained(found: Recovered, sample: Sample) -> float:
    """Return the share of the variance of the scores that the terms explain."""
    if constant(sample.values):
        return 1.0
    spread = float(((sample.values - sample.values.mean()) ** 2).sum())
    left = float(((sample.values - found.predict(sample.masks)) ** 2).sum())
    return 1 - left / spread if spread else 1.0


def _singled(effects: dict[Term, float]) -> None:
    """Move what AND and OR of a pair have in common into its players, in place."""
    for kind, members in list(effects):
        both = effects[kind, members], effects.get(("or", members), 0.0)
        if kind == "or" or len(members) != 2 or both[0] * both[1] <= 0:
            continue
        part = min(both, key=abs)
        effects["and", members] -= part
        effects["or", members] -= part
        for player in members:
            single = merged("and", (player,))
            effects[single] = effects.get(single, 0.0) + part


def _recovered(effects: dict[Term, float], bias: float) -> Recovered:
    return Recovered(list(effects), np.array(list(effects.values())), float(bias), [])
