"""The ground of all faults: the smallest study, and children that are born warm and may be killed.

A process that imports torch takes seconds to start, so children are forked from a parent that has imported everything
and computed nothing: no thread of it is alive, and nothing of the study is in its memory.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import random
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch

import interact.study.report  # noqa: F401
from interact.formats.files import TEMPORARY
from interact.study.config import StudyConfig
from interact.study.run import run_study
from tests.interact.conftest import byte_level_tokenizer
from tests.study.conftest import lay_out, make_config

TABLES = ("interactions", "cells", "samples", "losses", "classes", "metrics")
OURS = ("interact", "kernels")
_ROOT = Path(__file__).parents[2]
_PATIENCE = 300.0
_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate", "shutil.rmtree")


@dataclass(frozen=True)
class Fate:
    """How a child ended.

    Attributes:
        end: ``"done"``, ``"killed"``, ``"sentence"`` (an error that our own code raised), ``"traceback"`` (one of a
            third party, or one that is no sentence) or ``"crash"``.
        said: The error's text, or what the child returned.
        operations: Changes of files that it began.
        seconds: Processor time that it took.
    """

    end: str
    said: Any = None
    operations: int = 0
    seconds: float = 0.0


def smallest(folder: Path, **changes: Any) -> StudyConfig:
    """Lay out models and data in a folder once, and describe the smallest study of them."""
    if not (folder / "one").is_dir():
        lay_out(folder, byte_level_tokenizer())
    small = {"models": (str(folder / "one"),), "samples": 2, "limit": 2, "steps": (0, 1, 2), "max_steps": 2}
    small |= {"resamples": 2, "heldout_examples": 2, "train_examples": 8, "controls": ()}
    return make_config(folder, **{**small, **changes})


def study(store: Path, config: StudyConfig) -> list[str]:
    """Run or go on with a study; return what it said."""
    said: list[str] = []
    run_study(store, config, say=said.append)
    return said


def judge(error: BaseException) -> str:
    """Tell a sentence of ours from a third party's error."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = frames and Path(frames[-1].filename).is_relative_to(_ROOT)
    ours = ours and Path(frames[-1].filename).relative_to(_ROOT).parts[0] in OURS
    kind = isinstance(error, (ValueError, RuntimeError)) and not isinstance(error, (json.JSONDecodeError, UnicodeError))
    text = str(error).strip()
    return "sentence" if ours and kind and text[:1] and text[-1] in ".?'`" and len(text) > 30 else "traceback"


def child(
    work: Callable[[], Any],
    *,
    seconds: float | None = None,
    operation: int | None = None,
    inside: Path | None = None,
    before: Callable[[], None] | None = None,
) -> Fate:
    """Do some work in a forked child.

    Args:
        work: What to do; what it returns must be JSON.
        seconds: Kill the child after this much processor time.
        operation: Kill it as it begins the operation of this number on a file inside `inside`.
        inside: The folder whose operations are counted.
        before: Called in the child first, for instance to drop its rights.
    """
    readable, writable = os.pipe()
    gc.collect()
    gc.freeze()
    pid = os.fork()
    if pid == 0:
        os.close(readable)
        _live(work, writable, operation, inside, before)
    os.close(writable)
    start, spent = time.monotonic(), 0.0
    with contextlib.suppress(ChildProcessError), open(readable, "rb", buffering=0) as pipe:  # noqa: PTH123
        os.set_blocking(readable, False)
        said = b""
        while True:
            said += pipe.read() or b""
            ended, status, usage = os.wait4(pid, os.WNOHANG)
            if ended:
                break
            spent = _processor_time(pid)
            if (seconds is not None and spent >= seconds) or time.monotonic() - start > _PATIENCE:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.002)
        said += pipe.read() or b""
        spent = usage.ru_utime + usage.ru_stime
    if time.monotonic() - start > _PATIENCE:
        return Fate("crash", f"it hung for {_PATIENCE:.0f} s")
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return Fate("killed", None, 0, spent)
    if os.WIFSIGNALED(status) or not said:
        return Fate("crash", f"it ended with status {status}", 0, spent)
    found = json.loads(said)
    return Fate(found["end"], found["said"], found["operations"], spent)


