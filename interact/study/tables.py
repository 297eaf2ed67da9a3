"""The tables of a study, made from its cells (docs/formats.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from interact.evolution import mark_salient
from interact.evolution.tables import TABLES, check, empty
from interact.formats.schema import Run, identify
from interact.results import load
from interact.sft.following import cell_row, placed_in, unchecked_rows
from interact.sft.run_folder import losses_of
from interact.study.store import Store
from interact.study.work import Cell, Sample


def of_cells(store: Store, work: Iterable[Cell]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make the tables `interactions` and `cells` from the cells that are done.

    Raises:
        ValueError: A cell's file is damaged; the sentence names it.
    """
    effects, rows = [], []
    start: dict[tuple[str, str], np.ndarray] = {}
    for cell in work:
        path = store.cell(cell.key)
        if path.is_file():
            try:
                result = load(path)
            except ValueError as error:
                raise ValueError(f"{error} Run the study again: it computes a damaged cell anew.") from error
            # A cell before training is shared by runs, and names the first that asked for it.
            result = placed_in(result, cell.run, cell.step, cell.sample.id)
            found = unchecked_rows(result)
            effects.append(found.assign(floor=found["order"].map(result.noise_floor)))
            # The work list has step 0 of a run first.
            place = (cell.run.name, cell.sample.id)
            if cell.step == 0:
                start[place] = result.values
            rows.append({**cell_row(result, path.stem), "moved": _moved(start.get(place), result.values)})
    if not rows:
        return empty("interactions"), empty("cells")
    table = pd.concat(effects, ignore_index=True)
    if store.config.tau_rule == "initial":
        # What is not done at step 0 yet has no threshold, and is no part of any conclusion.
        places = pd.MultiIndex.from_frame(table[["run", "sample"]].astype({"run": "str", "sample": "str"}))
        table = table[places.isin(list(start))].reset_index(drop=True)
    marked = mark_salient(table.drop(columns="floor"), tau=store.config.tau, rule=store.config.tau_rule)
    # What half precision may have made up is never salient.
    marked = marked.assign(salient=marked["salient"] & (table["effect"].abs() >= table["floor"]))
    return marked, check(pd.DataFrame(rows)[list(TABLES["cells"])], "cells")


def _moved(first: np.ndarray | None, now: np.ndarray) -> float:
    return float("nan") if first is None or first.shape != now.shape else float(np.std(now - first))


def of_samples(samples: Sequence[Sample]) -> pd.DataFrame:
    """Make the table `samples`; one that two data sets share has one row."""
    rows = [
        {"sample": s.id, "split": s.split, "text": s.text, "target": s.response, "players": s.players}
        for s in {s.id: s for s in samples}.values()
    ]
    return pd.DataFrame(rows) if rows else empty("samples")


def of_losses(store: Store, runs: Iterable[Run], say: Callable[[str], None]) -> pd.DataFrame:
    """Make the table `losses` from what the trainings logged; a damaged log is said and left out."""
    rows, trainings = [], {run.training: run for run in runs}
    for name in trainings:
        try:
            logged = losses_of(store.training(name), store.losses(name))
        except ValueError as error:
            say(f"The losses of {name} are left out: {error}")
            continue
        rows += [(name, row["step"], row["name"], row["value"]) for row in logged]
    table = pd.DataFrame(rows, columns=pd.Index(["run", "step", "name", "value"]))
    if not rows:
        return empty("losses")
    known = [replace(run, alias=name) for name, run in trainings.items()]
    return identify(table.drop_duplicates(["run", "step", "name"], keep="last", ignore_index=True), "losses", known)
