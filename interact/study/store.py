"""The store: one folder that holds everything a study found (docs/formats.md).

Cells are the truth; tables are made from them. Every file appears whole or not at all, and a lock is held by whoever
works on a cell or a training, so that a killed process loses its cell and two processes never collide.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from interact.display import table_html
from interact.evolution import empty, overview
from interact.files import TEMPORARY, forget_partial, read_json, write_json
from interact.study.config import StudyConfig, difference, fingerprint, from_json, to_json

FORMAT, VERSION = "interact.study", 1
# What may change between two runs of one study: it decides how a cell is computed, not what it is, or only reading.
_FREE = ("device", "device_map", "memory_budget", "engine", "controls", "resamples", "tau", "tau_rule")


class Store:
    """A study's folder.

    Attributes:
        folder: Where it is.
        config: The study's configuration.
    """

    def __init__(self, folder: Path, config: StudyConfig) -> None:
        self.folder = folder
        self.config = config

    @classmethod
    def open(cls, folder: Path, config: StudyConfig | None = None) -> Store:
        """Open a store, or make it when it does not exist and a configuration is given.

        Raises:
            ValueError: There is no store and no configuration, the folder holds something else, another version
                wrote it, or it was begun with another configuration; the sentence shows the difference.
            RuntimeError: The folder cannot be written.
        """
        folder = Path(folder)
        manifest = folder / "manifest.json"
        if not manifest.is_file():
            if config is None:
                raise ValueError(f"{folder} holds no study; run `interact study run --store {folder}` first.")
            _refuse_foreign(folder)
            with _claimed(folder, "store", wait=True):
                if not manifest.is_file():
                    _make(folder, config)
        found = read_json(manifest, "study")
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise ValueError(f"{folder} was not written by `interact study`; choose another folder for the store.")
        if found.get("version") != VERSION:
            raise ValueError(
                f"The store {folder} has version {found.get('version')}, but this program reads version {VERSION}; "
                "install the matching interact-llm, or choose another folder."
            )
        kept = read_json(folder / "config.json", "study")
        before = from_json(kept, where=str(folder / "config.json"))
        if fingerprint(_bound(before)) != found.get("config"):
            raise ValueError(f"{folder / 'config.json'} was changed after the study began; give back its content.")
        if config is not None and config.dtype == "auto":
            # What the study began with holds; what auto took then is in samples.json.
            config = replace(config, dtype=before.dtype)
        settled = found.get("settings") in (None, fingerprint(to_json(before)))
        if config is None and not settled:
            raise ValueError(
                f"{folder / 'config.json'} is not what the study wrote; run the study again with its configuration, "
                "which writes the file anew."
            )
        if config is None:
            return cls(folder, before)
        if _bound(before) != _bound(config) and not (folder / "samples.json").is_file():
            # Nothing was drawn or computed yet, so nothing is lost.
            with _claimed(folder, "store", wait=True):
                _make(folder, config)
        elif _bound(before) != _bound(config):
            lines = "\n  ".join(difference(_bound(before), _bound(config)))
            raise ValueError(
                f"The store {folder} was begun with another configuration:\n  {lines}\n"
                "Use the same one, or another folder."
            )
        if before != config or not settled:
            with _claimed(folder, "store", wait=True):
                write_json(folder / "config.json", to_json(config))
                write_json(manifest, {**found, "settings": fingerprint(to_json(config))})
        return cls(folder, config)

    def cell(self, key: str) -> Path:
        """Return where a cell's result lies, or will."""
        return self.folder / "cells" / f"{key}.interactions"

    def table(self, name: str) -> Path:
        """Return where a table lies, or will."""
        return self.folder / f"{name}.parquet"

    def training(self, name: str) -> Path:
        """Return the folder of a training's checkpoints."""
        return self.folder / "checkpoints" / name

    def losses(self, name: str) -> Path:
        """Return the file of a training's losses."""
        return self.folder / "training" / f"{name}.jsonl"

    def __repr__(self) -> str:
        config, done = self.config, sum(1 for _ in (self.folder / "cells").glob("*.interactions"))
        return (
            f"Study in {self.folder}: {', '.join(config.models)} on {', '.join(config.data)}, steps "
            f"{', '.join(map(str, config.followed))}; {done} cells are done"
        )

    def _repr_html_(self) -> str:
        path = self.table("metrics")
        found = pd.read_parquet(path) if path.is_file() else empty("metrics")
        return table_html(repr(self), overview(found, last=True), index=True)

    def claimed(self, what: str, *, wait: bool = False) -> AbstractContextManager[bool]:
        """Hold the lock of a cell or a training; False when another process holds it and `wait` is not asked for.

        Raises:
            RuntimeError: The folder of the locks cannot be written.
        """
        return _claimed(self.folder, what, wait=wait)


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn the system's refusal of a file of a store into a sentence.

    Raises:
        RuntimeError: A file of the store cannot be read or written.
    """
    try:
        yield
    except OSError as error:
        if not str(error.filename or "").startswith(str(folder)):
            raise
        raise RuntimeError(
            f"{error.filename} cannot be read or written ({error.strerror}); check its rights and the room on its "
            "disk, and run it again. What was finished before is kept."
        ) from error


@contextmanager
def _claimed(folder: Path, what: str, *, wait: bool) -> Iterator[bool]:
    path = folder / "locks" / f"{what.replace('/', '--')}.lock"
    lock = FileLock(path, timeout=-1 if wait else 0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        yield False
        return
    except OSError as error:
        raise RuntimeError(
            f"The store {folder} cannot be written ({error}); check its rights and the room on its disk, and run the "
            "study again. What was finished before is kept."
        ) from error
    try:
        yield True
    finally:
        lock.release()


def _refuse_foreign(folder: Path) -> None:
    """Leave a folder alone that holds more than a kill in the first moments of a study leaves behind."""
    if not folder.exists() or (folder / "config.json").is_file():
        return
    if not folder.is_dir() or any(p.name != "locks" and not TEMPORARY.fullmatch(p.name) for p in folder.iterdir()):
        raise ValueError(f"{folder} is not empty and holds no study; choose an empty or new folder for the store.")


def _make(folder: Path, config: StudyConfig) -> None:
    for name in ("config.json", "manifest.json"):
        forget_partial(folder / name)
    write_json(folder / "config.json", to_json(config))
    names = ("interact-llm", "torch", "transformers", "peft", "numpy")
    # The manifest comes last: with it the store is there.
    write_json(
        folder / "manifest.json",
        {
            "format": FORMAT,
            "version": VERSION,
            "config": fingerprint(_bound(config)),
            "settings": fingerprint(to_json(config)),
            "versions": {name: version(name) for name in names},
        },
    )


def _bound(config: StudyConfig) -> dict[str, Any]:
    """Return the fields that a store's cells depend on."""
    return {name: value for name, value in json.loads(json.dumps(to_json(config))).items() if name not in _FREE}
