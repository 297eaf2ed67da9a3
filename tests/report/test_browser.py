"""The page as a person meets it, in a real browser without a network."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest

from interact.study.report.measures import Measures
from interact.study.report.page import results_page, study_page
from interact.study.report.results import Results
from interact.study.report.store import open_study
from tests.report.chromium import PROGRAM, Chromium
from tests.report.synthetic import HOSTILE, TEXTS, Shape, make_store

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed (Debian: apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    found = Chromium(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Write the page of a study and of one result; figures are tested elsewhere."""
    folder = tmp_path_factory.mktemp("report")
    texts = (TEXTS[0], f"a {HOSTILE} film")
    study = open_study(make_store(folder / "store", Shape(texts=texts, models=("<b>one<i>", "two"), certain=True)))
    results = Results(study)
    (folder / "study.html").write_text(study_page(study, Measures(study.metrics), results))
    one = results.get("two/reviews/seed-0", 0, "s0")
    assert one is not None
    (folder / "one.html").write_text(results_page([one]))
    return folder


@pytest.fixture
def study(browser: Chromium, pages: Path):
    browser.complaints.clear()
    browser.requests.clear()
    browser.open(pages / "study.html")
    yield browser
    assert browser.complaints == [] and [r for r in browser.requests if not r.startswith("file:")] == []


def shown(browser: Chromium, selector: str) -> list[str]:
    return browser.run(f"[...document.querySelectorAll({json.dumps(selector)})].map((e) => e.textContent)")


def test_the_slider_moves_through_training_and_every_figure_follows(study):
    assert study.run("document.getElementById('step-value').value") == "64"
    before = {
        part: study.run(f"document.getElementById('{part}').innerHTML")
        for part in ("prompts", "orders", "charts", "faith")
    }
    study.run("document.getElementById('step').focus()")
    study.press("ArrowLeft")
    assert study.run("document.getElementById('step-value').value") == "16"
    assert study.run("document.getElementById('step').getAttribute('aria-valuetext')") == "step 16"
    for part, content in before.items():
        assert study.run(f"document.getElementById('{part}').innerHTML") != content, part
    assert all("step 16" in heading for heading in shown(study, ".pane h3"))
    study.press("ArrowRight")
    assert study.run("document.getElementById('charts').innerHTML") == before["charts"]


def test_pointing_at_a_word_tells_its_effect_and_choosing_it_its_interactions(study):
    study.point("[data-side=left] [data-player='1']")
    told = study.run("document.getElementById('tip').hidden ? '' : document.getElementById('tip').textContent")
    word = study.run("document.querySelector(\"[data-side=left] [data-player='1']\").textContent")
    assert told.startswith(f"{word}\nalone ") and "interactions listed" in told
    study.point("[data-side=left] [data-player='1']", click=True)
    rows = shown(study, "[data-side=left] .split tbody tr td:nth-child(3)")
    assert rows and all(word in row.split(" | ") or word in row.split(" & ") for row in rows)
    assert study.run("document.querySelectorAll('[data-side=left] [data-term].faded').length") > 0
    # The same by keyboard: Enter on the focused chip lets go of it again.
    study.run("document.querySelector(\"[data-side=left] [data-player='1']\").focus()")
    study.press("Enter")
    assert study.run("document.querySelector(\"[data-side=left] [data-player='1']\").ariaPressed") == "false"
    assert study.run("document.querySelectorAll('[data-side=left] [data-term].faded').length") == 0


