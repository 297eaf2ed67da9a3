"""Which cells were followed, numbered so that sums over them are array operations.

A study follows every sample of a run at every step of that run. Sorted by run, step and sample, the cells of one run
are then one block of shape [steps, samples], and all classes and metrics are sums over rows of such blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from interact.evolution.tables import check
from interact.formats.schema import Run, runs_in

_CELL = ["run", "step", "sample"]


@dataclass(frozen=True)
class Block:
    """The cells of one run.

    Attributes:
        run: Its name.
        start: Number of its first cell.
        steps: The followed steps, ascending, int64 [steps].
        samples: The followed samples, sorted, [samples].
    """

    run: str
    start: int
    steps: np.ndarray
    samples: np.ndarray

    @property
    def cells(self) -> slice:
        """The numbers of its cells; an array of them has the shape [steps, samples]."""
        return slice(self.start, self.start + len(self.steps) * len(self.samples))

    @property
    def shape(self) -> tuple[int, int]:
        """Number of steps, number of samples."""
        return len(self.steps), len(self.samples)


@dataclass(frozen=True)
class Grid:
    """All followed cells.

    Attributes:
        cells: Columns run, step, sample; row i is cell i.
        blocks: The runs, sorted by name.
        rank: Which of its run's steps a cell belongs to, from 0, int64 [cells].
        first: The cell of the same run and sample at step 0, int64 [cells].
        runs: What the runs are.
    """

    cells: pd.DataFrame
    blocks: tuple[Block, ...]
    rank: np.ndarray
    first: np.ndarray
    runs: tuple[Run, ...]

    def locate(self, table: pd.DataFrame) -> np.ndarray:
        """Return the number of each row's cell, -1 where it was not followed; int64 [rows]."""
        known = self.cells.assign(cell=np.arange(len(self.cells)))
        found = table[_CELL].astype({"run": "str", "sample": "str"}).merge(known, on=_CELL, how="left")["cell"]
        return found.fillna(-1).to_numpy(dtype=np.int64)


def follow(interactions: pd.DataFrame, cells: pd.DataFrame | None = None) -> Grid:
    """Number the followed cells.

    A cell whose scores do not move has no interactions, so only the table `cells` tells it from a cell that was
    never computed. Without that table, the cells are those which have interactions.

    Args:
        interactions: Table, as `check` returns it.
        cells: Table, or None.

    Raises:
        ValueError: A run lacks step 0 or a sample lacks a step (drop what is incomplete with `drop_incomplete`), or
            there are interactions of a cell that is not in `cells`.
    """
    seen = _distinct(interactions)
    followed = interactions if cells is None else check(cells, "cells")
    found = _distinct(followed)
    blocks, start = [], 0
    for run, part in found.groupby("run", sort=True):
        block = _block(str(run), part, start, cells is None)
        blocks.append(block)
        start = block.cells.stop
    counts = [block.shape for block in blocks]
    rank = [np.repeat(np.arange(steps), samples) for steps, samples in counts]
    first = [np.tile(np.arange(b.start, b.start + b.shape[1]), b.shape[0]) for b in blocks]
    whole = np.zeros(0, dtype=np.int64)
    runs = tuple(runs_in(followed).values())
    grid = Grid(found, tuple(blocks), np.concatenate([whole, *rank]), np.concatenate([whole, *first]), runs)
    if cells is not None and (strange := grid.locate(seen) < 0).any():
        row = seen[strange].iloc[0]
        raise ValueError(
            f"There are interactions of the sample {row['sample']!r} at step {row['step']} of {row['run']!r}, "
            "but the table cells does not list it."
        )
    return grid


def drop_incomplete(
    interactions: pd.DataFrame, cells: pd.DataFrame | None = None, *, drop: str = "sample"
) -> tuple[pd.DataFrame, pd.DataFrame | None, list[str]]:
    """Leave out the samples that were not followed at every step of their run, or the steps that lack a sample.

    Dropping samples keeps every step, and every step then is about the same samples; in a run that is still going,
    dropping the step in work keeps more.

    Args:
        interactions: Table.
        cells: Table, or None; see `follow`.
        drop: ``"sample"`` or ``"step"``.

    Returns:
        Both tables without what was dropped, and one sentence for each thing that was dropped.

    Raises:
        ValueError: A table is not as `check` requires, or `drop` is something else.

    >>> from interact.evolution.tables import empty
    >>> drop_incomplete(empty("interactions"))[2]
    []
    """
    if drop not in ("sample", "step"):
        raise ValueError(f'Either a "sample" or a "step" can be dropped, but drop is {drop!r}.')
    interactions = check(interactions, "interactions")
    cells = None if cells is None else check(cells, "cells")
    found = _distinct(interactions if cells is None else cells)
    other = "step" if drop == "sample" else "sample"
    wanted = found.groupby("run")[other].nunique().to_dict()
    counts = found.groupby(["run", drop]).size().reset_index(name="count")
    rows = list(zip(counts["run"], counts[drop], counts["count"], strict=True))
    lacking = [(run, thing, count) for run, thing, count in rows if count < wanted[run]]
    sentences = [
        f"The {drop} {thing!r} of {run!r} was left out: it has {count} of {wanted[run]} {other}s."
        for run, thing, count in lacking
    ]

    def without(table: pd.DataFrame) -> pd.DataFrame:
        pairs = pd.MultiIndex.from_frame(table[["run", drop]].astype({"run": "str"}))
        gone = pairs.isin([row[:2] for row in lacking]) if lacking else np.zeros(len(table), dtype=bool)
        return table[~gone].reset_index(drop=True)

    return without(interactions), None if cells is None else without(cells), sentences


def _distinct(table: pd.DataFrame) -> pd.DataFrame:
    found = table[_CELL].drop_duplicates().astype({"run": "str", "sample": "str"})
    return found.sort_values(_CELL, ignore_index=True)


def _block(run: str, part: pd.DataFrame, start: int, guessed: bool) -> Block:
    steps, samples = np.unique(part["step"].to_numpy()), np.unique(part["sample"].to_numpy(dtype=object))
    if steps[0] != 0:
        raise ValueError(
            f"The run {run!r} was not followed at step 0 (its first step is {steps[0]}), but its classes are told from "
            "the model before training."
        )
    if len(part) != len(steps) * len(samples):
        missing = pd.MultiIndex.from_product([steps, samples]).difference(pd.MultiIndex.from_frame(part[_CELL[1:]]))
        step, sample = missing[0]
        hint = "; if its interactions are all zero, pass the table cells too" if guessed else ""
        raise ValueError(
            f"The sample {sample!r} is missing at step {step} of {run!r} ({len(missing)} cells of this run are "
            f"missing); follow it there, or leave such samples out with drop_incomplete{hint}."
        )
    return Block(run, start, steps, samples)
