"""The score of one answer against others: right in every engine, recorded, and refused where it means nothing."""

import numpy as np
import pytest
import torch

import interact
from interact.engines.score import Contrast, log_odds
from tests.interact.conftest import causal, classifier

TEXT = "a gorgeous, witty movie"


def plain(model, tokenizer, text, answer, others):
    ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
    logits = model(ids).logits[0, -1].detach()
    return float(logits[answer] - logits[others].logsumexp(-1))


def first(tokenizer, words):
    return [tokenizer(f" {word}", add_special_tokens=False)["input_ids"][0] for word in words]


@pytest.mark.parametrize("engine", ["flat", "tree", "reorder"])
def test_the_whole_prompt_scores_the_difference_of_logits(byte_level, engine):
    model, words = causal(), ["positive", "negative", "old"]
    ids = first(byte_level, words)
    assert len(set(ids)) == 3
    call = {"template": interact.Template("{text} is", chat=False), "engine": engine, "target_tokens": 1}
    result = interact.extract(model, byte_level, TEXT, target=words[0], contrast=words[1:], **call)
    assert result.total == pytest.approx(plain(model, byte_level, f"{TEXT} is", ids[0], ids[1:]), abs=1e-4)
    turned = interact.extract(model, byte_level, TEXT, target=words[0], contrast=words[1], **call)
    other = interact.extract(model, byte_level, TEXT, target=words[1], contrast=words[0], **call)
    assert np.allclose(turned.values, -other.values, atol=1e-4)


def test_against_all_other_tokens_it_is_the_usual_score():
    torch.manual_seed(0)
    logits, target = torch.randn(4, 6), torch.tensor([1, 1, 1, 1])
    assert torch.allclose(Contrast((0, 2, 3, 4, 5))(logits, target), log_odds(logits, target))


def test_a_result_says_what_it_was_held_against(byte_level, tmp_path):
    model = causal()
    call = {"target": "positive", "target_tokens": 1, "template": interact.Template("{text} is", chat=False)}
    result = interact.extract(model, byte_level, TEXT, contrast=["negative"], **call)
    assert result.provenance["contrast"]["ids"] == first(byte_level, ["negative"])
    assert " against " in str(result)
    result.save(tmp_path / "a.interactions")
    assert " against " in str(interact.load(tmp_path / "a.interactions"))
    alone = interact.game(model, byte_level, TEXT, **call)
    held = interact.game(model, byte_level, TEXT, contrast="negative", **call)
    assert alone.identity() != held.identity() and "contrast" not in alone.record


def test_labels_are_held_against_labels(wordpiece):
    model = classifier()
    result = interact.extract(model, wordpiece, TEXT, target="positive", contrast="negative")
    logits = model(**wordpiece(TEXT, return_tensors="pt")).logits[0].detach()
    assert result.total == pytest.approx(float(logits[2] - logits[0]), abs=1e-4)
    with pytest.raises(ValueError, match="judged apart"):
        interact.extract(classifier(1), wordpiece, TEXT, target=0, contrast=[])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"target": "positive", "target_tokens": 1, "contrast": "positive"}, "begin with the same token"),
        ({"target": [5, 6], "contrast": "negative"}, "the target has 2"),
        ({"target": "positive", "target_tokens": 1, "contrast": []}, "contrast is empty"),
    ],
)
def test_a_contrast_that_means_nothing_is_refused(byte_level, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        interact.extract(causal(), byte_level, TEXT, template="{text} is", **options)


@pytest.mark.parametrize("number", [7, np.int64(7), torch.tensor(7), [7]])
def test_a_number_is_a_contrast_or_a_target(byte_level, number):
    model = causal()
    template = interact.Template("{text} is", chat=False)
    result = interact.extract(model, byte_level, TEXT, target=5, contrast=number, template=template)
    assert result.provenance["contrast"]["ids"] == [7]
    assert result.total == pytest.approx(plain(model, byte_level, f"{TEXT} is", 5, [7]), abs=1e-4)


def test_answers_that_are_no_answers_are_sentences(byte_level, wordpiece):
    with pytest.raises(ValueError, match=r"The contrast is another answer or a list of answers, but is 3\.5"):
        interact.extract(causal(), byte_level, TEXT, target=5, contrast=3.5)
    for targets in ([[5], [6]], 5.5, "positive", [], [5, 5]):
        with pytest.raises(ValueError, match="targets must be a list of different answers"):
            interact.extract_targets(causal(), byte_level, TEXT, targets=targets)
    label = interact.extract(classifier(), wordpiece, TEXT, target=np.int64(1))
    assert label.provenance["target"]["ids"] == [1]
    with pytest.raises(ValueError, match="The target must be text, a number"):
        interact.extract(classifier(), wordpiece, TEXT, target=["positive"])
