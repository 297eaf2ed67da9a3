"""The parent's part: every stage a process with a deadline, started again behind a case that kills it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from bench.device.plan import Stage
from bench.device.record import Findings
from bench.device.tables import markdown

ROOT = Path(__file__).resolve().parents[2]
_STARTS = 5
"""How often a stage may be started."""
_LEAST = 8
"""Seconds below which no stage is begun."""


class Supervisor:
    """Runs stages and holds all that they have found so far.

    Args:
        stages: What to run, in order.
        out: Folder of the results.
        deadline: Seconds for everything.
        rehearse: Whether to run on the CPU, with tiny cases.
    """

    def __init__(self, stages: list[Stage], out: Path, deadline: float, rehearse: bool) -> None:
        self.found = {stage.name: Findings() for stage in stages}
        self._stages, self._out, self._rehearse = stages, out, rehearse
        self._begun, self._deadline = time.monotonic(), deadline
        self._scratch = Path(tempfile.mkdtemp(prefix="interact_bench_"))
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False
        out.mkdir(parents=True, exist_ok=True)

    def run(self) -> None:
        """Run all groups one after the other and write the results after each."""
        # A rehearsal measures nothing, so all that follows the build may run side by side, on a slow machine.
        order = (lambda stage: stage.group > 0) if self._rehearse else (lambda stage: stage.group)
        for _, group in groupby(self._stages, key=order):
            beside = list(group)
            workers = (os.cpu_count() or 1) if self._rehearse else len(beside)
            with ThreadPoolExecutor(workers) as pool:
                try:
                    for done in [pool.submit(self._stage, stage, workers) for stage in beside]:
                        done.result()
                except BaseException:
                    self._stopped = True
                    for process in list(self._running):
                        _kill(process)
                    raise
            self._write()

    def red(self) -> bool:
        """Say whether a case is wrong or a stage did not run to its end."""
        return any(found.red() or not found.whole() for found in self.found.values())

    def text(self) -> str:
        """Return the tables."""
        return markdown(self.found, self._rehearse)

    def _stage(self, stage: Stage, beside: int) -> None:
        """Run a stage to its end, to its limit, or past the cases that kill its process."""
        found, begun = self.found[stage.name], time.monotonic()
        limit = self._begun + self._deadline - begun
        limit = limit if self._rehearse else min(stage.limit, limit)
        for start in range(_STARTS if limit > _LEAST else 0):
            if self._stopped:
                return
            behind = found.begun[0] if start else 0
            code = self._process(stage, behind, beside, begun + limit - time.monotonic())
            found.read(self._scratch / f"{stage.name}.rows")
            if code == 0:
                found.state = "done" if not start else f"done, after {start} cases that ended its process"
                break
            reached, case = found.begun
            found.state = f"died with code {code} in: {case}: {self._log(stage.name, 300)}"
            if code is None:
                found.state = f"stopped at its limit of {limit:.0f} s in: {case}"
            if code is None or reached <= behind:
                break
        found.seconds = round(time.monotonic() - begun, 1)
        print(f"{stage.name}: {found.state}, {found.seconds} s", flush=True)

    def _process(self, stage: Stage, behind: int, beside: int, seconds: float) -> int | None:
        """Run a stage's process; return its exit code, or None where it was stopped."""
        wrong = sorted({row.thing for found in self.found.values() for row in found.red() if row.thing})
        command = [sys.executable, "-m", "bench.device.child", stage.name, str(self._scratch / f"{stage.name}.rows")]
        command += ["--behind", str(behind), "--beside", str(beside), "--red", ";".join(wrong)]
        command += ["--rehearse"] * self._rehearse
        paths = [str(ROOT), str(ROOT / "kernels"), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "HF_HUB_OFFLINE": "1",
            "HYPOTHESIS_STORAGE_DIRECTORY": str(self._scratch),
        }
        with (self._scratch / f"{stage.name}.log").open("ab") as log:
            # A session of its own, so that what it starts is stopped with it.
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            self._running.add(process)
            try:
                return process.wait(max(0.0, seconds))
            except subprocess.TimeoutExpired:
                _kill(process)
                return None
            finally:
                self._running.discard(process)

    def _log(self, name: str, most: int) -> str:
        path = self._scratch / f"{name}.log"
        return " ".join(path.read_text(errors="replace")[-most:].split()) if path.exists() else ""

    def _write(self) -> None:
        seconds = round(time.monotonic() - self._begun, 1)
        known = {"seconds": seconds, "stages": {name: asdict(found) for name, found in self.found.items()}}
        logs = [self._scratch / f"{name}.log" for name in self.found]
        said = [f"======== {p.stem}\n{p.read_text(errors='replace')[-300_000:]}\n" for p in logs if p.exists()]
        for ending, text in (("json", json.dumps(known, indent=1)), ("md", self.text()), ("log", "".join(said))):
            (self._out / f"device.{ending}").write_text(text)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
