"""The store: one folder that holds everything a study found (docs/formats.md).

Cells are the truth; tables are made from them. Every file appears whole or not at all, and a process holds a lock
while it works on a cell or a training, so a killed process loses only its cell, and two processes never collide.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from interact.evolution import empty, overview
from interact.formats.files import TEMPORARY, forget_partial, read_json, write_json
from interact.formats.notebook import table_html
from interact.formats.schema import FORMAT, TABLES, VERSION, VERSIONS, CellKey
from interact.study import samples
from interact.study.config import StudyConfig, difference, fingerprint, from_json, short_name, to_json
from interact.study.work import Prepared

_MANIFEST, _CONFIG, _SAMPLES, _WEIGHTS = "manifest.json", "config.json", "samples.json", "weights.json"
# What a folder may hold without a manifest: a study was killed as it was made, or gave way to another configuration.
_OWN = {_CONFIG, _SAMPLES, _WEIGHTS, "locks", "checkpoints", "training", "cells", "prompts", "set-aside", "report"}
_OWN |= {f"{name}.parquet" for name in (*TABLES, "labels")}
# What may change between two runs of one study: it decides how a cell is computed, not what it is, or only reading.
_FREE = (
    *("device", "device_map", "memory_budget", "engine", "controls", "resamples", "tau", "tau_rule", "classes"),
    "certainty",
)


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
        """Open a store; with a configuration also one that `begin` has yet to make, of which nothing is written here.

        Raises:
            ValueError: There is no store and no configuration, the folder holds something else, another version
                wrote it, or its cells are of another configuration; the sentence shows the difference.
            RuntimeError: The folder cannot be written.
        """
        folder = Path(folder)
        if not (folder / _MANIFEST).is_file():
            if config is None:
                raise ValueError(f"{folder} holds no study; run `interact study run --store {folder}` first.")
            _refuse_foreign(folder)
            _refuse_unwritable(folder)
            return cls(folder, config)
        found = _manifest(folder)
        if config is not None and not _has_cells(folder):
            return cls(folder, config)
        before = _begun_with(folder, found)
        if config is not None and config.dtype == "auto":
            # What the study began with holds; what auto took then is in samples.json.
            config = replace(config, dtype=before.dtype)
        if config is not None and config.noise is None and config.kappa is None:
            # A study that began before noise had a form goes on in its box.
            config = replace(config, noise=before.noise, kappa=before.kappa)
        settled = found.get("settings") in (None, fingerprint(to_json(before)))
        if config is None and not settled:
            raise ValueError(
                f"{folder / _CONFIG} is not what the study wrote; run the study again with its configuration, "
                "which writes the file anew."
            )
        if config is None:
            return cls(folder, before)
        _refuse_other(folder, before, config)
        if before != config or not settled or found["version"] != VERSION:
            with _claimed(folder, "store", wait=True):
                write_json(folder / _CONFIG, to_json(config))
                settings = {"version": VERSION, "settings": fingerprint(to_json(config))}
                write_json(folder / _MANIFEST, {**found, **settings})
        return cls(folder, config)

    @property
    def begun(self) -> bool:
        """Whether the folder holds a study of this configuration."""
        if not all((self.folder / name).is_file() for name in (_MANIFEST, _CONFIG, _SAMPLES)):
            return False
        found, settings = _manifest(self.folder), to_json(self.config)
        same = self._bound_by(found) and found.get("settings") in (None, fingerprint(settings))
        return same and read_json(self.folder / _CONFIG, "study") == settings

    def _bound_by(self, manifest: dict[str, Any]) -> bool:
        return manifest.get("config") == fingerprint(_bound(self.config))

    def begin(self, prepared: Prepared) -> None:
        """Make the store, whole or not at all, now that nothing more can be wrong with the configuration.

        A study of another configuration that has no cell yet gives way; what it trained otherwise is set aside.

        Raises:
            ValueError: Another process has begun a study of another configuration meanwhile, and it has cells.
            RuntimeError: The folder cannot be written, or another process trains for the earlier configuration.
        """
        with _claimed(self.folder, "store", wait=True):
            if self.begun:
                return
            found = _manifest(self.folder) if (self.folder / _MANIFEST).is_file() else {}
            if found and _has_cells(self.folder):
                _refuse_other(self.folder, _begun_with(self.folder, found), self.config)
            if not self._bound_by(found):
                self._set_aside(prepared)
                # Nothing has come of these weights yet.
                (self.folder / _WEIGHTS).unlink(missing_ok=True)
                (self.folder / _MANIFEST).unlink(missing_ok=True)
            for name in (_CONFIG, _SAMPLES, _MANIFEST):
                forget_partial(self.folder / name)
            write_json(self.folder / _CONFIG, to_json(self.config))
            samples.save(self.folder / _SAMPLES, prepared)
            names = ("interact-llm", "torch", "transformers", "peft", "numpy")
            # The manifest comes last: with it the store is there.
            write_json(
                self.folder / _MANIFEST,
                {
                    "format": FORMAT,
                    "version": VERSION,
                    "config": fingerprint(_bound(self.config)),
                    "settings": fingerprint(to_json(self.config)),
                    "versions": {name: version(name) for name in names},
                },
            )

    def _set_aside(self, prepared: Prepared) -> None:
        """Move what was trained for an earlier configuration out of the way of the trainings of this one."""
        path = self.folder / _SAMPLES
        before = samples.load(path) if path.is_file() else None
        number = 1 + sum(1 for _ in (self.folder / "set-aside").glob("*"))
        for name, content in prepared.trained_on.items():
            if before and (before.trained_on.get(name), before.steps.get(name)) == (content, prepared.steps[name]):
                continue
            with self.claimed(f"training-{name}") as mine:
                if not mine:
                    raise RuntimeError(
                        f"Another process trains {name} for an earlier configuration of the study in {self.folder}; "
                        "stop it, or choose another folder."
                    )
                for path in (self.training(name), self.losses(name)):
                    if path.exists():
                        place = self.folder / "set-aside" / str(number) / path.relative_to(self.folder)
                        place.parent.mkdir(parents=True, exist_ok=True)
                        path.rename(place)

    def check_weights(self, of: str, found: str | None) -> None:
        """Note the weights that a model has before training, and refuse others later: its name may get new ones.

        Args:
            of: Name of a language model; of a classifier that of the training, which draws a head of its own.
            found: Hash of its weights; None where there is none, so that nothing is checked.

        Raises:
            ValueError: The study has cells or trainings of other weights, or its record of them is damaged.
        """
        if found is None:
            return
        path = self.folder / _WEIGHTS
        with self.claimed("weights", wait=True):
            known = read_json(path, "study") if path.is_file() else {}
            if not isinstance(known, dict):
                raise ValueError(f"{path} was not written by `interact study`; remove it, and run the study again.")
            if known.get(of) == found:
                return
            before = known[of] if of in known else self._trained_from(of)
            any_yet = _has_cells(self.folder) or any(p.is_file() for p in (self.folder / "checkpoints").rglob("*"))
            if before not in (None, found) and any_yet:
                raise ValueError(
                    f"The weights of {of!r} are not those that the study in {self.folder} began with; put those back, "
                    "or use another folder for the store."
                )
            write_json(path, {**known, of: found})

    def _trained_from(self, of: str) -> str | None:
        """Return what an adapter of an older store says of the weights that it was trained from, if there is one."""
        # Loads transformers, which reading a store does not need.
        from interact.models.sources import BASE_FILE

        # An adapter of a classifier does not tell of the head that was drawn for it.
        trained = self.folder / "checkpoints" / short_name(of)
        for path in sorted(trained.rglob(BASE_FILE)) if self.config.task == "causal" else ():
            record = read_json(path, "adapter")
            return str(record["fingerprint"]) if isinstance(record, dict) and "fingerprint" in record else None
        return None

    def cell(self, key: str) -> Path:
        """Return where a cell's result lies, or will."""
        place = self.folder / "cells" / f"{key}.interactions"
        # Stores of version 1 named a cell by its hash alone.
        before = place.with_name(f"{CellKey.parse(key).content}.interactions")
        return before if before.is_file() and not place.is_file() else place

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
            f"The store {folder} cannot be written ({error}); check its rights and the free space of its disk, and "
            "run the study again. What was finished before is kept."
        ) from error
    try:
        yield True
    finally:
        lock.release()


