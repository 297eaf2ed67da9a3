"""A study whose score holds a label against the other labels."""

from __future__ import annotations

import json

import numpy as np
import pytest

from interact import extract, load_model
from interact.prompt.inputs import Template
from interact.results import load
from interact.study import samples
from interact.study.config import from_json, to_json
from interact.study.run import run_study
from tests.study.conftest import make_config

LABELS = ("positive", "negative", "film")


@pytest.fixture(scope="module")
def three(place, tmp_path_factory):
    """A configuration with data of three labels, whose first tokens differ."""
    lines = [
        json.dumps({"text": f"{word} film number {i} of {word}", "response": LABELS[i % 3]})
        for i, word in enumerate(["grand", "dull", "long"] * 20)
    ]
    path = tmp_path_factory.mktemp("three") / "three.jsonl"
    path.write_text("\n".join(lines))
    told = {"data": (str(path),), "models": (str(place / "one"),), "answer_prefix": "It is:", "controls": ("noise",)}
    return told | {"template": "Review: {text}"}


def test_scores_are_those_of_the_label_against_the_other_labels(place, three, tmp_path):
    config = make_config(place, contrast="labels", steps=(0, 4), **three)
    run_study(tmp_path / "store", config, say=lambda _: None)
    model, tokenizer = load_model(str(place / "one"), device="cpu")
    texts = {s.id: s.text for s in samples.load(tmp_path / "store" / "samples.json").samples}
    found = [load(path) for path in (tmp_path / "store" / "cells").iterdir()]
    before = [cell for cell in found if cell.provenance["step"] == 0]
    assert len(before) == 3
    assert len(found) == 6
    for cell in before:
        label = str(cell.provenance["target"]["text"]).strip()
        rest = [one for one in LABELS if one != label]
        told = {"target": label, "contrast": rest, "target_tokens": 1}
        prompt = Template(user="Review: {text}", answer_prefix="It is:", chat=False)
        spans = [tuple(span) for span in cell.provenance["players"]]
        text = texts[cell.provenance["sample"]]
        values = extract(model, tokenizer, text, players=spans, template=prompt, **told).all_scores
        np.testing.assert_allclose(cell.all_scores, values, atol=1e-4)
        assert len(cell.provenance["contrast"]["ids"]) == 2


def test_cells_of_another_score_are_other_cells(place, three):
    plain, held = (make_config(place, contrast=kind, **three) for kind in ("none", "labels"))
    assert "contrast" not in to_json(plain)
    assert from_json(to_json(held)) == held


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["good"], "needs 2 to 64 different responses, but those of '.*' are 1"),
        ([f"{i} points" for i in range(10, 80)], "needs 2 to 64 different responses, but those of '.*' are 70"),
        (["gold", "good"], "'gold' and 'good' of '.*' begin with the same token of one"),
    ],
)
def test_what_a_contrast_cannot_compare_is_refused_before_a_training(place, byte_level, three, tmp_path, labels, said):
    rows = [{"text": f"grand film number {i} of us", "response": labels[i % len(labels)]} for i in range(140)]
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    config = make_config(place, contrast="labels", **{**three, "data": (str(path),)})
    with pytest.raises(ValueError, match=said):
        samples.materials(config, {str(place / "one"): byte_level})


def test_a_classifier_has_no_contrast(place, three):
    with pytest.raises(ValueError, match="A classifier compares nothing but labels"):
        make_config(place, contrast="labels", task="classifier", **three)


@pytest.mark.parametrize("given", [True, None, "labels "])
def test_a_contrast_that_is_none_of_the_two_is_refused(place, three, given):
    with pytest.raises(ValueError, match=f"contrast is {given!r}, which is not known; (did you mean|known are) '"):
        make_config(place, contrast=given, **three)


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("task", "classify"),
        ("method", None),
        ("training_dtype", "float16"),
        ("players", "letters"),
        ("masking", True),
        ("noise", "hard"),
        ("tau_rule", "min"),
        ("classes", ""),
        ("certainty", "maybe"),
        ("controls", ("noise", "permute")),
        ("dtype", "float64"),
        ("bits", 5),
    ],
)
def test_what_is_none_of_a_fields_choices_is_refused_in_python_too(place, three, field, given):
    wrong = given[-1] if isinstance(given, tuple) else given
    with pytest.raises(ValueError, match=f"{field} is {wrong!r}, which is not known; (did you mean|known are) "):
        make_config(place, **{**three, field: given})
