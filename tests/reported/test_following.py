"""One sample is one prompt for a whole run: callback, study, resumed run, reference model, training."""

import json

import pytest

import interact
from interact import Template
from interact.sft.data import Example
from interact.sft.encoding import EncodedExamples

from .ground import TURN, fit, letters, tiny, told

CLOCKS = [
    "Now {{ strftime_now('%S.%f') }}\n",
    "{%- if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y %H:%M:%S.%f') %}{% endif %}"
    "Today: {{ date_string }}\n",
]


def prompts_of(folder):
    return {tuple(interact.load(path).provenance["input_ids"]) for path in folder.rglob("*.interactions")}


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_template_that_prints_the_time_gives_one_prompt(clock, tmp_path):
    tokenizer = letters(clock + TURN)
    reference = (tiny(tokenizer), letters(clock + TURN))
    follow = interact.InteractionCallback(
        [("a witty movie", "good"), ("a dull movie", "bad")],
        players=2,
        steps=[1, 2],
        store=tmp_path,
        reference=reference,
    )
    fit(tokenizer, follow, tmp_path / "out")
    assert len(prompts_of(tmp_path)) == 2 and len(list(tmp_path.rglob("*.interactions"))) == 6
    again = interact.InteractionCallback(
        [("a witty movie", "good"), ("a dull movie", "bad")], players=2, steps=[1, 2, 3], store=tmp_path
    )
    with told() as sentences:
        fit(tokenizer, again, tmp_path / "out", steps=3, resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-2"))
    assert len(prompts_of(tmp_path)) == 2 and again.steps == (0, 1, 2, 3)
    assert not [s for s in sentences if "prompt" in s]


def test_without_a_store_the_prompt_stays_too(tmp_path, monkeypatch):
    from interact.sft import callback

    honest, seen = callback.follow_sample, []

    def watched(*args, **more):
        result = honest(*args, **more)
        seen.append(tuple(result.provenance["input_ids"]))
        return result

    monkeypatch.setattr(callback, "follow_sample", watched)
    tokenizer = letters(CLOCKS[0] + TURN)
    follow = interact.InteractionCallback(
        ["a witty movie"], players=2, steps=[1, 2], reference=(tiny(tokenizer), letters(CLOCKS[0] + TURN))
    )
    fit(tokenizer, follow, tmp_path)
    assert len(seen) == 4 and len(set(seen)) == 1


def test_another_chat_template_in_the_middle_of_a_run_is_told(tmp_path):
    tokenizer = letters(TURN)

    class Changes(interact.InteractionCallback):
        def on_step_end(self, args, state, control, **given):
            tokenizer.chat_template = "Another. " + TURN
            super().on_step_end(args, state, control, **given)

    with told() as sentences:
        fit(tokenizer, Changes(["a witty movie"], players=2, steps=[1], store=tmp_path), tmp_path / "out")
    assert len(prompts_of(tmp_path)) == 1
    assert any("would now differ from the first one that was followed" in s for s in sentences)


def test_two_samples_of_one_name_in_one_store_are_two_prompts(tmp_path):
    for text, players in (("a witty movie", 2), ("a dull old movie", 3), ("a dull old movie", 1)):
        follow = interact.InteractionCallback([(text, "good")], players=players, steps=[1], store=tmp_path)
        fit(letters(CLOCKS[0] + TURN), follow, tmp_path / "out")
    assert len(prompts_of(tmp_path)) == 2


def test_a_damaged_file_of_a_prompt_is_written_anew(tmp_path):
    tokenizer = letters(TURN)
    for content in (None, "{", json.dumps({"prompts": {"model followed": {"prompt": "x"}}, "sum": "0"})):
        for path in (tmp_path / "prompts").glob("*.json") if content else ():
            path.write_text(content)
        follow = interact.InteractionCallback([("a witty movie", "good")], players=2, steps=[1], store=tmp_path)
        fit(tokenizer, follow, tmp_path / "out")
    assert len(prompts_of(tmp_path)) == 1
    assert "sum" in json.loads(next((tmp_path / "prompts").glob("*.json")).read_text())


def test_a_row_of_training_is_the_same_each_epoch():
    tokenizer = letters(CLOCKS[0] + TURN)
    examples = [Example(str(i), text, "good", Template()) for i, text in enumerate(["a witty movie", "a dull one"])]
    encoded = EncodedExamples(tiny(tokenizer), tokenizer, examples, 512)
    assert [encoded[i] for i in range(2)] == [encoded[i] for i in range(2)]


@pytest.mark.parametrize(("rule", "reference"), [("max", True), ("initial", False)])
def test_a_training_resumed_without_its_store_answers_with_tables(rule, reference, tmp_path):
    def follow(**more):
        return interact.InteractionCallback(
            [("a witty movie", "g"), ("a dull movie", "b")], players=2, steps=[1, 2, 3], **more
        )

    whole = follow()
    fit(letters(), whole, tmp_path, steps=3)
    asked = (tiny(letters()), letters()) if reference else None
    again = follow(options=interact.sft.following.FollowOptions(rule=rule), reference=asked)
    with pytest.warns(UserWarning, match="step 0 was not followed before"):
        fit(letters(), again, tmp_path, steps=3, resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    assert again.steps and 0 not in again.steps
    assert set(again.metrics["class"]) == {"all"} and set(again.metrics["step"]) == set(again.steps)
    assert again.classes.empty and list(again.classes) == list(whole.classes)
    assert len(again.interactions) and len(again.cells) == 2 * len(again.steps)
    assert (again.reference is not None) == reference
    assert "InteractionCallback" in repr(again) and "interact" in again._repr_html_()
    if rule == "max":
        known = whole.metrics[(whole.metrics["class"] == "all") & whole.metrics["step"].isin(again.steps)]
        values = [t[t["name"] == "strength"]["value"].tolist() for t in (again.metrics, known)]
        assert values[0] == pytest.approx(values[1], rel=0.2)
