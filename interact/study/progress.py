"""How fast a study goes and what it costs: a bar in a terminal, a line a followed step elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType

from tqdm import tqdm

from interact.study.work import Cell


class Progress:
    """The progress of one call.

    Args:
        work: All cells of the study.
        left: Those that are missing.
        say: Where to print.
    """

    def __init__(self, work: Sequence[Cell], left: Sequence[Cell], say: Callable[[str], None]) -> None:
        self._say = say
        self._shared: dict[str, list[Cell]] = {}
        for cell in left:
            self._shared.setdefault(cell.key, []).append(cell)
        self._steps = Counter((c.run.name, c.step) for c in left)
        self._total, self._followed = len(left), 0
        self._seen = time.monotonic()
        self._workers = 1
        self._spent = self._busy = self._following = 0.0
        self._bar = tqdm(total=len(work), initial=len(work) - len(left), unit="cell", disable=None)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        if self._followed:
            share = min(1.0, self._busy / self._spent) if self._spent else 1.0
            self._say(
                f"{self._followed} cells at {self._rate():.3g} cells/s; {self._spent:.0f} worker-seconds spent, "
                f"{share:.0%} of them in work."
            )

    def say(self, line: str) -> None:
        """Print a line beside the bar."""
        self._bar.clear()
        self._say(line)
        self._bar.refresh()

    def worked(self, seconds: float, *, following: bool) -> None:
        """Count the seconds of a job: following cells, or a training, which says nothing about how long cells take."""
        self._busy += seconds
        if following:
            self._following += seconds

    def spend(self, workers: int) -> None:
        """Count the seconds since the last call for so many workers, whether they worked or waited."""
        now = time.monotonic()
        self._spent += workers * (now - self._seen)
        self._seen, self._workers = now, workers
        self._bar.set_postfix_str(f"{self._spent:.0f} worker-s", refresh=False)

    def done(self, cell: Cell, *, failed: bool = False) -> None:
        """Count a cell, followed or given up, for every run that shares it."""
        cells = self._shared[cell.key]
        if failed:
            self._total -= len(cells)
        else:
            self._followed += len(cells)
        self._bar.update(len(cells))
        for one in cells:
            step = (one.run.name, one.step)
            self._steps[step] -= 1
            if not self._steps[step] and self._bar.disable and self._followed:
                self._say(f"{step[0]}: step {step[1]} followed ({self._so_far()})")

    def _so_far(self) -> str:
        rate, left = self._rate(), self._total - self._followed
        return f"{rate:.3g} cells/s, {left / rate:.0f} s left for cells, {self._spent:.0f} worker-seconds spent"

    def _rate(self) -> float:
        return self._followed * max(1, self._workers) / max(1e-9, self._following)
