"""The evolution of interactions through training: classes, metrics, controls and stages, as functions of tables.

Nothing here loads a model or draws: tables in (docs/formats.md), tables out.
"""

from interact.evolution.classes import classify, mark_salient, salient
from interact.evolution.grid import drop_incomplete
from interact.evolution.metrics import backbone_cross_entropy, generalisability, measure, non_cancellation
from interact.evolution.stages import Estimate, Stages, detect_stages, overfitting
from interact.evolution.sums import fixed_reference
from interact.evolution.tables import TABLES, check, empty

__all__ = [
    "TABLES",
    "Estimate",
    "Stages",
    "backbone_cross_entropy",
    "check",
    "classify",
    "detect_stages",
    "drop_incomplete",
    "empty",
    "fixed_reference",
    "generalisability",
    "mark_salient",
    "measure",
    "non_cancellation",
    "overfitting",
    "salient",
]
