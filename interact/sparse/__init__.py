"""Many players: AND-OR interactions from sampled coalitions.

>>> import interact.sparse
>>> result = interact.sparse.explain(value, 200, budget=4000)  # doctest: +SKIP
"""

from __future__ import annotations

from interact.sparse.asking import Asking
from interact.sparse.document import document
from interact.sparse.gaussian import GaussianProcess
from interact.sparse.of_result import posterior
from interact.sparse.outlook import Outlook, outlook
from interact.sparse.refinement import refine
from interact.sparse.scores import Interrupted, ScoreCache, Value
from interact.sparse.search import SparseOptions, explain, least_budget, usual_budget

__all__ = [
    "Asking",
    "GaussianProcess",
    "Interrupted",
    "Outlook",
    "ScoreCache",
    "SparseOptions",
    "Value",
    "document",
    "explain",
    "least_budget",
    "outlook",
    "posterior",
    "refine",
    "usual_budget",
]
