"""The verdicts of docs/protocol.md: six hypotheses, each with its statistic, its test and what the outcome is called.

1. The runs of a setting that differ in their seed, and the held-out samples that they share, make an array
   [runs, samples] of paired differences for each statistic.
2. A two-way bootstrap gives its standard error (`interact.evolution.bootstrap.crossed`), Student's t its p-value.
3. Holm's correction over the hypotheses of the setting that could be tested; then supported, contradicted or
   undecided, by the thresholds below. What the design could not show is untested, with the reason.

The thresholds were fixed before any extraction.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.integrate import trapezoid

from interact.evolution.bootstrap import Crossed, crossed, holm, ratio
from interact.evolution.classes import classify
from interact.evolution.grid import Grid, follow
from interact.evolution.matched import DRAWS, Effects, group_effects
from interact.evolution.tables import check, empty
from interact.formats.schema import HYPOTHESES, identify, runs_in

ALPHA = 0.05
"""Largest corrected p-value of a verdict."""
AREA = 0.05
"""How far the areas of `removal_first` must lie from 0."""
TURN = 0.02
"""By how many nats the test loss must rise again, on average over runs, for anything to be late."""
FEWEST_RUNS = 3
FEWEST_SAMPLES = 6
SIGNS = {
    "removal_first": 1,
    "removed_noise": -1,
    "preserved_carry": 1,
    "early_good": 1,
    "late_bad": -1,
    "not_noise": -1,
}
"""The side of 0 on which each statistic lies where the paper is right."""
_MARGINS = {"removal_first": AREA}
_KEYS = ["run", "sample", "kind", "mask"]
_Figure = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class _Setting:
    """The runs of one setting on the samples they share, at step 0 and their last step.

    Attributes:
        runs: Their names, sorted.
        samples: The held-out samples, sorted.
        trained: The training samples, sorted.
        every: Table `interactions` at all steps.
        cells: Table `cells` at all steps.
        classes: Table `classes` at step 0 and the last step.
        grid: The cells of these two steps.
        effects: What the groups do at the last step.
        best: For each run, the followed step of the least validation loss; empty where it is not known.
        turned: By how many nats the test loss rises from there to the end, on average; NaN where it is not known.
    """

    runs: list[str]
    samples: list[str]
    trained: list[str]
    every: pd.DataFrame
    cells: pd.DataFrame
    classes: pd.DataFrame
    grid: Grid
    effects: dict[str, Effects] = field(default_factory=dict)
    best: dict[str, int] = field(default_factory=dict)
    turned: float = float("nan")

    def last(self, column: np.ndarray, samples: list[str]) -> np.ndarray:
        """Lay out a figure of each cell at the last step as float64 [runs, samples]."""
        rows = []
        for block in self.grid.blocks:
            place = {str(sample): i for i, sample in enumerate(block.samples)}
            rows.append(column[block.cells].reshape(block.shape)[-1][[place[sample] for sample in samples]])
        return np.stack(rows)


def verdicts(
    interactions: pd.DataFrame,
    cells: pd.DataFrame,
    *,
    training: Collection[str] = (),
    losses: pd.DataFrame | None = None,
    null: pd.DataFrame | None = None,
    among: str = "all",
    definition: str = "ends",
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """Judge the hypotheses of docs/protocol.md for each setting: model, data set and masking baseline.

    Args:
        interactions: Table of all runs, `salient` filled in; for a verdict on certain interactions only, salient where
            they are certain too.
        cells: Table, with its column `moved`.
        training: Samples that every run was trained on; the others are held out.
        losses: Table with `validation_label_loss` and `test_label_loss`.
        null: What `null_evolutions` says of the strength by chance: columns run, sample, null, strength.
        among: What the table is to say of its interactions: ``"all"``, or ``"certain"`` where they alone are salient.
        definition: Of preserved and emerged, see `classify`; by ``"running"`` what is gone for a while is emerged,
            and is born where it was salient first.
        draws: Matched subsets behind a mean.
        seed: Of the subsets and of the bootstrap.

    Returns:
        Table `verdicts`, one row per setting and hypothesis.

    Raises:
        ValueError: A table does not fit, or the seed of a run is not known.
    """
    interactions, cells = check(interactions, "interactions"), check(cells, "cells")
    known = runs_in(cells)
    settings: dict[str, list[str]] = {}
    for name, run in known.items():
        settings.setdefault(run.over_seeds.name, []).append(name)
    parts = [empty("verdicts")]
    for setting, runs in sorted(settings.items()):
        own, scores = (table[table["run"].isin(runs)].reset_index(drop=True) for table in (interactions, cells))
        judged = _judge(own, scores, set(training), losses, null, definition, draws, seed)
        rows = [{**row, "among": among} for row in judged]
        identity = [known[run].over_seeds for run in runs]
        parts.append(identify(pd.DataFrame(rows).assign(run=setting), "verdicts", identity))
    columns = list(parts[0].columns)
    table = pd.concat([part[columns] for part in parts if len(part)] or parts, ignore_index=True)
    return check(table, "verdicts")


def _judge(
    interactions: pd.DataFrame,
    cells: pd.DataFrame,
    training: set[str],
    losses: pd.DataFrame | None,
    null: pd.DataFrame | None,
    definition: str,
    draws: int,
    seed: int,
) -> list[dict[str, object]]:
    """Return the rows of one setting."""
    shared = set.intersection(*(set(part["sample"]) for _, part in cells.groupby("run", observed=True)))
    runs, held = sorted(map(str, cells["run"].unique())), sorted(shared - training)
    too_few = (
        f"There are {len(runs)} runs of {len(held)} held-out samples; a verdict needs {FEWEST_RUNS} of "
        f"{FEWEST_SAMPLES}."
        if len(runs) < FEWEST_RUNS or len(held) < FEWEST_SAMPLES
        else ""
    )
    found: dict[str, tuple[Crossed | None, str]] = dict.fromkeys(HYPOTHESES, (None, too_few))
    if not too_few:
        own, scores = (t[t["sample"].isin(shared)].reset_index(drop=True) for t in (interactions, cells))
        follow(own, scores)  # Refuses a sample that lacks a step.
        setting = _prepare(own, scores, runs, held, sorted(shared & training), losses, definition, draws, seed)
        for name, (figure, why) in _figures(setting, null).items():
            estimate = None if why else crossed(figure, len(runs), len(held), seed=seed)
            if estimate is not None and not np.isfinite([estimate.value, estimate.error]).all():
                estimate, why = None, "No run has interactions of that kind, so there is nothing to compare."
            found[name] = (estimate, why)
    p_values = [e.p_value(_MARGINS.get(name, 0.0)) if e else np.nan for name, (e, _) in found.items()]
    rows = []
    for (name, (estimate, why)), p, corrected in zip(found.items(), p_values, holm(np.array(p_values)), strict=True):
        low, high = estimate.interval if estimate else (np.nan, np.nan)
        rows.append(
            {
                "hypothesis": name,
                "verdict": _verdict(name, estimate, corrected),
                "value": estimate.value if estimate else np.nan,
                "low": low,
                "high": high,
                "error": estimate.error if estimate else np.nan,
                "freedom": estimate.freedom if estimate else np.nan,
                "p": p,
                "p_holm": corrected,
                "runs": len(runs),
                "samples": len(held),
                "reason": why,
            }
        )
    return rows


def _verdict(name: str, estimate: Crossed | None, p_value: float) -> str:
    if estimate is None:
        return "untested"
    if not p_value <= ALPHA:
        return "undecided"
    return "supported" if estimate.value * SIGNS[name] > 0 else "contradicted"


def _prepare(
    interactions: pd.DataFrame,
    cells: pd.DataFrame,
    runs: list[str],
    held: list[str],
    trained: list[str],
    losses: pd.DataFrame | None,
    definition: str,
    draws: int,
    seed: int,
) -> _Setting:
    """Classify at the two ends, tell when terms were born, and measure all groups beside matched subsets."""
    end = cells.groupby("run", observed=True)["step"].transform("max")
    ends = cells[(cells["step"] == 0) | (cells["step"] == end)].reset_index(drop=True)
    both = interactions.merge(ends[["run", "step", "sample"]], on=["run", "step", "sample"])
    # The steps between decide only where preserved is what never goes.
    table, steps = (both, ends) if definition == "ends" else (interactions, cells)
    grid, classes = follow(both, ends), classify(table, cells=steps, definition=definition)
    last = classes["run"].astype("str").map(ends.groupby(ends["run"].astype("str"))["step"].max())
    classes = classes[(classes["step"] == 0) | (classes["step"] == last)].reset_index(drop=True)
    best, turned = _turn(losses, cells, runs)
    salient = interactions[interactions["salient"]]
    born = salient.groupby(_KEYS, observed=True)["step"].min().rename("born").reset_index()
    at = classes.astype({"run": "str", "sample": "str", "kind": "str"})
    born = at[_KEYS].merge(born.astype({"run": "str", "sample": "str", "kind": "str"}), on=_KEYS, how="left")["born"]
    until = at["run"].map(best).to_numpy(dtype=np.float64)
    now, group = (classes["step"] > 0).to_numpy(), classes["class"].to_numpy(dtype=object)
    early = born.to_numpy(dtype=np.float64) <= until
    groups = {
        "removed": now & (group == "removed"),
        "preserved": now & (group == "preserved"),
        "early": now & (group == "emerged") & early,
        "late": now & (group == "emerged") & ~early & np.isfinite(until),
    }
    effects = group_effects(both, ends, classes, groups, grid=grid, samples=draws, seed=seed)
    return _Setting(runs, held, trained, interactions, cells, classes, grid, effects, best, turned)


def _turn(losses: pd.DataFrame | None, cells: pd.DataFrame, runs: list[str]) -> tuple[dict[str, int], float]:
    """Return each run's step of the least validation loss, and how far the test loss rises after it, on average."""
    best, rises = {}, []
    if losses is None:
        return {}, np.nan
    known = runs_in(cells)
    for run in runs:
        part = losses[losses["run"].astype("str") == known[run].training]
        part = part.drop_duplicates(["step", "name"], keep="last")
        steps = set(cells.loc[cells["run"] == run, "step"])
        validation, test = (
            part[(part["name"] == f"{name}_label_loss") & part["step"].isin(steps)].set_index("step")["value"].dropna()
            for name in ("validation", "test")
        )
        if not len(validation) or not set(validation.index) <= set(test.index):
            return {}, np.nan
        best[run] = int(validation.idxmin())
        rises.append(float(test[test.index.max()] - test[best[run]]))
    return best, float(np.mean(rises))


