"""Which interactions of a study are certain: the table `certainty`, from the scores of its cells.

What every split says that is nearly as good (docs/split.md) is asked of the interactions that are salient at any step
of their run and sample, at all its steps: so `interact.evolution.certain_classes` can tell classes with three values.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from interact.evolution import check, empty, only_certain, verdicts
from interact.evolution.certain import COLUMNS
from interact.formats.schema import TABLES, identify
from interact.results import Interactions, load
from interact.study.config import StudyConfig
from interact.study.store import Store
from interact.study.work import Cell

EPS = 1e-4
"""How much more a split may cost than the one that was found, relative: that of claims."""
CHEAP = 8
"""Most players of a cell of which `certainty="auto"` tells it."""
_PLACE = ["run", "step", "sample"]


def certainty_of_cells(
    store: Store, work: Iterable[Cell], interactions: pd.DataFrame, *, say: Callable[[str], None] = print
) -> pd.DataFrame:
    """Make the table `certainty`; what an earlier table says of the same scores and levels is taken from it.

    Args:
        store: The study.
        work: Its work list.
        interactions: Table, `salient` filled in.
        say: Where to print which samples are left out, and why.
    """
    config = store.config
    if config.certainty == "no" or (config.certainty == "auto" and config.limit > CHEAP) or not len(interactions):
        return empty("certainty")
    levels = _levels(interactions, config)
    salient = interactions[interactions["salient"]]
    counted = {place: _named(part) for place, part in salient.groupby(_PLACE, observed=True)}
    asked = {place: _named(part) for place, part in salient.groupby(["run", "sample"], observed=True)}
    earlier, parts, lost = _earlier(store.table("certainty")), [], dict[tuple[str, str], str]()
    followed = [cell for cell in work if (cell.run.name, cell.sample.id) in asked]
    for number, cell in enumerate(followed, 1):
        if number % 200 == 0:
            say(f"Certain interactions are found in {number} of {len(followed)} cells.")
        place, sample = (cell.run.name, cell.step, cell.sample.id), (cell.run.name, cell.sample.id)
        path = store.cell(cell.key)
        if not path.is_file():
            continue
        level = levels.get(place, 0.0)
        known = {"level": level, "eps": EPS, "key": path.stem}
        result = load(path)
        found = _again(earlier.get(place), result, asked[sample], known)
        if found is None:
            try:
                found = _told(result, asked[sample], level)
            except ValueError as error:
                lost[sample] = str(error)
                continue
        here = counted.get(place, set())
        chosen = [key in here for key in zip(found["kind"], found["mask"], strict=True)]
        row = {"run": place[0], "step": place[1], "sample": place[2], **known}
        parts.append(identify(found.assign(salient=chosen, **row), "certainty", [cell.run]))
    for (run, sample), reason in lost.items():
        say(f"It is unknown which interactions of {sample} in {run} are certain: {reason}")
    kept = [part for part in parts if (part["run"].iloc[0], part["sample"].iloc[0]) not in lost]
    if not kept:
        return empty("certainty")
    columns = [column.name for column in TABLES["certainty"].columns]
    table = pd.concat(kept, ignore_index=True)
    return check(table[columns].astype({"mask": "uint64"}), "certainty")


def steady(known: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Return what is known of these cells, of the samples that are known at all their steps; see `certain_classes`."""
    kept = known.merge(cells[_PLACE].astype({"run": "str", "sample": "str"}), on=_PLACE)
    steps = cells.groupby("run", observed=True)["step"].nunique()
    there = kept.groupby(["run", "sample"])["step"].transform("nunique")
    return kept.loc[there.to_numpy() == kept["run"].map(steps).to_numpy(), list(COLUMNS)].reset_index(drop=True)


