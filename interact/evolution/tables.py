"""The tables of a study: their columns, and what a table must be before anything is computed from it.

docs/formats.md says what each table holds. `check` casts where nothing is lost and refuses the rest with a sentence,
so that the functions of this room need no doubts about what they are given. Further columns are left alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

TABLES: dict[str, dict[str, str]] = {
    "interactions": {
        "run": "string",
        "step": "int64",
        "sample": "string",
        "kind": "string",
        "mask": "uint64",
        "order": "int64",
        "effect": "float64",
        "salient": "bool",
    },
    "cells": {
        "run": "string",
        "step": "int64",
        "sample": "string",
        "n": "int64",
        "bias": "float64",
        "total": "float64",
        "primal": "float64",
        "dual": "float64",
        "gap": "float64",
        "seconds": "float64",
        "engine": "string",
        "masking": "string",
        "baseline": "string",
        "key": "string",
    },
    "samples": {"sample": "string", "split": "string", "text": "string", "target": "string", "players": "list"},
    "losses": {"run": "string", "step": "int64", "name": "string", "value": "float64"},
    "classes": {
        "run": "string",
        "step": "int64",
        "sample": "string",
        "kind": "string",
        "mask": "uint64",
        "class": "string",
        "effect": "float64",
    },
    "metrics": {
        "run": "string",
        "step": "int64",
        "class": "string",
        "name": "string",
        "value": "float64",
        "low": "float64",
        "high": "float64",
    },
}
"""Columns and types of each table, in order."""

CLASSES = ("removed", "preserved", "emerged")
"""The classes an interaction can have at a step, in the order of every array of this room."""

# What no two rows share. A loss may be logged twice, by a run that was resumed.
_KEYS = {
    "interactions": ["run", "step", "sample", "kind", "mask"],
    "cells": ["run", "step", "sample"],
    "samples": ["sample"],
    "classes": ["run", "step", "sample", "kind", "mask"],
    "metrics": ["run", "step", "class", "name"],
}
_FINITE = {"interactions": ["effect"], "cells": ["bias", "total"], "classes": ["effect"]}
_ALLOWED = {"kind": ("and", "or"), "class": CLASSES}
# What the functions of this room read; the rest of a cell tells how it was computed.
_NEEDED = {"cells": ("run", "step", "sample", "n", "bias", "total")}


def empty(name: str) -> pd.DataFrame:
    """Return the table of that name without rows.

    Raises:
        ValueError: There is no such table.

    >>> list(empty("losses").columns)
    ['run', 'step', 'name', 'value']
    """
    columns = _columns(name)
    return pd.DataFrame({column: pd.Series(dtype=_dtype(kind)) for column, kind in columns.items()})


def check(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the table with the types of its kind, its index renumbered, further columns left as they are.

    Of `cells`, only the columns run, step, sample, n, bias and total must be there.

    Args:
        table: Rows as docs/formats.md describes them.
        name: One of `TABLES`.

    Raises:
        ValueError: A column is missing or of another type, a value is missing, infinite, negative or unknown, a mask
            is empty or does not have its order, or two rows speak of the same thing.

    >>> check(empty("cells").drop(columns="bias"), "cells")
    Traceback (most recent call last):
    ValueError: The table cells has no column 'bias'; it must have run, step, sample, n, bias, total.
    """
    columns = _columns(name)
    if not isinstance(table, pd.DataFrame):
        raise ValueError(f"The table {name} must be a pandas DataFrame, but is a {type(table).__name__}.")
    needed = _NEEDED.get(name, tuple(columns))
    for column in needed:
        if column not in table.columns:
            raise ValueError(f"The table {name} has no column {column!r}; it must have {', '.join(needed)}.")
    table = table.reset_index(drop=True)
    cast = {column: _cast(table[column], kind, name) for column, kind in columns.items() if column in table.columns}
    table = table.assign(**cast)
    _check_values(table, name)
    keys = _KEYS.get(name)
    if keys is not None and (doubled := table.duplicated(keys)).any():
        row = table.loc[doubled, keys].iloc[0].to_dict()
        raise ValueError(
            f"The table {name} has {int(doubled.sum())} rows that repeat another one's {', '.join(keys)}, "
            f"the first {row}; drop the older ones."
        )
    return table


def orders_of(masks: np.ndarray) -> np.ndarray:
    """Return |T|, the number of set bits, of each mask; uint64 [...] to int64 [...]."""
    masks = np.ascontiguousarray(masks, dtype=np.uint64)
    bits = np.unpackbits(masks.view(np.uint8).reshape(*masks.shape, 8), axis=-1)
    return bits.sum(-1, dtype=np.int64)


def _columns(name: str) -> dict[str, str]:
    if name not in TABLES:
        raise ValueError(f"There is no table {name!r} in a study; there are {', '.join(TABLES)}.")
    return TABLES[name]


def _dtype(kind: str) -> Any:
    return {"string": "str", "list": "object"}.get(kind, kind)


def _cast(column: pd.Series, kind: str, table: str) -> pd.Series:
    """Return the column as `kind`; categories stay, for they hold strings in less room."""
    if kind == "list":
        return column
    if not len(column):
        return column.astype(_dtype(kind))
    found = column.dtype
    strings = column.cat.categories if isinstance(found, pd.CategoricalDtype) else column
    fits = {
        "string": pd.api.types.is_string_dtype(strings),
        "int64": pd.api.types.is_integer_dtype(found),
        "uint64": pd.api.types.is_integer_dtype(found),
        "float64": pd.api.types.is_numeric_dtype(found) and not pd.api.types.is_bool_dtype(found),
        "bool": pd.api.types.is_bool_dtype(found),
    }[kind]
    if column.isna().any() and kind != "float64":
        raise ValueError(f"The table {table} has {int(column.isna().sum())} missing values in {column.name!r}.")
    if not fits:
        raise ValueError(f"The column {column.name!r} of the table {table} must be {kind}, but is {found}.")
    if kind == "uint64" and (column < 0).any():
        raise ValueError(f"The column {column.name!r} of the table {table} holds coalitions, but some are negative.")
    if kind == "string":
        return column
    return column.astype(_dtype(kind))


def _check_values(table: pd.DataFrame, name: str) -> None:
    for column in _FINITE.get(name, []):
        if bad := int((~np.isfinite(table[column])).sum()):
            raise ValueError(f"{bad} of {len(table)} values of {column!r} in the table {name} are NaN or infinite.")
    if name in ("interactions", "classes", "cells") and (table["step"] < 0).any():
        raise ValueError(f"Steps of the table {name} count from 0, but the least is {table['step'].min()}.")
    for column, allowed in _ALLOWED.items():
        # The class of a metric may also be "all", or one a caller made up.
        if name in ("interactions", "classes") and column in table.columns:
            unknown = sorted(set(table[column].unique()) - set(allowed))
            if unknown:
                raise ValueError(f"The {column} {unknown[0]!r} of the table {name} is none of {', '.join(allowed)}.")
    if "mask" in TABLES[name]:
        if (table["mask"] == 0).any():
            raise ValueError(f"The table {name} has an interaction between no players (mask 0).")
        if "order" in TABLES[name] and (wrong := table["order"] != orders_of(table["mask"].to_numpy())).any():
            row = table[wrong].iloc[0]
            raise ValueError(
                f"The mask {int(row['mask'])} of the table {name} is said to have order {int(row['order'])}."
            )
