"""What stages have found: rows, as they cross from a stage's process to the parent and into ``device.json``.

No torch here: the parent must not touch CUDA.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

SKIPPED = "skipped: it had not begun before the deadline"


@dataclass
class Row:
    """One case, or one line of a table.

    Attributes:
        what: The case in words; a later row of the same words stands for an earlier one.
        result: What came out, in words; None for a row that only marks where a case began.
        ok: Whether it is right; None where nothing was to be shown.
        error: How far from the truth it is.
        group: Cases that are counted together; empty for one that stands alone.
        thing: What is wrong where this is, for stages that measure its speed.
        begun: Number of the case that began here.
        table: The section of the results, and under each column's head what stands there.
        data: Figures in full.
    """

    what: str
    result: str | None = None
    ok: bool | None = None
    error: float = 0.0
    group: str = ""
    thing: str = ""
    begun: int | None = None
    table: tuple[str, dict[str, str]] | None = None
    data: dict[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """Return the row as a line of JSON."""
        return json.dumps(asdict(self), default=str)


@dataclass
class Findings:
    """A stage: its state in words, how long it took, its rows, and the case that began last."""

    state: str = SKIPPED
    seconds: float = 0.0
    rows: list[Row] = field(default_factory=list)
    begun: tuple[int, str] = (0, "its start")

    def read(self, path: Path) -> None:
        """Take over the rows of a file, whose last line may be half written."""
        rows: dict[str, Row] = {}
        for given in _lines(path):
            row = Row(**{f.name: given[f.name] for f in fields(Row) if f.name in given})
            if row.begun is not None:
                self.begun = row.begun, row.what
            rows[row.what] = row
        self.rows = [row for row in rows.values() if row.result is not None]

    def red(self) -> list[Row]:
        """Return the rows that are wrong."""
        return [row for row in self.rows if row.ok is False]

    def whole(self) -> bool:
        """Say whether it ran to its end."""
        return self.state.startswith("done")


def worst(rows: list[Row]) -> Row:
    """Return the row farthest from the truth; NaN is farthest."""
    return max(rows, key=lambda row: (row.ok is False, math.isnan(row.error), row.error))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        try:
            yield json.loads(line)
        except ValueError:
            continue
