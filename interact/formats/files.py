"""Files that a reader sees whole or not at all."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

if TYPE_CHECKING:
    import pandas as pd

TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}\.part")
"""Name of a file that is being written, or that a killed process was writing."""

SEAL = "interact_sums.json"
_CHUNK = 1 << 20


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a place to write to, and put it at `path` when all went well; else nothing is left behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(descriptor)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o644)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def forget_partial(path: Path) -> None:
    """Remove what a killed writer of a file left behind; the caller holds the lock of the file."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        left.unlink(missing_ok=True)


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
            f"{what} could not be written to {path}: {error}. Choose another place, or free some space and try again; "
            "what was finished before is kept."
        ) from error


def digest_of(path: Path) -> str:
    """Return the sha256 of a file's bytes in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_CHUNK):
            digest.update(block)
    return digest.hexdigest()


def seal(folder: Path) -> None:
    """Write the sha256 of every file of a folder into the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SEAL)
    write_json(folder / SEAL, {path.relative_to(folder).as_posix(): digest_of(path) for path in files})


def broken_seal(folder: Path) -> str | None:
    """Say which file of a folder is not what `seal` saw; None where all are, or where nobody sealed the folder."""
    if not (folder / SEAL).is_file():
        return None
    try:
        for name, digest in read_json(folder / SEAL, "sums").items():
            if not (folder / name).is_file():
                return f"{name} is missing"
            if digest_of(folder / name) != digest:
                return f"{name} is not what was written, its sha256 differs"
    except (ValueError, OSError, AttributeError) as error:
        return f"{SEAL} cannot be read ({error})"
    return None


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, whole or not at all."""
    with whole(path) as place:
        place.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a Parquet file, whole or not at all."""
    with whole(path) as place:
        table.to_parquet(place, index=False, engine="pyarrow", write_page_checksum=True)


def read_json(path: Path, what: str) -> Any:
    """Read a JSON file of the store.

    Raises:
        ValueError: It is missing or damaged.
    """
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist, so {path.parent} holds no {what}; check the folder.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is damaged or cannot be read ({str(error).splitlines()[0]:.200}); restore it from a copy."
        ) from error
