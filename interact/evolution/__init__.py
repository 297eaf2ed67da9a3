"""The evolution of interactions through training: classes, metrics, controls and stages, as functions of tables.

Nothing here loads a model or draws: tables in (docs/formats.md), tables out.
"""

from interact.formats.extras import require

require("study", "The evolution of interactions")


from interact.evolution.classes import classify, mark_salient, salient
from interact.evolution.controls import across_seeds, permuted_gamma, permuted_rho, planted_share
from interact.evolution.forecasting import Forecast, forecast
from interact.evolution.functional import functional_labels, name_interactions
from interact.evolution.grid import drop_incomplete
from interact.evolution.metrics import backbone_cross_entropy, generalisability, measure, non_cancellation
from interact.evolution.noise import NoiseOptions, expected_spindle, matched_sigma, noise_null, noise_tables
from interact.evolution.overview import overview
from interact.evolution.stages import Estimate, Stages, detect_stages, overfitting
from interact.evolution.sums import fixed_reference
from interact.evolution.tables import TABLES, check, empty

__all__ = [
    "TABLES",
    "Estimate",
    "Forecast",
    "NoiseOptions",
    "Stages",
    "across_seeds",
    "backbone_cross_entropy",
    "check",
    "classify",
    "detect_stages",
    "drop_incomplete",
    "empty",
    "expected_spindle",
    "fixed_reference",
    "forecast",
    "functional_labels",
    "generalisability",
    "mark_salient",
    "matched_sigma",
    "measure",
    "name_interactions",
    "noise_null",
    "noise_tables",
    "non_cancellation",
    "overfitting",
    "overview",
    "permuted_gamma",
    "permuted_rho",
    "planted_share",
    "salient",
]
