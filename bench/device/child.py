"""A stage's part: its process runs cases and writes rows; ``python -m bench.device.child STAGE [FILE]``."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from bench.device.clock import Target
from bench.device.plan import STAGES
from bench.device.record import Row

LOST = 75
"""Exit code of a process whose CUDA context is lost: the next case needs another."""


class Cases:
    """The cases of a stage, and where their rows go.

    Args:
        target: What is measured.
        path: The file of rows.
        behind: Number of the last case to leave out, because it killed a process before.
        red: Things that are wrong, so that their speed must not be measured.
    """

    def __init__(self, target: Target, path: Path, behind: int = 0, red: frozenset[str] = frozenset()) -> None:
        self.target, self.red = target, red
        self._path, self._behind, self._count = path, behind, 0

    def write(self, row: Row) -> None:
        """Write a row."""
        with self._path.open("a") as file:
            file.write(f"{row.line()}\n")
        if row.result is not None and row.begun is None:
            print(row.what, row.result, row.ok, flush=True)

    def line(self, what: str, section: str, cells: dict[str, str], **data: object) -> None:
        """Write a line of a table, or write it again with more cells."""
        said = "; ".join(f"{head} {cell}" for head, cell in cells.items())
        self.write(Row(f"{section}: {what}", said, table=(section, dict(cells)), data=dict(data)))

    def case(self, what: str, call: Callable[[], object], group: str = "", thing: str = "") -> object:
        """Run a case and return what it returned, None where it failed or was left out.

        It returns an error with its limit as a pair of floats, words with whether they are right, words, or None for
        no row of its own.
        """
        self._count += 1
        if self._count <= self._behind:
            return None
        ended = "its process ended in it"
        self.write(Row(what, ended, False, float("inf"), group, thing, begun=self._count))
        said: object = None
        row = Row(what, None, None, 0.0, group, thing)
        try:
            said = call()
            if isinstance(said, tuple) and isinstance(said[0], str):
                row.result, row.ok = said[0], bool(said[1])
            elif isinstance(said, tuple):
                row.error, limit = float(said[0]), float(said[1])
                row.result, row.ok = f"{row.error:.3g} of at most {limit:.2g}", row.error <= limit
            elif said is not None:
                row.result = str(said)
        except Exception as error:
            traceback.print_exc()
            first = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            row.result, row.ok, row.error = first[:300], False, float("inf")
        self.write(row)
        try:
            self.target.synchronize(emptied=True)
        except RuntimeError:
            os._exit(LOST)
        return said


def main(arguments: list[str] | None = None) -> None:
    """Run one stage."""
    parser = argparse.ArgumentParser()
    parser.add_argument("stage")
    parser.add_argument("rows", nargs="?", type=Path, default=Path(os.devnull))
    parser.add_argument("--behind", type=int, default=0)
    parser.add_argument("--beside", type=int, default=1)
    parser.add_argument("--red", default="")
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args(arguments)
    stage = next(stage for stage in STAGES if stage.name == options.stage)
    if not options.rehearse and not torch.cuda.is_available():
        raise SystemExit("No usable CUDA device was found; --rehearse runs every line on the CPU.")
    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    torch.set_num_threads(max(1, torch.get_num_threads() // options.beside))
    target = Target("cpu" if options.rehearse else "cuda", options.rehearse or options.tiny)
    module, function = stage.function.split(":")
    if options.rehearse and (module == "correctness" or function == "tilings"):
        _interpret()
    cases = Cases(target, options.rows, options.behind, frozenset(filter(None, options.red.split(";"))))
    getattr(importlib.import_module(f"bench.device.{module}"), function)(cases, stage.argument)


def _interpret() -> None:
    """Let Triton's kernels run on the CPU, in the repaired interpreter of the tests."""
    if importlib.util.find_spec("triton"):
        importlib.import_module("tests.kernels.triton_interpreter").install()


if __name__ == "__main__":
    main()
