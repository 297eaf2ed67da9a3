"""Rows of data files and of data sets of the Hugging Face hub, as dictionaries."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from interact.formats.extras import require

FORMATS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
_LONGEST_FIELD = 1 << 24


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a JSONL, JSON, CSV, TSV or Parquet file.

    Args:
        path: The file. A JSON file holds one list of objects; CSV and TSV files have a header line.

    Returns:
        One dictionary a row, in the order of the file.

    Raises:
        ValueError: The file is missing, of another format, or damaged; the sentence names the line where it can.

    >>> read_rows(Path("train.jsonl"))  # doctest: +SKIP
    """
    if not path.is_file():
        raise ValueError(f"The data file {path} does not exist; check the path.")
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(f"{path} has an unknown format ({suffix or 'no suffix'}); pass one of {list(FORMATS)}.")
    with _reading(path):
        if suffix == ".parquet":
            return _parquet(path)
        if suffix in (".csv", ".tsv"):
            return _separated(path, "\t" if suffix == ".tsv" else ",")
        return list(_json_lines(path)) if suffix == ".jsonl" else _json(path)


def read_text(path: Path) -> str:
    """Read a text file.

    Raises:
        ValueError: It cannot be read, or is not UTF-8.
    """
    with _reading(path):
        return path.read_text("utf-8")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}. Check the path and its rights.") from error


def hub_rows(name: str, *, split: str = "train", subset: str | None = None) -> list[dict[str, Any]]:
    """Read a data set of the Hugging Face hub.

    Args:
        name: ``"owner/name"``.
        split: Its split.
        subset: Its configuration, for data sets that have several.

    Raises:
        RuntimeError: The extra ``hub`` is not installed, or the hub or the data set cannot be reached.

    >>> hub_rows("databricks/databricks-dolly-15k")  # doctest: +SKIP
    """
    return [dict(row) for row in hub_set(name, split=split, subset=subset)]


def hub_set(name: str, *, split: str = "train", subset: str | None = None) -> Any:
    """Get a data set of the hub into the cache of `datasets`, and open it there; args and errors as `hub_rows`."""
    require("hub", f"The data set {name!r} comes from the Hugging Face hub and")
    from datasets import load_dataset

    try:
        return load_dataset(name, subset, split=split)
    except Exception as error:
        # The hub's client raises a dozen kinds of error, its own and its network library's.
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RuntimeError(
            f"The data set {name!r} (split {split!r}) could not be loaded: {first} Check its name, its split and the "
            "network, or pass a local file."
        ) from error


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"Line {number} of {path} is not JSON ({_told(error)}); one object a line.") from error
            if not isinstance(row, dict):
                raise ValueError(f"Line {number} of {path} is a JSON {type(row).__name__}, not an object.")
            yield row


def _json(path: Path) -> list[dict[str, Any]]:
    text = path.read_text("utf-8")
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({_told(error)}); repair the file.") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path} must hold one JSON list of objects; for one object a line, name it .jsonl.")
    return rows


def _told(error: Exception) -> str:
    """Say what is wrong with JSON: besides bad form, lists nested without end and numbers of thousands of digits."""
    where = f"line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else str(error)
    return where.split(";")[0]


def _separated(path: Path, separator: str) -> list[dict[str, Any]]:
    # The limit is one for the whole process, so it is given back.
    limit = csv.field_size_limit(_LONGEST_FIELD)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return [dict(row) for row in csv.DictReader(stream, delimiter=separator)]
    except csv.Error as error:
        raise ValueError(f"{path} is not a table with separators ({error}); repair the file.") from error
    finally:
        csv.field_size_limit(limit)


def _parquet(path: Path) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path).to_pylist()
    except (pa.ArrowException, UnicodeDecodeError, OverflowError, ValueError) as error:
        # Arrow's own error of memory comes of what a damaged header claims.
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} is not a Parquet file, or it was cut short or damaged ({told}).") from error
