"""Cells a second of a study against the workers of a local Ray cluster: not one operation, so no entry of the registry.

::

    python -m bench.scaling                       # SmolLM2, 1 and 2 workers, each with one thread, in turn
    python -m bench.scaling --workers 1 2 4 8 --cells 32

All cells are of the model before training. Workers start and load the model, with one cell each, before the clock runs,
so what is timed is the work on a list that is the same for each number of workers. Beside it stands what the machine
itself allows: bare matrix products of the model's sizes in as many processes, which share nothing but the machine.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from bench import run
from interact.study.cluster import Cluster
from interact.study.config import StudyConfig
from interact.study.progress import Progress
from interact.study.run import prepared_study
from interact.study.schedule import Queue, drive
from interact.study.store import Store
from interact.study.work import Cell, cells
from interact.study.worker import Data

_ready: threading.Barrier
AIM = 0.9
"""Least share of perfect scaling that is asked for."""


def measured(store: Store, work: Sequence[Cell], workers: int) -> float:
    """Return the cells a second that so many workers follow, in a store without cells."""
    shutil.rmtree(store.folder / "cells", ignore_errors=True)
    first, timed = work[:workers], work[workers:]

    def done(team: Cluster, part: Sequence[Cell]) -> float:
        start = time.monotonic()
        with Progress(part, part, lambda _: None) as progress:
            if failed := drive(Queue(part, ()), team, progress):
                raise RuntimeError(f"A cell could not be followed: {failed}")
        return time.monotonic() - start

    with Cluster(store, "local", workers) as team:
        while team.size < workers:
            team.reports()
        done(team, first)
        return len(timed) / done(team, timed)


def bare(processes: int, seconds: float = 10.0) -> float:
    """Return the matrix products a second of so many processes with one thread each, which know nothing of another."""
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(processes)
    with context.Pool(processes, _meet, (ready,)) as pool:
        return sum(pool.map(_products, [seconds] * processes, chunksize=1))


def _meet(ready: threading.Barrier) -> None:
    global _ready
    _ready = ready


def _products(seconds: float) -> float:
    torch.set_num_threads(1)
    x, up, down = torch.ones(1024, 576), torch.ones(576, 1536), torch.ones(1536, 576)
    _ready.wait()
    start, count = time.monotonic(), 0
    while time.monotonic() - start < seconds:
        torch.mm(torch.mm(x, up), down)
        count += 1
    return count / (time.monotonic() - start)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--cells", type=int, default=16, help="cells that are timed")
    parser.add_argument("--players", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    config = StudyConfig(
        models=(given.model,),
        samples=given.cells + max(given.workers),
        limit=given.players,
        longest=110,
        steps=(0, 1),
        max_steps=1,
        controls=(),
        memory_budget=1024,
    )
    print(run.machine(), flush=True)
    rates: dict[int, list[float]] = {count: [] for count in given.workers}
    limits: dict[int, list[float]] = {count: [] for count in given.workers}
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(Path(folder) / "store", config)
        prepared = prepared_study(store, Data(store).all)
        work = [c for c in cells(config, prepared) if c.step == 0]
        for number in range(given.rounds):
            for count in given.workers:
                # As many cells are timed for each number of workers.
                rates[count].append(measured(store, work[: count + given.cells], count))
                limits[count].append(bare(count))
                print(
                    f"round {number + 1}, {count} workers: {rates[count][-1]:.4g} cells/s, "
                    f"{limits[count][-1]:.4g} bare products/s",
                    flush=True,
                )
    print(
        "\n| workers | cells/s (least to most) | times one worker, in its round | bare products alike | to show |"
        "\n|---|---|---|---|---|"
    )
    for count, found in rates.items():
        times, limit = (
            statistics.median(x / y for x, y in zip(of[count], of[given.workers[0]], strict=True))
            for of in (rates, limits)
        )
        aim = AIM * count / given.workers[0]
        verdict = "" if count == given.workers[0] else f"at least {aim:.3g}x: {'met' if times >= aim else 'NOT met'}"
        spread = f"{statistics.median(found):.4g} ({min(found):.3g} to {max(found):.3g})"
        print(f"| {count} | {spread} | {times:.3g}x | {limit:.3g}x | {verdict} |")


if __name__ == "__main__":
    main()
