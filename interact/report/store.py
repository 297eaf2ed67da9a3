"""What a report reads: the store of a study (docs/formats.md), and nothing else.

A table that is not there is empty here, and a note says so: the page tells what was not run. A table that is there but
damaged stops the report, because a figure drawn from half a table would lie.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from interact.results import Interactions, load

FORMAT = "interact.study"
VERSION = 1

_CELL = {"run": pa.string(), "step": pa.int64(), "sample": pa.string()}
TABLES: dict[str, dict[str, pa.DataType]] = {
    "interactions": {
        **_CELL,
        "kind": pa.string(),
        "mask": pa.uint64(),
        "order": pa.int64(),
        "effect": pa.float64(),
        "salient": pa.bool_(),
    },
    "cells": {
        **_CELL,
        "n": pa.int64(),
        **{name: pa.float64() for name in ("bias", "total", "primal", "dual", "gap", "seconds")},
        **{name: pa.string() for name in ("engine", "masking", "baseline", "key")},
    },
    "samples": {"sample": pa.string(), "split": pa.string(), "text": pa.string(), "target": pa.string()},
    "losses": {"run": pa.string(), "step": pa.int64(), "name": pa.string(), "value": pa.float64()},
    "classes": {**_CELL, "kind": pa.string(), "mask": pa.uint64(), "class": pa.string(), "effect": pa.float64()},
    "metrics": {
        "run": pa.string(),
        "step": pa.int64(),
        "class": pa.string(),
        "name": pa.string(),
        **{name: pa.float64() for name in ("value", "low", "high")},
    },
}
_OPTIONAL = ("seconds", "engine", "masking", "baseline", "gap", "primal", "dual")
_WITHOUT = {
    "interactions": "no interaction can be listed",
    "cells": "no prompt can be shown word by word, and no fidelity",
    "samples": "the texts are taken from the results themselves",
    "losses": "no loss can be drawn",
    "classes": "interactions are not named removed, preserved or emerged",
    "metrics": "no figure over the steps, no stage and no control can be drawn",
}


@dataclass(frozen=True)
class Study:
    """A study as its store holds it.

    Attributes:
        folder: The store.
        manifest: Versions and hashes.
        config: The configuration; empty where config.json is missing.
        interactions, cells, samples, losses, classes, metrics: The tables, with the columns of docs/formats.md.
        notes: A sentence for everything that is not there.
    """

    folder: Path
    manifest: Mapping[str, Any]
    config: Mapping[str, Any]
    interactions: pd.DataFrame
    cells: pd.DataFrame
    samples: pd.DataFrame
    losses: pd.DataFrame
    classes: pd.DataFrame
    metrics: pd.DataFrame
    notes: tuple[str, ...] = field(default=())

    @property
    def tau(self) -> float:
        """Salience threshold of single results, a share of the strongest effect: the study's where it has one."""
        tau = self.config.get("tau")
        if isinstance(tau, (int, float)) and 0 <= tau < 1 and self.config.get("tau_rule", "max") == "max":
            return float(tau)
        return 0.05

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
        notes.append("config.json is not in the store: how to repeat the study is not known.")
    tables = {name: _table(folder, name, notes) for name in TABLES}
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
    if str(manifest.get("version")) != str(VERSION):
        raise ValueError(
            f"{path} says version {manifest.get('version')!r}, but this program reads version {VERSION}; "
            f"use the program that wrote the store, or run the study again."
        )
    return manifest


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}. Check its rights.") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: it is not JSON ({error}). Restore it or run the study again.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged: it holds {type(content).__name__}, but an object was expected.")
    return content


def _table(folder: Path, name: str, notes: list[str]) -> pd.DataFrame:
    path, columns = folder / f"{name}.parquet", TABLES[name]
    if not path.exists():
        notes.append(f"{path.name} is not in the store: {_WITHOUT[name]}.")
        return pa.schema(list(columns.items())).empty_table().to_pandas()
    again = "Delete it and run `interact study run` on this store again: the tables are made from the cells."
    try:
        # Read as an open file: a folder of that name, or a partitioned set, is not this table.
        with path.open("rb") as file:
            found = pq.read_table(file, page_checksum_verification=True)
        found.validate(full=True)
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged or unreadable ({error}). {again}") from error
    missing = [column for column in columns if column not in found.column_names and column not in _OPTIONAL]
    if missing:
        raise ValueError(
            f"{path} has no column {missing[0]!r}; its columns are {', '.join(found.column_names)}. {again}"
        )
    arrays = {}
    for column, kind in columns.items():
        if column not in found.column_names:
            arrays[column] = pa.nulls(found.num_rows, kind)
            continue
        try:
            arrays[column] = found.column(column).cast(kind)
        except pa.ArrowException as error:
            given = found.schema.field(column).type
            raise ValueError(f"{path} holds {given} in {column!r}, but {kind} was expected. {again}") from error
        if arrays[column].null_count and column not in _OPTIONAL and not pa.types.is_floating(kind):
            raise ValueError(f"{path} has an empty place in {column!r}. {again}")
    return pa.table(arrays).to_pandas()
