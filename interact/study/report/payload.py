"""What the page draws from: plain lists and numbers, small enough to send by mail.

A result is written as its strongest terms, each [kind, players, effect, class, status, whether the class is certain],
and its text as segments, because a browser counts characters otherwise than Python does. All scores of an exact result
go along in 16 bits each, so that words can be switched off without the model. Everything is finite: NaN becomes null.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from interact.evolution import certain_classes
from interact.formats.labels import labels, told_apart
from interact.formats.schema import CLASSES, STAGES, Run
from interact.results import Fidelity, Interactions, display
from interact.results.display import statuses
from interact.study.certainty import steady
from interact.study.report.measures import Measures, Series, StepScale
from interact.study.report.results import Results, relative_strengths
from interact.study.report.runs import beside, losses_of, steps_of
from interact.study.report.store import Study

MOST_CELLS = 600
"""Most results in one page; a study of more shows the first samples and says so."""
_TERMS = 30
_SCORED = 12
"""Most players of a result whose scores go along: 2**12 of them take 11 kB."""
_POINTS = 64
METRICS = (
    *("strength", "strength_normalised", "count", "rho", "gamma", "gamma_count", "contribution"),
    *("cross_entropy", "cross_entropy_bias", "planted_share"),
    *("strength_noise", "strength_normalised_noise", "count_noise", "rho_noise", "rho_permuted", "gamma_permuted"),
    *("cross_entropy_model", "count_certain", "strength_certain", "rho_certain", "gamma_certain"),
)
"""The metrics that the page draws over the steps."""


def study_payload(study: Study, measures: Measures, results: Results, runs: Sequence[Run]) -> dict[str, Any]:
    """Gather what the page of a study draws.

    Returns:
        Keys runs, samples, cells (by "run step sample" as places in their lists), beside, left_out.
    """
    steps = [steps_of(study, run.name) for run in runs]
    samples = results.samples()
    most = max(1, MOST_CELLS // max(1, sum(map(len, steps))))
    classes = _classes(study, set(samples[:most]))
    sure = _certain_classes(study)
    cells = {}
    for r, run in enumerate(runs):
        for step in steps[r]:
            for s, sample in enumerate(samples[:most]):
                if (result := results.get(run.name, step, sample)) is not None:
                    place = run.name, step, sample
                    start = study.statuses_of(run.name, 0, sample)
                    known = study.statuses_of(*place)
                    cells[f"{r} {step} {s}"] = result_payload(
                        result,
                        classes.get(place, {}),
                        tau=study.tau_of(*place),
                        known=known,
                        start=start,
                        sure=sure.get(place, ()),
                    )
    left, right = beside(runs)
    return {
        "runs": [_run(study, measures, run, own) for run, own in zip(runs, steps, strict=True)],
        "samples": samples[:most],
        "cells": cells,
        "beside": [left, right],
        "left_out": len(samples[most:]),
    }


_EXACT = 10
"""Digits of what the page adds up: sums of effects are held against scores that may be far from 0."""


def result_payload(
    result: Interactions,
    classes: Mapping[tuple[str, int], tuple[str, float]] | None = None,
    *,
    tau: float = 0.05,
    known: Mapping[tuple[str, int], str] | None = None,
    start: Mapping[tuple[str, int], str] | None = None,
    sure: Collection[tuple[str, int]] = (),
) -> dict[str, Any]:
    """Write one result: segments of its text, terms, order sums, fidelity.

    Args:
        result: The result.
        classes: Class and effect of (kind, mask) at this step; the removed make a list of their own.
        tau: Salience threshold, a share of the strongest effect.
        known: Status of each salient interaction, by kind and mask; None to ask a single result, a split a term.
        start: The same of the cell before training, for the removed.
        sure: Interactions whose class is certain, by kind and mask.
    """
    # What is certain takes a split per term; a study's page brings what its tables know.
    if known is None:
        known = statuses(result) if classes is None else {}
    classes, start = classes or {}, start or {}
    strongest, salient = result.top(_TERMS), result.salient(tau)
    counted = {(t.kind, t.mask) for t in salient}

    def row(key: tuple[str, int], effect: float, name: str, status: str) -> list[Any]:
        return [int(key[0] == "or"), _players(key[1]), number(effect, _EXACT), name, status, int(key in sure)]

    keys = [(t.kind, t.mask) for t in strongest]
    terms = [
        row(key, t.effect, classes.get(key, ("", 0.0))[0], known.get(key, ""))
        for key, t in zip(keys, strongest, strict=True)
    ]
    gone = sorted(
        ((k, m, e) for (k, m), (name, e) in classes.items() if name == "removed"), key=lambda row: -abs(row[2])
    )
    orders = result.by_order()
    fidelity = result.fidelity(tau)
    return {
        "text": segments(result),
        "players": told_apart([player.text for player in result.players]),
        "labels": labels([player.text for player in result.players], 15),
        "target": display.answer_asked(result, str),
        "unit": display.unit_of(result),
        "odds": _are_odds(result),
        "bias": number(result.bias, _EXACT),
        "total": number(result.total, _EXACT),
        "strength": number(result.strength),
        "noise": result.noise_name or "",
        "certain": sum(status == "certain" for status in known.values()) if known else None,
        "gap": number(max(result.gap, 0.0)),
        "tau": tau,
        "classed": bool(classes),
        "salient": len(salient),
        "terms": terms,
        # Places of the terms that are not salient, and the salient ones that are not listed.
        "weak": [place for place, key in enumerate(keys) if key not in counted],
        "rest": [
            [int(t.kind == "or"), _players(t.mask), number(t.effect, _EXACT)]
            for t in salient
            if (t.kind, t.mask) not in keys
        ],
        "scores": _scores(result),
        "removed": [row((k, m), e, "removed", start.get((k, m), "")) for k, m, e in gone[:_TERMS]],
        "orders": [[number(value) for value in orders.loc[order, :].tolist()[:4]] for order in orders.index],
        "fidelity": _fidelity(fidelity),
    }


def segments(result: Interactions) -> list[list[Any]]:
    """Cut the text into [text, player], the player being -1 between players."""
    parts: list[list[Any]] = []
    last = 0
    for i, player in enumerate(result.players):
        parts += [[result.text[last : player.chars[0]], -1], [result.text[player.chars[0] : player.chars[1]], i]]
        last = player.chars[1]
    return [part for part in [*parts, [result.text[last:], -1]] if part[0] or part[1] >= 0]


def _scores(result: Interactions) -> list[Any] | None:
    """Write the scores of an exact result as [least, largest, base64 of 16 bits each]; None where they are many."""
    values = result.all_scores
    if values is None or result.n > _SCORED:
        return None
    low, high = float(values.min()), float(values.max())
    steps = np.round((values - low) / ((high - low) or 1.0) * 65535).astype("<u2")
    return [number(low, 9), number(high, 9), base64.b64encode(steps.tobytes()).decode()]


def number(value: float, digits: int = 5) -> float | None:
    """Round to significant digits; None for what is not finite."""
    if not math.isfinite(value):
        return None
    rounded = float(f"{value:.{digits}g}")
    # The largest numbers round to infinity.
    return rounded if math.isfinite(rounded) else value


def _are_odds(result: Interactions) -> bool:
    """Say whether scores are the log-odds of one token or label against all others: only they give a probability."""
    known = result.provenance
    target = known.get("target")
    ids = target.get("ids", ()) if isinstance(target, Mapping) else ()
    return display.unit_of(result) == "log-odds" and len(ids) == 1 and not known.get("contrast")


def _players(mask: int) -> list[int]:
    return [i for i in range(int(mask).bit_length()) if int(mask) >> i & 1]


def _classes(study: Study, samples: set[str]) -> dict[tuple[str, int, str], dict[tuple[str, int], tuple[str, float]]]:
    rows = study.classes[study.classes["sample"].isin(samples)]
    found: dict[tuple[str, int, str], dict[tuple[str, int], tuple[str, float]]] = {}
    columns = ["run", "step", "sample", "kind", "mask", "class", "effect"]
    for run, step, sample, kind, mask, name, effect in rows[columns].itertuples(index=False, name=None):
        found.setdefault((run, int(step), sample), {})[kind, int(mask)] = (name, float(effect))
    return found


def _certain_classes(study: Study) -> dict[tuple[str, int, str], set[tuple[str, int]]]:
    """Return the interactions of each cell whose class, by the two ends, every near-optimal split gives them."""
    found: dict[tuple[str, int, str], set[tuple[str, int]]] = {}
    known = steady(study.certainty, study.cells)
    started = set(known.loc[known["step"] == 0, "run"])
    known = known[known["run"].isin(started)]
    if not len(known) or study.config.get("classes", "ends") != "ends":
        return found
    table = certain_classes(known)
    certain = np.any([(table["class"] == name) & (table[name] == "yes") for name in CLASSES], axis=0)
    columns = ["run", "step", "sample", "kind", "mask"]
    for run, step, sample, kind, mask in table.loc[certain, columns].itertuples(index=False, name=None):
        found.setdefault((str(run), int(step), str(sample)), set()).add((str(kind), int(mask)))
    return found


def _fidelity(fidelity: Fidelity) -> dict[str, Any]:
    size = len(fidelity.values)
    places = np.unique(np.linspace(0, size - 1, min(size, _POINTS)).round().astype(int))
    widest = float(np.abs(fidelity.errors).max(initial=0.0))
    counts, _ = np.histogram(fidelity.errors, bins=21, range=(-widest or -1.0, widest or 1.0))
    return {
        "values": _numbers(fidelity.values[places]),
        "rebuilt": _numbers(fidelity.rebuilt[places]),
        "ranks": places.tolist(),
        "counts": counts.tolist(),
        "widest": number(widest),
        "terms": fidelity.terms,
        "r2": number(fidelity.r2),
        "size": size,
    }


def _run(study: Study, measures: Measures, run: Run, steps: list[int]) -> dict[str, Any]:
    losses = losses_of(study, run)
    scale = StepScale(tuple(steps))
    return {
        "name": run.name,
        "label": run.label,
        "steps": steps,
        "logarithmic": scale.logarithmic,
        "metrics": {
            name: {
                kind: _series(found, steps)
                for kind in (*CLASSES, "all")
                if (found := measures.get(run.name, kind, name))
            }
            for name in METRICS
        },
        "orders": {kind: _orders(measures, run, kind, steps, noise=False) for kind in (*CLASSES, "all")},
        "noise": {kind: _orders(measures, run, kind, steps, noise=True) for kind in (*CLASSES, "all")},
        "stages": {
            name: [number(part) for part in (stage.step, stage.low, stage.high)]
            if (stage := measures.stage(run.name, name))
            else None
            for name in STAGES
        },
        "losses": {str(name): _thin(part) for name, part in losses.groupby("name", sort=False)},
        "sparsity": _sparsity(study, run, steps),
    }


def _series(series: Series, steps: Sequence[int]) -> list[list[float | None]]:
    return [[number(value) for value in series.at(step)] for step in steps]


def _orders(measures: Measures, run: Run, kind: str, steps: Sequence[int], *, noise: bool) -> list[dict[str, Any]]:
    sums = [measures.order_sums(run.name, kind, step, noise=noise) for step in steps]
    if not any(sums):
        return []
    return [{str(order): [number(value) for value in pair] for order, pair in found.items()} for found in sums]


def _thin(rows: pd.DataFrame, most: int = 200) -> list[list[float | None]]:
    places = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), most)).round().astype(int))
    return [[int(step), number(float(value))] for step, value in rows[["step", "value"]].to_numpy()[places]]


def _sparsity(study: Study, run: Run, steps: Iterable[int]) -> list[dict[str, Any]]:
    own = study.interactions[study.interactions["run"] == run.name]
    curves = []
    for step in steps:
        part = own[own["step"] == step]
        strengths = np.sort(relative_strengths(part).to_numpy())[::-1]
        # Even places on a logarithmic axis of ranks: the head of the curve is what matters.
        places = (
            np.unique(np.geomspace(1, max(1, len(strengths)), 40).round().astype(int)) - 1 if len(strengths) else []
        )
        points = [[int(place) + 1, number(float(strengths[place]))] for place in places]
        curves.append({"points": points, "salient": int(part["salient"].sum()), "size": len(part)})
    return curves


def _numbers(values: np.ndarray) -> list[float | None]:
    return [number(float(value)) for value in values]