def _figures(setting: _Setting, null: pd.DataFrame | None) -> dict[str, tuple[_Figure, str]]:
    """Return the statistic of each hypothesis as a function of weights, and why it cannot be tested."""
    held = setting.samples

    def drop(name: str) -> _Figure:
        effects = setting.effects[name]
        difference = setting.last(effects.drop - effects.drop_matched, held)
        there = setting.last(effects.strength, held).sum() > 0
        return _share(difference, np.full_like(difference, 1.0 if there else 0.0))

    def gain(name: str) -> _Figure:
        effects = setting.effects[name]
        return _share(setting.last(effects.gain - effects.gain_matched, held), setting.last(effects.strength, held))

    no_loss = (
        "" if setting.best else "The label losses of a validation and a test set are not known at the followed steps."
    )
    late = no_loss
    if not late and len(setting.trained) < FEWEST_SAMPLES:
        late = f"There are {len(setting.trained)} followed training samples; {FEWEST_SAMPLES} are needed."
    if not late and not setting.turned >= TURN:
        late = f"The test loss rises by {setting.turned:.3f} nats after the least validation loss; {TURN} are needed."
    moved = "moved" in setting.cells and not setting.cells["moved"].isna().any()
    unmoved = "" if moved else "The table cells does not say how far the scores moved; make the tables anew."
    return {
        "removal_first": _area(setting) if moved else (_nothing, unmoved),
        "removed_noise": (drop("removed"), ""),
        "preserved_carry": (gain("preserved"), ""),
        "early_good": (gain("early"), no_loss),
        "late_bad": (_late(setting) if not late else _nothing, late),
        "not_noise": (_nothing, "No evolution of chance was drawn (control noise).")
        if null is None
        else _chance(setting, null),
    }


