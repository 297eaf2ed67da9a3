"""What is scored: whole answers, their tokens, several answers from one pass, any function of the final logits."""

import functools
import sys

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM

import interact
from interact import Template
from interact.engines.function_hash import function_hash
from interact.engines.score import SCORES
from interact.sft.data import Example
from interact.sft.following import FollowOptions, cell_path, follow_sample
from tests.interact.conftest import causal, classifier

TEXT = "a gorgeous, witty movie"
ASK = {"template": Template("{text} is", chat=False), "players": 3}


def continued(model, tokenizer, answer):
    """Return log-probabilities of an answer's tokens behind the whole prompt, token by token and without our code."""
    prompt = tokenizer(f"{TEXT} is", add_special_tokens=False)["input_ids"]
    ids = tokenizer(f"{TEXT} is {answer}", add_special_tokens=False)["input_ids"]
    logits = model(torch.tensor([ids])).logits[0].detach().log_softmax(-1)
    return [float(logits[place - 1, ids[place]]) for place in range(len(prompt), len(ids))]


# The cache hides no tokens, so reorder serves baseline masking alone.
WAYS = [
    ("flat", "baseline"),
    ("tree", "baseline"),
    ("reorder", "baseline"),
    ("flat", "attention"),
    ("tree", "attention"),
]


@pytest.mark.parametrize(("engine", "masking"), WAYS)
def test_the_log_probability_of_a_whole_answer(byte_level, engine, masking):
    model, answer = causal(), "positive or negative"
    parts = continued(model, byte_level, answer)
    call = {**ASK, "engine": engine, "masking": masking, "score": "log-probability"}
    result = interact.extract(model, byte_level, TEXT, target=answer, target_tokens="all", **call)
    assert len(parts) > 2 and result.total == pytest.approx(sum(parts), abs=1e-3)
    tokens = interact.extract_tokens(model, byte_level, TEXT, target=answer, **call)
    assert [token.total for token in tokens] == pytest.approx(parts, abs=1e-4)
    assert np.allclose(sum(token.values for token in tokens), result.values, atol=1e-3)
    assert [token.provenance["token"]["index"] for token in tokens] == list(range(len(parts)))
    assert "(log-probability)" in str(result) and result.provenance["score"] == {"name": "log-probability"}


@pytest.mark.parametrize("score", [None, "log-probability", "logit"])
@pytest.mark.parametrize("engine", ["flat", "tree", "reorder"])
def test_several_answers_from_one_pass_are_those_of_one_each(byte_level, score, engine):
    model, answers = causal(), ["positive", "negative", 40]
    call = {**ASK, "target_tokens": 1, "score": score, "engine": engine}
    together = interact.extract_targets(model, byte_level, TEXT, targets=answers, **call)
    assert list(together) == answers
    for answer in answers:
        alone = interact.extract(model, byte_level, TEXT, target=answer, **call)
        assert np.allclose(together[answer].values, alone.values, atol=1e-4)
        told = {name: together[answer].provenance[name] for name in ("target", "engine", "input_ids")}
        assert told == {name: alone.provenance[name] for name in told}


def test_one_pass_serves_several_answers(byte_level):
    model, calls = causal(), []
    interact.extract(model, byte_level, TEXT, target="positive", target_tokens=1, engine="flat", **ASK)
    model.register_forward_hook(lambda *_: calls.append(1))
    call = {"target_tokens": 1, "engine": "flat", **ASK}
    interact.extract(model, byte_level, TEXT, target="positive", **call)
    one = len(calls)
    calls.clear()
    interact.extract_targets(model, byte_level, TEXT, targets=["positive", "negative", "old"], **call)
    assert len(calls) <= one


@pytest.mark.parametrize("masking", ["baseline", "attention", "text"])
def test_labels_of_a_classifier_from_one_pass(wordpiece, masking):
    model = classifier()
    together = interact.extract_targets(model, wordpiece, TEXT, targets=["positive", "negative"], masking=masking)
    for label, result in together.items():
        alone = interact.extract(model, wordpiece, TEXT, target=label, masking=masking)
        assert np.allclose(result.values, alone.values, atol=1e-4)
    logits = model(**wordpiece(TEXT, return_tensors="pt")).logits[0].detach().log_softmax(-1)
    said = interact.extract(model, wordpiece, TEXT, target="positive", masking=masking, score="log-probability")
    assert said.total == pytest.approx(float(logits[2]), abs=1e-4)


