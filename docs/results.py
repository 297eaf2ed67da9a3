"""Write what docs/results.md says of fine-tuning from the tables in docs/results/: `make results`.

    python docs/results.py      # every number, verdict and figure anew, from the tables

1. `docs/results/NAME/` holds the tables of a study, copied there by `docs/export.py`.
2. Classes, metrics, matched subsets, stages, stops and verdicts are computed from them, as a study computes its own.
3. The page has marks, `<!-- results: PART NAME -->`, and what stands between them is written anew. Sentences outside
   the marks hold no measured number.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import t as student

from interact.evolution import (
    check,
    classify,
    detect_stages,
    empty,
    matched_subsets,
    measure,
    permuted_rho,
    verdicts,
)
from interact.evolution.verdicts import AREA, SIGNS
from interact.formats.schema import CLASSES, HYPOTHESES, runs_in
from interact.study.certainty import certain_verdicts
from interact.study.repetitions import split_again
from interact.study.stops import compare_stops
from interact_kernels.sparsify import NoiseForm

ROOT = Path(__file__).parent
PAGE, TABLES = ROOT / "results.md", ROOT / "results"
RATES, WORTH, STOPS = (TABLES / f"{name}.parquet" for name in ("error_rates", "worth", "stops"))
SPLITS = {
    "exact split": {"noise": "exact", "kappa": None},
    "published box of 0.04": {"noise": "box", "kappa": 0.04},
}
"""Under which forms of noise the verdicts are repeated."""
MOST = 10 * 2**20
"""Bytes that all tables together may take."""
_MARK = re.compile(r"(<!-- results: (\w+) ([\w.-]+) -->\n).*?(<!-- end of results -->)", re.DOTALL)
SHOWN = ("interactions", "cells", "samples", "losses")
_WORDS = {
    "removal_first": ("removal comes first", "area between the curves of progress"),
    "removed_noise": ("removed ones are noise", "loss without them, less without a matched subset (nats)"),
    "preserved_carry": ("preserved ones carry the prediction", "gain per nat, less that of a matched subset"),
    "early_good": ("early emerged ones are good", "gain per nat, less that of a matched subset"),
    "late_bad": ("late emerged ones are bad", "gain per nat, late less early, held-out less training"),
    "not_noise": ("training is no random change", "strength beside that of the permuted change, less 1"),
}


class Evidence:
    """The tables of one study, and what follows from them.

    Args:
        folder: docs/results/NAME.
    """

    def __init__(self, folder: Path) -> None:
        self.name, self.config = folder.name, json.loads((folder / "config.json").read_text("utf-8"))
        found = {name: pd.read_parquet(folder / f"{name}.parquet") for name in SHOWN}
        self.interactions, self.cells = check(found["interactions"], "interactions"), check(found["cells"], "cells")
        self.samples, self.losses = found["samples"], check(found["losses"], "losses")
        self.classes = str(self.config.get("classes", "ends"))
        self.trained = set(self.samples.loc[self.samples["split"] == "train", "sample"])
        self._folder = folder
        self.verdicts = self._judged(self.interactions, "null", self.classes)
        # Of a study that did not ask what is certain there is no such table.
        path = folder / "certainty.parquet"
        self.certainty = check(pd.read_parquet(path) if path.is_file() else empty("certainty"), "certainty")
        known = (self.interactions, self.cells, self.certainty)
        ends = self.classes == "ends"
        self.repeated = (
            certain_verdicts(*known, training=self.trained, losses=self.losses) if ends else empty("verdicts")
        )
        held = ~self.cells["sample"].isin(self.trained)
        self.metrics = self._measured(held)
        self.stops = compare_stops(self.metrics, self.losses, runs_in(self.cells).values())

    @cached_property
    def resplit(self) -> dict[str, pd.DataFrame]:
        """The verdicts again, from the same scores under other splits."""
        found = {}
        scores = pd.read_parquet(self._folder / "scores.parquet")
        how = {"tau": self.config["tau"], "rule": self.config["tau_rule"]}
        for name, form in SPLITS.items():
            again = split_again(scores, self.cells, **form, **how)
            found[name] = self._judged(again, f"null-{form['noise']}", self.classes)
            if form["noise"] == "box" and self.classes == "ends":
                found[f"{name}, running"] = self._judged(again, "null-box", "running")
        return found

    def _judged(self, interactions: pd.DataFrame, null: str, definition: str) -> pd.DataFrame:
        how: dict[str, Any] = {"null": pd.read_parquet(self._folder / f"{null}.parquet"), "definition": definition}
        return verdicts(interactions, self.cells, training=self.trained, losses=self.losses, **how)

    def _measured(self, held: pd.Series) -> pd.DataFrame:
        cells = self.cells[held].reset_index(drop=True)
        parts = []
        for run in sorted(cells["run"].unique()):
            own = cells[cells["run"] == run].reset_index(drop=True)
            table = self.interactions[
                (self.interactions["run"] == run) & self.interactions["sample"].isin(own["sample"])
            ].reset_index(drop=True)
            classes = classify(table, cells=own, definition=self.classes)
            parts += [measure(table, own, classes=classes), matched_subsets(table, own, classes=classes)]
            stages = detect_stages(table, cells=own, definition=self.classes)
            parts += [permuted_rho(classes), stages.to_metrics()]
        return pd.concat(parts, ignore_index=True)


def _noise(config: dict[str, Any]) -> str:
    form = NoiseForm.of(config.get("noise"), config["kappa"])
    return "exact split" if form.noise == "exact" else f"{form.noise} noise, kappa {form.kappa:g}"


def design(of: Evidence) -> str:
    """The table of the design."""
    config, cells = of.config, of.cells
    held = sorted(set(cells["sample"]) - of.trained)
    steps = sorted(cells["step"].unique())
    rows = [
        ("model, data", f"{', '.join(config['models'])} on {', '.join(config['data'])}"),
        (
            "training",
            f"{config['method']}, {config['train_examples']} examples, batch {config['batch_size']}, "
            f"{config['max_steps']} steps, peak rate {config['learning_rate']:g}",
        ),
        ("runs", f"{cells['run'].nunique()} (seeds {', '.join(map(str, config['seeds']))})"),
        (
            "followed",
            f"steps {', '.join(map(str, steps))}; {len(held)} held-out and {len(of.trained)} training samples "
            f"of {config['limit']} players",
        ),
        (
            "extraction",
            f"masking {config['masking']}, baseline {', '.join(sorted(set(cells['baseline'])))}; "
            f"{_noise(config)}; tau {config['tau']:g}, rule {config['tau_rule']}",
        ),
        (
            "cells",
            f"{len(cells)}, {cells['seconds'].sum() / 3600:.2f} hours; largest relative gap "
            f"{(cells['gap'] / cells['primal'].clip(lower=1e-9)).max():.1e}",
        ),
    ]
    return _table(("", ""), rows)


def losses(of: Evidence) -> str:
    """The losses of the label, the end and the accuracy at the followed steps, mean and range over runs."""
    steps = sorted(of.cells["step"].unique())
    rows = []
    for name in ("train_loss", "validation_label_loss", "test_label_loss", "test_end_loss", "test_accuracy"):
        part = of.losses[(of.losses["name"] == name) & of.losses["step"].isin(steps)]
        if not len(part):
            continue
        wide = part.pivot_table(index="run", columns="step", values="value").reindex(columns=steps)
        cells = [
            "" if wide[s].isna().all() else f"{wide[s].mean():.2f} ({wide[s].min():.2f} to {wide[s].max():.2f})"
            for s in steps
        ]
        rows.append((name.replace("_", " "), *cells))
    return _table(("mean over runs (range)", *map(str, steps)), rows)


def classes(of: Evidence) -> str:
    """Count, strength, rho and the differences to matched subsets of each class at each step, mean over runs."""
    names = {
        "count": "count",
        "reemerged": "of these re-emerged",
        "strength": "strength",
        "rho": "rho",
        "rho_permuted": "rho, signs permuted",
        "drop": "loss without it, nats",
        "drop_matched": "loss without a matched subset",
        "gain_per_strength": "gain per nat",
        "gain_per_strength_matched": "gain per nat, matched",
    }
    steps, rows = sorted(of.cells["step"].unique()), []
    table = of.metrics.groupby(["class", "name", "step"])["value"].mean()
    for group in CLASSES:
        for name, words in names.items():
            values = [table.get((group, name, step), np.nan) for step in steps]
            rows.append((f"{group}: {words}", *("" if not np.isfinite(v) else f"{v:.2f}" for v in values)))
    return _table(("mean over runs", *map(str, steps)), rows)


def stops(of: Evidence) -> str:
    """What the stopping rules would have cost."""
    if not len(of.stops):
        return "The label losses of a validation and a test set were not logged, so no rule can be judged."
    return _stops(of.stops)


def stopping(_: Evidence | None) -> str:
    """What the stopping rules would have cost in many runs of the pilot's design."""
    return _stops(pd.read_parquet(STOPS))


