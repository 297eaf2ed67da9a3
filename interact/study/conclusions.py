"""What a study concludes: its tables, metrics, stages and controls, all from the cells it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from interact.evolution import (
    certain_metrics,
    classify,
    detect_stages,
    drop_incomplete,
    matched_subsets,
    measure,
)
from interact.evolution.controls import across_seeds, permuted_gamma, permuted_rho, planted_share
from interact.evolution.forecasting import forecast
from interact.evolution.functional import functional_labels
from interact.evolution.tables import CLASSES, empty
from interact.evolution.verdicts import verdicts
from interact.formats.files import forget_partial, write_table
from interact.formats.schema import Run, identify
from interact.study import samples, tables
from interact.study.certainty import certain_verdicts, certainty_of_cells, steady
from interact.study.chance import chance
from interact.study.config import StudyConfig
from interact.study.samples import PLANTED
from interact.study.stops import compare_stops
from interact.study.store import Store
from interact.study.work import Cell, Prepared, cells, reference_of, runs

Frames = dict[str, pd.DataFrame]


def conclude(store: Store, *, say: Callable[[str], None] = print) -> Frames:
    """Make all tables of a study from what is done so far.

    Args:
        store: The study.
        say: Where to print what is left out, and why.

    Returns:
        The tables by name, as they were written (docs/formats.md).

    Raises:
        ValueError: A cell is damaged.
        RuntimeError: A table cannot be written.
    """
    config = store.config
    prepared = samples.load(store.folder / "samples.json")
    work = list(cells(config, prepared))
    found: Frames = {
        **dict(zip(("interactions", "cells"), tables.of_cells(store, work), strict=True)),
        "samples": tables.of_samples(prepared.samples),
        "losses": tables.of_losses(store, runs(config), say),
    }
    found["certainty"] = certainty_of_cells(store, work, found["interactions"], say=say)
    trained = {s.id for s in prepared.samples if s.split == "train"}
    whole = _steady(found, say)
    classes, metrics, labels, nulls = [empty("classes")], [empty("metrics")], [], []
    for run in runs(config):
        part = _of(whole, run.name)
        held = set(part["cells"]["sample"]) - trained
        if held and part["cells"]["step"].nunique() > 1:
            one = _conclude_run(store, run, part, whole, work, prepared)
            classes.append(one["classes"])
            metrics.append(one["metrics"])
            labels += [one["labels"]] if "labels" in one else []
            nulls += [one["null"]] if "null" in one else []
    found["classes"], found["metrics"] = _joined(classes), _joined(metrics)
    found["metrics"] = _joined([found["metrics"], _over_runs(config, found, say)])
    found["verdicts"] = _verdicts(whole, prepared, found["losses"], nulls, config.classes)
    if labels:
        found["labels"] = _joined(labels)
    with store.claimed("tables", wait=True):
        for name, table in found.items():
            forget_partial(store.table(name))
            write_table(store.table(name), table)
    return found


def summary(found: Frames) -> str:
    """Say in a few lines what a study found: each run's classes at its last step, its stages, its stops."""
    metrics = found["metrics"]
    lines = []
    for run, part in metrics[metrics["run"].isin(found["cells"]["run"])].groupby("run", sort=False):
        last = int(part["step"].max())
        lines.append(f"{run}, step {last}:")
        for name in CLASSES:
            row = part[(part["step"] == last) & (part["class"] == name)].set_index("name")["value"]
            gamma = f", gamma {row['gamma']:.2f}" if np.isfinite(row.get("gamma", np.nan)) else ""
            lines.append(
                f"  {name:<9} {row['count']:6.1f} per sample, strength {row['strength']:.2f}, rho "
                f"{row['rho']:.2f}{gamma}"
            )
        stages = part[part["step"] == -1].set_index("name")["value"]
        for name, words in (("denoising_end", "denoising ends"), ("overfitting_start", "overfitting begins")):
            step = stages.get(name, np.nan)
            lines.append(f"  {words} at step {step:.0f}" if np.isfinite(step) else f"  {words}: not seen")
    return "\n".join(lines) or "No sample was followed at two steps yet, so there is nothing to compare."


def _steady(found: Frames, say: Callable[[str], None]) -> Frames:
    """Leave out what is not followed at every step yet: steps in work, then samples that failed."""
    if not len(found["cells"]):
        return found
    counts = found["cells"].groupby(["run", "step"])["sample"].transform("count")
    most = counts.groupby(found["cells"]["run"]).transform("max")
    keep = found["cells"].loc[2 * counts >= most, ["run", "step"]].drop_duplicates()
    kept = {name: found[name].merge(keep, on=["run", "step"]) for name in ("interactions", "cells")}
    interactions, cells, dropped = drop_incomplete(kept["interactions"], kept["cells"])
    for sentence in dropped:
        say(sentence)
    assert cells is not None
    started = cells.groupby("run")["step"].transform("min") == 0
    cells = cells[started].reset_index(drop=True)
    interactions = interactions[interactions["run"].isin(cells["run"].unique())]
    return {**found, "cells": cells, "interactions": interactions}