def entropy(logits):
    return -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1)


@pytest.mark.parametrize("engine", ["flat", "tree", "reorder"])
def test_any_function_of_the_final_logits(byte_level, engine, tmp_path):
    model = causal()
    result = interact.extract(model, byte_level, TEXT, score=entropy, engine=engine, **ASK)
    ids = torch.tensor([result.provenance["input_ids"]])
    assert result.total == pytest.approx(float(entropy(model(ids).logits[0, -1:].detach())), abs=1e-4)
    assert result.provenance["score"]["name"] == "entropy" and "(entropy)" in str(result)
    result.save(tmp_path / "a.interactions")
    assert interact.load(tmp_path / "a.interactions").provenance["score"] == result.provenance["score"]
    assert '"score": {"name": "entropy"' in result.to_json()


def test_games_of_different_scores_have_different_names(byte_level):
    def scaled(by):
        return lambda logits: by * logits[:, 0]

    model = causal()
    scores = [None, "log-odds", "log-probability", "logit", entropy, scaled(1.0), scaled(2.0)]
    names = [interact.game(model, byte_level, TEXT, target=70, score=score, **ASK).identity() for score in scores]
    assert names[0] == names[1] and len(set(names)) == len(scores) - 1
    assert names[-1] == interact.game(model, byte_level, TEXT, target=70, score=scaled(2.0), **ASK).identity()


def test_half_precision_has_a_floor_for_each_answer(byte_level):
    model = causal().to(torch.bfloat16)
    found = interact.extract_targets(model, byte_level, TEXT, targets=["positive", "negative"], target_tokens=1, **ASK)
    floors = [result.provenance["precision"]["sigma"] for result in found.values()]
    assert all(isinstance(floor, float) and floor > 0 for floor in floors) and len(set(floors)) == 2