def test_what_is_certain_is_seen_without_colours_and_told(study):
    study.run("document.getElementById('step').value = 0")
    study.run("document.getElementById('step').dispatchEvent(new Event('input'))")
    for ring in ("solid", "dashed"):
        chip = {"solid": ".pane .chip.ringed", "dashed": ".pane .chip.dashed"}[ring]
        assert study.run(f"getComputedStyle(document.querySelector('{chip}')).borderLeftStyle") == ring
        # A screen reader is told by the description of a word, and by that of the picture.
        study.run(f"document.querySelector('{chip}').focus()")
        assert (", certain;" in study.run("document.getElementById('tip').textContent")) == (ring == "solid")
    picture = study.run("document.querySelector('[data-side=right] svg.logic').getAttribute('aria-label')")
    rows = study.run(
        "[...document.querySelectorAll('[data-side=right] .split tbody tr')]"
        ".map((row) => [row.className, row.lastChild.textContent])"
    )
    assert ", certain" in picture and {pale for pale, status in rows if status == "certain"} == {""}
    assert {pale for pale, status in rows if status != "certain"} == {"pale"}
    gates = "[...document.querySelectorAll('.pane rect.gate')].map((g) => g.getAttribute('stroke-dasharray'))"
    assert {None, "3 2"} == set(study.run(gates))
    assert " certain of " in " ".join(shown(study, "[data-side=right] .facts"))


def test_words_are_switched_off_and_both_models_answer(study, pages):
    results = Results(open_study(pages / "store"))
    sides = {"left": "<b>one<i>", "right": "two"}
    numbers = re.compile(r"says ([+−][\d.]+).* scored ([+−][\d.]+)")

    def answers(without: set[int]) -> None:
        for side, model in sides.items():
            result = results.get(f"{model}/reviews/seed-0", 64, "s0")
            assert result is not None
            mask = sum(1 << i for i in range(result.n) if i not in without)
            tau = open_study(pages / "store").tau_of(f"{model}/reviews/seed-0", 64, "s0")
            text = shown(study, f"[data-side={side}] [aria-live=polite].facts")[0]
            told = [float(part.replace("−", "-")) for part in numbers.search(text).groups()]
            truth = [float(np.asarray(result.predict(np.array([mask]), tau=tau))[0]), float(result.all_scores[mask])]
            assert told == pytest.approx(truth, abs=0.0051), (side, without)

    answers(set())
    study.point("[data-side=left] [data-switch='1']", click=True)
    answers({1})
    assert shown(study, "[data-side=left] .facts[aria-live=polite]")[0].startswith("Without weighs: ")
    # The other side follows, and what is silent now is pale.
    assert study.run("document.querySelector(\"[data-side=right] [data-switch='1']\").ariaChecked") == "false"
    assert study.run("document.querySelectorAll('[data-side=left] .chip.off').length") == 1
    assert study.run("document.querySelectorAll('[data-side=left] [data-term].faded').length") > 0
    study.run("document.querySelector(\"[data-side=right] [data-switch='3']\").focus()")
    study.press("Enter")
    answers({1, 3})
    study.run("document.getElementById('step').focus()")
    study.press("ArrowLeft")
    study.press("ArrowRight")
    answers({1, 3})
    study.run("[...document.querySelectorAll('[data-side=left] .all')].at(-1).click()")
    answers(set(range(5)))
    study.run("document.querySelector('[data-side=left] .all').click()")
    answers(set())


def test_the_tree_and_what_both_models_share(study, pages):
    found = []
    for model in ("<b>one<i>", "two"):
        result = Results(open_study(pages / "store")).get(f"{model}/reviews/seed-0", 64, "s0")
        tau = open_study(pages / "store").tau_of(f"{model}/reviews/seed-0", 64, "s0")
        assert result is not None
        found.append({(i.kind, i.mask): i.effect for i in result.salient(tau)})
    alike = [key for key in found[0] if found[0][key] * found[1].get(key, 0.0) > 0]
    text = shown(study, "#shared .facts")[0]
    share = sum(abs(found[0][key]) for key in alike) / sum(map(abs, found[0].values()))
    assert text.startswith(f"Salient interactions shared with the same sign: {len(alike)}, ") and alike
    assert float(re.search(r"shared ones are ([\d.]+) %", text)[1]) == pytest.approx(100 * share, rel=0.01)
    # Every salient interaction hangs in the tree once, below one of its own words.
    study.run("document.querySelector('[data-side=left] .tree').open = true")
    assert study.run("document.querySelectorAll('[data-side=left] .tree li').length") == len(found[0]) + 1
    assert any(line.startswith("with ") and "(OR)" in line for line in shown(study, "[data-side=left] .tree li li li"))
    study.choose("#right", "")
    assert shown(study, "#shared *") == []


