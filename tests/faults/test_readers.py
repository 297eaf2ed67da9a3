"""Hypothesis against the readers and against the way from text to players; atheris does the same for longer."""

import json
import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults.readers import READERS, map_players, read

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
