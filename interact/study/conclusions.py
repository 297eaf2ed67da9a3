"""What a study concludes: its tables, metrics, stages and controls, all from the cells it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from interact.evolution import classify, detect_stages, drop_incomplete, measure
from interact.evolution.controls import across_seeds, permuted_gamma, permuted_rho, planted_share
from interact.evolution.forecasting import forecast
from interact.evolution.functional import functional_labels
from interact.evolution.noise import NoiseOptions, matched_sigma, noise_null
from interact.evolution.tables import CLASSES, empty
from interact.formats.files import forget_partial, write_table
from interact.formats.schema import Run, identify
from interact.results import load as load_result
from interact.study import samples, tables
from interact.study.config import StudyConfig
from interact.study.samples import PLANTED
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
    steady = _steady(found, say)
    classes, metrics, labels = [empty("classes")], [empty("metrics")], []
    for run in runs(config):
        part = _of(steady, run.name)
        if len(part["cells"]) and part["cells"]["step"].nunique() > 1:
            one = _conclude_run(store, run, part, steady, work, prepared)
            classes.append(one["classes"])
            metrics.append(one["metrics"])
            labels += [one["labels"]] if "labels" in one else []
    found["classes"], found["metrics"] = _joined(classes), _joined(metrics)
    found["metrics"] = _joined([found["metrics"], _over_runs(config, found, say)])
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
                f"  {name:<9} {row['count']:6.1f} a sample, strength {row['strength']:.2f}, rho {row['rho']:.2f}{gamma}"
            )
        stages = part[part["step"] == -1].set_index("name")["value"]
        for name, words in (("denoising_end", "denoising ends"), ("overfitting_start", "overfitting begins")):
            step = stages.get(name, np.nan)
            lines.append(f"  {words} at step {step:.0f}" if np.isfinite(step) else f"  {words}: not seen")
    return "\n".join(lines) or "Nothing is followed at two steps yet, so there is nothing to compare."


def _steady(found: Frames, say: Callable[[str], None]) -> Frames:
    """Leave out what is not followed at every step yet: steps in work, then samples that failed."""
    if not len(found["cells"]):
        return found
    counts = found["cells"].groupby(["run", "step"])["sample"].transform("count")
    most = counts.groupby(found["cells"]["run"]).transform("max")
    keep = found["cells"].loc[2 * counts >= most, ["run", "step"]].drop_duplicates()
    kept = {name: found[name].merge(keep, on=["run", "step"]) for name in ("interactions", "cells")}
    interactions, steady, dropped = drop_incomplete(kept["interactions"], kept["cells"])
    for sentence in dropped:
        say(sentence)
    assert steady is not None
    started = steady.groupby("run")["step"].transform("min") == 0
    steady = steady[started].reset_index(drop=True)
    return {**found, "cells": steady, "interactions": interactions[interactions["run"].isin(steady["run"].unique())]}


def _conclude_run(store: Store, run: Run, part: Frames, steady: Frames, work: list[Cell], prepared: Prepared) -> Frames:
    config = store.config
    trained = {s.id for s in prepared.samples if s.split == "train"}
    every = classify(part["interactions"], cells=part["cells"])
    held = {name: table[~table["sample"].isin(trained)].reset_index(drop=True) for name, table in part.items()}
    classes = every[~every["sample"].isin(trained)].reset_index(drop=True)
    reference = _reference(config, run, held, steady)
    drawn: dict[str, Any] = {"resamples": config.resamples}
    metrics = [
        measure(held["interactions"], held["cells"], reference=reference, classes=classes, **drawn),
        detect_stages(held["interactions"], reference=reference, cells=held["cells"], **drawn).to_metrics(),
    ]
    if "permuted" in config.controls:
        metrics.append(permuted_rho(classes))
        if reference is not None:
            metrics.append(permuted_gamma(classes, reference, held["cells"]))
    if "noise" in config.controls:
        metrics.append(_noise(store, run, held["cells"], work))
    if run.data.endswith(PLANTED):
        metrics.append(planted_share(held["interactions"], dict.fromkeys(held["cells"]["sample"], 0), **drawn))
    concluded: Frames = {"classes": every, "metrics": _joined(metrics)}
    if "labels" in config.controls:
        names = set(part["cells"]["sample"])
        concluded["labels"] = functional_labels(every, part["cells"], trained & names, names - trained, **drawn)
    return concluded


def _reference(config: StudyConfig, run: Run, part: Frames, steady: Frames) -> pd.DataFrame | None:
    """Return the interactions of the model that gamma compares with, where it followed the same samples."""
    other = reference_of(run, config)
    if other is None:
        return None
    theirs = steady["interactions"]
    theirs = theirs[(theirs["run"] == other.name) & theirs["sample"].isin(part["cells"]["sample"].unique())]
    complete = set(part["cells"]["sample"]) <= set(theirs["sample"])
    return theirs.reset_index(drop=True) if complete and len(theirs) else None


def _noise(store: Store, run: Run, followed: pd.DataFrame, work: list[Cell]) -> pd.DataFrame:
    """Measure what noise as large as the change of the scores at the last step would do."""
    last = int(followed["step"].max())
    wanted = set(followed["sample"])
    values: dict[int, dict[str, np.ndarray]] = {0: {}, last: {}}
    for cell in work:
        if cell.run == run and cell.step in values and cell.sample.id in wanted:
            values[cell.step][cell.sample.id] = load_result(store.cell(cell.key)).values
    sigma = matched_sigma(values[0], values[last])
    options = NoiseOptions(noise=store.config.noise, kappa=store.config.kappa, resamples=store.config.resamples)
    return noise_null(values[0], sigma, run=run, step=last, options=options)


def _over_runs(config: StudyConfig, found: Frames, say: Callable[[str], None]) -> pd.DataFrame:
    """Conclude over several runs: seeds, forecast, and where training would have been stopped."""
    metrics = found["metrics"]
    more = [empty("metrics"), *_stops(config, found)]
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


def _stops(config: StudyConfig, found: Frames) -> list[pd.DataFrame]:
    """Compare stopping where overfitting begins with stopping at the least held-out loss."""
    metrics, losses = found["metrics"], found["losses"]
    rows = []
    for run in runs(config):
        held = losses[(losses["run"] == run.training) & (losses["name"] == "heldout_loss")].sort_values("step")
        if not len(held):
            continue
        seen = metrics[(metrics["run"] == run.name) & (metrics["name"] == "overfitting_start")]["value"]
        best = held.loc[held["value"].idxmin()]
        # Without overfitting in sight, training goes on to its end.
        stop = int(seen.iloc[0]) if len(seen) and np.isfinite(seen.iloc[0]) else int(held["step"].iloc[-1])
        reached = held[held["step"] <= stop].iloc[-1]
        figures = {
            "stop_by_loss": best["step"],
            "stop_by_interactions": stop,
            "loss_at_stop_by_loss": best["value"],
            "loss_at_stop_by_interactions": reached["value"],
            "loss_at_end": held["value"].iloc[-1],
        }
        rows += [(run.name, -1, "all", name, float(value), np.nan, np.nan) for name, value in figures.items()]
    names = pd.Index(["run", "step", "class", "name", "value", "low", "high"])
    return [identify(pd.DataFrame(rows, columns=names), "metrics", runs(config))] if rows else []


def _of(found: Frames, run: str) -> Frames:
    return {name: found[name][found[name]["run"] == run].reset_index(drop=True) for name in ("interactions", "cells")}


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
