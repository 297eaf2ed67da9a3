"""The metrics of an evolution, each with a bootstrap interval over samples.

Sums over T run over one class of one sample; outer sums run over samples, so that a sample without such interactions
weighs nothing. With I the effects, v the scores, and N all players:

======================= =====================================================================================
name                    formula
======================= =====================================================================================
strength                mean over samples of sum |I|
strength_normalised     mean over samples of sum |I| / |v(N) - v(empty)|, at the step the effects are from
count                   mean over samples of the number of interactions
reemerged               mean over samples of the number of those that were missing at a followed step between
rho                     sum over samples of |sum I| / sum over samples of sum |I|, both types pooled
rho_by_sample           mean of |sum I| / sum |I| over the samples that have such interactions
gamma                   sum |I| G / sum |I|, G(T) = 1 where the reference has T too, with the same sign
gamma_count             sum G / number of interactions
gamma_by_sample         mean of sum |I| G / sum |I| over the samples that have such interactions
contribution            sum I / number of interactions
cross_entropy           mean over samples of -log sigmoid(sum I)
cross_entropy_bias      mean over samples of -log sigmoid(v(empty) + sum I), v of the row's step for every class
gain_per_strength       sum over samples of (-log sigmoid(v(empty)) + log sigmoid(v(empty) + sum I)) / sum of sum |I|
order{k}_positive       mean over samples of the sum of positive effects of order k
order{k}_negative       mean over samples of the sum of negative effects of order k
======================= =====================================================================================

and of class `all` alone: `scale`, mean |v(N) - v(empty)|; `cross_entropy_model`, mean -log sigmoid(v(N)).
Source: Zhang et al. 2026 (arXiv 2605.17967); normalised strengths, the weighting of samples by their strength, and the
figures by sample are choices of this software.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from interact.evolution.bootstrap import RESAMPLES, weighted_means
from interact.evolution.classes import classify
from interact.evolution.grid import Grid, follow
from interact.evolution.sums import GROUPS, Sums, check_reference, sum_up
from interact.evolution.tables import check, empty
from interact.formats.schema import identify

Ratio = tuple[np.ndarray, np.ndarray]


def non_cancellation(effects: np.ndarray) -> float:
    """Return rho = |sum I| / sum |I|: 1 where all effects pull one way, 0 where they cancel; NaN without effects.

    Args:
        effects: Effects of one class, both types pooled, float64 [m].

    Source: Zhang et al. 2026 (arXiv 2605.17967).

    >>> non_cancellation(np.array([3.0, -1.0]))
    0.5
    """
    effects = np.asarray(effects, dtype=np.float64)
    strength = np.abs(effects).sum()
    return float(abs(effects.sum()) / strength) if strength > 0 else float("nan")


def generalisability(effects: np.ndarray, others: np.ndarray, *, by_count: bool = False) -> float:
    """Return gamma = sum |I| G / sum |I|, G = 1 where the other model's salient effect has the same sign.

    Args:
        effects: Effects of one class, float64 [m].
        others: Effects of the same interactions in the other model, 0 where they are not salient there, float64 [m].
        by_count: Count interactions instead of weighing them by |I|.

    Returns:
        A share in [0, 1], NaN without effects.

    Raises:
        ValueError: The shapes differ.

    Source: Zhang et al. 2026 (arXiv 2605.17967).

    >>> generalisability(np.array([3.0, -1.0]), np.array([1.0, 1.0]))
    0.75
    """
    effects, others = np.asarray(effects, dtype=np.float64), np.asarray(others, dtype=np.float64)
    if effects.shape != others.shape:
        raise ValueError(
            f"{effects.shape} effects cannot be matched with {others.shape} of the other model; give one for each."
        )
    present = effects != 0
    weight = np.where(by_count, present, np.abs(effects))
    general = present & (np.sign(effects) == np.sign(others))
    return float((weight * general).sum() / weight.sum()) if present.any() else float("nan")


def backbone_cross_entropy(sums: np.ndarray, bias: np.ndarray | float = 0.0) -> np.ndarray:
    """Return -log sigmoid(sum of a class's effects + bias): how well that class alone predicts the target.

    Args:
        sums: Signed sum of the effects of each sample, float64 [...].
        bias: v(empty) of each sample, or 0 for the test without it.

    Returns:
        float64 [...]; log 2 for a class that says nothing.

    Source: Zhang et al. 2026 (arXiv 2605.17967).

    >>> backbone_cross_entropy(np.array([0.0])).round(3).tolist()
    [0.693]
    """
    return np.logaddexp(0.0, -(np.asarray(sums, dtype=np.float64) + bias))


def measure(
    interactions: pd.DataFrame,
    cells: pd.DataFrame,
    *,
    reference: pd.DataFrame | None = None,
    classes: pd.DataFrame | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure every class at every step of every run; the module's docstring holds the formulas.

    Args:
        interactions: Table, `salient` filled in.
        cells: Table; it says which cells were followed, and their scores v(empty) and v(N).
        reference: Table `interactions` of another model on the same players: one run, matched by sample, kind and
            mask, at the step of the effects (the same step; 0 for removed ones). Where it was not followed, gamma is
            NaN; for a model that is not trained see `fixed_reference`.
        classes: What `classify` returned, or None to call it.
        resamples: Bootstrap samples; 0 for no intervals.
        seed: Of the bootstrap. All figures of a run are weighed by the same draws.

    Returns:
        Table `metrics`: classes removed, preserved, emerged, and `all` for the salient set of the step. A share of
        nothing is NaN; so are the bounds where there is only one sample.

    Raises:
        ValueError: A table does not fit, step 0 or a sample is missing somewhere, or the reference lacks a sample.
    """
    interactions, cells = check(interactions, "interactions"), check(cells, "cells")
    grid = follow(interactions, cells)
    if not len(cells):
        return empty("metrics")
    classes = classify(interactions, cells=cells) if classes is None else check(classes, "classes")
    if reference is not None:
        reference = check_reference(reference, grid.cells["sample"])
    sums = sum_up(classes, grid, reference)
    scores = cells.take(np.argsort(grid.locate(cells)))
    ratios = _ratios(sums, grid, scores["bias"].to_numpy(), scores["total"].to_numpy())
    return tabulate(ratios, grid, GROUPS, resamples=resamples, seed=seed)


def tabulate(
    ratios: dict[str, Ratio], grid: Grid, groups: tuple[str, ...], *, resamples: int, seed: int
) -> pd.DataFrame:
    """Turn ratios of sums over samples into the table `metrics`.

    Args:
        ratios: Name to numerator and denominator, each float64 [cells, groups].
        grid: The followed cells.
        groups: What the columns of the ratios are called.
        resamples: Bootstrap samples.
        seed: Of the bootstrap.
    """
    names = list(ratios)
    parts = [empty("metrics")]
    for block in grid.blocks:
        shape = (*block.shape, len(groups))
        pairs = [tuple(part[block.cells].reshape(shape) for part in ratios[name]) for name in names]
        above, below = (np.stack(part, axis=-1) for part in zip(*pairs, strict=True))
        figures = weighted_means(above, below, axis=1, resamples=resamples, seed=seed)
        index = pd.MultiIndex.from_product([[block.run], block.steps, groups, names])
        frame = pd.DataFrame(index.to_list(), columns=pd.Index(["run", "step", "class", "name"]))
        bounds = {bound: figure.reshape(-1) for bound, figure in zip(("value", "low", "high"), figures, strict=True)}
        parts.append(identify(frame.assign(**bounds), "metrics", grid.runs))
    table = pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)
    # What is meant of no class has one row.
    alone = table["name"].isin(["scale", "cross_entropy_model"])
    return table[~alone | (table["class"] == "all")].reset_index(drop=True)


