"""Stores that lack something or are damaged: the report tells it and draws the rest."""

import shutil

import numpy as np
import pytest

from interact import load
from interact.study import report
from interact.study.report import evolution_figures
from interact.study.report.measures import Measures
from interact.study.report.page import study_page
from interact.study.report.results import Results
from interact.study.report.runs import runs_of, settings_of
from interact.study.report.store import open_study
from tests.report.conftest import change, data_of, grown, page_of
from tests.report.synthetic import TEXTS, Shape, make_store


def test_tables_that_are_missing_are_told_and_the_rest_is_drawn(store):
    (store / "metrics.parquet").unlink()
    (store / "config.json").unlink()
    (store / "losses.parquet").unlink()
    page = report.write(store, store / "elsewhere")
    text = page.read_text()
    assert page == store / "elsewhere" / "index.html"
    assert "what became of the interactions was not measured" in text
    for sentence in (
        "metrics.parquet is not in the store: no figure over the steps",
        "config.json is not in the store, so how to repeat the study is unknown",
        "losses.parquet is not in the store: no loss can be drawn",
    ):
        assert sentence in text
    names = {path.stem for path in (store / "elsewhere" / "figures").iterdir()}
    assert names == {"fig5-reviews", "fig6-reviews", "fig9-reviews"}


def test_controls_that_were_not_run_are_told(tmp_path):
    page = page_of(make_store(tmp_path / "store", Shape(steps=(0, 1), texts=TEXTS[:1], n=3, controls=False)))
    for sentence in (
        "γ has no control",
        "ρ has no noise null",
        "Order histograms have no noise null",
        'players permuted: <span class="num">not run',
    ):
        assert sentence in page


def test_a_control_far_from_the_claim_is_told_and_does_not_flatten_it(store):
    run = "SmolLM2-135M-Instruct/reviews/seed-0"
    far = {"run": run, "step": 64, "class": "emerged", "name": "strength_noise", "value": 1234.0}
    change(store, "metrics", lambda table: grown(table, [far]))
    study = open_study(store)
    figure = evolution_figures.strength_and_number(study, Measures(study.metrics), settings_of(runs_of(study))[0])
    assert figure is not None
    assert figure.axes[0].get_ylim()[1] < 100
    notes = [text.get_text() for text in figure.axes[0].texts]
    assert notes == ["beyond the frame: noise alone (emerged) 1.23e+03"]
    assert [text.get_text() for text in figure.axes[1].texts] == ["control not run: noise alone"]


def test_a_metrics_table_alone_is_drawn(store):
    for name in ("cells", "interactions", "classes", "samples", "losses"):
        (store / f"{name}.parquet").unlink()
    data = data_of(page_of(store))
    assert [run["steps"] for run in data["runs"]] == [[0, 64]] * 2 and data["cells"] == {}


def test_figures_over_several_runs_are_listed_and_are_no_runs(store):
    more = [
        {"run": "all", "step": 4, "class": "all", "name": "forecast_error_interactions", "value": 0.125},
        {"run": "gemma-3-270m-it/reviews/seeds", "step": 64, "class": "emerged", "name": "rho", "value": 0.25},
        {"run": "gemma-3-270m-it/reviews/seed-0", "step": -1, "class": "all", "name": "stop_by_loss", "value": 4.0},
    ]
    change(store, "metrics", lambda table: grown(table, more))
    page = page_of(store)
    assert len(data_of(page)["runs"]) == 2
    assert "forecast error interactions" in page and "rho of the emerged" in page and "stop by loss" in page


@pytest.mark.parametrize("damage", ["missing", "cut", "not finite", "spans"])
def test_a_result_that_cannot_be_read_costs_a_note(store, damage):
    path = sorted((store / "cells").iterdir())[0]
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:100])
    else:
        found = load(path)
        broken = {"values": np.full_like(found.values, np.nan)}
        if damage == "spans":
            broken = {"players": tuple(type(p)(p.text, (9 - i, 8), p.tokens) for i, p in enumerate(found.players))}
        type(found)(**{**vars(found), **broken}).save(path)
    study = open_study(store)
    results = Results(study)
    page = study_page(study, Measures(study.metrics), results)
    assert len(data_of(page)["cells"]) == 7
    assert results.notes and results.notes[0].startswith("The result of SmolLM2-135M-Instruct/reviews/seed-0, step 0, ")
    assert "sample s0 is not shown." in page


