"""The schema of a store: names written and read in both directions, columns made of names once, and the page."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interact.evolution import check, empty
from interact.formats.schema import IDENTITY, TABLES, CellKey, Run, fingerprint, identify, runs_in, table_of
from interact.formats.schema.page import schema_page, with_schema

ROOT = Path(__file__).parents[2]
anything = st.text(st.characters(codec=None, categories=None), max_size=12)
seeds = st.none() | st.integers(0, 2**32 - 1)
content = st.text("0123456789abcdef", min_size=16, max_size=16)


@given(st.builds(CellKey, content, anything, anything, seeds, anything, st.integers(0, 10**9), anything))
def test_a_key_survives_its_file_name(key):
    name = key.stem
    assert Path(name).name == name and len(f".{name}.interactions.abcdefgh.part".encode()) < 255 and name.isascii()
    read = CellKey.parse(name)
    assert read.content == key.content and read.stem == name
    # A key that is too long for a file system is named by its hash.
    assert read == key or (name == key.content and read == CellKey(key.content))


def test_file_names_can_be_read_by_people_and_those_of_version_1_by_us():
    run = Run("Qwen/Qwen2.5-7B", "sets/my reviews.jsonl", 3, "token:5")
    key = CellKey.of(run, 64, "reviews-17", decided_by=["what", "decides"])
    hashed = fingerprint(["what", "decides"])
    assert key.stem == f"Qwen2.5-7B,my%20reviews.jsonl,seed-3,token%3A5,step-64,reviews-17,{hashed}"
    before = CellKey.of(run, 0, "reviews-17", decided_by=["what", "decides"], shared=True)
    assert before.stem == f"Qwen2.5-7B,,,token%3A5,step-0,reviews-17,{hashed}"
    assert CellKey.parse("0123456789abcdef").content == "0123456789abcdef"
    assert CellKey.of(run, 0, "s" * 300, decided_by=1).stem == fingerprint(1)
    for wrong in ("a,b", "m,d,seed-0,auto,step-x,s,h", "m,d,seed-x,auto,step-1,s,h", "m,d,seed-0,auto,step-1,s,h,more"):
        with pytest.raises(ValueError, match="must be named MODEL,DATA,seed-S,BASELINE,step-N,SAMPLE,HASH"):
            CellKey.parse(wrong)


@pytest.mark.parametrize(
    "run",
    [
        Run("m", "d", 0),
        Run("m", "d", 7, "mean"),
        Run("m", "d", 7, "token:5"),
        Run("m", "d", None),
        Run("m", "d", None, "eos"),
        Run("mine", alias="mine"),
        Run("", alias="all"),
    ],
)
def test_the_name_of_a_run_is_read_as_it_was_written(run):
    assert Run.parse(run.name) == run


def test_names_with_slashes_keep_their_model_and_others_are_their_own():
    run = Run.parse("org/Qwen2.5-7B/my set/seed-3/token-5")
    assert run.columns() == {"model": "org/Qwen2.5-7B", "data": "my set", "seed": 3, "asked_baseline": "token:5"}
    assert (
        run.name == "org/Qwen2.5-7B/my set/seed-3/token-5"
        and run.over_seeds.name == "org/Qwen2.5-7B/my set/seeds/token-5"
    )
    for name in ("run", "a/seed-1", "/d/seed-1", "m//seed-1", "m/d/seed-", "m/d/seed-x", "m/d/seed-1/", "", "/"):
        assert Run.parse(name).columns() == {"model": name, "data": "", "seed": None, "asked_baseline": "auto"}


@given(st.text(max_size=12))
def test_any_name_is_the_name_of_its_run(name):
    assert Run.parse(name).name == name
    table = identify(pd.DataFrame({"run": [f"{name}/d/seed-1", name]}), "metrics")
    assert set(runs_in(table)) == {f"{name}/d/seed-1", name}


def test_every_table_that_names_a_run_says_what_it_is():
    for name, table in TABLES.items():
        columns = [column.name for column in table.columns]
        assert len(set(columns)) == len(columns) and set(table.key) <= set(columns)
        if "run" in columns:
            assert {"model", "data", "seed"} <= set(columns)
        assert list(empty(name).columns) == columns
        assert all(column.meaning.endswith(".") for column in table.columns)
    with pytest.raises(ValueError, match="There is no table 'cell' in a study; there are interactions, cells"):
        table_of("cell")


def test_columns_are_made_of_names_only_where_they_are_missing():
    rows = pd.DataFrame({"run": ["a/x/seed-1", "mine"], "step": 3, "name": "train_loss", "value": 0.5})
    made = check(rows, "losses")
    assert made["model"].tolist() == ["a", "mine"] and made["data"].tolist() == ["x", ""]
    assert made["seed"].dtype == "Int64" and made["seed"].isna().tolist() == [False, True] and made["seed"][0] == 1
    known = identify(rows, "losses", [Run("org/a", "sets/x", 1), Run("org/b", alias="mine")])
    assert known["model"].tolist() == ["org/a", "org/b"] and check(known, "losses")["model"].tolist() == [
        "org/a",
        "org/b",
    ]
    assert runs_in(known) == {"a/x/seed-1": Run("org/a", "sets/x", 1), "mine": Run("org/b", alias="mine")}
    # As files give them back: a column of integers with a hole.
    assert check(made.assign(seed=[1.0, np.nan]), "losses")["seed"].tolist() == [1, pd.NA]
    for wrong in ([0.5, 1.0], ["1", "2"], [True, False]):
        with pytest.raises(ValueError, match="'seed' of the table losses must be Int64"):
            check(made.assign(seed=wrong), "losses")


def test_the_page_holds_the_schema():
    page = (ROOT / "docs" / "formats.md").read_text()
    assert with_schema(page) == page, "python docs/build.py writes the tables of docs/formats.md"
    for table in TABLES.values():
        assert all(f"| `{column.name}` |" in schema_page() for column in (*table.columns, *IDENTITY))
    with pytest.raises(ValueError, match="must hold the marks of the schema"):
        with_schema("# The store")
