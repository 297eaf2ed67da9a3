"""Hypothesis against the readers and against the way from text to players; atheris does the same for longer."""

import json
import os
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults.readers import READERS, map_players, read, whole_files, without_sums

ROOT = Path(__file__).parents[2]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**400), 10**400) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    "models data seeds steps tau learning_rate checkpoints max_steps followed_steps limit controls samples trained_on "
    "fingerprint step name value seconds text response columns tags file_name formatting instruction".split()
)
OBJECTS = st.dictionaries(FIELDS, JSON, max_size=6)


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


@settings(deadline=None, max_examples=40)
@given(content=st.binary(max_size=300))
@pytest.mark.parametrize("name", READERS)
def test_any_bytes_are_read_or_refused_in_a_sentence(name, content, folder):
    read(name, content, folder)


@settings(deadline=None, max_examples=60)
@given(content=JSON | OBJECTS | st.lists(OBJECTS, max_size=3) | st.fixed_dictionaries({"d": OBJECTS}))
@pytest.mark.parametrize(
    "name", ["jsonl", "json", "examples", "described", "configuration", "samples", "losses", "scores"]
)
def test_any_json_is_read_or_refused_in_a_sentence(name, content, folder):
    read(name, (json.dumps(content) + "\n").encode(errors="replace"), folder)


@settings(deadline=None, max_examples=60)
@given(header=JSON, meta=OBJECTS, tail=st.binary(max_size=64), length=st.none() | st.integers(0, (1 << 64) - 1))
def test_any_header_of_a_result_is_read_or_refused_in_a_sentence(header, meta, tail, length, folder):
    inner = json.dumps({"players": [], "split": {}, "provenance": {}, "text": "", **meta})
    known = {"format": "interact.interactions", "version": "1", "interact": inner}
    arrays = header if isinstance(header, dict) else {"values": header}
    text = json.dumps({"__metadata__": known, **arrays}).encode(errors="replace")
    read("result", struct.pack("<Q", len(text) if length is None else length) + text + tail, folder)


@settings(deadline=None, max_examples=200)
@given(
    text=st.text(max_size=60) | st.text(alphabet="a é\u0301🎬'-[] .!\n\u200d\u2029ß", max_size=60),
    unit=st.sampled_from(["words", "all-words", "sentences", "paragraphs", "marked"]),
    limit=st.none() | st.integers(1, 20),
    edges=st.lists(st.integers(0, 99), max_size=12),
)
def test_any_text_gives_players_where_they_say_or_a_sentence(text, unit, limit, edges):
    map_players(text, unit, limit, edges)


def test_every_reader_takes_a_whole_file(folder):
    files = whole_files(folder)
    assert files.keys() == READERS.keys()
    contents = {name: path.read_bytes() for name, path in files.items()}
    assert all(read(name, content, folder) for name, content in contents.items())
    assert all(read(name, without_sums(content), folder) for name, content in contents.items())


def test_atheris_finds_new_branches():
    pytest.importorskip("atheris", reason="atheris is not installed (extra fuzz)")
    path = os.pathsep.join([str(ROOT), str(ROOT / "kernels"), os.environ.get("PYTHONPATH", "")])
    line = [sys.executable, "-m", "tests.faults.fuzz", "-runs=3000", "-seed=1"]
    done = subprocess.run(
        line, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    # Edges of our own code: those that the whole files reach, and those that the steered ones reach.
    first, last = (int(re.findall(rf"{word}\s+cov: (\d+)", done.stderr)[0]) for word in ("INITED", "DONE"))
    assert last > first > 100
