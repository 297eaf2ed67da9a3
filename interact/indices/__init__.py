"""The classical indices of cooperative games, from interactions or from scores (docs/indices.md).

>>> from interact import indices
>>> indices.shapley([0.0, 1.0, 1.0, 4.0])
array([2., 2.])
"""

from __future__ import annotations

from interact.indices.cardinal import (
    banzhaf,
    bii,
    co_moebius,
    fbii,
    fsii,
    k_sii,
    moebius,
    shapley,
    sii,
    stii,
)
from interact.indices.pairs import multi_order, pairwise
from interact.indices.values import IndexValues

__all__ = [
    "IndexValues",
    "banzhaf",
    "bii",
    "co_moebius",
    "fbii",
    "fsii",
    "k_sii",
    "moebius",
    "multi_order",
    "pairwise",
    "shapley",
    "sii",
    "stii",
]
