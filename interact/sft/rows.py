"""Rows of data files and of data sets of the Hugging Face hub, as dictionaries."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any

from interact.formats.extras import require
from interact.formats.quoting import gist
from interact.sft.json_rows import json_rows

FORMATS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
_LONGEST_FIELD = 1 << 24


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a JSONL, JSON, CSV, TSV or Parquet file.

    Args:
        path: The file. JSON is one list of objects or one object per line, by its content; CSV and TSV files have a
            header line.

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
        return json_rows(path, path.read_text("utf-8-sig"))


def read_text(path: Path) -> str:
    """Read a text file.

    Raises:
        ValueError: It cannot be read, or is not UTF-8.
    """
    with _reading(path):
        return path.read_text("utf-8-sig")


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
        raise RuntimeError(
            f"The data set {name!r} (split {split!r}) could not be loaded: {gist(error)}. Check its name, its split "
            "and the network, or pass a local file."
        ) from error


def _separated(path: Path, separator: str) -> list[dict[str, Any]]:
    # The limit is one for the whole process, so it is given back.
    limit = csv.field_size_limit(_LONGEST_FIELD)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, delimiter=separator)
            header = next((cells for cells in reader if cells), [])
            _refuse_twice(path, header)
            return list(_table(path, reader, header))
    except csv.Error as error:
        raise ValueError(f"{path} is not a table with separators ({error}); repair the file.") from error
    finally:
        csv.field_size_limit(limit)


def _table(path: Path, reader: Any, header: list[str]) -> Iterator[dict[str, Any]]:
    for number, cells in enumerate((cells for cells in reader if cells), start=1):
        if len(cells) > len(header):
            raise ValueError(
                f"Row {number} of {path} (line {reader.line_num}) has {len(cells)} cells, but the header has "
                f"{len(header)}; put quotation marks round a cell that holds the separator: {cells!r:.80}."
            )
        yield dict(zip_longest(header, cells))


def _refuse_twice(path: Path, names: Sequence[str]) -> None:
    if twice := next((name for name in names if name and list(names).count(name) > 1), None):
        raise ValueError(f"{path} has two columns of the name {twice!r}; rename or remove one.")


def _parquet(path: Path) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
        rows = [] if len(set(names)) < len(names) else pq.read_table(path).to_pylist()
    except (pa.ArrowException, UnicodeDecodeError, OverflowError, ValueError) as error:
        # Arrow's own error of memory comes of what a damaged header claims.
        raise ValueError(f"{path} is not a Parquet file, or it was cut short or damaged ({gist(error)}).") from error
    _refuse_twice(path, names)
    return rows
