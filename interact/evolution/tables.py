"""What a table of a study must be before anything is computed; `interact.formats.schema` says what each one holds.

`check` casts where nothing is lost and refuses the rest with a sentence,
so that the functions of this room need no doubts about what they are given. Further columns are left alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from interact.formats import schema
from interact.formats.schema import CLASSES, identify, table_of

__all__ = ["CLASSES", "TABLES", "check", "empty", "orders_of"]

TABLES: dict[str, dict[str, str]] = {
    name: {column.name: column.kind for column in table.columns} for name, table in schema.TABLES.items()
}
"""Columns and types of each table, in order."""


def empty(name: str) -> pd.DataFrame:
    """Return the table of that name without rows.

    Raises:
        ValueError: There is no such table.

    >>> list(empty("losses").columns)
    ['run', 'step', 'name', 'value', 'model', 'data', 'seed']
    """
    return pd.DataFrame({column.name: pd.Series(dtype=_dtype(column.kind)) for column in table_of(name).columns})


def check(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the table with the types of its kind, its index renumbered, further columns left as they are.

    Of `cells`, only the columns run, step, sample, n, bias and total must be there. The columns that say which run it
    is are made from its name where they are missing (`interact.formats.schema.identify`).

    Args:
        table: Rows as docs/formats.md describes them.
        name: One of `TABLES`.

    Raises:
        ValueError: A column is missing or of another type, a value is missing, infinite, negative or unknown, a mask
            is empty or does not have its order, or two rows are about the same thing.

    >>> check(empty("cells").drop(columns="bias"), "cells")
    Traceback (most recent call last):
    ValueError: The table cells has no column 'bias'; it must have run, step, sample, n, bias, total.
    """
    known = table_of(name)
    if not isinstance(table, pd.DataFrame):
        raise ValueError(f"The table {name} must be a pandas DataFrame, but is a {type(table).__name__}.")
    needed = [c.name for c in known.columns if c.needed and c.name not in known.identity]
    for column in needed:
        if column not in table.columns:
            raise ValueError(f"The table {name} has no column {column!r}; it must have {', '.join(needed)}.")
    table = table.reset_index(drop=True)
    cast = {c.name: _cast(table[c.name], c, name) for c in known.columns if c.name in table.columns}
    table = table.assign(**cast)
    _check_values(table, known)
    keys = [column for column in known.key if column in table.columns]
    if keys and (doubled := table.duplicated(keys)).any():
        row = table.loc[doubled, keys].iloc[0].to_dict()
        raise ValueError(
            f"The table {name} has {int(doubled.sum())} rows that repeat another one's {', '.join(keys)}, "
            f"the first {row}; drop the older ones."
        )
    return identify(table, name) if known.identity else table


def orders_of(masks: np.ndarray) -> np.ndarray:
    """Return |T|, the number of set bits, of each mask; uint64 [...] to int64 [...]."""
    masks = np.ascontiguousarray(masks, dtype=np.uint64)
    bits = np.unpackbits(masks.view(np.uint8).reshape(*masks.shape, 8), axis=-1)
    return bits.sum(-1, dtype=np.int64)


def _dtype(kind: str) -> Any:
    return {"string": "str", "list": "object"}.get(kind, kind)


def _cast(column: pd.Series, known: schema.Column, table: str) -> pd.Series:
    """Return the column as its kind; categories stay, for they hold strings in less room."""
    kind = known.kind
    if kind == "list":
        return column
    if not len(column):
        return column.astype(_dtype(kind))
    found = column.dtype
    strings = column.cat.categories if isinstance(found, pd.CategoricalDtype) else column
    fits = {
        "string": not len(strings) or pd.api.types.is_string_dtype(strings),
        "int64": pd.api.types.is_integer_dtype(found),
        "Int64": _is_whole(column),
        "uint64": pd.api.types.is_integer_dtype(found),
        "float64": pd.api.types.is_numeric_dtype(found) and not pd.api.types.is_bool_dtype(found),
        "bool": pd.api.types.is_bool_dtype(found),
    }[kind]
    if kind == "string" and known.blank and not isinstance(found, pd.CategoricalDtype):
        strings = column.dropna()
    elif column.isna().any() and kind not in ("float64", "Int64"):
        raise ValueError(
            f"The table {table} has {int(column.isna().sum())} missing values in {column.name!r}; fill them in."
        )
    if not fits:
        raise ValueError(f"The column {column.name!r} of the table {table} must be {kind}, but is {found}.")
    if kind == "uint64" and (column < 0).any():
        raise ValueError(
            f"The column {column.name!r} of the table {table} holds coalitions, but some are negative; masks are 1 or "
            "more."
        )
    if kind == "string":
        return column
    return column.astype(_dtype(kind))


def _is_whole(column: pd.Series) -> bool:
    """Tell whether a column holds whole numbers, or nothing at some places."""
    known = column.dropna()
    try:
        return bool((known == known.astype("int64")).all()) and not pd.api.types.is_bool_dtype(column.dtype)
    except (TypeError, ValueError, OverflowError):
        return False


def _check_values(table: pd.DataFrame, known: schema.Table) -> None:
    name = known.name
    for column in known.columns:
        if column.finite and (bad := int((~np.isfinite(table[column.name])).sum())):
            raise ValueError(
                f"{bad} of {len(table)} values of {column.name!r} in the table {name} are NaN or infinite; leave these "
                "rows out."
            )
    if "sample" in known.key and "step" in known.key and (table["step"] < 0).any():
        raise ValueError(f"Steps of the table {name} count from 0, but the least is {table['step'].min()}.")
    for column in known.columns:
        if column.categories and not column.open and column.name in table.columns:
            unknown = sorted(set(table[column.name].dropna().unique()) - set(column.categories))
            if unknown:
                raise ValueError(
                    f"The {column.name} {unknown[0]!r} of the table {name} is none of {', '.join(column.categories)}."
                )
    names = [column.name for column in known.columns]
    if "mask" in names:
        if (table["mask"] == 0).any():
            raise ValueError(f"The table {name} has an interaction between no players (mask 0); leave it out.")
        if "order" in names and (wrong := table["order"] != orders_of(table["mask"].to_numpy())).any():
            row = table[wrong].iloc[0]
            raise ValueError(
                f"The mask {int(row['mask'])} of the table {name} is said to have order {int(row['order'])}, but it "
                "has "
                f"{int(row['mask']).bit_count()} players; correct one of them."
            )
