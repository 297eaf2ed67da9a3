"""The report of a study: figures and page from the store alone."""

import base64
import json
import re
import struct
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interact.formats.labels import told_apart
from interact.formats.schema import IDENTITY, TABLES, Run, identify
from interact.study import report
from interact.study.report.drawing import plain
from interact.study.report.measures import StepScale
from interact.study.report.page import results_page
from interact.study.report.payload import number
from interact.study.report.results import Results
from interact.study.report.runs import beside, runs_of, settings_of
from interact.study.report.store import open_study
from tests.interact.test_interactions import result as make_result
from tests.report.conftest import change, data_of, grown, page_of
from tests.report.synthetic import HOSTILE, TEXTS, Shape, make_store


def test_every_figure_is_written_twice_and_says_what_it_shows(written):
    figures = {path.name: path for path in (written.parent / "figures").iterdir()}
    expected = {
        "fig2-orders-SmolLM2-135M-Instruct-reviews": ("emerged", "preserved", "removed", "noise alone", "step 64"),
        "fig2-orders-gemma-3-270m-it-reviews": ("order", "noise alone"),
        "fig2-strength-reviews": ("number of interactions", "gemma-3-270m-it"),
        "fig3-reviews": ("generalisability γ", "non-cancellation ρ", "players permuted", "signs permuted"),
        "fig4-reviews": ("per interaction", "one class alone"),
        "fig5-reviews": ("log-odds of the answer", "share of masked inputs"),
        "fig6-reviews": ("salient", "strongest first"),
        "fig9-reviews": ("AND", "champagne", "SmolLM2-135M-Instruct"),
        "losses-reviews": ("training, whole response", "validation, label", "test, end of text", "test, accuracy"),
    }
    assert set(figures) == {f"{name}.{kind}" for name in expected for kind in ("svg", "png")}
    for name, words in expected.items():
        text = " ".join(ET.parse(figures[f"{name}.svg"]).getroot().itertext())
        assert all(word in text for word in words), (name, words)
        assert figures[f"{name}.png"].read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", figures[f"{name}.png"].read_bytes()[16:24])
        assert width > 400 and height > 300


def test_the_page_stands_alone_and_is_small(written):
    page = written.read_text()
    assert len(page) < 1_000_000
    # The one address is SVG's namespace, a name that is never fetched.
    assert set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+", page)) == {"http://www.w3.org"}
    assert not re.search(r"<(link|img|iframe|object|embed)\b|\ssrc=|@import|url\(", page)
    assert "default-src 'none'" in page


def test_the_first_line_is_the_answer_and_claims_have_controls(written):
    page = written.read_text()
    headline = re.search(r"<h1>(.*?)</h1>", page)
    assert headline and re.fullmatch(
        r"In SmolLM2-135M-Instruct, a prompt has [\d.]+ salient interactions before training\. By step 64, [\d.]+ of "
        r"them are removed and [\d.]+ are preserved; [\d.]+ have emerged\.",
        headline[1],
    )
    metrics = pd.read_parquet(written.parent.parent / "metrics.parquet").set_index(["run", "step", "class", "name"])
    count = metrics.loc[("SmolLM2-135M-Instruct/reviews/seed-0", 64, "emerged", "count"), "value"]
    assert f"{count:.1f} have emerged" in headline[1]
    assert "Denoising ends at step 64 (95 % interval 0 to 64)" in page
    assert page.count("players permuted: ") == 6 and page.count("noise alone: ") >= 6
    assert "No label-leaking word was planted" in page and "Only 1 seed in a setting" in page
    assert "interact study run --config study.json" in page and "&#34;tau&#34;: 0.05" in page