def _stops(found: pd.DataFrame) -> str:
    table = found.pivot(index="run", columns="name", values="value")
    rows = []
    for rule, words in {
        "interactions": "interactions",
        "loss": "validation loss, patience 1",
        "end": "the end",
    }.items():
        steps, regret = table[f"stop_by_{rule}"], table[f"regret_by_{rule}"]
        rows.append(
            (
                words,
                _steps(steps),
                f"{regret.mean():.3f} ({regret.min():.3f} to {regret.max():.3f})",
                "" if rule == "loss" else _paired(regret - table["regret_by_loss"]),
            )
        )
    heads = ("rule", "step of each run", "regret in nats: mean over runs (range)")
    return _table((*heads, "less that of the validation loss [95 %]"), rows)


def _steps(steps: pd.Series) -> str:
    """List the step of each run, or say how often each is taken where there are many."""
    if len(steps) <= 10:
        return ", ".join(f"{step:.0f}" for step in steps)
    return ", ".join(f"{step:.0f} ({count}x)" for step, count in steps.value_counts().sort_index().items())


def _paired(differences: pd.Series) -> str:
    """Say the mean of differences between runs, with its interval."""
    found = differences.to_numpy()
    if not found.any():
        return "the same in all runs"
    if not np.ptp(found):
        # One run, or the same difference in all, has no spread that tells of other runs.
        return f"{found.mean():+.3f}"
    half = student.ppf(0.975, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found))
    return f"{found.mean():+.3f} [{found.mean() - half:+.3f}, {found.mean() + half:+.3f}]"