def certain_verdicts(
    interactions: pd.DataFrame,
    cells: pd.DataFrame,
    certainty: pd.DataFrame,
    *,
    training: Collection[str] = (),
    losses: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Judge the hypotheses of docs/protocol.md with certain interactions only, on the samples of which they are known.

    What chance gives is not split anew to tell what is certain of it, so `not_noise` is untested here.

    Args:
        interactions: Table of all runs, `salient` filled in.
        cells: Table.
        certainty: Table.
        training: See `interact.evolution.verdicts`.
        losses: See `interact.evolution.verdicts`.
    """
    known = steady(certainty, cells)
    there = known[["run", "sample"]].drop_duplicates()
    if not len(there):
        return empty("verdicts")
    kept = [table.astype({"run": "str", "sample": "str"}).merge(there) for table in (interactions, cells)]
    chance = pd.DataFrame(columns=pd.Index(["run", "sample", "null", "strength"]))
    sure = only_certain(kept[0], known)
    table = verdicts(sure, kept[1], training=training, losses=losses, null=chance, among="certain")
    untold = table["reason"].str.startswith("Chance was not drawn")
    return table.assign(reason=table["reason"].where(~untold, "Which interactions chance makes certain is not known."))


def _told(result: Interactions, asked: set[tuple[str, int]], level: float) -> pd.DataFrame:
    frame = result.certainty(EPS, every=asked, level=level)
    chosen = [key in asked for key in zip(frame["kind"], frame["mask"], strict=True)]
    return frame.loc[chosen, ["kind", "mask", "effect", "status", "low", "high"]].reset_index(drop=True)


def _levels(interactions: pd.DataFrame, config: StudyConfig) -> dict[tuple[str, int, str], float]:
    """Return the level of every cell, by the rule of the study."""
    strength = interactions["effect"].abs()
    keys = [interactions[name] for name in _PLACE]
    largest = strength.groupby(keys, observed=True).max()
    if config.tau_rule == "max":
        found = config.tau * largest
    elif config.tau_rule == "absolute":
        found = largest * 0.0 + config.tau
    elif config.tau_rule == "initial":
        start = largest.xs(0, level="step").rename("start")
        found = config.tau * largest.to_frame().join(start, on=["run", "sample"])["start"]
    else:
        # Between the weakest that counts and the strongest that does not.
        least = strength.where(interactions["salient"]).groupby(keys, observed=True).min().fillna(largest)
        below = strength.where(~interactions["salient"], 0.0).groupby(keys, observed=True).max()
        found = (least + below) / 2
    run, step, sample = (found.index.get_level_values(name) for name in _PLACE)
    places = zip(map(str, run), map(int, step), map(str, sample), strict=True)
    return dict(zip(places, map(float, found), strict=True))


def _named(rows: pd.DataFrame) -> set[tuple[str, int]]:
    return set(zip(rows["kind"].astype(str), rows["mask"].astype(int), strict=True))


def _earlier(path: Path) -> dict[Hashable, pd.DataFrame]:
    """Read the table of before, by cell; nothing where it is missing or is of another form."""
    try:
        table = check(pd.read_parquet(path), "certainty")
    except (OSError, ValueError):
        return {}
    return dict(iter(table.groupby(_PLACE, observed=True, sort=False)))


def _again(
    rows: pd.DataFrame | None, result: Interactions, asked: set[tuple[str, int]], known: dict[str, object]
) -> pd.DataFrame | None:
    """Return what was told before, where the cell, its level and what is asked of it are the same."""
    if rows is None or _named(rows) != asked or any((rows[name] != value).any() for name, value in known.items()):
        return None
    effects = np.stack(result.effects())
    family = (rows["kind"] == "or").to_numpy().astype(int)
    if not np.array_equal(effects[family, rows["mask"].to_numpy().astype(np.int64)], rows["effect"].to_numpy()):
        return None
    found = rows[["kind", "mask", "effect", "status", "low", "high"]].reset_index(drop=True)
    return None if (found["status"] == "undecided").any() else found