def _nothing(weights: np.ndarray) -> np.ndarray:
    return np.full(len(weights), np.nan)


def _share(above: np.ndarray, below: np.ndarray) -> _Figure:
    return lambda weights: ratio((weights * above).sum((1, 2)), (weights * below).sum((1, 2)))


def _area(setting: _Setting) -> tuple[_Figure, str]:
    """The area between the progress of removed and of emerged terms over the movement, or why there is none."""
    last = setting.classes[setting.classes["step"] > 0]
    steps, why = _common_steps(setting)
    if why:
        return _nothing, why
    keyed = setting.every.astype({"run": "str", "sample": "str", "kind": "str"})
    named = last[[*_KEYS, "class"]].astype({"run": "str", "sample": "str", "kind": "str"})
    followed = keyed.merge(named, on=_KEYS)
    followed = followed.assign(strength=followed["effect"].abs())
    wanted = pd.MultiIndex.from_product([setting.runs, steps, setting.samples])
    shape = (len(setting.runs), len(steps), len(setting.samples))

    def laid(column: pd.Series) -> np.ndarray:
        return column.reindex(wanted).fillna(0.0).to_numpy().reshape(shape)

    place = ["run", "step", "sample"]
    strengths = {
        name: laid(followed[followed["class"] == name].groupby(place, observed=True)["strength"].sum())
        for name in ("removed", "emerged")
    }
    moved = laid(setting.cells.astype({"run": "str", "sample": "str"}).set_index(place)["moved"])
    start, end = (strengths["removed"][:, place].sum() for place in (0, -1))
    if start and end >= start:
        # Salience is relative, so what was salient among small effects may grow and yet no longer count.
        return _nothing, (
            "The removed ones are stronger at the last step than at step 0, below what is salient there, so their "
            "removal has no progress."
        )

    start, end = (strengths["emerged"][:, place].sum() for place in (0, -1))
    if start and end <= start:
        # So it may be by a running intersection, in which what was gone for a while has emerged.
        return _nothing, (
            "The emerged ones are no stronger at the last step than at step 0, so their emergence has no progress."
        )

    def figure(weights: np.ndarray) -> np.ndarray:
        removed, emerged, path = (
            np.einsum("drs,rts->dt", weights, part) for part in (strengths["removed"], strengths["emerged"], moved)
        )
        gone = ratio(removed[:, :1] - removed, removed[:, :1] - removed[:, -1:])
        come = ratio(emerged - emerged[:, :1], emerged[:, -1:] - emerged[:, :1])
        path = np.maximum.accumulate(path, axis=1)
        return trapezoid(gone - come, ratio(path, path[:, -1:]), axis=1)

    return figure, ""


