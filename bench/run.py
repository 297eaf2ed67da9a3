"""The runner: every contender of a case interleaved in one process.

1. Each contender is called once (warm-up), then as often as fills a short sample.
2. Rounds: every contender gives one sample a round, in rotating order, so that drift of a shared machine hits
   all alike.
3. Reported: the median time of one operation, the spread (interquartile range / median) and the ratio to ours
   (median over rounds of baseline / ours in the same round).

Where a call takes minutes there is no warm-up, and the table says how many rounds there were. On a machine that takes
its cores away for a while, time on the wall says little about work: `time.process_time` as the clock counts what was
computed, on all threads together.
"""

from __future__ import annotations

import gc
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median, quantiles

import torch

from bench.registry import Case, Timed

Clock = Callable[[], float]


@dataclass(frozen=True)
class Row:
    """What was measured of one contender: seconds an operation; `missing` says why there is no figure."""

    entry: str
    case: str
    threads: int
    name: str
    seconds: float | None = None
    spread: float | None = None
    ratio: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    missing: str | None = None
    rounds: int | None = None
    bytes: int | None = None
    most_bytes: float | None = None


def measure(entry: str, case: Case, quick: bool, clock: Clock = time.perf_counter) -> list[Row]:
    """Measure every contender of `case`; the first row is ours."""
    contenders = {"ours": case.ours} | {k: v for k, v in case.baselines.items() if isinstance(v, Timed)}
    sample_s, rounds = (0.002, 5) if quick else (0.01, 15)
    rounds = case.rounds or (3 if case.slow else rounds)
    with _threads(case.threads):
        calls = {
            name: 1 if case.rounds else _calibrate(timed, case, sample_s, clock) for name, timed in contenders.items()
        }
        samples: dict[str, list[float]] = {name: [] for name in contenders}
        order = list(contenders)
        growth = _watch_growth() if case.most_bytes is not None else None
        grown = None
        for _ in range(rounds):
            for name in order:
                samples[name].append(_sample(contenders[name], calls[name], case, clock))
                if grown is None and growth is not None:
                    # Ours comes first in the first round.
                    grown = growth()
            order = order[1:] + order[:1]
    rows = []
    for name in ["ours", *case.baselines]:
        given = case.baselines.get(name)
        if isinstance(given, str):
            rows.append(Row(entry, case.name, case.threads, name, missing=given))
            continue
        times = samples[name]
        low, _, high = quantiles(times, n=4) if rounds > 1 else (0.0, 0.0, 0.0)
        ratio = median(t / o for t, o in zip(times, samples["ours"], strict=True))
        spread = (high - low) / median(times)
        limits = case.at_least.get(name), case.at_most.get(name)
        rows.append(Row(entry, case.name, case.threads, name, median(times), spread, ratio, *limits, rounds=rounds))
    rows[0] = replace(rows[0], bytes=grown, most_bytes=case.most_bytes)
    return rows


def machine() -> str:
    """Say on what this ran: processor, cores, instruction set, torch, device, commit."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    model = re.search(r"model name\s*:\s*(.+)", text)
    flags = set(text.split())
    isa = "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "baseline"
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA device"
    return (
        f"{model[1] if model else platform.processor()}, {os.cpu_count()} cores, {isa}; {gpu}; Python "
        f"{platform.python_version()}, torch {torch.__version__}; commit {commit()}"
    )


def commit() -> str:
    """Return the short commit of the working tree, with + when it has uncommitted changes."""
    where = Path(__file__).parent
    try:
        head = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=where, text=True).strip()
        ignore_table = ":(exclude)*RESULTS.md"
        dirty = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", ".", ignore_table], cwd=where.parent)
        return head + ("+" if dirty.returncode else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _sample(timed: Timed, calls: int, case: Case, clock: Clock) -> float:
    if case.device == "cuda":
        torch.cuda.synchronize()
    run = timed.run
    start = clock()
    for _ in range(calls):
        run()
    if case.device == "cuda":
        torch.cuda.synchronize()
    return (clock() - start) / (calls * timed.work)


def _calibrate(timed: Timed, case: Case, sample_s: float, clock: Clock) -> int:
    first = _sample(timed, 1, case, clock) * timed.work
    if first > 10 * sample_s:
        return 1
    calls = 1
    while (elapsed := _sample(timed, calls, case, clock) * timed.work * calls) < sample_s / 4:
        calls *= 4
    return max(1, round(sample_s / (elapsed / calls)))


def _watch_growth() -> Callable[[], int] | None:
    """Return what says by how many bytes the process's resident memory grew at most since now; None off Linux."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    try:
        gc.collect()
        reset.write_text("5")
    except OSError:
        return None

    def kilobytes(name: str) -> int:
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(name))

    before = kilobytes("VmRSS")
    return lambda: (kilobytes("VmHWM") - before) * 1024


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