def test_what_is_drawn_is_what_the_tables_hold(made):
    data = data_of(page_of(made))
    tables = {name: pd.read_parquet(made / f"{name}.parquet") for name in ("metrics", "interactions", "classes")}
    for r, run in enumerate(data["runs"]):
        own = tables["metrics"][tables["metrics"]["run"] == run["name"]]
        for kind, points in run["metrics"]["strength"].items():
            rows = own[(own["class"] == kind) & (own["name"] == "strength")].sort_values("step")
            np.testing.assert_allclose([p[0] for p in points], rows["value"], rtol=1e-4)
        for at, step in enumerate(run["steps"]):
            cell = data["cells"][f"{r} {step} 0"]
            place = {"run": run["name"], "step": step, "sample": "s0"}
            here, named = (
                t[(t[list(place)] == pd.Series(place)).all(axis=1)] for t in (tables["interactions"], tables["classes"])
            )
            strongest = here.loc[here["effect"].abs().idxmax()]
            assert cell["terms"][0][2] == pytest.approx(strongest["effect"], rel=1e-4)
            assert sum(1 << i for i in cell["terms"][0][1]) == strongest["mask"]
            classes = {(k, sum(1 << i for i in p)): c for k, p, _, c, *_ in cell["terms"]}
            expected = {(int(k == "or"), m): c for k, m, c in named[["kind", "mask", "class"]].to_numpy()}
            # A removed interaction may be weak instead of gone.
            assert {k for k, c in expected.items() if c != "removed"} <= set(classes)
            assert all(c == expected.get(k, "") for k, c in classes.items())
            assert len(cell["removed"]) == (named["class"] == "removed").sum()
            assert (
                run["sparsity"][at]["salient"]
                == tables["interactions"].query(f"run == {run['name']!r} and step == {step}")["salient"].sum()
            )
        assert "".join(part[0] for part in cell["text"]) == TEXTS[0]


def test_all_scores_and_salient_terms_go_along_to_switch_words_off(made):
    study = open_study(made)
    cell = data_of(page_of(made))["cells"]["1 64 1"]
    result = Results(study).get("gemma-3-270m-it/reviews/seed-0", 64, "s1")
    assert result is not None and result.all_scores is not None
    low, high, packed = cell["scores"]
    scores = low + (high - low) * np.frombuffer(base64.b64decode(packed), "<u2") / 65535
    np.testing.assert_allclose(scores, result.all_scores, atol=(high - low) / 65535)
    tau = study.tau_of("gemma-3-270m-it/reviews/seed-0", 64, "s1")
    terms = [term for i, term in enumerate(cell["terms"]) if i not in cell["weak"]] + cell["rest"]
    told = {(("and", "or")[kind], sum(1 << i for i in players)) for kind, players, *_ in terms}
    assert told == {(i.kind, i.mask) for i in result.salient(tau)} and len(told) == len(terms) == cell["salient"]


def test_a_demo_of_six_steps_four_samples_two_models_is_far_below_five_megabytes(tmp_path):
    shape = Shape(steps=(0, 1, 2, 4, 8, 16), texts=TEXTS, n=6)
    page = page_of(make_store(tmp_path / "store", shape))
    assert len(data_of(page)["cells"]) == 48 and len(page.encode()) < 500_000


def test_hostile_text_stays_text(tmp_path):
    shape = Shape(models=(HOSTILE,), steps=(0, 1), texts=(f"a {HOSTILE} film",), n=3, data='"><script>', controls=False)
    store = make_store(tmp_path / "store", shape)
    (store / "config.json").write_text('{"template": "\\ud800 <script>alert(1)</script>"}')
    for name in ("metrics", "losses"):
        (store / f"{name}.parquet").unlink()
    page = report.write(store)
    text = page.read_text()
    assert text.count("<script") == text.count("</script>") == 2 and "<img" not in text
    assert "".join(part[0] for part in data_of(text)["cells"]["0 1 0"]["text"]) == f"a {HOSTILE} film"
    drawn = [ET.parse(figure) for figure in (page.parent / "figures").glob("*.svg")]
    assert len(drawn) == 3 and not [
        e for one in drawn for e in one.iter() if e.tag.rpartition("}")[2] in ("script", "img")
    ]


@given(st.text(max_size=40))
@settings(max_examples=50, deadline=None)
def test_any_text_can_be_a_label(text):
    shown = plain(text)
    assert len(shown) <= 120 and not re.search(r"(?<!\\)\$", shown) and (shown.isprintable() or not shown)


@given(st.text(max_size=30), st.text(max_size=30))
@settings(max_examples=30, deadline=None)
def test_any_text_survives_the_page_of_one_result(word, rest):
    one = make_result(2)
    text = f"{word}{rest}"
    cut = len(word)
    players = (type(one.players[0])(word, (0, cut), (0, 1)), type(one.players[0])(rest, (cut, len(text)), (1, 2)))
    page = results_page([type(one)(**{**vars(one), "text": text, "players": players, "provenance": {"target": text}})])
    assert page.count("<script") == 2
    cell = data_of(page)["results"][0]
    assert "".join(part[0] for part in cell["text"]) == text and cell["players"] == told_apart([word, rest])


