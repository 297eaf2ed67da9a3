"""The evolution of interactions through training: classes, metrics, controls and stages, as functions of tables.

Nothing here loads a model or draws: tables in (docs/formats.md), tables out.
"""

from interact.formats.extras import require

require("study", "The evolution of interactions")


from interact.evolution.certain import certain_changes, certain_classes, certain_metrics, only_certain
from interact.evolution.classes import classify, mark_salient, salient
from interact.evolution.controls import across_seeds, permuted_gamma, permuted_rho, planted_share
from interact.evolution.forecasting import Forecast, forecast
from interact.evolution.functional import functional_labels, name_interactions
from interact.evolution.grid import drop_incomplete
from interact.evolution.matched import matched_subsets
from interact.evolution.metrics import backbone_cross_entropy, generalisability, measure, non_cancellation
from interact.evolution.noise import (
    NoiseOptions,
    NullEvolutions,
    evolution_of,
    expected_spindle,
    matched_sigma,
    null_evolutions,
    null_scores,
)
from interact.evolution.overview import overview
from interact.evolution.stages import Estimate, Stages, detect_stages, overfitting, recommended_step
from interact.evolution.sums import fixed_reference
from interact.evolution.tables import TABLES, check, empty
from interact.evolution.verdicts import verdicts

__all__ = [
    "TABLES",
    "Estimate",
    "Forecast",
    "NoiseOptions",
    "NullEvolutions",
    "Stages",
    "across_seeds",
    "backbone_cross_entropy",
    "certain_changes",
    "certain_classes",
    "certain_metrics",
    "check",
    "classify",
    "detect_stages",
    "drop_incomplete",
    "empty",
    "evolution_of",
    "expected_spindle",
    "fixed_reference",
    "forecast",
    "functional_labels",
    "generalisability",
    "mark_salient",
    "matched_sigma",
    "matched_subsets",
    "measure",
    "name_interactions",
    "non_cancellation",
    "null_evolutions",
    "null_scores",
    "only_certain",
    "overfitting",
    "overview",
    "permuted_gamma",
    "permuted_rho",
    "planted_share",
    "recommended_step",
    "salient",
    "verdicts",
]
