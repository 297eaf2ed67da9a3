"""The file of one result: a safetensors file whose header holds JSON. No pickle (docs/formats.md)."""

from __future__ import annotations

import hashlib
import json
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from interact.formats.files import whole
from interact.prompt.players import Player

FORMAT = "interact.interactions"
VERSION = 1
MISFIT = "its header and its arrays do not fit"
"""What a reader says of a file whose parts are not those of one result."""
_LARGEST_HEADER = 16 << 20


def write(path: Path, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Path:
    """Write a result so that a reader sees all of it or nothing.

    Raises:
        RuntimeError: The file cannot be written (no folder, no right, no space).
    """
    text = json.dumps(header, ensure_ascii=False)
    meta = {"format": FORMAT, "version": str(VERSION), "interact": text, "sha256": _digest(text, arrays)}
    with whole(path, "The result") as place:
        save_file(arrays, place, metadata=meta)
    return path


def check_writable(path: Path) -> None:
    """Find out before the work whether a result can be written.

    Raises:
        RuntimeError: It cannot.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise RuntimeError(f"The result could not be written to {path}: {error}. Choose another place.") from error


def read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read the header and the arrays of a result.

    Raises:
        ValueError: The file is missing, damaged, of another format, or of a later version.
    """
    meta = _metadata(path)
    if meta.get("format") != FORMAT:
        raise ValueError(f"{path} is not a file of interactions; it was written by another program.")
    if meta.get("version") != str(VERSION):
        raise ValueError(
            f"{path} has format version {meta.get('version')}, but this program reads version {VERSION}; update it."
        )
    try:
        header = json.loads(meta["interact"])
        # The shapes come first: what is claimed is bounded by the file's size before it is read.
        arrays = load_file(path)
        fits = _is_header(header)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged ({error}); extract the interactions again.") from error
    if not fits:
        raise ValueError(f"{path} is damaged ({MISFIT}); extract the interactions again.")
    if "sha256" in meta and meta["sha256"] != _digest(meta["interact"], arrays):
        raise ValueError(f"{path} is damaged (its content has another sha256); extract the interactions again.")
    return header, arrays


def common_fields(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that every result has, of a header that was read."""
    primal = header["split"]["primal"]
    return {
        "players": tuple(Player(str(p[0]), (p[1], p[2]), (p[3], p[4])) for p in header["players"]),
        "text": header["text"],
        "primal": float("nan" if primal is None else primal),
        "provenance": header["provenance"],
    }


def _is_header(header: dict[str, Any]) -> bool:
    """Tell whether a header is that of a result."""
    split, players = header["split"], header["players"]
    fits = isinstance(header["text"], str) and isinstance(header["provenance"], dict)
    fits = fits and set(split) == {"primal", "dual", "gap"}
    fits = fits and all(v is None or isinstance(v, (int, float)) for v in split.values())
    return fits and all(
        len(p) == 5 and isinstance(p[0], str) and all(isinstance(edge, int) for edge in p[1:]) for p in players
    )


def _digest(text: str, arrays: dict[str, np.ndarray]) -> str:
    """Return the sha256 of a result: its header's text, then name, kind, shape and bytes of each array."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        digest.update(f"\n{name} {arrays[name].dtype.str} {arrays[name].shape}\n".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


def _metadata(path: Path) -> dict[str, str]:
    """Read the safetensors header by hand, so that a foreign file allocates nothing."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 0 < length <= min(size - 8, _LARGEST_HEADER):
                raise ValueError(f"{path} is not a file of interactions, or it was cut short; extract them again.")
            text = file.read(length)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}. Check the path.") from error
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a file of interactions, or its header is damaged.") from error
    meta = header.get("__metadata__") if isinstance(header, dict) else None
    return meta if isinstance(meta, dict) else {}