def test_verdicts_and_places_in_the_null_are_told(store):
    run = "SmolLM2-135M-Instruct/reviews/seed-0"
    common = {"run": "SmolLM2-135M-Instruct/reviews/seeds", "error": 0.01, "freedom": 4.0, "runs": 5, "samples": 24}
    common["among"] = "all"
    figures = {"value": -0.19, "low": -0.25, "high": -0.13, "p": 0.001, "p_holm": 0.004}
    unknown = dict.fromkeys(figures, float("nan"))
    rows = [
        {**common, **figures, "hypothesis": "removed_noise", "verdict": "supported", "reason": ""},
        {**common, **unknown, "hypothesis": "late_bad", "verdict": "untested", "reason": "The test loss falls <on>."},
    ]
    order = [c.name for c in TABLES["verdicts"].columns]
    identify(pd.DataFrame(rows), "verdicts")[order].to_parquet(store / "verdicts.parquet")
    more = [
        {"run": run, "step": 64, "class": "removed", "name": "rho_permuted_p", "value": 0.03},
        {"run": run, "step": 64, "class": "removed", "name": "drop", "value": -0.19, "low": -0.3, "high": -0.1},
        {"run": run, "step": 64, "class": "removed", "name": "drop_matched", "value": 1.17},
    ]
    change(store, "metrics", lambda table: grown(table, more))
    page = page_of(store)
    assert "Removed ones are noise" in page and "-0.19 (-0.25 to -0.13)" in page and "0.004" in page
    assert "untested. The test loss falls &lt;on&gt;." in page
    assert ", p = 0.03" in page and "change of the loss without the removed" in page and "1.17" in page


def test_the_fidelity_is_that_of_the_rule_of_the_study(store):
    table = pd.read_parquet(store / "interactions.parquet")
    # The two strongest effects of each result, whatever their size.
    place = table["effect"].abs().groupby([table["run"], table["step"], table["sample"]]).rank(ascending=False)
    change(store, "interactions", lambda table: table.assign(salient=place <= 2))
    (store / "config.json").write_text(json.dumps({"tau": 2.0, "tau_rule": "top"}))
    study = open_study(store)
    row = study.cells.iloc[-1]
    result = study.cell(row["key"])
    tau = study.tau_of(row["run"], row["step"], row["sample"])
    assert len(result.salient(tau)) == 2
    assert data_of(page_of(store))["cells"]["0 0 0"]["salient"] == 2
    assert study.tau_of("none", 0, "none") == 0.05


def test_a_second_baseline_shows_the_losses_of_its_training(store):
    name = "SmolLM2-135M-Instruct/reviews/seed-0"
    for table in ("cells", "interactions", "classes", "metrics"):
        second = {"run": f"{name}/eos", "asked_baseline": "eos"}
        change(store, table, lambda t: pd.concat([t, t[t["run"] == name].assign(**second)], ignore_index=True))  # noqa: B023
    page = page_of(store)
    first, _, second = data_of(page)["runs"]
    assert second["label"].endswith("baseline eos") and second["losses"] == first["losses"] != {}
    assert "No second masking baseline" not in page


def test_what_a_run_is_stands_in_columns_and_its_name_tells_nothing(store):
    for name, table in TABLES.items():
        if table.identity and (store / f"{name}.parquet").exists():
            change(store, name, lambda t: t.assign(run=t["run"].map(lambda run: f"{run[::-1]} of mine")))
    runs = runs_of(open_study(store))
    assert [(run.model, run.data, run.seed) for run in runs] == [
        ("SmolLM2-135M-Instruct", "reviews", 0),
        ("gemma-3-270m-it", "reviews", 0),
    ]
    first, second = data_of(page_of(store))["runs"]
    assert first["label"] == "SmolLM2-135M-Instruct, reviews, seed 0" and first["losses"] and second["losses"]


def test_a_store_of_version_1_shows_the_same_page(store):
    now = data_of(page_of(store))
    columns = [column.name for column in IDENTITY]
    for name, table in TABLES.items():
        if table.identity and (store / f"{name}.parquet").exists():
            change(store, name, lambda t: t.drop(columns=columns, errors="ignore"))
    manifest = json.loads((store / "manifest.json").read_text())
    (store / "manifest.json").write_text(json.dumps({**manifest, "version": 1}))
    assert data_of(page_of(store)) == now