def _live(
    work: Callable[[], Any],
    pipe: int,
    operation: int | None,
    inside: Path | None,
    before: Callable[[], None] | None,
) -> None:
    """Be the child; never return."""
    counter = _Operations(operation, inside)
    answer: dict[str, Any] = {}
    try:
        torch.set_num_threads(1)
        warnings.simplefilter("ignore")
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        if before is not None:
            before()
        if inside is not None:
            sys.addaudithook(counter)
        answer = {"end": "done", "said": work()}
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = "" if judge(error) == "sentence" else f" [{type(error).__name__} at {last.filename}:{last.lineno}]"
        answer = {"end": judge(error), "said": f"{error}{place}"[:1500]}
    finally:
        with contextlib.suppress(BaseException):
            left = json.dumps({**answer, "operations": counter.seen}).encode()
            while left:
                left = left[os.write(pipe, left) :]
        os._exit(0)


class _Operations:
    """Counts what Python does to files inside a folder, and dies at one of them."""

    def __init__(self, last: int | None, inside: Path | None) -> None:
        self.seen, self._last, self._inside = 0, last, str(inside)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            changes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
        else:
            changes, path = event in _CHANGES, arguments[0] if arguments else ""
        if changes and isinstance(path, (str, os.PathLike)) and str(path).startswith(self._inside):
            self.seen += 1
            if self.seen == self._last:
                os.kill(os.getpid(), signal.SIGKILL)


def _processor_time(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def read_tables(store: Path) -> dict[str, pd.DataFrame]:
    """Read the tables of a store without what the clock decides."""
    found = {
        name: pq.read_table(store / f"{name}.parquet", use_threads=False).to_pandas(use_threads=False)
        for name in TABLES
    }
    found["cells"] = found["cells"].drop(columns="seconds")
    return found


def differences(store: Path, other: Path) -> list[str]:
    """Name the tables of two stores that are not the same to the last bit."""
    first, second = read_tables(store), read_tables(other)
    return [name for name in TABLES if not first[name].equals(second[name])]


def leftovers(store: Path) -> list[str]:
    """Name what no finished store should hold: files half written, folders half made."""
    return sorted(
        str(path.relative_to(store))
        for path in store.rglob("*")
        if TEMPORARY.fullmatch(path.name) or path.name.startswith(".partial-") or path.name == ".state"
    )


def damages(content: bytes, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield `count` damaged copies of a file: cut short, a bit flipped, a byte changed, a block of zeros, grown."""
    rng = random.Random(seed)
    size = len(content)
    for number in range(count):
        data, place = bytearray(content), rng.randrange(max(1, size))
        kind = ("cut", "bit", "byte", "bit", "zeros", "bit", "grown", "byte")[number % 8]
        if kind == "cut":
            data = data[:place] if number else bytearray()
        elif kind == "bit":
            data[place] ^= 1 << rng.randrange(8)
        elif kind == "byte":
            data[place] = (data[place] + rng.randrange(1, 256)) % 256
        elif kind == "zeros":
            low = place // 512 * 512
            data[low : low + 512] = bytes(len(data[low : low + 512]))
        else:
            data += bytes(rng.randrange(256) for _ in range(rng.randrange(1, 64)))
        if bytes(data) != content:
            yield f"{kind} at {place} of {size}", bytes(data)


def same(one: Any, other: Any) -> bool:
    """Compare what a reader returned, to the last bit."""
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.dtype == other.dtype and one.tobytes() == other.tobytes()
    if isinstance(one, pd.DataFrame):
        return isinstance(other, pd.DataFrame) and one.equals(other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return one == other or repr(one) == repr(other)
