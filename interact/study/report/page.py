"""The page: one HTML file that opens offline, of a whole study or of single results.

All text of users is escaped by the template engine or travels as JSON and is put in as text. A content security policy
lets only our own script run and nothing be fetched, so that a mistake in the former stays harmless.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from interact.formats.schema import CLASSES
from interact.results import Interactions, display
from interact.study.report.measures import Measures
from interact.study.report.payload import result_payload, study_payload
from interact.study.report.results import Results
from interact.study.report.runs import runs_of, steps_of
from interact.study.report.store import Study
from interact.study.report.wording import claims, figure, further, headline, judged, not_run, stage_sentence

_TEMPLATES = Path(__file__).parent / "templates"
_COLUMNS = (("count", "Number R / P / E"), ("rho", "ρ R / P / E"), ("gamma", "γ R / P / E"))


def study_page(study: Study, measures: Measures, results: Results) -> str:
    """Write the page of a study."""
    runs = runs_of(study)
    data = study_payload(study, measures, results, runs)
    left, right = data["beside"]
    leading = [runs[i] for i in (left, right) if i is not None]
    rows = []
    for run in runs:
        last = (steps_of(study, run.name) or [0])[-1]
        figures = [_classes(measures, run.name, name, last) for name, _ in _COLUMNS]
        rows.append({"label": run.label, "step": last, "figures": figures, "stages": stage_sentence(measures, run)})
    # The results are read by now: what could not be read is known.
    missing = [*not_run(study, measures, runs), *results.notes]
    return _render(
        "study.html",
        ("draw.js", "prompt.js", "logic.js", "evolution.js"),
        data,
        title=f"Interactions of {leading[0].label}",
        headline=headline(study, measures, leading[0]),
        leading=[{"label": run.label, "sentence": stage_sentence(measures, run)} for run in leading],
        claims=[
            {"label": f"{run.label}, step {steps_of(study, run.name)[-1]}", "rows": found}
            for run in leading
            if (found := claims(study, measures, run))
        ],
        verdicts=judged(study.verdicts),
        more=further(measures, runs),
        missing=missing,
        columns=[words for _, words in _COLUMNS],
        rows=rows,
        store=shlex.quote(str(study.folder)),
        config=_pretty(study.config) if study.config else "config.json is not in the store.",
        manifest=_pretty(study.manifest),
    )


def results_page(results: Sequence[Interactions]) -> str:
    """Write the page of single results."""
    shown = [
        {
            "heading": _answer(result),
            "fragment": Markup(result._repr_html_()),
            "parts": Markup(display.parts_html(result)),
            "provenance": _pretty({k: v for k, v in result.provenance.items() if k != "parts"}),
        }
        for result in results
    ]
    # The first line is the answer.
    first = shown[0]["heading"] if len(shown) == 1 else f"What {len(shown)} answers rest on, word by word"
    data = {"results": [result_payload(result) for result in results]}
    return _render(
        "results.html",
        ("draw.js", "prompt.js", "logic.js", "single.js"),
        data,
        title="AND-OR interactions",
        headline=first,
        shown=shown,
    )


def _render(template: str, scripts: Sequence[str], data: Any, **values: Any) -> str:
    engine = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    program = "(() => {\n" + "\n".join((_TEMPLATES / name).read_text("utf-8") for name in scripts) + "})();\n"
    digest = base64.b64encode(hashlib.sha256(program.encode()).digest()).decode()
    fixed = {
        "style": Markup((_TEMPLATES / "page.css").read_text("utf-8")),
        "script": Markup(program),
        "script_hash": Markup(digest),
        "data": Markup(_json(data)),
    }
    return engine.get_template(template).render(**fixed, **values)


def _json(data: Any) -> str:
    """Write JSON that cannot end the element it stands in."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _pretty(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, indent=2, default=str)


def _classes(measures: Measures, run: str, name: str, step: int) -> str:
    found = [measures.get(run, kind, name) for kind in CLASSES]
    return " / ".join(figure(series.at(step)[0]) if series else "none" for series in found)


def _answer(result: Interactions) -> str:
    strongest = result.top(1)
    if not strongest:
        return "The score does not depend on the players."
    asked = display.answer_asked(result, lambda text: f"“{text.strip()}”")
    effect = strongest[0].effect
    # A minus sign of its own width, as the page draws it.
    return (
        f"“{display.formulas(result, strongest[:1])[0]}” {'adds' if effect > 0 else 'takes'} the most: "
        f"{'+' if effect > 0 else '−'}{abs(effect):.2f}" + (f" for {asked}" if asked else "")
    )
