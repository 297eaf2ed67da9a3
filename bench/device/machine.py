"""The machine: the card and its ceilings, the build, the GPU tests, and compute-sanitizer over tiny cases."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import torch

from bench.device.child import Cases
from bench.device.clock import copy_rate, matrix_rate
from bench.device.record import Row
from bench.device.supervisor import ROOT
from bench.run import machine

_ASKED = "name,memory.total,driver_version,clocks.max.sm,power.limit"
_SAID = re.compile(r"\d (passed|failed|error|skipped)|(ERROR|RACECHECK) SUMMARY|= Invalid|= Error|Error: ")


def card(cases: Cases, _: str) -> None:
    """Name the machine and measure its ceilings."""
    target = cases.target
    query = ["nvidia-smi", f"--query-gpu={_ASKED}", "--format=csv,noheader"]
    asked = subprocess.run(query, capture_output=True, text=True).stdout.strip() if shutil.which(query[0]) else ""
    versions = ", ".join(f"{name} {version(name)}" for name in ("triton", "transformers", "numpy") if _has(name))
    cases.write(Row("machine", "; ".join(filter(None, [machine(), versions, asked]))))

    def copy() -> None:
        t, rate = copy_rate(target)
        cells = {"ceiling": "copy of 1 GB" if not target.tiny else "copy of 1 MB", "ms": f"{t.ms:.4g}"}
        cases.line("copy", "ceilings", {**cells, "rate": f"{rate:.2f} TB/s read and written"}, time=t)

    cases.case("copy", copy)
    for dtype in (torch.bfloat16, torch.float32, torch.float64):

        def product(dtype: torch.dtype = dtype) -> None:
            t, rate = matrix_rate(target, dtype)
            cells = {"ceiling": f"matrix product, {dtype}", "ms": f"{t.ms:.4g}", "rate": f"{rate:.1f} TFLOP/s"}
            cases.line(str(dtype), "ceilings", cells, time=t)

        cases.case(f"matrix product, {dtype}", product)


def _has(name: str) -> bool:
    try:
        return bool(version(name))
    except ImportError:
        return False


def build(cases: Cases, _: str) -> None:
    """Build the library for this card alone; where that fails, without CUDA, so that Triton can be tried.

    A rehearsal renews the library that is there, with or without CUDA as it is.
    """
    if cases.target.rehearsal:
        mode = {"INTERACT_CUDA": "0"} if "without CUDA" in _held() else {}
        cases.case("build", lambda: _built(mode, "C++"))
        return
    major, minor = torch.cuda.get_device_capability()
    made = cases.case(
        f"build for sm_{major}{minor}",
        lambda: _built({"INTERACT_CUDA": "1", "INTERACT_CUDA_ARCHS": f"{major}{minor}"}, "CUDA for"),
    )
    if made is None:
        cases.case("build without CUDA", lambda: _built({"INTERACT_CUDA": "0"}, "C++"))


def _built(mode: dict[str, str], wanted: str) -> tuple[str, bool]:
    """Build in place and ask the library in a process of its own what it holds."""
    begun = time.monotonic()
    done = _program([sys.executable, "setup.py", "build_ext", "--inplace"], mode)
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()
        raise RuntimeError(" ".join(line for line in lines if "error" in line or "interact:" in line))
    spent = time.monotonic() - begun
    said = _held()
    usable = wanted != "CUDA for" or " 0 usable" not in said
    return f"{spent:.0f} s: {said}", wanted in said and usable


def _held() -> str:
    asked = _program([sys.executable, "-c", "import interact_kernels; print(interact_kernels.native_build())"], {})
    return asked.stdout.strip() or asked.stderr.strip()[-200:]


def gpu_tests(cases: Cases, _: str) -> None:
    """Run the tests that are marked for a GPU; in a rehearsal they are skipped with the reason."""
    files = sorted(p for p in (ROOT / "tests").rglob("test_*.py") if "mark.gpu" in p.read_text())
    options = ["-m", "gpu", "-q", "-p", "no:cacheprovider", "-W", "default"]
    command = [sys.executable, "-m", "pytest", *map(str, files), *options]
    cases.case("pytest -m gpu", lambda: _judged(command, {}))


def sanitizer(cases: Cases, argument: str) -> None:
    """Run the tiny cases of a stage under one tool of compute-sanitizer."""
    tool, stage = argument.split()
    found = shutil.which("compute-sanitizer") or next(
        map(str, Path("/usr/local").glob("cuda*/bin/compute-sanitizer")), None
    )
    command = [sys.executable, "-m", "bench.device.child", stage, "--tiny"]
    if cases.target.rehearsal:
        command.append("--rehearse")
    elif found is None:
        cases.write(Row(argument, "not run: compute-sanitizer was not found", False))
        return
    else:
        options = ["--target-processes", "application-only", "--error-exitcode", "66"]
        command = [found, "--tool", tool, *options, *command]
    # Without torch's pool what lies past the end of a tensor lies past its allocation, and memcheck sees it.
    cases.case(argument, lambda: _judged(command, {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}))


def _judged(command: list[str], more: dict[str, str]) -> tuple[str, bool]:
    """Run a program whose exit code, and whose cases where it has some, say whether all is right."""
    done = _program(command, more)
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines()]
    said = [line for line in lines if _SAID.search(line)]
    wrong = sum(line.endswith(" False") for line in lines)
    words = "; ".join([*dict.fromkeys([*said[:1], *said[-1:]]), f"code {done.returncode}, {wrong} cases wrong"])
    return words, done.returncode == wrong == 0


def _program(command: list[str], more: dict[str, str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | more)
    print(done.stdout[-50_000:], done.stderr[-50_000:], flush=True)
    return done