def _conclude_run(store: Store, run: Run, part: Frames, whole: Frames, work: list[Cell], prepared: Prepared) -> Frames:
    config = store.config
    trained = {s.id for s in prepared.samples if s.split == "train"}
    every = classify(part["interactions"], cells=part["cells"], definition=config.classes)
    held = {name: table[~table["sample"].isin(trained)].reset_index(drop=True) for name, table in part.items()}
    classes = every[~every["sample"].isin(trained)].reset_index(drop=True)
    reference = _reference(config, run, held, whole)
    drawn: dict[str, Any] = {"resamples": config.resamples}
    metrics = [
        measure(held["interactions"], held["cells"], reference=reference, classes=classes, **drawn),
        matched_subsets(held["interactions"], held["cells"], classes=classes, **drawn),
        # Judged as early stopping judges while a training runs.
        detect_stages(
            held["interactions"], reference=reference, cells=held["cells"], definition=config.classes
        ).to_metrics(),
    ]
    metrics.append(_certain(config, run, held, whole))
    concluded: Frames = {"classes": every}
    if "permuted" in config.controls:
        metrics.append(permuted_rho(classes))
        if reference is not None:
            metrics.append(permuted_gamma(classes, reference, held["cells"]))
    if "noise" in config.controls:
        null = chance(store, run, held["cells"], work)
        metrics.append(null.metrics)
        concluded["null"] = null.strength
    if run.data.endswith(PLANTED):
        metrics.append(planted_share(held["interactions"], dict.fromkeys(held["cells"]["sample"], 0), **drawn))
    concluded["metrics"] = _joined(metrics)
    names = set(part["cells"]["sample"])
    if "labels" in config.controls and trained & names:
        concluded["labels"] = functional_labels(every, part["cells"], trained & names, names - trained, **drawn)
    return concluded


def _certain(config: StudyConfig, run: Run, part: Frames, whole: Frames) -> pd.DataFrame:
    """Measure what is certain of the classes, as ``count_certain`` and the like; of a count, low and high bound it.

    They are classes by the two ends, so a study with a running intersection is told the number of certain ones alone.
    """
    known = steady(whole["certainty"], part["cells"])
    if not len(known):
        return empty("metrics")
    other = reference_of(run, config)
    theirs = None if other is None else whole["cells"][whole["cells"]["run"] == other.name]
    reference = None if theirs is None else steady(whole["certainty"], theirs)
    reference = reference if reference is not None and len(reference) else None
    # Of a sample without a salient interaction there is nothing to be known.
    salient = part["interactions"].loc[part["interactions"]["salient"], "sample"]
    bare = len(set(part["cells"]["sample"]) - set(salient))
    table = certain_metrics(known, reference=reference, bare={run.name: bare})
    counted = table["name"] == "count"
    rows = table.assign(
        name=table["name"] + "_certain",
        value=table["certain"],
        low=table["low"].where(counted),
        high=table["high"].where(counted),
    )
    sure = known["status"].eq("certain").groupby(known["step"]).sum() / (known["sample"].nunique() + bare)
    every = {"run": run.name, "step": sure.index, "class": "all", "name": "count_certain", "value": sure.to_numpy()}
    more = pd.DataFrame({**every, "low": np.nan, "high": np.nan})
    told = [rows.drop(columns="certain")] if config.classes == "ends" else []
    return identify(pd.concat([*told, more], ignore_index=True), "metrics", [run])


def _reference(config: StudyConfig, run: Run, part: Frames, whole: Frames) -> pd.DataFrame | None:
    """Return the interactions of the model that gamma compares with, where it followed the same samples."""
    other = reference_of(run, config)
    if other is None:
        return None
    theirs = whole["interactions"]
    theirs = theirs[(theirs["run"] == other.name) & theirs["sample"].isin(part["cells"]["sample"].unique())]
    complete = set(part["cells"]["sample"]) <= set(theirs["sample"])
    return theirs.reset_index(drop=True) if complete and len(theirs) else None


def _verdicts(
    whole: Frames, prepared: Prepared, losses: pd.DataFrame, nulls: list[pd.DataFrame], definition: str
) -> pd.DataFrame:
    """Judge the hypotheses of the protocol over the runs that differ in their seed, and with certain ones alone."""
    counts = whole["cells"].groupby("run")["step"].transform("nunique")
    followed = whole["cells"][counts > 1].reset_index(drop=True)
    if not len(followed):
        return empty("verdicts")
    effects = whole["interactions"]
    effects = effects[effects["run"].isin(followed["run"].unique())].reset_index(drop=True)
    trained = {s.id for s in prepared.samples if s.split == "train"}
    null = pd.concat(nulls, ignore_index=True) if nulls else None
    asked: dict[str, Any] = {"training": trained, "losses": losses, "definition": definition}
    found = [verdicts(effects, followed, null=null, **asked)]
    # By a running intersection what is not certain at one step would count as gone.
    if len(whole["certainty"]) and definition == "ends":
        found.append(certain_verdicts(effects, followed, whole["certainty"], training=trained, losses=losses))
    return _joined(found)


def _over_runs(config: StudyConfig, found: Frames, say: Callable[[str], None]) -> pd.DataFrame:
    """Conclude over several runs: seeds, forecast, and where training would have been stopped."""
    metrics = found["metrics"]
    more = [empty("metrics"), compare_stops(found["metrics"], found["losses"], runs(config))]
    if len(config.seeds) > 1 and len(metrics):
        more.append(across_seeds(metrics).drop(columns="runs"))
    if "forecast" in config.controls:
        default = {replace(run, baseline=config.baselines[0]).name for run in runs(config)}
        steps = sorted(set(metrics.loc[metrics["step"] > 0, "step"]))
        try:
            until = steps[len(steps) // 2] if steps else 0
            told = forecast(metrics[metrics["run"].isin(default)], found["losses"], until=until)
            names = [f"forecast_error_{str(name).replace(' ', '_')}" for name in told.errors]
            rows = {"run": "all", "step": until, "class": "all", "name": names, "value": list(told.errors.values())}
            more.append(identify(pd.DataFrame(rows).assign(low=np.nan, high=np.nan), "metrics"))
        except ValueError as error:
            say(f"The control 'forecast' was not run: {error}")
    return _joined(more)


def _of(found: Frames, run: str) -> Frames:
    return {name: found[name][found[name]["run"] == run].reset_index(drop=True) for name in ("interactions", "cells")}


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