def test_charts_tell_their_figures_and_go_to_a_step(study):
    study.point("[data-key=rho] svg[tabindex]", along=0.16)
    told = study.run("document.getElementById('tip').textContent")
    assert told.startswith("step 0\n") and "noise alone: 0.08" in told and "preserved: " in told
    study.point("[data-key=rho] svg[tabindex]", click=True, along=0.16)
    assert study.run("document.getElementById('step-value').value") == "0"
    study.run("document.querySelector('[data-key=gamma] svg[tabindex]').focus()")
    study.press("ArrowRight")
    assert study.run("document.getElementById('step-value').value") == "1"
    assert study.run("document.activeElement.closest('.card').dataset.key") == "gamma"
    study.run("document.querySelector('[data-key=gamma] details').open = true")
    study.wait("document.querySelectorAll('[data-key=gamma] details td').length > 0")
    assert "players permuted, removed" in shown(study, "[data-key=gamma] details th")


def test_one_model_alone_and_another_prompt(study):
    study.choose("#right", "")
    study.choose("#sample", "1")
    assert shown(study, "[data-side=right] *") == []
    assert study.run("document.querySelector('[data-side=left] .prompt').textContent") == f"a {HOSTILE} film"


def test_hostile_text_stays_text(study):
    study.choose("#sample", "1")
    study.point("[data-side=left] [data-player='0']")
    assert study.run("window.pwned") is None and study.run("document.images.length") == 0
    assert study.run("document.scripts.length") == 2 and study.run("document.querySelectorAll('b').length") == 2
    assert any("<b>one<i>" in heading for heading in shown(study, ".pane h3"))


def test_an_injected_script_would_not_run_and_nothing_can_be_fetched(study):
    study.run(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.pwned = 1'}))"
    )
    assert study.run("window.pwned") is None
    refused = study.run("fetch('https://example.org/').then(() => 'fetched', () => 'refused')")
    assert refused == "refused" and any("Content Security Policy" in c for c in study.complaints)
    study.complaints.clear()
    study.requests.clear()


@pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (1200, True)])
def test_it_fits_a_phone_and_has_a_dark_dress(study, pages, tmp_path, width, dark):
    study.open(pages / "study.html", width=width, height=844, dark=dark)
    assert study.run("document.documentElement.scrollWidth") <= width
    ground = study.run("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, ground[4:-1].split(","))) < 60) == dark
    assert study.picture(tmp_path / "page.png").stat().st_size > 10_000


def test_everything_that_can_be_used_has_a_name(study):
    nameless = study.run(
        "[...document.querySelectorAll('button, select, input, svg[role=img], [role=region], [role=group]')]"
        ".filter((e) => !(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby')"
        " || e.labels?.[0]?.textContent || e.textContent).trim()).map((e) => e.outerHTML)"
    )
    assert nameless == []
    levels = study.run("[...document.querySelectorAll('h1, h2, h3')].map((e) => Number(e.tagName[1]))")
    assert levels[0] == 1 and all(b - a <= 1 for a, b in itertools.pairwise(levels))


def test_the_page_of_one_result_works_too(study, pages):
    study.open(pages / "one.html")
    assert study.run("document.querySelectorAll('.chip').length") == 5
    study.point(".chip", click=True)
    assert study.run("document.querySelector('.chip').ariaPressed") == "true"
    assert len(shown(study, ".pane svg")) >= 4
    study.point("[data-switch='0']", click=True)
    assert shown(study, ".facts[aria-live=polite]")[0].startswith("Without the: the logical model says ")
