"""Matched subsets: what random interactions of a class's strength and orders would do in its place.

Dropping any part of a salient set moves the score towards v(empty), and a strong class predicts more than a weak one
whatever it is. So a class is compared with random subsets of the salient set that it is part of (that of step 0 for
removed ones, that of the row's step for the others), with the class's strength in every order:

1. In each order the terms of the set come in random order until the class's strength is reached; the last one is taken
   in part, so the strengths are equal exactly.
2. Each subset is dropped, and is let to predict alone, as the class is: with the bias v(empty) of the row's step.
3. The mean over the draws is what chance gives; differences are paired within samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from interact.evolution.bootstrap import RESAMPLES
from interact.evolution.classes import classify
from interact.evolution.grid import Grid, follow
from interact.evolution.metrics import backbone_cross_entropy, tabulate
from interact.evolution.tables import CLASSES, check, empty, orders_of

DRAWS = 200
"""Random subsets behind a mean."""


@dataclass(frozen=True)
class Effects:
    """What a group of interactions does in each cell, beside matched subsets; float64 [cells].

    Attributes:
        strength: sum |I| of the group.
        drop: Change of -log sigmoid(v(N)) without the group, at the step that its effects are from.
        drop_matched: The same of the matched subsets, on average.
        gain: -log sigmoid(v(empty)) + log sigmoid(v(empty) + sum I), v(empty) of the row's step.
        gain_matched: The same of the matched subsets, on average.
    """

    strength: np.ndarray
    drop: np.ndarray
    drop_matched: np.ndarray
    gain: np.ndarray
    gain_matched: np.ndarray


def matched_subsets(
    interactions: pd.DataFrame,
    cells: pd.DataFrame,
    *,
    classes: pd.DataFrame | None = None,
    samples: int = DRAWS,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure every class beside random subsets of equal strength and orders; the module's docstring says how.

    Args:
        interactions: Table, `salient` filled in.
        cells: Table.
        classes: What `classify` returned, or None to call it.
        samples: Random subsets, at least 1.
        resamples: Bootstrap samples; 0 for no intervals.
        seed: Of the subsets and of the bootstrap.

    Returns:
        Table `metrics`, classes removed, preserved and emerged: `drop`, the change of the loss without the class in
        nats; `drop_matched`, without a matched subset; `drop_over_matched`, the paired difference (below 0: worse than
        chance); `gain_per_strength_matched`, and `gain_per_strength_over_matched` (above 0: it carries more than
        chance).

    Raises:
        ValueError: As in `measure`, or fewer than one subset is asked for.
    """
    interactions, cells = check(interactions, "interactions"), check(cells, "cells")
    grid = follow(interactions, cells)
    if not len(cells):
        return empty("metrics")
    classes = classify(interactions, cells=cells) if classes is None else check(classes, "classes")
    masks = {name: (classes["class"] == name).to_numpy() for name in CLASSES}
    found = group_effects(interactions, cells, classes, masks, grid=grid, samples=samples, seed=seed)
    ones = np.ones((len(grid.cells), len(CLASSES)))

    def stacked(name: str) -> np.ndarray:
        return np.stack([getattr(found[group], name) for group in CLASSES], axis=1)

    strength = stacked("strength")
    ratios = {
        "drop": (stacked("drop"), ones),
        "drop_matched": (stacked("drop_matched"), ones),
        "drop_over_matched": (stacked("drop") - stacked("drop_matched"), ones),
        "gain_per_strength_matched": (stacked("gain_matched"), strength),
        "gain_per_strength_over_matched": (stacked("gain") - stacked("gain_matched"), strength),
    }
    return tabulate(ratios, grid, CLASSES, resamples=resamples, seed=seed)


