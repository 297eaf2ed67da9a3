"""The tables of docs/formats.md, made of the schema; `python docs/build.py` writes them into the page."""

from __future__ import annotations

import re
from collections.abc import Iterable

from interact.formats.schema.tables import IDENTITY, TABLES, Column

_GENERATED = re.compile(r"(<!-- schema: written by docs/build\.py -->\n).*(<!-- end of schema -->)", re.DOTALL)


def with_schema(page: str) -> str:
    """Return a page with the schema written anew between its two marks.

    Raises:
        ValueError: The page lacks the marks.
    """
    if not _GENERATED.search(page):
        raise ValueError("The page must hold the marks of the schema, which say where it is written; restore them.")
    return _GENERATED.sub(lambda marks: f"{marks[1]}\n{schema_page()}\n{marks[2]}", page)


def schema_page() -> str:
    """Return the tables of a store in Markdown, a heading and the columns of each."""
    parts = []
    for table in TABLES.values():
        own = [column for column in table.columns if column not in IDENTITY]
        key = f"; no two rows have the same {', '.join(f'`{name}`' for name in table.key)}" if table.key else ""
        more = f"\nThen: {', '.join(f'`{name}`' for name in table.identity)}.\n" if table.identity else ""
        parts.append(f"## `{table.name}`\nOne row per {table.row}{key}.\n\n{_rows(own)}\n{more}")
    shared = "Every table that names a run says what the run is in these columns."
    return "\n".join([*parts, f"## What a run is\n{shared}\n\n{_rows(IDENTITY)}\n"])


def _rows(columns: Iterable[Column]) -> str:
    lines = ["| column | type | meaning |", "|---|---|---|"]
    for column in columns:
        categories = f" One of {', '.join(f'`{name}`' for name in column.categories)}." if column.categories else ""
        kind = {"list": "list of string", "Int64": "int64, may be missing"}.get(column.kind, column.kind)
        lines.append(f"| `{column.name}` | {kind} | {column.meaning}{categories} |")
    return "\n".join(lines)
