"""The Gaussian process behind a sampled result: made again from what the result records."""

from __future__ import annotations

import numpy as np

from interact.results import SampledInteractions
from interact.sparse.absence import Absence
from interact.sparse.dictionary import merged
from interact.sparse.gaussian import GaussianProcess, Scales, fit

_FREE_TERMS = 10.0
"""Standard deviation of the effects of given terms in results that do not say it."""


def posterior(result: SampledInteractions) -> GaussianProcess:
    """Return the Gaussian process behind a sampled result, or fit one; it is given all scores.

    The held-out ones have judged the result by then, and its terms never saw them, so it predicts a little better than
    they do. It knows the scores' expected values and deviations, and the AND, OR, Banzhaf and Shapley effects of any
    sets of players with their standard errors.

    >>> effects, errors = posterior(result).effects("shapley", [{i} for i in range(result.n)])  # doctest: +SKIP
    """
    if not isinstance(result, SampledInteractions):
        raise ValueError(f"A posterior is of a result of method='sparse', but {result!r:.60} was given.")
    return of_rows(result, np.ones(len(result.values), dtype=bool))


def of_rows(result: SampledInteractions, seen: np.ndarray) -> GaussianProcess:
    """Return the Gaussian process of `posterior`, given the scores of some of the coalitions (bool, [m])."""
    spread = float(result.provenance.get("spread") or 0.0)
    told = result.provenance.get("gaussian")
    if told is None:
        return fit(result.coalitions[seen], result.values[seen], spread=spread)
    scales = Scales(
        np.array(told["scales"], dtype=np.float64),
        float(told["amplitude"]),
        float(told["noise"]),
        # Older results do not tell the rest.
        float(told.get("given", _FREE_TERMS)),
        Absence(float(told.get("absence", 1.0)), float(told.get("extent", 0.0))),
    )
    terms = [merged(kind, members) for kind, members in told["beside"]]
    return fit(result.coalitions[seen], result.values[seen], terms, scales=scales, spread=spread)