def group_effects(
    interactions: pd.DataFrame,
    cells: pd.DataFrame,
    classes: pd.DataFrame,
    groups: Mapping[str, np.ndarray],
    *,
    grid: Grid | None = None,
    samples: int = DRAWS,
    seed: int = 0,
) -> dict[str, Effects]:
    """Measure groups of rows of `classes`, such as those born early, beside matched subsets.

    Args:
        interactions: Table.
        cells: Table.
        classes: Table.
        groups: Which rows of `classes` belong to each group, bool [rows]; a group holds removed rows only, or none.
        grid: The followed cells, where they are known.
        samples: Random subsets, at least 1.
        seed: Of the subsets.

    Raises:
        ValueError: As in `matched_subsets`, or a group holds removed interactions beside others.
    """
    if samples < 1:
        raise ValueError(f"Chance is the mean over at least one random subset, but samples is {samples}.")
    grid = follow(interactions, cells) if grid is None else grid
    scores = cells.take(np.argsort(grid.locate(cells)))
    bias, total = scores["bias"].to_numpy(), scores["total"].to_numpy()
    removed = (classes["class"] == "removed").to_numpy()
    found: dict[str, Effects] = {}
    for of_removed in (True, False):
        chosen = {name: mask for name, mask in groups.items() if bool((mask & removed).any()) == of_removed}
        if mixed := [name for name, mask in chosen.items() if of_removed and (mask & ~removed).any()]:
            raise ValueError(
                f"The group {mixed[0]!r} holds removed and other interactions, which belong to different models; use "
                "separate groups."
            )
        if not chosen:
            continue
        pool, members = _pool(classes, chosen, removed, grid, of_removed)
        origin = total[grid.first] if of_removed else total
        signed, strength, drawn = _draw(pool, members, len(grid.cells), samples, seed)
        for g, name in enumerate(chosen):
            whole, alone = backbone_cross_entropy(origin), backbone_cross_entropy(bias)
            found[name] = Effects(
                strength=strength[g],
                drop=backbone_cross_entropy(origin - signed[g]) - whole,
                drop_matched=(backbone_cross_entropy(origin - drawn[g]) - whole).mean(0),
                gain=alone - backbone_cross_entropy(signed[g], bias),
                gain_matched=(alone - backbone_cross_entropy(drawn[g], bias)).mean(0),
            )
    return {name: found[name] for name in groups}


@dataclass(frozen=True)
class _Pool:
    """The terms that subsets are drawn from: their cell, order and effect, [terms]."""

    cell: np.ndarray
    order: np.ndarray
    effect: np.ndarray


def _pool(
    classes: pd.DataFrame, groups: Mapping[str, np.ndarray], removed: np.ndarray, grid: Grid, of_removed: bool
) -> tuple[_Pool, np.ndarray]:
    """Return the salient terms that groups are part of, and which of them are in each group, bool [groups, terms]."""
    cell, order = grid.locate(classes), orders_of(classes["mask"].to_numpy())
    effect = classes["effect"].to_numpy()
    if not of_removed:
        keep = ~removed
        members = np.stack([mask[keep] for mask in groups.values()])
        return _Pool(cell[keep], order[keep], effect[keep]), members
    # The salient set of step 0, again at every step: what is preserved there (all of it) and what is removed since.
    start = np.flatnonzero(~removed & (grid.rank[np.maximum(cell, 0)] == 0))
    later = np.argsort(grid.first, kind="stable")
    steps = np.bincount(grid.first, minlength=len(grid.cells))
    begin = np.concatenate([[0], np.cumsum(steps)])
    repeat = steps[cell[start]]
    term = np.repeat(start, repeat)
    within = np.arange(len(term)) - np.repeat(np.cumsum(repeat) - repeat, repeat)
    place = later[begin[cell[term]] + within]
    kind = classes["kind"].astype("str").to_numpy(dtype=object) == "or"
    mask = classes["mask"].to_numpy()
    keys = pd.MultiIndex.from_arrays([place, kind[term], mask[term]])
    members = []
    for group in groups.values():
        rows = np.flatnonzero(group)
        members.append(keys.isin(pd.MultiIndex.from_arrays([cell[rows], kind[rows], mask[rows]])))
    return _Pool(place, order[term], effect[term]), np.stack(members)


def _draw(
    pool: _Pool, members: np.ndarray, cells: int, samples: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the groups' signed sums and strengths [groups, cells], and sums of subsets [groups, draws, cells]."""
    rng = np.random.default_rng(seed)
    size, highest = np.abs(pool.effect), int(pool.order.max(initial=1)) + 1
    bin_of = pool.cell * highest + pool.order
    wanted = np.stack([np.bincount(bin_of, size * own, minlength=cells * highest) for own in members])
    drawn = np.zeros((len(members), samples, cells))
    by_bin = np.sort(bin_of)
    first = np.searchsorted(by_bin, by_bin)
    for draw in range(samples):
        at = np.argsort(bin_of + rng.random(len(bin_of)), kind="stable")
        sums = np.concatenate([[0.0], np.cumsum(size[at])])
        before = sums[:-1] - sums[first]
        # Nothing is salient with an effect of 0.
        share = np.clip((wanted[:, bin_of[at]] - before) / size[at], 0.0, 1.0)
        for g, part in enumerate(share):
            drawn[g, draw] = np.bincount(pool.cell[at], part * pool.effect[at], minlength=cells)
    signed = np.stack([np.bincount(pool.cell, pool.effect * own, minlength=cells) for own in members])
    strength = np.stack([np.bincount(pool.cell, size * own, minlength=cells) for own in members])
    return signed, strength, drawn
