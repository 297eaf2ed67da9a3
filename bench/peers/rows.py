"""The rows that a comparison keeps as they come, so that it goes on where it was interrupted."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Row = dict[str, Any]


@dataclass
class Rows:
    """The rows of a file, and those that are appended to it.

    Attributes:
        path: A JSON lines file; it need not exist.
        known: Its rows.
    """

    path: Path
    known: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        lines = self.path.read_text().splitlines(keepends=True) if self.path.exists() else []
        # The last one is incomplete where a kill cut it short.
        self.known = [json.loads(line) for line in lines if line.endswith("\n")]
        for row in self.known:
            # What rows from before there was a choice were scored in.
            row.setdefault("dtype", "float64" if str(row.get("group")).startswith("planted") else "float32")
        if len(self.known) < len(lines):
            self.path.write_text("".join(lines[:-1]))

    def has(self, key: Row) -> bool:
        """Return whether there is a row of this group, text, budget and so on."""
        return any(key.items() <= row.items() for row in self.known)

    def add(self, row: Row) -> None:
        """Keep a row."""
        self.known.append(row)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as stream:
            stream.write(json.dumps(row) + "\n")
