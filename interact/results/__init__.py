"""Results: which words interact, how strongly, and how well that is known.

`Interactions` is what every result answers; `ExactInteractions` and `SampledInteractions` are the two that there are.

>>> import interact.results
>>> result = interact.results.load("movie.interactions")  # doctest: +SKIP
"""

from __future__ import annotations

from interact.results.answers import Fidelity, Interaction
from interact.results.conversions import from_shapiq, to_shap, to_shapiq
from interact.results.exact import ExactInteractions
from interact.results.interactions import Interactions
from interact.results.load import load
from interact.results.parts import Part, parts_of
from interact.results.sampled import SampledInteractions
from interact.results.schema import SCHEMA, Listing, read_json
from interact.results.terms import Terms

__all__ = [
    "SCHEMA",
    "ExactInteractions",
    "Fidelity",
    "Interaction",
    "Interactions",
    "Listing",
    "Part",
    "SampledInteractions",
    "Terms",
    "from_shapiq",
    "load",
    "parts_of",
    "read_json",
    "to_shap",
    "to_shapiq",
]
