"""Files that a reader sees whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import SafetensorError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a place to write to, and put it at `path` when all went well; else nothing is left behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(descriptor)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o644)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole(path: Path, what: str = "A file") -> Iterator[Path]:
    """Do as `replacing`, and say in a sentence what could not be written.

    Raises:
        RuntimeError: It cannot be written (no folder, no right, no space).
    """
    try:
        with replacing(path) as place:
            yield place
    except (OSError, SafetensorError) as error:
        raise RuntimeError(
            f"{what} could not be written to {path}: {error}. Choose another place, or make room and try again; what "
            "was finished before is kept."
        ) from error


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, whole or not at all."""
    with whole(path) as place:
        place.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a Parquet file, whole or not at all."""
    with whole(path) as place:
        table.to_parquet(place, index=False)


def read_json(path: Path, what: str) -> Any:
    """Read a JSON file of the store.

    Raises:
        ValueError: It is missing or damaged.
    """
    return _read(path, what, lambda: json.loads(path.read_text("utf-8")))


def read_table(path: Path, what: str) -> pd.DataFrame:
    """Read a Parquet file of the store.

    Raises:
        ValueError: It is missing or damaged.
    """
    return _read(path, what, lambda: pd.read_parquet(path))


def _read(path: Path, what: str, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist, so {path.parent} holds no {what}; check the folder.") from error
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged or cannot be read: {str(error).splitlines()[0]:.200}") from error