def _common_steps(setting: _Setting) -> tuple[list[int], str]:
    """Return the steps at which every run was followed, or why they tell of no progress."""
    followed = setting.cells.groupby(setting.cells["run"].astype("str"))["step"].unique()
    last = sorted({int(steps.max()) for steps in followed})
    if len(last) > 1:
        told = ", ".join(map(str, last))
        return [], f"The runs end at different steps ({told}), so their progress cannot be compared."
    steps = sorted(map(int, set.intersection(*map(set, followed))))
    if len(steps) < 3:
        return [], f"The runs share the steps {', '.join(map(str, steps))}; progress needs one between the two ends."
    return steps, ""


def _late(setting: _Setting) -> _Figure:
    """Gain per nat of late minus early terms, held-out minus training samples; the n-th of each are drawn together."""
    count = min(len(setting.samples), len(setting.trained))
    names = {"held": setting.samples[:count], "trained": setting.trained[:count]}
    parts = {
        (split, group): _share(
            setting.last(setting.effects[group].gain, samples), setting.last(setting.effects[group].strength, samples)
        )
        for split, samples in names.items()
        for group in ("late", "early")
    }

    def figure(weights: np.ndarray) -> np.ndarray:
        found = {key: part(weights[:, :, :count]) for key, part in parts.items()}
        return (found["held", "late"] - found["held", "early"]) - (found["trained", "late"] - found["trained", "early"])

    return figure


def _chance(setting: _Setting, null: pd.DataFrame) -> tuple[_Figure, str]:
    """Strength of the salient set at the last step over that of the permuted change, minus 1."""
    chance = null[null["null"] == "permuted_change"].astype({"run": "str", "sample": "str"})
    chance = chance.set_index(["run", "sample"])["strength"]
    wanted = pd.MultiIndex.from_product([setting.runs, setting.samples])
    below = chance.reindex(wanted).to_numpy(dtype=float).reshape(len(setting.runs), len(setting.samples))
    if not np.isfinite(below).all():
        return _nothing, "Chance was not drawn for every run and sample."
    cell = setting.grid.locate(setting.classes)
    here = (setting.classes["class"] != "removed").to_numpy()
    size = np.bincount(cell[here], setting.classes["effect"].abs().to_numpy()[here], minlength=len(setting.grid.cells))
    return _share(setting.last(size, setting.samples) - below, below), ""