def judged(of: Evidence) -> str:
    """The verdicts, their figure, and one paragraph."""
    head = ("finding", "statistic", "value [95 %]", "p, Holm", "verdict")
    table = f"{_table(head, _verdict_rows(of.verdicts))}\n\n{_told(of.verdicts)}"
    return f"{table}\n\n![Verdicts](results/{of.name}/verdicts.svg)"


def certain(of: Evidence) -> str:
    """The verdicts with certain interactions only, and which of the others they do not bear out."""
    if not len(of.repeated):
        return "Which interactions are certain was not asked of this study."
    salient = int(of.certainty["salient"].sum())
    sure = int((of.certainty["status"] == "certain").sum())
    before = of.verdicts.set_index("hypothesis")["verdict"]
    now = of.repeated.set_index("hypothesis")["verdict"]
    judged = before[before.isin(["supported", "contradicted"])]
    fallen = [_WORDS[str(name)][0] for name, verdict in judged.items() if now[name] not in (verdict, "untested")]
    head = ("finding", "statistic", "value [95 %]", "p, Holm", "verdict")
    told = f"{sure} of {salient} salient interactions are certain ({100 * sure / max(salient, 1):.0f} %)."
    told += f" Not borne out by them: {', '.join(fallen)}." if fallen else ""
    return f"{_table(head, _verdict_rows(of.repeated))}\n\n{told}"


def _verdict_rows(table: pd.DataFrame) -> list[tuple[str, ...]]:
    rows = []
    for row in table.to_dict("records"):
        finding, statistic = _WORDS[row["hypothesis"]]
        value = "" if row["reason"] else f"{row['value']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
        margin = AREA if row["hypothesis"] == "removal_first" else 0
        side = f"> {margin}" if SIGNS[row["hypothesis"]] > 0 else "< 0"
        rows.append(
            (
                finding,
                f"{statistic}; {side} if so",
                value,
                "" if row["reason"] else f"{row['p_holm']:.3f}",
                f"**{row['verdict']}**" + (f": {row['reason']}" if row["reason"] else ""),
            )
        )
    return rows


def _told(table: pd.DataFrame) -> str:
    told = table.groupby("verdict")["hypothesis"].apply(list).to_dict()
    parts = [
        f"{verdict}: {', '.join(_WORDS[h][0] for h in told[verdict])}"
        for verdict in ("supported", "contradicted", "undecided", "untested")
        if verdict in told
    ]
    return f"{'; '.join(parts).capitalize()}."


def rates(_: Evidence | None) -> str:
    """The error rates and the power of the verdicts on planted truth."""
    table = pd.read_parquet(RATES)
    rows = []
    for (runs, samples), part in table.groupby(["runs", "samples"], sort=False):
        for name in (*HYPOTHESES, "any false"):
            cells = []
            for world in ("nothing", "paper", "reversed"):
                found = part[(part["world"] == world) & (part["hypothesis"] == name)]
                if not len(found):
                    cells += [""] * (1 if name == "any false" else 2)
                    continue
                one = found.iloc[0]
                share = lambda count, of=one["studies"]: f"{100 * count / of:.0f}"  # noqa: E731
                if name == "any false":
                    cells += [f"{share(one['contradicted'])} % of studies"] + ([] if world == "nothing" else [""])
                elif world == "nothing":
                    cells.append(share(one["supported"] + one["contradicted"]))
                else:
                    cells += [share(one["supported"]), share(one["contradicted"])]
            rows.append((f"{runs} x {samples}", name, *cells))
    sides = [f"paper {side}: supported, %" for side in ("right", "wrong")]
    head = ("runs x samples", "hypothesis", "nothing there: any verdict, %")
    head = (*head, sides[0], "contradicted, %", sides[1], "contradicted, %")
    studies = sorted(table["studies"].unique())
    return f"{_table(head, rows)}\n\n{' and '.join(map(str, studies))} planted studies in each world and design."


