"""How much of a study is done."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from interact.formats.notebook import table_html
from interact.formats.schema import CellKey
from interact.sft.following import load_cell
from interact.study import samples
from interact.study.store import Store, explained
from interact.study.trainings import is_trained
from interact.study.work import cells, runs

_LOOKED_AT = 20


@dataclass(frozen=True)
class Progress:
    """One run: cells that are done, of how many, and whether its training is."""

    run: str
    trained: bool
    done: int
    total: int


@dataclass(frozen=True)
class Status:
    """A study's progress.

    Attributes:
        runs: One for each run.
        seconds_per_cell: Mean over the newest cells, None before the first.
    """

    runs: tuple[Progress, ...]
    seconds_per_cell: float | None

    def as_json(self) -> dict[str, Any]:
        """Return what `interact study status --json` prints."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [self._summary()]
        width = max(len(r.run) for r in self.runs)
        for r in self.runs:
            lines.append(f"{r.run:<{width}}  {'trained' if r.trained else 'not trained':<11}  {r.done}/{r.total}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = [(r.run, "trained" if r.trained else "not trained", f"{r.done} of {r.total}") for r in self.runs]
        return table_html(self._summary(), pd.DataFrame(rows, columns=pd.Index(["run", "training", "cells done"])))

    def _summary(self) -> str:
        done, total = sum(r.done for r in self.runs), sum(r.total for r in self.runs)
        if self.seconds_per_cell is None:
            return f"{done} of {total} cells are done."
        left = (total - done) * self.seconds_per_cell / 60
        return (
            f"{done} of {total} cells are done. A cell takes {self.seconds_per_cell:.1f} s; about {left:.0f} minutes "
            "are left, and training."
        )


def status(folder: Path) -> Status:
    """Say how much of the study in a folder is done.

    Raises:
        ValueError: It holds no study.
        RuntimeError: It cannot be read.
    """
    with explained(folder):
        return _status(Store.open(folder))


def _status(store: Store) -> Status:
    config = store.config
    if not (store.folder / "samples.json").is_file():
        return Status(tuple(Progress(run.name, False, 0, 0) for run in runs(config)), None)
    work = list(cells(config, samples.load(store.folder / "samples.json")))
    there = {CellKey.parse(path.stem).content: path for path in (store.folder / "cells").glob("*.interactions")}
    progress = []
    for run in runs(config):
        keys = [CellKey.parse(c.key).content for c in work if c.run == run]
        progress.append(Progress(run.name, is_trained(store, run), sum(k in there for k in keys), len(keys)))
    newest = sorted(there.values(), key=lambda p: p.stat().st_mtime)[-_LOOKED_AT:]
    # A damaged cell is computed again by the next run, and tells nothing here.
    results = [result for result in map(load_cell, newest) if result is not None]
    seconds = [float(result.provenance.get("seconds", 0)) for result in results]
    return Status(tuple(progress), sum(seconds) / len(seconds) if seconds else None)