def test_what_is_certain_is_told_first_and_marked_everywhere(tmp_path):
    store = make_store(tmp_path / "store", Shape(steps=(0, 64), texts=TEXTS[:2], n=4, certain=True))
    run = "SmolLM2-135M-Instruct/reviews/seed-0"
    order = [c.name for c in TABLES["verdicts"].columns]
    figures = dict.fromkeys(("value", "low", "high", "error", "freedom", "p", "p_holm"), 0.5)
    row = {"run": "of mine", "hypothesis": "removed_noise", "verdict": "undecided", "reason": "", "runs": 3}
    rows = [{**row, **figures, "samples": 6, "among": among} for among in ("all", "certain")]
    identify(pd.DataFrame(rows), "verdicts")[order].to_parquet(store / "verdicts.parquet")
    change(
        store,
        "metrics",
        lambda t: grown(
            t,
            [
                {
                    "run": run,
                    "step": 64,
                    "class": "emerged",
                    "name": "count_certain",
                    "value": 1.5,
                    "low": 1.5,
                    "high": 4.0,
                }
            ],
        ),
    )
    known = pd.read_parquet(store / "certainty.parquet")
    last = known[(known["run"] == run) & (known["step"] == 64)]
    sure, salient = (last["status"] == "certain").sum() / 2, last["salient"].sum() / 2
    page = report.write(store)
    text = page.read_text()
    headline = re.search(r"<h1>(.*?)</h1>", text)
    assert headline and f"At step 64, {sure:.1f} of the {salient:.1f} salient ones are certain." in headline[1]
    assert 0 < sure < salient
    cell = data_of(text)["cells"]["0 64 0"]
    here = last[last["sample"] == "s0"].set_index(["kind", "mask"])
    assert cell["certain"] == (here["status"] == "certain").sum()
    for kind, players, _, _, status, _ in cell["terms"]:
        place = (("and", "or")[kind], sum(1 << i for i in players))
        assert status == (here.loc[place, "status"] if place in here.index and here.loc[place, "salient"] else "")
    # By hand: a class is certain where both ends are.
    before = known[(known["run"] == run) & (known["step"] == 0) & (known["sample"] == "s0")].set_index(["kind", "mask"])
    ends = {("certain", "excluded"): "removed", ("certain", "certain"): "preserved", ("excluded", "certain"): "emerged"}
    sides = {place: (before.loc[place, "status"], here.loc[place, "status"]) for place in here.index}
    listed = cell["terms"] + cell["removed"]
    told = {(("and", "or")[k], sum(1 << i for i in p)): name for k, p, _, name, _, certainly in listed if certainly}
    assert told == {place: ends[both] for place, both in sides.items() if both in ends} and told
    assert data_of(text)["runs"][0]["metrics"]["count_certain"]["emerged"][1] == [1.5, 1.5, 4.0]
    assert "of mine, certain interactions only" in text and text.count(">of mine<") == 1
    drawn = (page.parent / "figures" / "fig9-reviews.svg").read_text()
    assert f"{cell['certain']} of {cell['salient']} salient are certain" in drawn
    # A study that did not ask, and a store that was made before.
    change(store, "certainty", lambda t: t.iloc[:0])
    assert "Which interactions are certain was not computed" in page_of(store)
    (store / "certainty.parquet").unlink()
    change(store, "verdicts", lambda t: t.drop(columns="among"))
    text = page_of(store)
    assert "certainty.parquet is not in the store: it is unknown which interactions are certain" in text
    assert data_of(text)["cells"]["0 64 0"]["certain"] is None and text.count(">of mine<") == 2


def test_runs_are_labelled_and_paired():
    run = Run("org/Qwen2.5-7B", "sets/my set", 3, "token:5")
    assert run.label == "Qwen2.5-7B, my set, seed 3, baseline token:5"
    names = ["a/x/seed-1", "a/x/seed-0", "b/y/seed-1", "b/x/seed-1", "b/x/seed-1/eos"]
    runs = [Run.parse(name) for name in names]
    assert beside(runs) == (0, 3) and beside(runs[:1]) == (0, None)
    panels = settings_of(runs)[0].panels
    assert [p.main.name for p in panels] == ["a/x/seed-0", "b/x/seed-1"] and panels[0].others[0].name == "a/x/seed-1"


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=40, unique=True))
def test_labelled_steps_rise_and_do_not_touch(steps):
    scale = StepScale(tuple(sorted(steps)))
    ticks = scale.ticks()
    assert ticks[-1] == max(steps) and set(ticks) <= set(steps)
    gaps = np.diff([float(scale(step)) for step in ticks])
    assert (gaps > 0).all() and (gaps >= 0.06 * float(scale(max(steps)) - scale(min(steps))) - 1e-9).all()


@given(st.floats())
def test_numbers_are_finite_or_null(value):
    found = number(value)
    assert (found is None) == (not np.isfinite(value))
    assert found is None or found == pytest.approx(value, rel=1e-4)