def test_many_texts_and_a_summary_keep_to_one_score(byte_level, tmp_path):
    model, call = causal(), {**ASK, "target": "positive", "target_tokens": 1, "folder": tmp_path}
    usual = interact.extract_many(model, byte_level, [TEXT], **call)
    other = interact.extract_many(model, byte_level, [TEXT], score="log-probability", **call)
    assert len(list(tmp_path.iterdir())) == 2 and usual[0].total != other[0].total
    with pytest.raises(ValueError, match="different targets or scores"):
        interact.summary([*usual, *other])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"score": "odds"}, r"score='odds' is not known; choose one of \['log-odds'"),
        ({"score": 3}, "or a function of the final logits, but is 3"),
        ({"score": entropy, "target": [5, 6], "target_tokens": "all"}, "the target has 2; pass target_tokens=1"),
        ({"score": "logit", "contrast": "negative", "target_tokens": 1}, "leave score out"),
        ({"score": lambda logits: logits}, r"returns one number per row, a tensor of shape \(\d+,\), but returned \("),
        ({"score": lambda logits: 1.0}, "but returned float"),
        ({"target_tokens": "most"}, "target_tokens must be a number of tokens, 'all' or None, but is 'most'"),
    ],
)
def test_scores_that_mean_nothing_are_sentences(byte_level, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        interact.extract(causal(), byte_level, TEXT, **{**ASK, "target": "positive", "target_tokens": 1, **options})


def test_targets_that_mean_nothing_are_sentences(byte_level, wordpiece):
    model = causal()
    for targets, sentence in (
        ([], "must be a list of different answers"),
        ("positive", "must be a list of different answers"),
        (["positive", "positive"], "must be a list of different answers"),
        (["positive", " positive"], "begins with the same token as another"),
    ):
        with pytest.raises(ValueError, match=sentence):
            interact.extract_targets(model, byte_level, TEXT, targets=targets, target_tokens=1, **ASK)
    with pytest.raises(ValueError, match=r"is scored by its first token, but target_tokens=2"):
        interact.extract_targets(model, byte_level, TEXT, targets=["positive", "old"], target_tokens=2, **ASK)
    with pytest.raises(ValueError, match=r"has no tokens"):
        interact.extract_tokens(classifier(), wordpiece, TEXT, target="positive")
    with pytest.raises(ValueError, match=r"judged apart"):
        interact.extract(classifier(1), wordpiece, TEXT, target=0, score="log-probability")


def test_the_named_scores_agree_with_plain_formulas():
    torch.manual_seed(0)
    logits, target = torch.randn(5, 7), torch.tensor([0, 1, 2, 3, 6])
    p = logits.softmax(-1)[torch.arange(5), target]
    assert torch.allclose(SCORES["log-probability"](logits, target), p.log(), atol=1e-5)
    assert torch.allclose(SCORES["log-odds"](logits, target), (p / (1 - p)).log(), atol=1e-5)
    assert torch.equal(SCORES["logit"](logits, target), logits[torch.arange(5), target])


def test_a_followed_training_keeps_its_score(byte_level, tmp_path):
    usual, other = FollowOptions(), FollowOptions(score="log-probability")
    sample = Example("a", TEXT, "positive", ASK["template"])
    found = [follow_sample(causal(), byte_level, sample, 0, options=one, players=2) for one in (usual, other)]
    assert "score" not in found[0].provenance and found[1].provenance["score"] == {"name": "log-probability"}
    assert found[1].total == pytest.approx(continued(causal(), byte_level, "positive")[0], abs=1e-4)
    assert len({cell_path(tmp_path, sample, 0, 2, one) for one in (usual, other)}) == 2


SHIFT = 5


def shifted(logits):
    return logits[:, SHIFT]


def test_a_function_is_named_by_all_that_it_uses(byte_level, monkeypatch):
    def weighed(weights, *, power=1):
        return lambda logits, power=power: (logits @ weights) ** power

    first, second = torch.zeros(420), torch.zeros(420)
    first[15], second[19] = 1.0, 1.0
    layers = [torch.nn.Linear(420, 1) for _ in range(2)]
    functions = [shifted, weighed(first), weighed(second), weighed(first, power=2), *layers, functools.partial(max, 1)]
    hashes = [function_hash(one) for one in functions]
    assert len(set(hashes)) == len(hashes) and hashes == [function_hash(one) for one in functions]
    assert function_hash(weighed(first.clone())) == hashes[1]
    monkeypatch.setattr(sys.modules[__name__], "SHIFT", 9)
    assert function_hash(shifted) != hashes[0]


def test_kept_results_are_of_the_function_as_it_is_now(byte_level, monkeypatch, tmp_path):
    call = {**ASK, "score": shifted, "folder": tmp_path, "target": 70}
    before = interact.extract_many(causal(), byte_level, [TEXT], **call)
    monkeypatch.setattr(sys.modules[__name__], "SHIFT", 9)
    after = interact.extract_many(causal(), byte_level, [TEXT], **call)
    assert after[0].total == pytest.approx(
        interact.extract(causal(), byte_level, TEXT, **{k: v for k, v in call.items() if k != "folder"}).total
    )
    assert abs(after[0].total - before[0].total) > 1e-3


class AveragingForCausalLM(LlamaForCausalLM):
    """A model that no engine but flat can score: each token also holds the mean of those before it."""

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        position_ids=None,
        inputs_embeds=None,
        use_cache=None,
        logits_to_keep=0,
        **others,
    ):
        x = self.get_input_embeddings()(input_ids) if inputs_embeds is None else inputs_embeds
        count = torch.arange(1, x.shape[1] + 1, device=x.device)[:, None]
        others |= {"attention_mask": attention_mask, "position_ids": position_ids, "logits_to_keep": logits_to_keep}
        return super().forward(inputs_embeds=x + x.cumsum(1) / count, use_cache=use_cache, **others)


def test_a_score_that_is_always_the_same_proves_nothing_about_an_engine(byte_level):
    model = AveragingForCausalLM(causal().config).eval()
    call = {**ASK, "target": 70}
    right = interact.extract(model, byte_level, TEXT, engine="flat", **call)
    interact.extract(model, byte_level, TEXT, score=lambda logits: torch.zeros(len(logits)), **call)
    assert np.allclose(interact.extract(model, byte_level, TEXT, **call).values, right.values, atol=1e-4)


def test_a_function_has_one_answer_and_tokens_have_their_names(byte_level):
    with pytest.raises(ValueError, match="is the same for every answer; name a score"):
        interact.extract_targets(causal(), byte_level, TEXT, targets=[5, 6], score=entropy, **ASK)
    tokens = interact.extract_tokens(causal(), byte_level, TEXT, target=[70, 71, 72], target_tokens=2, **ASK)
    assert len(tokens) == 2 and "(token 2 of " in str(tokens[1])
    with pytest.raises(ValueError, match="target_tokens=4 was requested, but 3 token ids were given"):
        interact.extract_tokens(causal(), byte_level, TEXT, target=[70, 71, 72], target_tokens=4, **ASK)
