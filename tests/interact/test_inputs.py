"""Prompts, chat templates, targets, and what is refused."""

import numpy as np
import pytest
import torch

from interact.prompt.inputs import CoalitionInputs, Template, prepare
from interact.prompt.players import Player


def test_only_the_users_text_holds_players(byte_level):
    template = Template(user="movie: {text}\nmovie?", system="movie", answer_prefix="The movie is")
    inputs = prepare(byte_level, "  witty movie ", players=["movie"], template=template, target="positive")
    low, high = inputs.spans[0]
    before = byte_level.decode(list(inputs.input_ids[:low]))
    assert before == "<|system|>\nmovie\n<|user|>\nmovie:   witty"
    assert byte_level.decode(list(inputs.input_ids[high:])).endswith("movie?\n<|assistant|>\nThe movie is")
    assert inputs.players == (Player("movie", (8, 13), (low, high)),)


def test_the_text_is_found_when_the_template_trims_it(byte_level):
    inputs = prepare(byte_level, "  witty movie ", players=["witty", "movie"])
    for player, (low, high) in zip(inputs.players, inputs.spans, strict=True):
        assert byte_level.decode(list(inputs.input_ids[low:high])).strip() == player.text


def test_the_target_is_tokenised_in_context(byte_level):
    spaced = prepare(byte_level, "witty", template=Template(answer_prefix="This review is"), target="positive")
    assert byte_level.decode(list(spaced.target_ids)) == " positive"
    fresh = prepare(byte_level, "witty", target="positive", target_tokens=1)
    assert byte_level.decode(list(fresh.target_ids)) != " positive"
    quoted = prepare(
        byte_level, "witty", template=Template(answer_prefix='It is "'), target="positive", target_tokens=1
    )
    assert not byte_level.decode(list(quoted.target_ids)).startswith(" ")
    several = prepare(byte_level, "witty", target="gorgeous movie", target_tokens=2)
    assert len(several.target_ids) == 2
    assert prepare(byte_level, "witty", target=7).target_ids == (7,)
    assert prepare(byte_level, "witty", target=[7, 8]).target_ids == (7, 8)
    assert prepare(byte_level, "witty").target_ids is None


def test_special_tokens_are_known(byte_level, wordpiece):
    assert prepare(byte_level, "witty").special_ids == {"unk": 1, "eos": 0}
    assert prepare(wordpiece, "witty").special_ids == {"unk": 1, "pad": 0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "zebra"}, "several candidates to score; pass target_tokens=1"),
        ({"target": " "}, "The target is empty"),
        ({"target": 420_000}, "not in the vocabulary"),
        ({"target": "positive", "target_tokens": 9}, "target_tokens=9 was requested"),
        ({"template": "no place"}, "exactly once"),
        ({"template": 5}, "must be a string with"),
        ({"target": 3.5}, "must be text, a number .* but is 3.5"),
        ({"target": [5.7]}, "must be text, a number .* but is .5.7"),
        ({"target": b"ab"}, "must be text, a number"),
        ({"target": ["positive"]}, "must be text, a number"),
        ({"target": True}, "must be text, a number"),
        ({"target": [True]}, "must be text, a number"),
        ({"target": torch.tensor(True)}, "must be text, a number"),
        ({"target": {1: 2}}, "must be text, a number"),
        ({"target": torch.tensor([[2], [1]])}, "must be text, a number"),
        ({"target": np.float32(1)}, "must be text, a number"),
        ({"target": 5, "target_tokens": 1.0}, "target_tokens must be a number of tokens, 'all' or None, but is 1.0"),
        ({"template": Template(system="x", chat=False)}, "A system message needs a chat template"),
        ({"template": "{text} {text}"}, "exactly once"),
    ],
)
def test_bad_targets_and_templates_are_sentences(byte_level, options, message):
    with pytest.raises(ValueError, match=message):
        prepare(byte_level, "witty", **options)


@pytest.mark.parametrize("number", [np.int64(5), torch.tensor(5), [np.int32(5)], np.array([5]), torch.tensor([5])])
def test_numbers_of_numpy_and_torch_are_token_ids(byte_level, number):
    ids = prepare(byte_level, "witty", target=number).target_ids
    assert ids == (5,) and type(ids[0]) is int


def test_a_target_outside_a_closed_vocabulary_is_a_sentence(sentencepiece_like):
    with pytest.raises(ValueError, match="is not in the vocabulary"):
        prepare(sentencepiece_like, "witty", target="ж", target_tokens=1)


def test_a_target_that_merges_with_the_prompt_is_a_sentence(byte_level):
    with pytest.raises(ValueError, match="merges with the end of the prompt"):
        prepare(byte_level, "witty", template=Template(user="{text} ", chat=False), target="movie")


def test_a_chat_template_that_rewrites_the_text_is_refused(byte_level):
    import copy

    other = copy.deepcopy(byte_level)
    other.chat_template = "{% for m in messages %}{{ m['content'] | upper }}{% endfor %}"
    with pytest.raises(ValueError, match="changes the user's text"):
        prepare(other, "witty")
    other.chat_template = None
    with pytest.raises(ValueError, match="the tokenizer has none"):
        prepare(other, "witty", template=Template(chat=True))


def test_a_tokenizer_that_closes_every_text_is_said(wordpiece):
    with pytest.raises(ValueError, match="ends every text with a special token"):
        prepare(wordpiece, "witty", target="movie")


def test_a_slow_tokenizer_is_refused():
    with pytest.raises(ValueError, match="load a fast tokenizer"):
        prepare(object(), "witty")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a text", [(0, 1)]), "input_ids must be a flat list of whole numbers, but is 'a text'"),
        (([[1, 2]], [(0, 1)]), "flat list of whole numbers"),
        (([1.5, 2], [(0, 1)]), "flat list of whole numbers"),
        (([1, 2], [0, 1]), r"\(start, end\) pairs of whole numbers, but are \[0, 1\]"),
        (([1, 2], [(0, 1)], 7), "target_ids must be a flat list of whole numbers, but is 7"),
        (([], []), "input_ids is empty"),
        (([1, 2], [(1, 3)]), "lies outside"),
        (([1, 2], [(0, 2), (1, 2)]), "overlaps"),
        (([1, 2], [(1, 1)]), "is empty"),
        (([1, 2], [(0, 1)], []), "target_ids is empty"),
    ],
)
def test_bad_raw_inputs_are_sentences(arguments, message):
    with pytest.raises(ValueError, match=message):
        CoalitionInputs(*arguments)
