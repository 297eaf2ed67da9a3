"""The losses of a training, one JSON line each, in a file that a killed run may continue."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from zlib import crc32

from interact.formats.files import forget_partial, replacing


class LossLog:
    """A file of lines ``{"step", "name", "value", "seconds", "crc"}``.

    Args:
        path: The file; it and its folder are made when missing.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self._start = path, time.monotonic()

    def add(self, step: int, name: str, value: float) -> None:
        """Append a line."""
        row = {"step": step, "name": name, "value": value, "seconds": round(time.monotonic() - self._start, 3)}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**row, "crc": _crc(row)}) + "\n")

    def cut(self, last: int) -> None:
        """Drop lines after step `last`, which the run is going to write again, and a line that a kill cut short."""
        kept = [line for line in read_losses(self.path) if line["step"] <= last]
        self._start -= max((line["seconds"] for line in kept), default=0.0)
        forget_partial(self.path)
        with replacing(self.path) as place:
            place.write_text("".join(json.dumps(line) + "\n" for line in kept), "utf-8")


def _crc(row: dict[str, Any]) -> int:
    return crc32(json.dumps([row[name] for name in ("step", "name", "value", "seconds")]).encode())


def read_losses(path: str | Path) -> list[dict[str, Any]]:
    """Read a file of losses; a missing file has none, a last line that a kill cut short is left out.

    Raises:
        ValueError: The file cannot be read, or another line is damaged.
    """
    path = Path(path)
    try:
        lines = path.read_text("utf-8-sig").split("\n") if path.is_file() else []
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"The losses {path} cannot be read ({error}); restore the file, or remove it.") from error
    found = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            row = json.loads(line)
            found.append({**row, "step": int(row["step"]), "name": str(row["name"]), "value": float(row["value"])})
            found[-1]["seconds"] = float(row["seconds"])
            # A log of before the sums has none.
            if row.get("crc", whole := _crc(found[-1])) != whole:
                raise ValueError("its sum differs")
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            told = error.msg if isinstance(error, json.JSONDecodeError) else f"{type(error).__name__}: {error}"
            raise ValueError(f"Line {number} of {path} is damaged ({told}); remove it.") from error
    return found
