"""The losses of a training, a JSON line each, in a file that a killed run may go on with."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from interact.files import replacing


class LossLog:
    """A file of lines ``{"step", "name", "value", "seconds"}``.

    Args:
        path: The file; it and its folder are made when missing.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._start = path, time.monotonic()

    def add(self, step: int, name: str, value: float) -> None:
        """Append a line."""
        seconds = round(time.monotonic() - self._start, 3)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "name": name, "value": value, "seconds": seconds}) + "\n")

    def cut(self, last: int) -> None:
        """Drop lines after step `last`, which the run is going to write again, and a line that a kill cut short."""
        kept = [line for line in read_losses(self._path) if line["step"] <= last]
        self._start -= max((line["seconds"] for line in kept), default=0.0)
        with replacing(self._path) as place:
            place.write_text("".join(json.dumps(line) + "\n" for line in kept), "utf-8")


def read_losses(path: str | Path) -> list[dict[str, Any]]:
    """Read a file of losses; a missing file has none, a last line that a kill cut short is left out.

    Raises:
        ValueError: Another line is damaged.
    """
    path = Path(path)
    lines = path.read_text("utf-8").split("\n") if path.is_file() else []
    found = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ValueError(f"Line {number} of {path} is damaged ({error.msg}); remove it.") from error
    return found
