"""The sums from which every metric is made: one figure for each cell and class.

A metric (docs/evolution.md) is a ratio of two sums over samples. A bootstrap over samples only weighs those sums anew,
so the interactions themselves are read once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from interact.evolution.grid import Grid
from interact.evolution.tables import CLASSES, check, orders_of

_TERM = ["step", "sample", "kind", "mask"]


@dataclass(frozen=True)
class Sums:
    """Sums over the interactions of one class in one cell; classes in the order of `GROUPS`.

    Attributes:
        signed: sum of I, float64 [cells, 4].
        strength: sum of |I|, float64 [cells, 4].
        count: Number of interactions, float64 [cells, 4].
        matched: sum of |I| G, float64 [cells, 4]; NaN where the reference does not know the sample; None without a
            reference.
        matched_count: sum of G, likewise.
        reemerged: Number of those that were missing at a followed step between, float64 [cells, 4].
        positive: sum of the positive effects of each order, float64 [orders, cells, 4], order 1 first.
        negative: sum of the negative effects of each order, likewise.
    """

    signed: np.ndarray
    strength: np.ndarray
    count: np.ndarray
    reemerged: np.ndarray
    matched: np.ndarray | None
    matched_count: np.ndarray | None
    positive: np.ndarray
    negative: np.ndarray


GROUPS = (*CLASSES, "all")
"""The classes, and `all` for the salient set of the step, which is what is preserved and what has emerged."""


def sum_up(classes: pd.DataFrame, grid: Grid, reference: pd.DataFrame | None = None) -> Sums:
    """Add up what each class of each cell holds.

    Args:
        classes: Table, as `check` returns it.
        grid: The followed cells.
        reference: Table `interactions` of the other model, one run; see `interact.evolution.measure`.

    Raises:
        ValueError: A row of `classes` is of a cell that was not followed, or the reference does not fit.
    """
    cell = grid.locate(classes)
    if (cell < 0).any():
        row = classes.iloc[int((cell < 0).argmax())]
        raise ValueError(
            f"The table classes has the sample {row['sample']!r} at step {row['step']} of {row['run']!r}, "
            "which was not followed."
        )
    group = _codes(classes["class"])
    effect = classes["effect"].to_numpy()
    order = orders_of(classes["mask"].to_numpy())
    size, highest = len(grid.cells), int(order.max(initial=1))

    def total(weights: np.ndarray) -> np.ndarray:
        # Of nothing, bincount returns integers.
        sums = np.bincount(cell * 3 + group, weights=weights, minlength=size * 3).reshape(size, 3).astype(np.float64)
        return np.concatenate([sums, sums[:, 1:].sum(1, keepdims=True)], axis=1)

    def by_order(weights: np.ndarray) -> np.ndarray:
        return np.stack([total(weights * (order == k)) for k in range(1, highest + 1)])

    matched = matched_count = None
    if reference is not None:
        general = generalises(classes, reference)
        unknown = _unknown(grid, reference)
        matched = np.where(unknown, np.nan, total(np.abs(effect) * general))
        matched_count = np.where(unknown, np.nan, total(general.astype(np.float64)))
    return Sums(
        signed=total(effect),
        strength=total(np.abs(effect)),
        count=total(np.ones(len(effect))),
        reemerged=total(_back(classes)),
        matched=matched,
        matched_count=matched_count,
        positive=by_order(effect.clip(min=0)),
        negative=by_order(effect.clip(max=0)),
    )


def generalises(classes: pd.DataFrame, reference: pd.DataFrame) -> np.ndarray:
    """Tell which interactions the other model has too: G(T) = [T in Omega'] [the signs are equal].

    The other model is looked at where the effect is from: at step 0 for removed interactions, else at the row's step
    (**choice**).

    Args:
        classes: Table.
        reference: Table `interactions` of the other model, one run, matched by sample, kind and mask.

    Returns:
        bool [rows of classes].
    """
    return same_sign(terms_of(classes), salient_terms(reference))


def terms_of(classes: pd.DataFrame) -> pd.DataFrame:
    """Return where the other model is looked at: columns step, sample, kind, mask, effect; one row per row."""
    step = classes["step"].where(classes["class"] != "removed", 0)
    return classes.assign(step=step)[[*_TERM, "effect"]].astype({"sample": "str", "kind": "str"})


def salient_terms(reference: pd.DataFrame) -> pd.DataFrame:
    """Return what a reference holds there: the same columns, salient interactions only."""
    return reference.loc[reference["salient"], [*_TERM, "effect"]].astype({"sample": "str", "kind": "str"})


def same_sign(terms: pd.DataFrame, others: pd.DataFrame) -> np.ndarray:
    """Tell which terms are among the others with the same sign, bool [rows of terms]."""
    found = terms[_TERM].merge(others, on=_TERM, how="left")["effect"].to_numpy()
    return np.sign(found) == np.sign(terms["effect"].to_numpy())


def check_reference(reference: pd.DataFrame, samples: pd.Series) -> pd.DataFrame:
    """Return the table of the other model, checked against the samples that are compared.

    Raises:
        ValueError: It has no rows, holds more than one run, or lacks a sample altogether.
    """
    reference = check(reference, "interactions")
    runs = reference["run"].unique()
    if len(runs) != 1:
        held = ", ".join(map(repr, sorted(runs))) or "no run at all"
        raise ValueError(f"The reference is one run of another model, but the table holds {held}; choose one of them.")
    lacking = sorted(set(samples) - set(reference["sample"]))
    if lacking:
        raise ValueError(
            f"The reference {runs[0]!r} has no interactions of the samples {', '.join(map(repr, lacking))}; extract "
            "them with that model too, or leave them out."
        )
    return reference


def fixed_reference(reference: pd.DataFrame, steps: list[int] | np.ndarray) -> pd.DataFrame:
    """Repeat the one followed step of a model that is not trained, so that it is a reference at every step.

    Args:
        reference: Table `interactions` that holds one step.
        steps: The steps of the run it is compared with.

    Raises:
        ValueError: It holds several steps.
    """
    reference = check(reference, "interactions")
    found = reference["step"].unique()
    if len(found) != 1:
        raise ValueError(f"A model that is not trained has one step, but the reference holds {len(found)}.")
    return pd.concat([reference.assign(step=int(step)) for step in steps], ignore_index=True)


def was_followed(cells: pd.DataFrame, reference: pd.DataFrame) -> np.ndarray:
    """Tell which rows' step and sample the reference has interactions of, bool [rows]."""
    seen = pd.MultiIndex.from_frame(reference[["step", "sample"]].drop_duplicates().astype({"sample": "str"}))
    return pd.MultiIndex.from_frame(cells[["step", "sample"]].astype({"sample": "str"})).isin(seen)


def _unknown(grid: Grid, reference: pd.DataFrame) -> np.ndarray:
    """Tell where gamma cannot be said, bool [cells, 4]: the reference was not followed at that step."""
    now = ~was_followed(grid.cells, reference)
    return np.stack([now[grid.first], now, now, now], axis=1)


def _back(classes: pd.DataFrame) -> np.ndarray:
    # Tables from before the flag have none.
    return classes["reemerged"].to_numpy(dtype=np.float64) if "reemerged" in classes else np.zeros(len(classes))


def _codes(names: pd.Series) -> np.ndarray:
    return names.map({name: code for code, name in enumerate(CLASSES)}).to_numpy(dtype=np.int64)