def worth(_: Evidence | None) -> str:
    """How well a shortcut and memorised examples are found, by interactions and by the loss or the margin."""
    table, rows = pd.read_parquet(WORTH), []
    for part in (found for _, found in table.groupby(["task", "level"])):
        last = part[part["step"] == part["step"].max()].set_index("name")
        level, alarm = float(part["level"].iloc[0]), part["task"].iloc[0] == "alarm"
        asked = f"word leaks in {100 * level:.0f} %" if alarm else f"wrong label, {level:.0f} times"
        rival = last.loc[last["best_rival"].iloc[0]]
        for name in (n for n in last.index if n in ("interactions", "mean order", "cancelling")):
            own = last.loc[name]
            gain = f"{own['gain']:+.2f} [{own['gain_low']:+.2f}, {own['gain_high']:+.2f}]"
            rows.append((asked, name, f"{own['auc']:.2f}", f"{rival['auc']:.2f} ({rival.name})", gain))
    return _table(("to be found", "by", "area under the ROC", "best of loss and margin", "less that [95 %]"), rows)


def repetitions(of: Evidence) -> str:
    """The verdicts beside those with certain interactions only and under other splits of the same scores."""
    columns = {"the default split": of.verdicts}
    columns |= {"certain ones only": of.repeated} if len(of.repeated) else {}
    columns |= of.resplit
    rows = []
    for name in of.verdicts["hypothesis"]:
        cells = []
        for table in columns.values():
            row = table.set_index("hypothesis").loc[name]
            value = "" if row["reason"] else f"{row['value']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}] "
            cells.append(f"{value}{row['verdict']}")
        rows.append((_WORDS[name][0], *cells))
    return _table(("finding", *columns), rows)


PARTS: dict[str, Callable[..., str]] = {
    "design": design,
    "losses": losses,
    "classes": classes,
    "stops": stops,
    "verdicts": judged,
    "certain": certain,
    "repetitions": repetitions,
    "rates": rates,
    "worth": worth,
    "stopping": stopping,
}


def forest(of: Evidence) -> Figure:
    """Draw the verdicts: each statistic over its standard error, on the paper's side to the right."""
    figure = Figure(figsize=(6.4, 2.6), layout="constrained")
    axis = figure.subplots()
    colours = {"supported": "#00795a", "contradicted": "#c44e00", "undecided": "#767d86"}
    table = of.verdicts.iloc[::-1].reset_index(drop=True)
    for place, row in table.iterrows():
        if row["reason"]:
            axis.annotate("untested", (0, place), ha="center", va="center", fontsize=7, color="#5b626b")
            continue
        sign = SIGNS[row["hypothesis"]] / row["error"]
        low, high = sorted((row["low"] * sign, row["high"] * sign))
        axis.plot([low, high], [place, place], color=colours[row["verdict"]], linewidth=2)
        axis.plot(row["value"] * sign, place, "o", color=colours[row["verdict"]], markersize=5)
    axis.axvline(0, color="#7a8088", linewidth=0.8)
    axis.set_yticks(range(len(table)), [_WORDS[name][0] for name in table["hypothesis"]], fontsize=8)
    axis.set_xlabel("statistic in standard errors; to the right: as the paper says", fontsize=8)
    return figure


def _of_one_setting(evidence: Evidence) -> Evidence:
    settings = sorted({run.over_seeds.name for run in runs_in(evidence.cells).values()})
    if len(settings) > 1:
        raise ValueError(
            f"The page's means are over the runs of one model, data set and baseline, but {evidence.name} holds "
            f"{', '.join(settings)}; show a study of one setting."
        )
    return evidence


def write(page: Path = PAGE, figures: Path | None = TABLES) -> str:
    """Write the page anew from the tables, and the figures; return the page."""
    known: dict[str, Evidence] = {}

    def part(mark: re.Match[str]) -> str:
        begin, kind, name, end = mark.groups()
        if name != "all" and name not in known:
            known[name] = _of_one_setting(Evidence(TABLES / name))
        return f"{begin}{PARTS[kind](known.get(name))}\n{end}"

    content = _MARK.sub(part, page.read_text("utf-8"))
    if figures is not None:
        page.write_text(content, "utf-8")
        with mpl.rc_context({"svg.hashsalt": "interact", "svg.fonttype": "none"}):
            for name, evidence in known.items():
                forest(evidence).savefig(figures / name / "verdicts.svg", metadata={"Date": None})
    return content


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [" | ".join(head), " | ".join("---" for _ in head), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit("docs/results.py takes no arguments; docs/export.py copies the tables of a study.")
    write()
