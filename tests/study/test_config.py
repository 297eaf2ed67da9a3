import json
from dataclasses import replace

import pytest

from interact.study.config import StudyConfig, difference, from_json, load, to_json
from interact.study.samples import materials
from tests.reported.ground import TURN, letters


def test_a_configuration_survives_json():
    config = StudyConfig(models=("a", "b"), seeds=(1, 2), checkpoints={"a": "x"}, steps=(0, 3), max_steps=3)
    assert from_json(json.loads(json.dumps(to_json(config)))) == config
    assert from_json({}) == StudyConfig()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"model": 1}, r"unknown field 'model'; did you mean 'models'\?"),
        ({"masking": "baselin"}, r"masking is 'baselin', which is not known; did you mean 'baseline'\?"),
        ({"controls": ["nose"]}, r"controls is 'nose', which is not known; did you mean 'noise'\?"),
        ({"device": 3}, "device must be str, but is 3"),
        ({"seeds": 3}, "seeds must be a list, but is 3"),
        ({"limit": True}, "limit must be int, but is True"),
        ({"limit": "8"}, "limit must be int, but is '8'"),
        ({"checkpoints": {"a": 1}}, "checkpoints must be an object of strings"),
        ({"checkpoints": {"c": "x"}}, r"checkpoints are given for \['c'\]"),
        ([], "must be a JSON object of a study's fields, but is list"),
        ({"seeds": []}, "seeds is empty; a study needs at least one"),
        ({"models": ["a", "a"]}, "models contains something twice"),
        ({"limit": 21}, "limit is 21, but a full lattice holds at most 20 players"),
        ({"samples": 0}, "samples is 0, but must be at least 1"),
        ({"kappa": 1.5}, r"kappa is 1.5, but must lie in \[0, 1\)"),
        ({"noise": "soft", "kappa": 0.0}, "noise is 'soft', which does not fit kappa = 0.0; leave kappa out"),
        ({"noise": "exact", "kappa": 0.1}, "noise is 'exact', which does not fit kappa = 0.1"),
        ({"noise": "hard"}, "noise is 'hard', which is not known"),
        ({"tau": 1}, "tau is 1.0, but under the rule 'max' it is a share"),
        (
            {"tau_rule": "top"},
            "tau is 0.05, but under the rule 'top' it is how many interactions are salient, such as 20",
        ),
        ({"models": ["a"], "checkpoints": {"a": "x"}, "controls": ["planted"]}, "'planted' needs a training"),
        ({"template": "no text"}, r"must hold \{text\} exactly once"),
        ({"steps": [1, 2]}, r"steps must rise from 0, the model before training, but are \[1, 2\]"),
        ({"steps": [0, 500]}, "up to max_steps = 200"),
        ({"controls": ["labels"]}, "need each other; give both or neither"),
        ({"training_samples": 2}, "need each other; give both or neither"),
        ({"models": ["a/one", "b/one"]}, "Two models end in 'one'"),
        ({"baselines": ["token:x"]}, "The baseline 'token:x' is not known"),
        ({"seeds": [-1]}, r"The seed -1 must lie in \[0, 2\*\*32\)"),
        ({"device": "gpu7"}, "device is 'gpu7', which is not known"),
        ({"memory_budget": 0}, "memory_budget is 0, but must be at least 1"),
        ({"tau": float("nan")}, "tau is nan"),
        ({"learning_rate": float("nan")}, "learning_rate is nan, but must be a positive number"),
        ({"steps": [-1, 0, 1]}, "steps must rise from 0"),
        ({"masking": "attention", "baselines": ["pad"]}, "baselines have no effect under masking='attention'"),
    ],
)
def test_what_is_wrong_is_said(content, sentence):
    with pytest.raises(ValueError, match=sentence):
        from_json(content)


def test_a_missing_or_broken_file_is_said(tmp_path):
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        load(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ValueError, match=r"bad\.json is not JSON"):
        load(tmp_path / "bad.json")


def test_followed_steps_start_at_0_and_end_at_the_last():
    assert StudyConfig(max_steps=1).followed == (0, 1)
    steps = StudyConfig(max_steps=500, followed_steps=8).followed
    assert steps[0] == 0 and steps[-1] == 500 and len(steps) == 8 and list(steps) == sorted(set(steps))


def test_differences_name_the_field():
    before, now = to_json(StudyConfig()), to_json(StudyConfig(limit=5, seeds=(3,)))
    assert difference(before, now) == ["seeds: [0] in the store, [3] now", "limit: 8 in the store, 5 now"]
    assert difference(before, before) == []


def test_a_store_from_before_there_were_forms_names_a_kappa_alone():
    old = {**to_json(StudyConfig()), "kappa": 0.04}
    assert "noise" not in old and to_json(from_json(old)) == old


def test_arguments_of_the_chat_template_reach_the_samples_and_leave_older_hashes_alone(tmp_path):
    plain, told = from_json({}), from_json({"template_arguments": {"enable_thinking": False}})
    assert told == from_json({"template_arguments": '{"enable_thinking": false}'}) == from_json(to_json(told))
    assert "template_arguments" not in to_json(plain)
    rows = [{"text": f"a {word} film", "response": "good"} for word in "witty long dull slow quiet loud".split()]
    (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, rows)))
    some = {"models": ("m",), "data": (str(tmp_path / "d.jsonl"),), "samples": 1, "limit": 2, "heldout_examples": 1}
    chat = TURN + "{% if enable_thinking %}<think>{% endif %}"
    (found,) = materials(replace(told, **some), {"m": letters(chat)}).values()
    assert found.follow[0].template.arguments == found.train[0].template.arguments == {"enable_thinking": False}
    for wrong in ("{", "[1]", '{"tokenize": true}'):
        with pytest.raises(ValueError, match=r"template_arguments are not JSON|must be a mapping|interact sets itself"):
            from_json({"template_arguments": wrong})


def test_a_number_of_a_file_that_is_none_of_the_choices_is_a_sentence():
    with pytest.raises(ValueError, match=r"bits is 5, which is not known; known are 4, 8\."):
        from_json({"bits": 5})
