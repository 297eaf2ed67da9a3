"""The folder of one training: what it is, its checkpoints, and the state to go on from.

A checkpoint ``step-N`` moves into place in one step, after the state ``.state/checkpoint-N`` is whole; so whatever a
kill leaves behind, the newest state whose checkpoint is in place can be trusted.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interact.files import replacing


class RunFolder:
    """The folder of one training.

    Args:
        folder: The folder.
        steps: The steps whose checkpoints it shall hold, in order.
        record: What decides the training, for JSON; a folder with another record is refused.
    """

    def __init__(self, folder: Path, steps: tuple[int, ...], record: dict[str, Any]) -> None:
        self.folder, self.steps, self._record = folder, steps, record
        self.states = folder / ".state"
        self._file = folder / "training.json"

    def open(self) -> None:
        """Begin, or make sure that what lies here is the same training.

        Raises:
            ValueError: It is another; the sentence shows the difference.
            RuntimeError: The folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not self._file.is_file():
                _write(self._file, self._record)
        except OSError as error:
            raise RuntimeError(
                f"The checkpoints cannot be written to {self.folder}: {error}. Choose another place."
            ) from error
        there = json.loads(self._file.read_text("utf-8"))
        differs = [f"{k}: {there.get(k)!r} there, {v!r} now" for k, v in self._record.items() if there.get(k) != v]
        if differs:
            raise ValueError(
                f"{self.folder} holds another training ({'; '.join(differs)}); choose another folder, or remove it."
            )
        for left in self.folder.glob(".partial-*"):
            shutil.rmtree(left)

    def finished(self) -> bool:
        """Tell whether the training came to its end."""
        return (self.folder / "finished.json").is_file()

    def close(self, step: int) -> None:
        """Mark the training as ended after this step."""
        _write(self.folder / "finished.json", {"step": step})
        shutil.rmtree(self.states, ignore_errors=True)

    def place(self, step: int) -> Path:
        """Return where the checkpoint of a step belongs."""
        return self.folder / f"step-{step}"

    def checkpoints(self) -> list[Path]:
        """Return the checkpoints that are there, in the order of their steps."""
        return [self.place(step) for step in self.steps if self.place(step).is_dir()]

    def last_state(self) -> Path | None:
        """Return the newest state whose checkpoint is in its place, which shows that the state is whole."""
        found = [s for s in self.steps if s and (self.states / f"checkpoint-{s}").is_dir() and self.place(s).is_dir()]
        return self.states / f"checkpoint-{found[-1]}" if found else None

    def keep(self, step: int, save: Callable[[Path], Any]) -> None:
        """Write a checkpoint so that it is seen whole or not at all."""
        if self.place(step).is_dir():
            return
        partial = self.folder / f".partial-{step}"
        save(partial)
        partial.rename(self.place(step))

    def forget_states_before(self, step: int) -> None:
        """Remove the states of all steps but this one."""
        for other in self.states.glob("checkpoint-*"):
            if other.name != f"checkpoint-{step}":
                shutil.rmtree(other)


def _write(path: Path, content: dict[str, Any]) -> None:
    with replacing(path) as place:
        place.write_text(json.dumps(content, indent=1), "utf-8")
