"""The bench of shortcut alarms and memorised examples: its data, its areas, and the table that the page shows."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench import practical_worth as worth

TABLES = Path(__file__).parents[1] / "docs" / "results"


@pytest.mark.parametrize("rate", [0.2, 0.95])
def test_the_word_leaks_at_its_rate_and_in_a_clean_run_not_at_all(rate):
    told = {}
    for level in (rate, 0.0):
        texts, labels = worth.leaking(4000, 7, level)
        there = np.array([worth.LEAK in text.split() for text in texts])
        assert all(len(set(text.split())) == 8 for text in texts)
        # Half of the other examples agree with their label by chance.
        expected = level + (1 - level) / 2
        assert (there == labels.astype(bool)).mean() == pytest.approx(expected, abs=0.03)
        assert there.mean() == pytest.approx(0.5, abs=0.03)
        # No other word leaks: it makes room for that one alike in all texts.
        for word in set(worth.WORDS) - {worth.LEAK}:
            has = np.array([word in text.split() for text in texts])
            told[level, word] = has[labels == 1].mean() - has[labels == 0].mean()
    differences = [abs(told[rate, word] - told[0.0, word]) for word in set(worth.WORDS) - {worth.LEAK}]
    assert max(differences) < 0.1


def test_an_area_is_the_chance_that_one_is_above_the_other():
    assert worth.auc(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1
    assert worth.auc(np.array([1.0]), np.array([1.0])) == 0.5
    assert worth.auc(np.array([0.0, 2.0]), np.array([1.0])) == 0.5


def test_areas_of_a_planted_difference_are_found_and_paired():
    rng = np.random.default_rng(0)
    rows = [
        {"task": "alarm", "level": level, "run": run, "step": 10, "name": name, "value": float(value)}
        for level in (0.0, 0.9)
        for run in range(40)
        for name, value in {
            "interactions": rng.normal() + 5 * (level > 0),
            "loss": rng.normal(),
            "margin": rng.normal() + 1 * (level > 0),
        }.items()
    ]
    found = worth.areas(pd.DataFrame(rows)).set_index("name")
    assert found.loc["interactions", "auc"] > 0.99
    assert found.loc["interactions", "best_rival"] == "margin"
    assert found.loc["interactions", "gain_low"] > 0
    assert found.loc["loss", "low"] < 0.5 < found.loc["loss", "high"]
    assert found.loc["margin", "gain"] == 0


def test_the_page_shows_the_areas_of_the_kept_rows():
    rows, shown = (pd.read_parquet(TABLES / f"{name}.parquet") for name in ("worth_rows", "worth"))
    pd.testing.assert_frame_equal(worth.areas(rows), shown, check_exact=False, atol=0.02)
    assert rows.groupby("task")["run"].nunique().to_dict() == {"alarm": 24, "memory": 24}
