"""Stopping a training when its interactions say that it overfits (docs/evolution.md)."""

from __future__ import annotations

import logging
from typing import Any

from transformers import TrainerCallback

from interact.evolution import overfitting, recommended_step
from interact.sft.callback import InteractionCallback, calling_handler

_LOGGER = logging.getLogger(__name__)


class InteractionEarlyStopping(TrainerCallback):
    """Stop a training once emerged interactions grow while they generalise less than the preserved.

    The rule is `interact.evolution.overfitting`: emerged strength grows beyond noise, and its gamma (rho without a
    reference) lies below that of the preserved and below its own highest, at `patience` followed steps in a row.

    Args:
        callback: The `InteractionCallback` that follows the training; None finds it among the trainer's callbacks.
        patience: At how many followed steps in a row it must hold.
        start: First step at which to stop.

    Attributes:
        stopped_at: The step at which training was stopped, None while it was not.
        go_back_to: The last followed step before overfitting: the checkpoint to use.
        reason: Why, in one sentence.

    Raises:
        ValueError: patience is below 1, or fewer than two samples are followed.

    >>> Trainer(..., callbacks=[InteractionCallback(samples), InteractionEarlyStopping()])  # doctest: +SKIP
    """

    def __init__(self, callback: InteractionCallback | None = None, *, patience: int = 1, start: int = 0) -> None:
        if patience < 1:
            raise ValueError(f"patience counts followed steps, at least 1, but is {patience}.")
        self._given, self._patience, self._start = callback, patience, start
        self._reset()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Find the callback that follows."""
        self._reset()
        if not state.is_world_process_zero:
            return
        found = self._given or self._among(calling_handler())
        if len(found.samples) < 2:
            raise ValueError("One sample says nothing about noise; follow at least 2 samples to stop early.")
        self._callback = found

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop, if what was followed since the last look says so."""
        callback = self._callback
        if callback is None or callback.steps == self._seen or 0 not in callback.steps:
            return
        self._seen = callback.steps
        if self._seen[-1] < self._start or not self._overfits(callback):
            return
        self.stopped_at = state.global_step
        self.go_back_to = recommended_step(self._seen, self._seen[-self._patience])
        basis = "rho" if callback.reference is None else "gamma"
        self.reason = (
            f"Training stops at step {self.stopped_at}: emerged interactions grow while their {basis} has fallen below "
            f"that of the preserved; the last followed step before that is {self.go_back_to}."
        )
        _LOGGER.warning(self.reason)
        control.should_training_stop = True

    def _overfits(self, callback: InteractionCallback) -> bool:
        return overfitting(
            callback.interactions, reference=callback.reference, cells=callback.cells, patience=self._patience
        )

    def _among(self, handler: Any) -> InteractionCallback:
        found = [c for c in getattr(handler, "callbacks", []) if isinstance(c, InteractionCallback)]
        if len(found) != 1:
            raise ValueError(
                f"InteractionEarlyStopping needs one InteractionCallback among the trainer's callbacks, but there are "
                f"{len(found)}; add one, or pass it as callback=."
            )
        return found[0]

    def _reset(self) -> None:
        self._callback: InteractionCallback | None = None
        self._seen: tuple[int, ...] = ()
        self.stopped_at: int | None = None
        self.go_back_to: int | None = None
        self.reason = ""
