"""The one loop that runs every engine: memory, halving, progress, interruption.

1. Batches are handed to the device; at most two are in work there, and the host prepares the next meanwhile.
2. A batch that memory does not hold is halved, and only what is not yet scored is planned again.
3. Scores come back in one copy at the end.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from interact.engines.engine import Engine, Plan, distinct
from interact.formats.progress import Progress
from interact.models.memory import out_of_memory

if TYPE_CHECKING:
    from interact.games.prompt_game import PromptGame

_AHEAD = 2
"""Batches that may be queued on a device: one that is in work, and the next."""


Keep = Callable[[np.ndarray, np.ndarray], None]
"""Takes rows of a plan that were scored, int64 [rows], and their scores, float32 [rows]."""


def run(engine: Engine, plan: Plan, *, progress: Progress | None = None, keep: Keep | None = None) -> torch.Tensor:
    """Score the coalitions of a plan.

    Args:
        engine: What scores them.
        plan: Its plan.
        progress: Reports each batch.
        keep: What takes the scores of each batch as soon as they are there, so that an interrupt loses none.

    Returns:
        float32 on the CPU, shape [M], one score for each row of `plan.masks`.

    Raises:
        RuntimeError: Memory does not even hold the smallest batch.
    """
    count, size, first = len(plan.masks), plan.size, 0
    scored = np.zeros(count, dtype=bool)
    with progress.begin(count) if progress is not None else nullcontext():
        queue = _Queue(plan.game.device, None if progress is None else progress.update, keep)
        while not scored.all():
            plan.largest = 0
            try:
                with closing(engine.run(plan, np.flatnonzero(~scored), size)) as batches:
                    for rows, scores in batches:
                        queue.add(rows, scores)
                        scored[rows] = True
            except RuntimeError as error:
                reached = min(size, plan.largest or size)
                if not out_of_memory(error) or reached == 1:
                    raise
                first, size = first or reached, reached // 2
        values = queue.values(count)
    if first:
        warnings.warn(f"Memory ran out at {first} {plan.unit}; continuing with {size}.", stacklevel=2)
    return values


def score_by(engine: Engine, game: PromptGame, masks: np.ndarray, **options: Any) -> torch.Tensor:
    """Score coalitions by one engine, without asking whether it may be trusted.

    Args:
        engine: The engine.
        game: The game.
        masks: Which players are present, bool, shape [M, n], in any order.
        options: What the engine's `plan` takes.

    Returns:
        float32 on the CPU, shape [M].
    """
    rows, inverse = distinct(masks)
    return run(engine, engine.plan(game, rows, **options))[torch.from_numpy(inverse)]


class _Queue:
    """The scores of the batches that were handed to a device."""

    def __init__(self, device: torch.device, report: Callable[[int], None] | None, keep: Keep | None) -> None:
        self._device, self._report, self._keep = device, report, keep
        self._rows: list[np.ndarray] = []
        self._scores: list[torch.Tensor] = []
        self._working: deque[tuple[torch.cuda.Event | None, int]] = deque()
        """Event and place of each batch that may be in work."""

    def add(self, rows: np.ndarray, scores: torch.Tensor) -> None:
        """Take a batch's scores, which are perhaps still to be computed; wait while too many are in work."""
        self._rows.append(rows)
        self._scores.append(scores.float())
        event = None
        if self._device.type == "cuda":
            event = torch.cuda.Event()
            event.record(torch.cuda.current_stream(self._device))
        self._working.append((event, len(self._rows) - 1))
        self._finish(_AHEAD if event else 0)

    def values(self, count: int) -> torch.Tensor:
        """Return all scores on the CPU, float32 [count] or [count, columns]."""
        self._finish(0)
        values = torch.empty(count, dtype=torch.float32)
        if self._scores:
            scores = torch.cat([part.to(self._device) for part in self._scores]).cpu()
            values = torch.empty(count, *scores.shape[1:], dtype=torch.float32)
            values[torch.from_numpy(np.concatenate(self._rows))] = scores
        return values

    def _finish(self, most: int) -> None:
        while len(self._working) > most:
            event, place = self._working.popleft()
            if event is not None:
                event.synchronize()
            if self._keep is not None:
                self._keep(self._rows[place], self._scores[place].cpu().numpy())
            if self._report is not None:
                self._report(len(self._rows[place]))
