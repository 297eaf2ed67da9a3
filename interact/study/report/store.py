"""What a report reads: the store of a study (docs/formats.md), and nothing else.

A table that is not there is empty here, and a note says so: the page tells what was not run. A table that is there but
damaged stops the report, because a figure drawn from half a table would lie.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from interact.formats.schema import FORMAT, TABLES, VERSION, VERSIONS, Column, identify
from interact.results import Interactions, load

_READ = tuple(name for name, table in TABLES.items() if table.missing)
_TYPES = {
    "string": pa.string(),
    "int64": pa.int64(),
    "Int64": pa.int64(),
    "uint64": pa.uint64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
}


@dataclass(frozen=True)
class Study:
    """A study as its store holds it.

    Attributes:
        folder: The store.
        manifest: Versions and hashes.
        config: The configuration; empty where config.json is missing.
        interactions, certainty, cells, samples, losses, classes, metrics, verdicts: The tables of
            `interact.formats.schema`.
        notes: A sentence for everything that is not there.
    """

    folder: Path
    manifest: Mapping[str, Any]
    config: Mapping[str, Any]
    interactions: pd.DataFrame
    certainty: pd.DataFrame
    cells: pd.DataFrame
    samples: pd.DataFrame
    losses: pd.DataFrame
    classes: pd.DataFrame
    metrics: pd.DataFrame
    verdicts: pd.DataFrame
    notes: tuple[str, ...] = field(default=())

    def tau_of(self, run: str, step: int, sample: str) -> float:
        """Return the share of a result's strongest effect above which effects are salient, by the study's rule."""
        known = self._thresholds.get((run, step, sample))
        if known is not None:
            return known
        tau = self.config.get("tau")
        return float(tau) if isinstance(tau, (int, float)) and 0 <= tau < 1 else 0.05

    def statuses_of(self, run: str, step: int, sample: str) -> dict[tuple[str, int], str]:
        """Return the status of the salient interactions of a cell, by kind and mask; empty where none is known."""
        return self._statuses.get((run, step, sample), {})

    @cached_property
    def _statuses(self) -> dict[tuple[str, int, str], dict[tuple[str, int], str]]:
        found: dict[tuple[str, int, str], dict[tuple[str, int], str]] = {}
        table = self.certainty[self.certainty["salient"].astype(bool)]
        columns = ["run", "step", "sample", "kind", "mask", "status"]
        for run, step, sample, kind, mask, status in table[columns].itertuples(index=False, name=None):
            found.setdefault((str(run), int(step), str(sample)), {})[str(kind), int(mask)] = str(status)
        return found

    @cached_property
    def _thresholds(self) -> dict[tuple[str, int, str], float]:
        table = self.interactions
        strength, salient = table["effect"].abs(), table["salient"].astype(bool)
        keys = [table["run"], table["step"], table["sample"]]
        largest = strength.groupby(keys).max()
        # Halfway between the weakest that is salient and the strongest that is not, so that rounding decides nothing.
        least = strength.where(salient).groupby(keys).min().fillna(largest)
        below = strength.where(~salient, 0.0).groupby(keys).max()
        share = ((least + below) / 2 / largest).where(largest > 0, 0.0).clip(0.0, 1 - 1e-9)
        return {(str(run), int(step), str(sample)): float(tau) for (run, step, sample), tau in share.items()}

    def cell(self, key: str) -> Interactions:
        """Load the result of one cell.

        Raises:
            ValueError: It is missing or damaged, or `key` is not the name of a file in the folder of cells.
        """
        # A key comes from a file: it must not lead out of the store.
        if not key or Path(key).name != key or "\0" in key:
            raise ValueError(f"cells.parquet in {self.folder} names the cell {key!r}, which is not the name of a file.")
        return load(self.folder / "cells" / f"{key}.interactions")


def open_study(folder: Path) -> Study:
    """Read the store of a study.

    Args:
        folder: The store, as `interact study run --store` wrote it.

    Raises:
        ValueError: The folder is missing, is not a store, is of another version, or holds a damaged table.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; pass the store that `interact study run --store` wrote.")
    manifest = _manifest(folder)
    notes: list[str] = []
    config: dict[str, Any] = {}
    if (folder / "config.json").exists():
        config = _json(folder / "config.json")
    else:
        notes.append("config.json is not in the store, so how to repeat the study is unknown.")
    tables = {name: _table(folder, name, notes) for name in _READ}
    if not any(len(tables[name]) for name in ("cells", "interactions", "metrics", "losses")):
        raise ValueError(
            f"The store {folder} holds no results yet; run `interact study run --store {folder}` until it has followed "
            f"a step."
        )
    return Study(folder, manifest, config, notes=tuple(notes), **tables)


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    if not path.exists():
        raise ValueError(
            f"{folder} is not the store of a study: it has no manifest.json; pass the folder that "
            f"`interact study run --store` wrote."
        )
    manifest = _json(path)
    if manifest.get("format") != FORMAT:
        raise ValueError(f"{path} says the format {manifest.get('format')!r}, but a study's store has {FORMAT!r}.")
    # A version may be written as a number or as text.
    if str(manifest.get("version")) not in map(str, VERSIONS):
        raise ValueError(
            f"{path} says version {manifest.get('version')!r}, but this program reads up to version {VERSION}; "
            f"use the program that wrote the store, or run the study again."
        )
    return manifest


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}. Check its rights.") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: it is not JSON ({error}). Restore it or run the study again.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged: it holds {type(content).__name__}, but an object was expected.")
    return content


def _table(folder: Path, name: str, notes: list[str]) -> pd.DataFrame:
    path, known = folder / f"{name}.parquet", TABLES[name]
    # The players of a sample are in its results.
    columns = [column for column in known.columns if column.kind != "list"]
    if not path.exists():
        notes.append(f"{path.name} is not in the store: {known.missing}.")
        return pa.schema([(column.name, _TYPES[column.kind]) for column in columns]).empty_table().to_pandas()
    again = "Delete it and run `interact study run` on this store again: the tables are made from the cells."
    try:
        # Read as an open file: a folder of that name, or a partitioned set, is not this table.
        with path.open("rb") as file:
            found = pq.read_table(file, page_checksum_verification=True)
        found.validate(full=True)
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged or unreadable ({error}). {again}") from error
    later = [column for column in columns if column.name in known.identity and column.name not in found.column_names]
    arrays = {c.name: _array(found, c, f"{path}", again) for c in columns if c not in later}
    table = pa.table(arrays).to_pandas()
    return identify(table, name) if known.identity else table


def _array(found: pa.Table, column: Column, path: str, again: str) -> pa.ChunkedArray | pa.Array:
    """Return a column of a table in its type."""
    name, kind = column.name, _TYPES[column.kind]
    if name not in found.column_names:
        if column.blank:
            return pa.nulls(found.num_rows, kind)
        raise ValueError(f"{path} has no column {name!r}; its columns are {', '.join(found.column_names)}. {again}")
    try:
        array = found.column(name).cast(kind)
    except pa.ArrowException as error:
        given = found.schema.field(name).type
        raise ValueError(f"{path} holds {given} in {name!r}, but {kind} was expected. {again}") from error
    if array.null_count and not column.blank and not pa.types.is_floating(kind):
        raise ValueError(f"{path} has an empty place in {name!r}. {again}")
    return array
