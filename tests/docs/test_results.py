"""docs/results.md says what the tables in docs/results/ say; they are small, and name no machine that ran them."""

import json
import re
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.docs.pages import loaded

ROOT = Path(__file__).parents[2]
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


@pytest.fixture(scope="module")
def results():
    return loaded("results")


@pytest.fixture(scope="module")
def export(results):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "results", results)
        return loaded("export")


def one_optimum(page: str) -> str:
    """Leave the column of the published box out: it has many optima, and another processor may end in another."""

    def narrower(block: re.Match[str]) -> str:
        return re.sub(r"[^|\n]*\|$", "", block[0], flags=re.MULTILINE)

    return re.sub(r"<!-- results: repetitions .*?<!-- end of results -->", narrower, page, flags=re.DOTALL)


def test_the_page_is_what_the_tables_say(results):
    page = (ROOT / "docs" / "results.md").read_text("utf-8")
    made = results.write(figures=None)
    assert "<!-- results: " in page, "the page has no mark that says what is made of the tables"
    assert NUMBER.sub("#", made) == NUMBER.sub("#", page), "make results writes the page anew"
    for ours, theirs in zip(NUMBER.findall(one_optimum(made)), NUMBER.findall(one_optimum(page)), strict=True):
        # The last digit may turn over where another library adds in another order.
        assert float(ours) == pytest.approx(float(theirs), rel=0.02, abs=0.011), (ours, theirs)


def test_the_tables_are_small_and_name_no_machine(results):
    folders = [path for path in results.TABLES.iterdir() if path.is_dir()]
    assert folders and sum(path.stat().st_size for path in results.TABLES.rglob("*")) < results.MOST
    for folder in folders:
        text = (folder / "config.json").read_text()
        assert json.loads(text)["versions"] and "/root" not in text and "/tmp" not in text
        for name in ("interactions", "cells", "losses", "null"):
            for run in pd.read_parquet(folder / f"{name}.parquet", columns=["run"])["run"].unique():
                assert re.fullmatch(r"[\w.-]+/[\w.-]+/seed-\d+(/[\w:-]+)?", run), run
        assert (folder / "verdicts.svg").is_file()


def test_a_difference_without_spread_is_no_equality(results):
    assert results._paired(pd.Series([0.0, 0.0])) == "the same in all runs"
    assert results._paired(pd.Series([0.3, 0.3])) == results._paired(pd.Series([0.3])) == "+0.300"
    assert results._paired(pd.Series([0.2, 0.4])).startswith("+0.300 [-0.971,")


def test_kept_bounds_are_a_little_wider(export):
    bounds = pd.DataFrame({"low": [-0.1, 0.0, 0.3, -1e-9], "high": [0.1, 0.0, 1 / 3, 1e300]})
    kept = export.outward(bounds)
    assert (kept["low"] <= bounds["low"]).all() and (kept["high"] >= bounds["high"]).all()
    assert ((kept - bounds).abs() <= 2**-15 * bounds.abs()).all(axis=None)


def test_kept_effects_are_as_precise_as_scores(export, tmp_path):
    rows = pd.DataFrame({"kind": ["and", "or"], "effect": [1 / 3, -1e-9], "other": [1 / 3, 2.0]})
    export.keep(rows, tmp_path / "rows.parquet")
    kept = pd.read_parquet(tmp_path / "rows.parquet")
    assert kept["effect"].tolist() == rows["effect"].astype("float32").astype("float64").tolist()
    assert kept["other"].tolist() == rows["other"].tolist() and kept["kind"].tolist() == rows["kind"].tolist()


def test_the_error_rates_are_those_that_the_protocol_allows(results):
    rates = pd.read_parquet(results.RATES)
    false = rates[(rates["world"] == "nothing") & (rates["hypothesis"] == "any false")]
    assert len(false) and (false["studies"] >= 100).all()
    # 5 % of 100 studies, and what chance adds to it.
    assert (false["contradicted"] <= 0.05 * false["studies"] + 1.65 * (0.0475 * false["studies"]) ** 0.5).all()


def test_no_text_of_others_is_in_the_tables(results):
    for folder in (path for path in results.TABLES.iterdir() if path.is_dir()):
        for path in folder.glob("*.parquet"):
            table = pd.read_parquet(path)
            assert "text" not in table and "players" not in table, path
            for column in table.select_dtypes(include=["object", "string"]):
                words = table[column].map(lambda value: len(value.split()) if isinstance(value, str) else 0).max()
                assert words <= 2, (path, column)
