"""How often the verdicts of docs/protocol.md are wrong, and how often they find what is there: planted studies.

    python -m bench.verdicts --studies 200 --out docs/results/error_rates.parquet

1. A planted study has runs that share their samples, as a real one has: the effects before training are the same in all
   runs, what is removed and what emerges is nearly so, and samples differ in everything, by how much is drawn anew each
   time.
2. In the world `nothing` no hypothesis holds and none is turned over: classes differ in strength, but not in sign, and
   removed and emerged effects move alike. Every verdict but "undecided" is false there.
3. In the world `paper` all hypotheses hold, by a moderate amount; in `reversed` the opposite of all of them. The share
   of studies that say so is the power.
4. The tables of a planted study go through `interact.evolution.verdicts` as those of a real one do.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from interact.evolution import mark_salient, verdicts
from interact.evolution.tables import orders_of
from interact.formats.schema import HYPOTHESES, VERDICTS

WORLDS = {"nothing": 0.0, "paper": 1.0, "reversed": -1.0}
DESIGNS = ((5, 24), (3, 8))
"""Runs and held-out samples: the main arm's, and the pilot's."""
_MOVED = np.array([0.0, 0.1, 0.25, 0.45, 0.65, 0.85, 1.0])
"""The scores' movement at the followed steps."""
_STEPS = np.array([0, 10, 25, 50, 100, 200, 640])
_BEST = 4
"""Place of the least validation loss among the steps."""
_PLAYERS = 8


@dataclass(frozen=True)
class Kind:
    """What the terms of one kind are like.

    Attributes:
        count: How many there are in a sample.
        strength: Their typical |I|.
        positive: How much likelier than chance they pull towards the label in the world `paper`.
    """

    count: int
    strength: float
    positive: float


KINDS = {
    "preserved": Kind(10, 0.6, 0.15),
    "removed": Kind(12, 0.25, -0.15),
    "early": Kind(10, 0.3, 0.15),
    "late": Kind(10, 0.3, -0.15),
}


def study(world: str, runs: int, samples: int, seed: int, *, size: float = 1.0) -> dict[str, Any]:
    """Plant one study: the arguments of `interact.evolution.verdicts`.

    Args:
        world: One of `WORLDS`.
        runs: How many runs.
        samples: How many held-out samples, and as many training ones.
        seed: Of everything.
        size: How large the planted effects are, times those that error rates are measured with.
    """
    rng, truth = np.random.default_rng([seed, runs, samples]), size * WORLDS[world]
    effects, cells, losses, null = [], [], [], []
    moods = {f"m/planted/seed-{r}": rng.normal(scale=0.1, size=len(KINDS)) for r in range(runs)}
    for number in range(2 * samples):
        name, trained = (f"h{number}", False) if number < samples else (f"t{number - samples}", True)
        sample = _Sample(rng, truth, trained=trained)
        for run, mood in moods.items():
            found = sample.followed(rng, mood)
            step, term = np.nonzero(found)
            place = (np.full(len(step), run, dtype=object), np.full(len(step), name, dtype=object))
            effects.append((*place, _STEPS[step], sample.mask[term], found[step, term]))
            moved = _MOVED * sample.scale * np.exp(0.05 * rng.normal(size=len(_STEPS)))
            totals = sample.bias + found.sum(1)
            cells += [
                (run, int(s), name, _PLAYERS, sample.bias, t, m) for s, t, m in zip(_STEPS, totals, moved, strict=True)
            ]
            chance = np.abs(found[-1]).sum() * np.exp(0.15 * truth + rng.normal(scale=0.15) + sample.chance)
            null.append((run, name, "permuted_change", chance))
    for run in moods:
        for part in ("validation", "test"):
            curve = 0.7 - 0.2 * _MOVED + 0.6 * np.maximum(_MOVED - _MOVED[_BEST], 0.0)
            losses += [(run, int(s), f"{part}_label_loss", v) for s, v in zip(_STEPS, curve, strict=True)]
    columns = (np.concatenate(column) for column in zip(*effects, strict=True))
    table = pd.DataFrame(dict(zip(("run", "sample", "step", "mask", "effect"), columns, strict=True)))
    table = table.astype({"run": "str", "sample": "str"}).assign(kind="and")
    table = table.assign(order=orders_of(table["mask"].to_numpy()), salient=False)
    return {
        "interactions": mark_salient(table),
        "cells": pd.DataFrame(cells, columns=pd.Index(["run", "step", "sample", "n", "bias", "total", "moved"])),
        "training": {f"t{i}" for i in range(samples)},
        "losses": pd.DataFrame(losses, columns=pd.Index(["run", "step", "name", "value"])),
        "null": pd.DataFrame(null, columns=pd.Index(["run", "sample", "null", "strength"])),
    }


