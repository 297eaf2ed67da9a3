"""The sentences and tables of the page: the answer first, every claim beside its control, and what was not run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from interact.formats.schema import CLASSES, STAGES, Run
from interact.study.report.measures import Measures, Stage
from interact.study.report.payload import METRICS
from interact.study.report.runs import steps_of
from interact.study.report.store import Study

NOT_RUN = "not run"
_TOGETHER = ("count", "strength", "rho", "gamma", *STAGES)
_BESIDE = (
    *("rho_permuted_p", "gamma_permuted_p", "strength_permuted_change", "strength_normalised_permuted_change"),
    *("count_permuted_change", "rho_permuted_change", "drop", "drop_matched", "drop_over_matched", "gain_per_strength"),
    *("gain_per_strength_matched", "gain_per_strength_over_matched"),
)
"""What stands beside a claim."""
_ASKED = {
    "removal_first": "Removal comes first: area between the progress of removed and of emerged effects",
    "removed_noise": "Removed ones are noise: loss without them minus that without a matched subset, nats",
    "preserved_carry": "Preserved ones carry the prediction: gain per nat minus that of a matched subset",
    "early_good": "Those that emerge early are good: gain per nat minus that of a matched subset",
    "late_bad": "Those that emerge late are bad: gain per nat, late minus early, held-out minus training",
    "not_noise": "Training is no random change: strength relative to that of its change with players permuted, minus 1",
}
"""The hypotheses of docs/protocol.md in words, with their statistics."""


@dataclass(frozen=True)
class Claim:
    """A measured figure beside its controls.

    Attributes:
        what: What was measured.
        value: The figure with its interval.
        controls: [(name, figure)], the figure being "not run" where it is missing.
    """

    what: str
    value: str
    controls: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Verdict:
    """A hypothesis and what became of it: the runs, the question, the statistic, its corrected p-value, the verdict."""

    runs: str
    asked: str
    value: str
    p: str
    verdict: str


def figure(value: float, low: float = math.nan, high: float = math.nan) -> str:
    """Write a number with its interval: ``0.42 (0.30 to 0.51)``."""
    if not math.isfinite(value):
        return "none"
    inside = f" ({low:.3g} to {high:.3g})" if math.isfinite(low) and math.isfinite(high) else ""
    return f"{value:.3g}{inside}"


def headline(study: Study, measures: Measures, run: Run) -> str:
    """Answer in one sentence what became of the interactions of a run."""
    steps = steps_of(study, run.name)
    last = steps[-1] if steps else 0
    counts = {}
    for kind in CLASSES:
        series = measures.get(run.name, kind, "count")
        counts[kind] = series.at(last)[0] if series else math.nan
    if not all(map(math.isfinite, counts.values())):
        followed = len(set(study.cells["sample"]))
        return (
            f"Training was followed at {_count(len(steps), 'step')} on {_count(followed, 'prompt')}; what became of "
            f"the interactions was not measured."
        )
    # By the published definition, ones that were lost and came back count as emerged.
    series = measures.get(run.name, "all", "count")
    before = series.at(0)[0] if series else counts["removed"] + counts["preserved"]
    return (
        f"In {run.short_model}, a prompt has {before:.1f} salient interactions before training. By step {last}, "
        f"{counts['removed']:.1f} of them are removed and {counts['preserved']:.1f} are preserved; "
        f"{counts['emerged']:.1f} have emerged." + _certain(study, run, last)
    )


def _certain(study: Study, run: Run, step: int) -> str:
    """Say how many salient interactions of a prompt are certain at a step; nothing where it is not known."""
    known = study.certainty[(study.certainty["run"] == run.name) & (study.certainty["step"] == step)]
    if not len(known):
        return ""
    prompts = known["sample"].nunique()
    salient, sure = int(known["salient"].sum()), int((known["status"] == "certain").sum())
    return f" At step {step}, {sure / prompts:.1f} of the {salient / prompts:.1f} salient ones are certain."


def stage_sentence(measures: Measures, run: Run) -> str:
    """Say when denoising ends and overfitting starts in a run."""
    ends, starts = (measures.stage(run.name, name) for name in STAGES)
    if ends is None and starts is None:
        return "Stages were not looked for."
    parts = [_stage("denoising ends", "no end of denoising was found", ends)]
    parts.append(_stage("overfitting starts", "no start of overfitting was found", starts))
    sentence = "; ".join(part for part in parts if part)
    return sentence[0].upper() + sentence[1:] + "."


def claims(study: Study, measures: Measures, run: Run) -> list[Claim]:
    """List what is claimed of the last step of a run, each beside its controls."""
    steps = steps_of(study, run.name)
    if not steps:
        return []
    last, found = steps[-1], []
    for name, words, controls in (
        (
            "strength",
            "strength",
            (("noise alone", "strength_noise"), ("players of the change permuted", "strength_permuted_change")),
        ),
        ("gamma", "generalisability γ", (("players permuted", "gamma_permuted"),)),
        ("rho", "non-cancellation ρ", (("signs permuted", "rho_permuted"), ("noise alone", "rho_noise"))),
    ):
        for kind in CLASSES:
            series = measures.get(run.name, kind, name)
            if series is None:
                continue
            beside = []
            for label, control in controls:
                other = measures.control(run.name, kind, control)
                place = measures.control(run.name, kind, f"{control}_p")
                words_p = f", p = {place.at(last)[0]:.2g}" if place and math.isfinite(place.at(last)[0]) else ""
                beside.append((label, figure(*other.at(last)) + words_p if other else NOT_RUN))
            found.append(Claim(f"{words} of the {kind}", figure(*series.at(last)), tuple(beside)))
    for name, words, kinds in (
        ("drop", "change of the loss without the", ("removed", "preserved", "emerged")),
        ("gain_per_strength", "gain per nat of strength of the", ("removed", "preserved", "emerged")),
    ):
        for kind in kinds:
            if (series := measures.get(run.name, kind, name)) is None:
                continue
            beside = [
                (label, figure(*other.at(last)) if (other := measures.get(run.name, kind, f"{name}_{of}")) else NOT_RUN)
                for label, of in (("matched subsets", "matched"), ("difference", "over_matched"))
            ]
            found.append(Claim(f"{words} {kind}", figure(*series.at(last)), tuple(beside)))
    if series := measures.control(run.name, "all", "planted_share"):
        value = figure(*series.at(last))
        first = figure(*series.at(steps[0]))
        found.append(Claim("share of strength on the planted word", value, (("step 0", first),)))
    return found


def judged(verdicts: pd.DataFrame) -> list[Verdict]:
    """List the verdicts of docs/protocol.md in words."""
    return [
        Verdict(
            str(row["run"]) + (", certain interactions only" if row["among"] == "certain" else ""),
            _ASKED.get(str(row["hypothesis"]), str(row["hypothesis"])),
            figure(float(row["value"]), float(row["low"]), float(row["high"])) if not row["reason"] else "",
            f"{float(row['p_holm']):.2g}" if math.isfinite(float(row["p_holm"])) else "",
            str(row["verdict"]) + (f". {row['reason']}" if row["reason"] else ""),
        )
        for row in verdicts.to_dict("records")
    ]


def further(measures: Measures, runs: Sequence[Run]) -> list[tuple[str, str, str, str]]:
    """List what else was measured: figures over several runs, and names that no chart shows.

    Returns:
        (runs, what, step, figure); of figures over several runs, those that the table of runs has too.
    """
    single = {run.name for run in runs}
    rows = []
    for run, step, kind, name, found in measures.others(()):
        told = name in (*METRICS, *STAGES, *_BESIDE)
        if (run in single and told) or (run not in single and told and name not in _TOGETHER):
            continue
        what = name.replace("_", " ") + ("" if kind == "all" else f" of the {kind}")
        rows.append((run, what, "" if step is None else str(step), figure(*found)))
    return rows


def not_run(study: Study, measures: Measures, runs: Sequence[Run]) -> list[str]:
    """Say which measurements and controls the store does not hold."""
    missing = list(study.notes)
    if (study.folder / "certainty.parquet").exists() and not len(study.certainty):
        missing.append("Which interactions are certain was not computed (the field certainty of study.json).")
    if len(study.metrics):
        for name, sentence in (
            ("gamma", "Generalisability γ was not measured: it needs a second model as reference."),
            ("gamma_permuted", "γ has no control: the players were not permuted between the models."),
            ("rho_permuted", "ρ has no control with permuted signs."),
            ("rho_noise", "ρ has no noise null: what noise alone would give is unknown."),
            ("cross_entropy", "How well one class alone predicts the answer was not measured."),
            ("planted_share", "No label-leaking word was planted in the training data."),
        ):
            if not measures.measured(name):
                missing.append(sentence)
        if not any(measures.orders(run.name, kind, noise=True) for run in runs for kind in (*CLASSES, "all")):
            missing.append("Order histograms have no noise null, although noise alone gives effects of high order.")
        if not any(measures.stage(run.name, name) for run in runs for name in STAGES):
            missing.append("Stages of training were not looked for.")
    seeds: dict[tuple[str, str, str], set[int | None]] = {}
    for run in runs:
        seeds.setdefault((run.model, run.data, run.baseline), set()).add(run.seed)
    fewest = min(map(len, seeds.values()))
    if fewest == 1:
        missing.append("Only 1 seed in a setting: it is unknown how much a seed changes the figures.")
    elif fewest == 2:
        missing.append("Only 2 seeds in a setting: too few to say how much a seed changes the figures.")
    if not any(run.second_baseline for run in runs):
        missing.append("No second masking baseline was followed, so conclusions may depend on the one that was.")
    return missing


def _stage(found: str, absent: str, stage: Stage | None) -> str:
    if stage is None:
        return ""
    if not math.isfinite(stage.step):
        return absent
    inside = math.isfinite(stage.low) and math.isfinite(stage.high)
    return f"{found} at step {stage.step:g}" + (f" (95 % interval {stage.low:g} to {stage.high:g})" if inside else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
