"""The folder of one training: what it is, its checkpoints, and the state to continue from.

A checkpoint ``step-N`` moves into place in one step, after the state ``.state/checkpoint-N`` is whole; so whatever a
kill leaves behind, the newest state whose checkpoint is in place can be trusted.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interact.formats.files import broken_seal, digest_of, forget_partial, read_json, replacing
from interact.sft.loss_log import read_losses

_END, _STATES = "finished.json", ".state"


class RunFolder:
    """The folder of one training.

    Args:
        folder: The folder.
        steps: The steps whose checkpoints it must hold, in order.
        record: What decides the training, for JSON; a folder with another record is refused.
    """

    def __init__(self, folder: Path, steps: tuple[int, ...], record: dict[str, Any]) -> None:
        self.folder, self.steps, self._record = folder, steps, record
        self.states = folder / _STATES
        self._file, self._end = folder / "training.json", folder / _END

    def open(self) -> None:
        """Begin, or make sure that what lies here is the same training.

        Raises:
            ValueError: It is another; the sentence shows the difference.
            RuntimeError: The folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            forget_partial(self._file)
            forget_partial(self._end)
            if not self._file.is_file():
                _write(self._file, self._record)
        except OSError as error:
            raise RuntimeError(
                f"The checkpoints cannot be written to {self.folder}: {error}. Choose another place."
            ) from error
        there = read_json(self._file, "training")
        if not isinstance(there, dict):
            raise ValueError(f"{self._file} is damaged: it holds no JSON object; remove {self.folder} to train anew.")
        differs = [f"{k}: {there.get(k)!r} there, {v!r} now" for k, v in self._record.items() if there.get(k) != v]
        if differs:
            raise ValueError(
                f"{self.folder} holds another training ({'; '.join(differs)}); choose another folder, or remove it."
            )
        for left in self.folder.glob(".partial-*"):
            shutil.rmtree(left)

    def finished(self) -> bool:
        """Tell whether the training came to its end."""
        return is_finished(self.folder)

    def close(self, step: int, losses: Path) -> None:
        """Mark the training as ended after this step, and keep the sum of its log of losses."""
        _write(self._end, {"step": step, "losses": digest_of(losses) if losses.is_file() else None})
        is_finished(self.folder)

    def place(self, step: int) -> Path:
        """Return where the checkpoint of a step belongs."""
        return self.folder / f"step-{step}"

    def checkpoints(self) -> list[Path]:
        """Return the checkpoints that are there, in the order of their steps."""
        return [self.place(step) for step in self.steps if self.place(step).is_dir()]

    def last_state(self) -> Path | None:
        """Return the newest state whose checkpoint is in its place, which shows that the state is whole.

        None also where a file of it is not what was written: the training then begins anew, and ends in the same
        weights.
        """
        found = [s for s in self.steps if s and self.state(s).is_dir() and self.place(s).is_dir()]
        if not found:
            return None
        if broken := broken_seal(self.state(found[-1])):
            warnings.warn(f"{self.state(found[-1])} is damaged ({broken}): the training begins anew.", stacklevel=3)
            shutil.rmtree(self.states)
            return None
        return self.state(found[-1])

    def state(self, step: int) -> Path:
        """Return where the state of a step belongs."""
        return self.states / f"checkpoint-{step}"

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


def is_finished(folder: Path) -> bool:
    """Tell whether the training of a folder came to its end; its state, which a kill may have left, is removed then."""
    if not (folder / _END).is_file():
        return False
    shutil.rmtree(folder / _STATES, ignore_errors=True)
    return True


def losses_of(folder: Path, log: Path) -> list[dict[str, Any]]:
    """Read the losses of the training of a folder.

    Raises:
        ValueError: Its log is damaged, or is not what it was when the training ended.
    """
    end = read_json(folder / _END, "finished training") if is_finished(folder) else None
    digest = end.get("losses") if isinstance(end, dict) else None
    if digest is not None and not log.is_file():
        raise ValueError(f"The losses {log} are gone; restore the file.")
    found = read_losses(log)
    if digest is not None and digest_of(log) != digest:
        raise ValueError(f"The losses {log} have changed since the training ended; restore the file.")
    return found


def _write(path: Path, content: dict[str, Any]) -> None:
    with replacing(path) as place:
        place.write_text(json.dumps(content, indent=1), "utf-8")