def _ratios(sums: Sums, grid: Grid, bias: np.ndarray, total: np.ndarray) -> dict[str, Ratio]:
    """Return each metric as numerator and denominator, float64 [cells, 4]."""
    scale = np.abs(total - bias)
    ones = np.ones_like(sums.signed)
    own_scale = _at_origin(scale, grid)
    # One bias for all classes: with that of another step, a class would be told from the others by its bias.
    with_bias, alone = backbone_cross_entropy(sums.signed, bias[:, None]), backbone_cross_entropy(bias)[:, None]
    size = np.abs(sums.signed)
    ratios = {
        "strength": (sums.strength, ones),
        "strength_normalised": _defined(sums.strength, own_scale),
        "count": (sums.count, ones),
        "reemerged": (sums.reemerged, ones),
        "rho": (size, sums.strength),
        "rho_by_sample": _defined(size, sums.strength),
        "contribution": (sums.signed, sums.count),
        "cross_entropy": (backbone_cross_entropy(sums.signed), ones),
        "cross_entropy_bias": (with_bias, ones),
        "gain_per_strength": (alone - with_bias, sums.strength),
        "scale": (scale[:, None] * ones, ones),
        "cross_entropy_model": (backbone_cross_entropy(total)[:, None] * ones, ones),
    }
    if sums.matched is not None and sums.matched_count is not None:
        ratios["gamma"] = (sums.matched, sums.strength)
        ratios["gamma_count"] = (sums.matched_count, sums.count)
        ratios["gamma_by_sample"] = _defined(sums.matched, sums.strength)
    for k, (positive, negative) in enumerate(zip(sums.positive, sums.negative, strict=True), start=1):
        ratios[f"order{k}_positive"] = (positive, ones)
        ratios[f"order{k}_negative"] = (negative, ones)
    return ratios


def _at_origin(column: np.ndarray, grid: Grid) -> np.ndarray:
    """Return a cell's figure at the step the effects of each class are from, float64 [cells, 4]."""
    return np.stack([column[grid.first], column, column, column], axis=1)


def _defined(above: np.ndarray, below: np.ndarray) -> Ratio:
    """Return the ratio of each cell, weighed 1 where it is defined and 0 elsewhere."""
    weight = (below > 0).astype(np.float64)
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0), weight
