"""The pictures of docs/pictures.md are drawn from the tables as they stand, and drawing them again changes nothing."""

from pathlib import Path

import matplotlib as mpl
import pytest

from tests.docs.pages import loaded

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def figures():
    return loaded("figures")


def test_every_picture_is_up_to_date_with_its_tables_and_shown(figures):
    page = (ROOT / "docs" / "pictures.md").read_text("utf-8")
    wanted = figures.wanted()
    assert {"speed.svg", "certainty.svg", "evolution.svg"} <= {path.name for path in wanted}
    for path, (source, _) in wanted.items():
        assert figures.drawn_from(path) == source, f"{path.name} is out of date: make figures"
        assert path.name == "evolution.svg" or str(path.relative_to(ROOT / "docs")) in page
        assert path.stat().st_size < 60_000


def test_the_points_are_those_of_the_results(figures):
    curves = figures.speed_table()
    # One line of bench/RESULTS.md: 64 tokens, tail 8, baseline masking.
    assert (
        [64.0, 9.9] in curves["cpu tree"] and [64.0, 40.7] in curves["cpu flat"] and [64.0, 14.1] in curves["cpu stock"]
    )
    assert [1024.0, 3.329] in curves["card tree"] and [64.0, 1.82] in curves["card flat"]
    assert [8.0, 0.279] in curves["split SGD"]
    assert all(len(points) == len({x for x, _ in points}) for points in curves.values())
    assert figures.certainty_table()["box, kappa 0.04"] == [0.09, 0.09, 0.07]


def test_a_picture_is_drawn_to_the_same_bytes(figures, tmp_path):
    shares = figures.certainty_table()
    with mpl.rc_context({"svg.hashsalt": "interact", "svg.fonttype": "none"}):
        for name in ("one.svg", "other.svg"):
            figures.certainty(shares).savefig(tmp_path / name, metadata={"Date": None})
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "other.svg").read_bytes()