def test_write_warns_of_what_it_left_out(tmp_path):
    folder = make_store(tmp_path / "store", Shape(models=("a",), steps=(0,), texts=TEXTS[:1], n=2))
    next((folder / "cells").iterdir()).write_bytes(b"x")
    for name in ("metrics", "classes", "losses", "interactions"):
        (folder / f"{name}.parquet").unlink()
    with pytest.warns(
        UserWarning, match=r"The result of a/reviews/seed-0, step 0, sample s0 is not shown\. .* cut short"
    ):
        page = report.write(folder)
    assert "is not shown" in page.read_text()


def test_a_key_does_not_lead_out_of_the_store(store):
    change(store, "cells", lambda t: t.assign(key="../../secret"))
    page = page_of(store)
    assert data_of(page)["cells"] == {} and "is not the name of a file" in page


@pytest.mark.parametrize(
    ("break_it", "sentence"),
    [
        (lambda s: shutil.rmtree(s), "is not a folder; pass the store"),
        (lambda s: (s / "manifest.json").unlink(), "is not the store of a study: it has no manifest.json"),
        (lambda s: (s / "manifest.json").write_text("{"), "manifest.json is damaged: it is not JSON"),
        (lambda s: (s / "manifest.json").write_bytes(b"\xff\xfe"), "manifest.json is damaged: it is not JSON"),
        (lambda s: (s / "manifest.json").write_text("[]"), "holds list, but an object was expected"),
        (
            lambda s: (s / "manifest.json").write_text('{"format": "zip"}'),
            "says the format 'zip', but a study's store has",
        ),
        (
            lambda s: (s / "manifest.json").write_text('{"format": "interact.study", "version": 9}'),
            "says version 9, but this program",
        ),
        (lambda s: (s / "config.json").write_text("[" * 100_000), "config.json is damaged"),
        (lambda s: (s / "metrics.parquet").write_bytes(b"PAR1"), "metrics.parquet is damaged or unreadable"),
        (
            lambda s: (s / "cells.parquet").write_bytes((s / "cells.parquet").read_bytes()[:-40]),
            "cells.parquet is damaged or unreadable",
        ),
        (
            lambda s: change(s, "metrics", lambda t: t.drop(columns="class")),
            "metrics.parquet has no column 'class'; its columns are run, step",
        ),
        (
            lambda s: change(s, "metrics", lambda t: t.assign(value="high")),
            "holds .* in 'value', but double was expected",
        ),
        (
            lambda s: change(s, "interactions", lambda t: t.assign(mask=-1)),
            "holds int64 in 'mask', but uint64 was expected",
        ),
        (lambda s: change(s, "classes", lambda t: t.assign(run=None)), "classes.parquet has an empty place in 'run'"),
        (lambda s: [p.unlink() for p in s.glob("*.parquet")], "holds no results yet; run `interact study run"),
    ],
)
def test_a_store_that_cannot_be_read_is_one_sentence(store, break_it, sentence):
    break_it(store)
    with pytest.raises(ValueError, match=sentence):
        report.write(store)
    assert not (store / "report").exists()


def test_a_place_that_cannot_be_written_is_a_sentence(made, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RuntimeError, match=r"could not be made: .* Choose another place"):
        report.write(made, tmp_path / "file")
    with pytest.raises(RuntimeError, match=r"The page could not be written to .* Choose another place"):
        report.write_results([], tmp_path / "file" / "x.html")


def test_bits_flipped_anywhere_give_a_page_or_a_sentence(made, tmp_path):
    rng = np.random.default_rng(0)
    files = [made / name for name in ("metrics.parquet", "cells.parquet", "interactions.parquet", "manifest.json")]
    store = shutil.copytree(made, tmp_path / "store")
    for path in files:
        whole = path.read_bytes()
        for place in rng.integers(0, len(whole), 2):
            broken = bytearray(whole)
            broken[place] ^= 0x5A
            (store / path.name).write_bytes(bytes(broken))
            try:
                assert "</html>" in page_of(store)
            except ValueError as error:
                assert str(store) in str(error)
        (store / path.name).write_bytes(whole)
