"""How far a run of many scores is: a bar with the time left, and one sentence on the cost as soon as it is measured."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from types import TracebackType

from tqdm import tqdm

LOGGER = logging.getLogger("interact.progress")
"""Where the sentence goes where no bar is shown."""
_LONG = 30.0
"""Seconds from which a run is long enough to be told of."""
_MEASURED, _SHARE = 2.0, 0.05
"""The rate is taken after so many seconds, or this share of the run, whichever is first."""


class Progress:
    """The progress of one run, which may be made of several calls.

    Args:
        shown: Whether to draw a bar on standard error; the sentence is then written above it.
        told: Whether the sentence is told at all.
        cost: Says what is known of the cost before anything is measured, such as tokens and memory; asked once, and
            only in a long run.
    """

    def __init__(self, *, shown: bool, told: bool = True, cost: Callable[[], str] | None = None) -> None:
        self._shown, self._told, self._cost = shown, told, cost
        self._done = self._total = 0
        self._began = time.monotonic()
        self._bar: tqdm | None = None

    @classmethod
    def of(cls, progress: bool | Progress | None, cost: Callable[[], str] | None = None) -> Progress:
        """Return what a user's `progress` means: None shows a bar on a terminal, False tells nothing."""
        if isinstance(progress, Progress):
            return progress
        shown = sys.stderr.isatty() if progress is None else progress
        return cls(shown=shown, told=progress is not False, cost=cost)

    def begin(self, total: int, *, most: bool = False) -> Progress:
        """Say how many coalitions will be scored; `most` where they may be fewer."""
        self._total, self._most, self._began = total, most, time.monotonic()
        self._bar = tqdm(total=total, unit="coalition", disable=not self._shown, leave=False)
        return self

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, count: int) -> None:
        """Count coalitions that were scored."""
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
        elapsed = time.monotonic() - self._began
        if self._told and self._done and (elapsed >= _MEASURED or self._done >= _SHARE * self._total):
            self._told = False
            self._tell(elapsed / self._done * (self._total - self._done))

    def _tell(self, left: float) -> None:
        if left < _LONG:
            return
        known = f", {self._cost()}" if self._cost is not None else ""
        sentence = (
            f"{'at most ' if self._most else ''}{self._total:,} coalitions{known}; {in_words(left)} to go, measured on "
            f"the first {self._done:,}."
        )
        if self._shown:
            tqdm.write(f"interact: {sentence}", file=sys.stderr)
        else:
            LOGGER.info(sentence)


def in_words(seconds: float) -> str:
    """Say a time in a unit that people read.

    >>> in_words(80), in_words(700), in_words(9000)
    ('about 80 s', 'about 12 min', 'about 2.5 h')
    """
    if seconds < 100:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 6000 else f"about {seconds / 3600:.1f} h"
