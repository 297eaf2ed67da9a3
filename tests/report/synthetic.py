"""A small made-up study on disk: planted games whose terms fade, stay or grow with the steps, split for real."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from interact import Interactions, Player
from interact.formats.schema import TABLES, VERSION, Run, identify
from interact.sft.following import certainty_rows
from interact_kernels.sparsify import and_or_split

HOSTILE = '</script><script>window.pwned=1</script><img src=x onerror="window.pwned=1"> $\\frac$ & \u202e {{7*7}}'
TEXTS = (
    "the movie weighs no more than a glass of flat champagne .",
    "a gorgeous , witty , seductive film that lingers for days",
    "not once does the script stumble into honest human feeling",
    "there is a quiet and moving love story under all that noise",
)


@dataclass(frozen=True)
class Shape:
    """How large the study is, and what is left out of it."""

    models: tuple[str, ...] = ("SmolLM2-135M-Instruct", "gemma-3-270m-it")
    seeds: tuple[int, ...] = (0,)
    steps: tuple[int, ...] = (0, 1, 4, 16, 64)
    texts: tuple[str, ...] = TEXTS[:2]
    n: int = 5
    controls: bool = True
    data: str = "reviews"
    certain: bool = False


def players_of(text: str, n: int) -> tuple[Player, ...]:
    spans, at = [], 0
    for word in text.split(" "):
        if len(word) > 2:
            spans.append((word, at, at + len(word)))
        at += len(word) + 1
    chosen = [spans[round(i)] for i in np.linspace(0, len(spans) - 1, n)]
    return tuple(Player(w, (a, b), (i, i + 1)) for i, (w, a, b) in enumerate(chosen))


def game(n: int, share: float, seed: int, model: int) -> np.ndarray:
    """Scores of all coalitions at a share of training: some terms fade, some stay, some come late."""
    rng = np.random.default_rng(seed)
    masks = np.arange(1 << n)
    v = np.full(1 << n, -1.0)
    for term in range(12):
        mask = int(rng.integers(1, 1 << n))
        weight = rng.normal() * (1.0 if model == 0 else (-0.7, 1.2, 0.5)[term % 3])
        weight *= (max(0.0, 1 - 3 * share), 1 + share, max(0.0, 2 * share - 0.6))[term % 3]
        inside = (masks & mask) == mask if term % 2 else (masks & mask) > 0
        v += weight * inside
    return v + rng.normal(size=1 << n) * 0.02


def make_store(folder: Path, shape: Shape = Shape()) -> Path:
    (folder / "cells").mkdir(parents=True)
    known = [Run(model, shape.data, seed) for model in shape.models for seed in shape.seeds]
    runs = [run.name for run in known]
    interactions, cells, results = [], [], []
    for r, run in enumerate(runs):
        for at, step in enumerate(shape.steps):
            for s, text in enumerate(shape.texts):
                share = at / max(1, len(shape.steps) - 1)
                v = game(shape.n, share, 7 * s + 1, r // len(shape.seeds))
                split = and_or_split(v, kappa=0.04)
                place = {"run": run, "step": step, "sample": f"s{s}"}
                bounds = {k: float(getattr(split, k)) for k in ("primal", "dual", "gap")}
                arrays = {k: getattr(split, k) for k in ("i_and", "i_or", "noise", "certificate")}
                provenance = {**place, "target": {"text": " positive"}, "kappa": 0.04, "model": {"name": run}}
                result = Interactions(
                    players=players_of(text, shape.n), text=text, values=v, **arrays, **bounds, provenance=provenance
                )
                key = f"{r:02d}{step:04d}{s:02d}"
                result.save(folder / "cells" / f"{key}.interactions")
                results.append((result, key))
                salient = {(i.kind, i.mask) for i in result.salient()}
                interactions += [
                    {**place, "kind": i.kind, "mask": i.mask, "order": i.order, "effect": i.effect}
                    | {"salient": (i.kind, i.mask) in salient}
                    for i in result.top(2 << shape.n)
                ]
                ends = {"n": shape.n, "bias": float(v[0]), "total": float(v[-1]), **bounds, "seconds": 0.5}
                names = {"engine": "flat", "masking": "baseline", "baseline": "unk", "key": key}
                cells.append({**place, **ends, **names})
    tables = {"interactions": pd.DataFrame(interactions).astype({"mask": "uint64"}), "cells": pd.DataFrame(cells)}
    tables["classes"] = classes_of(tables["interactions"])
    tables["metrics"] = metrics_of(tables["classes"], runs, shape)
    if shape.certain:
        tables["certainty"] = certainty_of(results)
    tables["losses"] = losses_of(runs, shape)
    tables["samples"] = pd.DataFrame(
        [
            {"sample": f"s{s}", "split": "follow", "text": t, "target": "positive"}
            | {"players": [p.text for p in players_of(t, shape.n)]}
            for s, t in enumerate(shape.texts)
        ]
    )
    for name, table in tables.items():
        table = identify(table, name, known) if TABLES[name].identity else table
        table.to_parquet(folder / f"{name}.parquet")
    manifest = {"format": "interact.study", "version": VERSION, "versions": {"torch": "2.13", "interact-llm": "0.1.0"}}
    (folder / "manifest.json").write_text(json.dumps({**manifest, "config_hash": "c0ffee"}))
    (folder / "config.json").write_text(json.dumps({"models": shape.models, "steps": shape.steps, "tau": 0.05}))
    return folder


def certainty_of(results: list[tuple[Interactions, str]]) -> pd.DataFrame:
    table = certainty_rows([result for result, _ in results])
    keys = {tuple(r.provenance[name] for name in ("run", "step", "sample")): key for r, key in results}
    places = table[["run", "step", "sample"]].itertuples(index=False, name=None)
    table = table.assign(level=0.1, eps=1e-4, key=[keys[place] for place in places])
    return table.astype({"mask": "uint64"})


def classes_of(table: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (run, sample), group in table[table["salient"]].groupby(["run", "sample"]):
        by_step = {step: part.set_index(["kind", "mask"])["effect"] for step, part in group.groupby("step")}
        first = by_step[0]
        preserved = set(first.index)
        for step, effects in by_step.items():
            now = set(effects.index)
            preserved &= now
            named = {"preserved": preserved, "emerged": now - preserved, "removed": set(first.index) - now}
            rows += [
                {"run": run, "step": step, "sample": sample, "kind": kind, "mask": mask, "class": name}
                | {"effect": float((first if name == "removed" else effects)[kind, mask])}
                for name, members in named.items()
                for kind, mask in sorted(members)
            ]
    return pd.DataFrame(rows).astype({"mask": "uint64"})


def metrics_of(classes: pd.DataFrame, runs: list[str], shape: Shape) -> pd.DataFrame:
    """Figures of the right form; gamma, cross-entropy and the controls are drawn at random."""
    rng = np.random.default_rng(0)
    rows: list[dict] = []

    def add(run: str, step: int, kind: str, name: str, value: float, spread: float = 0.1) -> None:
        width = spread * abs(value)
        rows.append(
            {"run": run, "step": step, "class": kind, "name": name, "value": value}
            | {"low": value - width, "high": value + width}
        )

    for run in runs:
        for step in shape.steps:
            here = classes[(classes["run"] == run) & (classes["step"] == step)]
            samples = len(shape.texts)
            for kind in ("removed", "preserved", "emerged", "all"):
                part = here[here["class"] == kind] if kind != "all" else here[here["class"] != "removed"]
                effects = part["effect"].to_numpy()
                orders = np.array([int(m).bit_count() for m in part["mask"]], dtype=int)
                strength = float(np.abs(effects).sum())
                add(run, step, kind, "strength", strength / samples)
                add(run, step, kind, "strength_normalised", strength / samples / 2)
                add(run, step, kind, "count", len(part) / samples)
                add(run, step, kind, "rho", abs(effects.sum()) / strength if strength else np.nan)
                add(run, step, kind, "gamma", rng.uniform(0.1, 0.8))
                add(run, step, kind, "contribution", effects.mean() if len(part) else np.nan)
                add(run, step, kind, "cross_entropy", rng.uniform(0.3, 0.9))
                for order in range(1, shape.n + 1):
                    for sign, chosen in (("positive", effects > 0), ("negative", effects < 0)):
                        add(
                            run, step, kind, f"order{order}_{sign}", effects[chosen & (orders == order)].sum() / samples
                        )
                if shape.controls:
                    add(run, step, kind, "rho_permuted", rng.uniform(0.05, 0.2))
                    add(run, step, kind, "gamma_permuted", rng.uniform(0.0, 0.1))
            if shape.controls:
                add(run, step, "all", "rho_noise", 0.08)
                for order in range(1, shape.n + 1):
                    add(run, step, "all", f"order{order}_noise_positive", 0.02 * 2**order)
                    add(run, step, "all", f"order{order}_noise_negative", -0.02 * 2**order)
        for name, at in (("denoising_end", 1), ("overfitting_start", 3)):
            value, low, high = (float(shape.steps[min(i, len(shape.steps) - 1)]) for i in (at, at - 1, at + 1))
            rows.append(
                {"run": run, "step": -1, "class": "all", "name": name, "value": value, "low": low, "high": high}
            )
    return pd.DataFrame(rows)


def losses_of(runs: list[str], shape: Shape) -> pd.DataFrame:
    rows = []
    for run in runs:
        for step in range(1, shape.steps[-1] + 1, max(1, shape.steps[-1] // 30)):
            rows.append({"run": run, "step": step, "name": "train_loss", "value": 2 * np.exp(-step / 20) + 0.1})
        for step in shape.steps:
            heldout = 2 * np.exp(-step / 15) + 0.3 + step / 400
            for name, value in (
                ("validation_label", heldout),
                ("test_label", heldout + 0.02),
                ("test_end", 9 / (1 + step)),
            ):
                rows.append({"run": run, "step": step, "name": f"{name}_loss", "value": value})
            rows.append({"run": run, "step": step, "name": "test_accuracy", "value": 1 / (1 + heldout)})
    return pd.DataFrame(rows)
