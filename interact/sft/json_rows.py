"""Rows of a JSON file by its content: one object per line, one list of objects, or objects one behind the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def json_rows(path: Path, text: str) -> list[dict[str, Any]]:
    """Read the rows of a JSON or JSON lines file; its suffix does not matter.

    Args:
        path: The file, for sentences.
        text: Its content.

    Raises:
        ValueError: It is neither, or an object names a column twice; the sentence names the line where it can.
    """
    if (columns := _columns(path, text)) is not None:
        return columns
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    try:
        return [_row(path, number, line) for number, line in lines]
    except _NotARow as error:
        # Written with indentation, or as one list.
        rows = _whole(path, text)
        if rows is None:
            raise ValueError(str(error)) from error
        return rows


def _columns(path: Path, text: str) -> list[dict[str, Any]] | None:
    """Read a table that pandas wrote by columns, ``{"text": {"0": ...}}``, by rows, or split; None where it is none."""
    try:
        table = json.loads(text, object_pairs_hook=lambda pairs: _once(path, None, pairs))
    except (ValueError, RecursionError):
        return None
    if not isinstance(table, dict) or not table:
        return None
    if set(table) == {"columns", "index", "data"} and isinstance(table["columns"], list):
        names, rows = table["columns"], table["data"]
        whole = isinstance(rows, list) and all(isinstance(row, list) and len(row) == len(names) for row in rows)
        return [dict(zip(map(str, names), row, strict=True)) for row in rows] if whole else None
    cells = list(table.values())
    if not all(isinstance(column, dict) and column for column in cells) or len({tuple(c) for c in cells}) > 1:
        return None
    # pandas numbers the rows; an object of objects with names alone is something else.
    if all(number.isdigit() for number in table):
        return cells
    if not all(number.isdigit() for number in cells[0]):
        return None
    return [{name: column[number] for name, column in table.items()} for number in cells[0]]


class _NotARow(ValueError):
    """A line that is no object."""


def _row(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line, object_pairs_hook=lambda pairs: _once(path, number, pairs))
    except _Twice as error:
        raise ValueError(str(error)) from error
    except (ValueError, RecursionError) as error:
        raise _NotARow(f"Line {number} of {path} is not JSON ({told(error)}); one object per line.") from error
    if not isinstance(row, dict):
        raise _NotARow(f"Line {number} of {path} is a JSON {type(row).__name__}, not an object.")
    return row


def _whole(path: Path, text: str) -> list[dict[str, Any]] | None:
    """Read one list of objects, or objects one behind the other; None where it is neither."""
    try:
        values = list(_values(path, text))
    except _Twice as error:
        raise ValueError(str(error)) from error
    except (ValueError, RecursionError):
        return None
    if len(values) == 1 and isinstance(values[0], list):
        (values,) = values
    elif path.suffix.lower() == ".json" and len(values) == 1:
        # An object over several lines is a file of something else.
        raise ValueError(f"{path} holds one JSON object; expected is a list of objects, or one object per line.")
    return values if all(isinstance(value, dict) for value in values) else None


def _values(path: Path, text: str) -> Iterator[Any]:
    decoder = json.JSONDecoder(object_pairs_hook=lambda pairs: _once(path, None, pairs))
    place = len(text) - len(text.lstrip())
    while place < len(text):
        value, place = decoder.raw_decode(text, place)
        yield value
        place += len(text[place:]) - len(text[place:].lstrip())


class _Twice(ValueError):
    """An object that names a column twice."""


def _once(path: Path, number: int | None, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        where = f"Line {number} of {path}" if number is not None else str(path)
        raise _Twice(f"{where} names {twice!r} twice in one object; keep one of them.")
    return found


def told(error: Exception) -> str:
    """Say what is wrong with JSON: besides bad form, lists nested without end and numbers of thousands of digits."""
    where = f"line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else str(error)
    return where.split(";")[0]