class _Sample:
    """One prompt: what all runs have in common on it."""

    def __init__(self, rng: np.random.Generator, truth: float, *, trained: bool) -> None:
        masks = rng.choice(np.arange(1, 1 << _PLAYERS), size=sum(k.count for k in KINDS.values()), replace=False)
        self.kind = np.repeat(np.arange(len(KINDS)), [k.count for k in KINDS.values()])
        self.mask = masks.astype(np.uint64)
        self.bias = float(rng.normal(-1.5, 1.0))
        self.scale, self.chance = float(np.exp(0.3 * rng.normal())), float(rng.normal(scale=0.1))
        base = np.clip(0.6 + 0.1 * rng.normal(), 0.05, 0.95)
        size = np.array([k.strength for k in KINDS.values()])[self.kind]
        # A sample has classes of its own temper, which is what makes samples differ.
        lean = truth * np.array([k.positive for k in KINDS.values()]) + rng.normal(scale=0.12, size=len(KINDS))
        if trained and truth:
            # Late terms are good for what they were learned on.
            lean[-1] = 0.15 * truth
        self.lean, self.base = lean, base
        self.size = size * np.exp(0.6 * rng.normal(size=len(size)))
        self.rank = rng.random(len(size))
        # Half of what goes begins late, and half of what comes, so that neither is ahead of the other.
        late = self.kind == 3
        late |= (self.kind == 1) & (np.arange(len(self.kind)) % 2 == 0)
        self.start = np.where(late, 0.7, 0.0)
        self.speed = np.exp(0.3 * rng.normal(size=2) - truth * np.array([0.35, -0.35]))

    def followed(self, rng: np.random.Generator, mood: np.ndarray) -> np.ndarray:
        """Return the effects at every step, in a run of its own mood, float64 [steps, terms]."""
        share = np.clip(self.base + self.lean[self.kind] + 0.3 * mood[self.kind], 0.02, 0.98)
        effect = np.where(self.rank < share, self.size, -self.size) * np.exp(0.1 * rng.normal(size=len(self.size)))
        # What there is before training is the same in every run.
        before = np.isin(self.kind, (0, 1))
        effect = np.where(before, np.where(self.rank < self.base + self.lean[self.kind], self.size, -self.size), effect)
        speed = self.speed[(self.kind >= 2).astype(int)] * np.exp(0.1 * rng.normal(size=len(self.size)))
        progress = np.clip((_MOVED[:, None] - self.start) / (1 - self.start), 0.0, 1.0) ** speed
        grows = np.array([1.0, 0.0, 1.0, 1.0])[self.kind]
        level = np.where(self.kind == 0, 1.0, np.where(before, 1 - progress, progress * grows))
        jitter = np.exp(0.05 * rng.normal(size=level.shape) * (_MOVED > 0)[:, None])
        return level * effect * jitter


def rates(world: str, runs: int, samples: int, studies: int, *, draws: int = 50, seed: int = 0) -> Iterator[dict]:
    """Count the verdicts of planted studies, one row a hypothesis; `any false` counts studies with a false verdict."""
    counts = {name: Counter() for name in HYPOTHESES}
    false = 0
    for number in range(studies):
        planted = study(world, runs, samples, seed + number)
        table = verdicts(planted.pop("interactions"), planted.pop("cells"), **planted, draws=draws, seed=number)
        wrong = {"nothing": ("supported", "contradicted"), "paper": ("contradicted",), "reversed": ("supported",)}
        false += bool(table["verdict"].isin(wrong[world]).any())
        for name, verdict in zip(table["hypothesis"], table["verdict"], strict=True):
            counts[name][verdict] += 1
        print(f"\r{world}, {runs} runs of {samples} samples: {number + 1} of {studies}", end="", file=sys.stderr)
    print(file=sys.stderr)
    place = {"world": world, "runs": runs, "samples": samples, "studies": studies}
    for name, found in counts.items():
        yield {**place, "hypothesis": name, **{verdict: found[verdict] for verdict in VERDICTS}}
    yield {**place, "hypothesis": "any false", **dict.fromkeys(VERDICTS, 0), "contradicted": false}


def _keep(path: Path, table: pd.DataFrame) -> None:
    """Write the rows, in the place of those of the same worlds and designs; others stay."""
    keys = ["world", "runs", "samples"]
    if path.is_file():
        before = pd.read_parquet(path)
        again = pd.MultiIndex.from_frame(before[keys]).isin(pd.MultiIndex.from_frame(table[keys]))
        table = pd.concat([before[~again], table], ignore_index=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(path, index=False)


def main() -> None:
    """Measure the error rates and print them; write them where `--out` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200, help="planted studies of each world and design")
    parser.add_argument("--worlds", nargs="+", choices=list(WORLDS), default=list(WORLDS))
    parser.add_argument("--draws", type=int, default=50, help="matched subsets behind a mean")
    parser.add_argument(
        "--designs", nargs="+", default=[f"{r}x{s}" for r, s in DESIGNS], help="runs x samples, as 5x24"
    )
    parser.add_argument("--out", type=Path, help="a Parquet file; rows of other worlds and designs stay")
    given = parser.parse_args()
    rows = []
    for design in given.designs:
        runs, samples = map(int, design.split("x"))
        for world in given.worlds:
            rows += rates(world, runs, samples, given.studies, draws=given.draws)
            if given.out is not None:
                _keep(given.out, pd.DataFrame(rows))
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()
