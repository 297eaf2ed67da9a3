"""Cells a second of a study against the workers of a local Ray cluster: not one operation, so no entry of the registry.

::

    python -m bench.scaling                       # SmolLM2, 1 and 2 workers, each with one thread, in short turns
    python -m bench.scaling --workers 1 2 4 8 --cells 8

The speed of a shared machine drifts within minutes by more than what is asked about. So there is one team, of which
more or fewer workers take part in a turn, and turns are short: each number of workers follows a block of a few cells
anew, one right after another, in an order turned round from block to block. The ratio is that of the summed
seconds, with a bootstrap interval over blocks.

All cells are of the model before training, longest prompts first, so that those of a block are about as long. Before
the clock runs, all workers follow the longest prompts of all, which loads the model and holds its engine against the
flat forward. Beside each turn stands what the machine itself allows: bare matrix products of the model's sizes in as
many processes, which share nothing but the machine.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.pool import Pool
from pathlib import Path

import numpy as np
import torch

from bench import run
from interact.evolution.bootstrap import weighted_means
from interact.study.cluster import Cluster
from interact.study.config import StudyConfig
from interact.study.progress import Progress
from interact.study.run import prepared_study
from interact.study.schedule import Queue, Report, Team, drive
from interact.study.store import Store
from interact.study.work import Cell, cells
from interact.study.worker import Data, Job

_ready: threading.Barrier
AIM = 0.9
"""Least share of perfect scaling that is asked for."""
_BARE = 3.0
"""Seconds of bare products after each turn."""
_RESAMPLES = 10_000


class Part:
    """The first so many workers of a team, as a team; the others wait.

    Attributes:
        size: How many workers.
        done: By worker, how many jobs it has done.
        ended: By worker, when it ended the last one (`time.monotonic`).
    """

    def __init__(self, team: Team, size: int) -> None:
        self._team, self.size = team, size
        self._names = {f"worker {number}" for number in range(1, size + 1)}
        self.done: Counter[str] = Counter()
        self.ended: dict[str, float] = {}

    def free(self) -> Sequence[str]:
        """Name the workers that wait for a job."""
        return [name for name in self._team.free() if name in self._names]

    def give(self, worker: str, job: Job) -> None:
        """Give a free worker a job."""
        self._team.give(worker, job)

    def reports(self) -> Sequence[Report]:
        """Wait for news and return it."""
        news = self._team.reports()
        for report in (r for r in news if r.answer is not None):
            self.done[report.worker] += 1
            self.ended[report.worker] = time.monotonic()
        return news


@dataclass
class Turns:
    """What was measured of a number of workers, block by block.

    Attributes:
        working: Seconds a cell, as they would be on a list without end: one over the sum of what each worker did a
            second until it ended its last cell.
        whole: Seconds a cell until the last worker had ended.
        bare: Seconds a bare product.
    """

    working: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)

    def follow(self, store: Store, work: Sequence[Cell], team: Team, workers: int) -> None:
        """Let so many workers follow all these cells, in a store without cells."""
        shutil.rmtree(store.folder / "cells", ignore_errors=True)
        part, start = Part(team, workers), time.monotonic()
        with Progress(work, work, lambda _: None) as progress:
            if failed := drive(Queue(work, ()), part, progress):
                raise RuntimeError(f"A cell could not be followed: {failed}")
        spans = {name: end - start for name, end in part.ended.items()}
        self.working.append(1 / sum(part.done[name] / span for name, span in spans.items()))
        self.whole.append(max(spans.values()) / len(work))


def products(count: int) -> Pool:
    """Return so many processes for `bare`, each with one thread."""
    context = multiprocessing.get_context("spawn")
    return context.Pool(count, _meet, (context.Barrier(count),))


def bare(pool: Pool, count: int) -> float:
    """Return the seconds for one matrix product of so many processes together, which know nothing of another."""
    return 1 / sum(pool.map(_products, [_BARE] * count, chunksize=1))


def _meet(ready: threading.Barrier) -> None:
    global _ready
    _ready = ready
    torch.set_num_threads(1)


def _products(least: float) -> float:
    x, up, down = torch.ones(1024, 576), torch.ones(576, 1536), torch.ones(1536, 576)
    _ready.wait()
    start, count = time.monotonic(), 0
    while time.monotonic() - start < least:
        torch.mm(torch.mm(x, up), down)
        count += 1
    return count / (time.monotonic() - start)


def table(found: Mapping[int, Turns]) -> str:
    """Return the table in Markdown."""
    least = min(found)
    lines = [
        "| workers | cells/s | times the fewest, 95 % over blocks | to the end of a block's last cell | bare products "
        "| to show |",
        "|---|---|---|---|---|---|",
    ]
    for count, turns in found.items():
        times = [
            weighted_means(np.array(before), np.array(now), axis=0, resamples=_RESAMPLES, seed=0)
            for before, now in zip(vars(found[least]).values(), vars(turns).values(), strict=True)
        ]
        aim = AIM * count / least
        verdict = "" if count == least else f"at least {aim:.3g}x: {'met' if times[0][0] >= aim else 'NOT met'}"
        shown = " | ".join(f"{value:.3f}x [{low:.3f}, {high:.3f}]" if verdict else "" for value, low, high in times)
        lines.append(f"| {count} | {len(turns.working) / sum(turns.working):.3f} | {shown} | {verdict} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--cells", type=int, default=4, help="cells in a block")
    parser.add_argument("--blocks", type=int, default=15, help="odd, so that the next round turns their orders round")
    parser.add_argument(
        "--rounds", type=int, default=4, help="how often each block is followed by each number of workers"
    )
    parser.add_argument("--players", type=int, default=7)
    given = parser.parse_args()
    most = max(given.workers)
    if min(given.workers) < 1 or given.cells < most:
        parser.error(f"--cells is {given.cells}, but each of {most} workers needs one, and there is at least 1 worker")
    if min(given.blocks, given.rounds) < 1:
        parser.error(f"--blocks is {given.blocks} and --rounds is {given.rounds}, but both must be at least 1")
    config = StudyConfig(
        models=(given.model,),
        samples=given.cells * given.blocks + 2 * most,
        limit=given.players,
        longest=110,
        steps=(0, 1),
        max_steps=1,
        controls=(),
        memory_budget=1024,
    )
    print(run.machine(), flush=True)
    found = {count: Turns() for count in given.workers}
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        store = Store.open(Path(folder) / "store", config)
        prepared = prepared_study(store, Data(store).all)
        work = sorted(
            (c for c in cells(config, prepared) if c.step == 0), key=lambda c: len(c.sample.text), reverse=True
        )
        pools = {count: stack.enter_context(products(count)) for count in given.workers}
        team = stack.enter_context(Cluster(store, "local", most))
        while team.size < most:
            team.reports()
        first, work = work[: 2 * most], work[2 * most :]
        Turns().follow(store, first, team, most)
        for number, start in enumerate([*range(0, len(work), given.cells)] * given.rounds):
            for count in given.workers[:: -1 if number % 2 else 1]:
                found[count].follow(store, work[start:][: given.cells], team, count)
                found[count].bare.append(bare(pools[count], count))
            said = (
                f"{count} workers {1 / t.working[-1]:.3f} cells/s, bare {1 / t.bare[-1]:.3g}/s"
                for count, t in found.items()
            )
            print(f"turn {number + 1}: {'; '.join(said)}", flush=True)
    print("\n" + table(found))


if __name__ == "__main__":
    main()