def _manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a store, and refuse what this program did not write."""
    found = read_json(folder / _MANIFEST, "study")
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ValueError(f"{folder} was not written by `interact study`; choose another folder for the store.")
    if found.get("version") not in VERSIONS:
        raise ValueError(
            f"The store {folder} has version {found.get('version')}, but this program reads up to version {VERSION}; "
            "install the matching interact-llm, or choose another folder."
        )
    return found


def _has_cells(folder: Path) -> bool:
    """Whether a store has a result yet: before, it is bound to no configuration."""
    return any((folder / "cells").glob("*.interactions"))


def _begun_with(folder: Path, manifest: dict[str, Any]) -> StudyConfig:
    """Return the configuration of a store, which must be what its manifest says."""
    before = from_json(read_json(folder / _CONFIG, "study"), where=str(folder / _CONFIG))
    if fingerprint(_bound(before)) != manifest.get("config"):
        raise ValueError(f"{folder / _CONFIG} was changed after the study began; restore its content.")
    return before


def _refuse_other(folder: Path, before: StudyConfig, config: StudyConfig) -> None:
    if _bound(before) != _bound(config):
        lines = "\n  ".join(difference(_bound(before), _bound(config)))
        raise ValueError(
            f"The store {folder} was begun with another configuration:\n  {lines}\nUse the same one, or another folder."
        )
    if "planted" in config.controls and "planted" not in before.controls:
        raise ValueError(
            f"The store {folder} was begun without the control 'planted', which trains on data of its own; leave it "
            "out, or use another folder."
        )


def _refuse_foreign(folder: Path) -> None:
    """Leave a folder alone that holds more than a study that was killed before its manifest leaves behind."""
    if not folder.exists():
        return
    there = [p.name for p in folder.iterdir() if not TEMPORARY.fullmatch(p.name)] if folder.is_dir() else [""]
    foreign = not set(there) <= _OWN
    if _CONFIG in there and not foreign:
        try:
            from_json(read_json(folder / _CONFIG, "study"))
        except ValueError:
            foreign = True
    if foreign:
        raise ValueError(f"{folder} is not empty and holds no study; choose an empty or new folder for the store.")


def _refuse_unwritable(folder: Path) -> None:
    """Say now that a store cannot be made, not after its models and data were read."""
    place = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not os.access(place, os.W_OK | os.X_OK):
        raise RuntimeError(f"The store {folder} cannot be written: {place} allows no writing; choose another folder.")


def _bound(config: StudyConfig) -> dict[str, Any]:
    """Return the fields that a store's cells depend on."""
    return {name: value for name, value in json.loads(json.dumps(to_json(config))).items() if name not in _FREE}
