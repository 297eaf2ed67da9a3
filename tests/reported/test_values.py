"""Values: the number is the model's own, whatever ran before, whatever the tokenizer hands over beside the ids."""

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    LlamaForSequenceClassification,
    MistralConfig,
    MistralForSequenceClassification,
    Qwen2Config,
    Qwen2ForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    XLMConfig,
    XLMWithLMHeadModel,
)

from interact import CoalitionInputs, Template, coalition_values, extract
from interact.engines import trust

from .ground import TURN, letters, odds, tiny, told, words

ENDS = "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"


@pytest.fixture(autouse=True)
def nothing_is_trusted():
    trust._passed.clear()


def plain(model, result, label, **more):
    return odds(model(input_ids=torch.tensor([result.provenance["input_ids"]]), **more).logits[0], label)


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (LlamaForSequenceClassification, None),
        (Qwen2ForSequenceClassification, Qwen2Config),
        (MistralForSequenceClassification, MistralConfig),
        (GPT2ForSequenceClassification, GPT2Config),
    ],
)
@pytest.mark.parametrize("order", [("open", "ends", "short"), ("short", "open", "ends")])
def test_a_head_that_pools_at_the_padding_says_the_same_in_any_order(kind, config, order):
    prompts = {
        "open": (TURN, "a witty movie was good"),
        "ends": (ENDS, "a witty movie was good"),
        "short": (ENDS, "bad"),
    }
    models = [
        tiny(
            letters(),
            kind,
            **({"config": config} if config else {}),
            num_labels=3,
            pad_token_id=2,
            num_key_value_heads=4,
        )
        for _ in "ab"
    ]
    for number, name in enumerate(order):
        chat, text = prompts[name]
        model, tokenizer = models[number % 2], letters(chat)
        if name == "open":
            result = extract(model, tokenizer, text, players="all-words", target=1)
            assert result.total == pytest.approx(plain(model, result, 1), abs=1e-3)
            continue
        for masking in ("baseline", "attention"):
            with pytest.raises(ValueError, match=r"use masking='text'"):
                extract(model, tokenizer, text, players="all-words", target=1, masking=masking)
        result = extract(model, tokenizer, text, players="all-words", target=1, masking="text")
        assert result.total == pytest.approx(plain(model, result, 1), abs=1e-3)


def test_positions_counted_without_padding_are_not_taken_from_embeddings():
    tokenizer = words("a witty movie was good")
    sizes = {"num_labels": 3, "pad_token_id": 1, "type_vocab_size": 1, "max_position_embeddings": 40}
    model = tiny(tokenizer, RobertaForSequenceClassification, RobertaConfig, **sizes)
    good = extract(model, tokenizer, "a witty movie was good", players=["witty", "good"], target=1, baseline="pad")
    assert good.total == pytest.approx(plain(model, good, 1), abs=1e-3)
    # The id 1 is [UNK] for the tokenizer, and the padding for the model.
    with pytest.raises(ValueError, match=r"counts positions without padding.*masking='text'"):
        extract(model, tokenizer, "a strange movie was good", players=["movie", "good"], target=1, baseline="pad")


def test_half_precision_hides_no_wrong_place():
    model = tiny(letters(), LlamaForSequenceClassification, num_labels=3, pad_token_id=2, initializer_range=0.01)
    with pytest.raises(ValueError, match=r"masking='text'"):
        extract(model.to(torch.bfloat16), letters(ENDS), "a witty movie", players=2, target=1)


PAIR = "the man sleeps a person is not awake 男 睡 人 醒"


def pair_model(tokenizer, **more):
    return tiny(tokenizer, BertForSequenceClassification, BertConfig, num_labels=3, **more)


@pytest.mark.parametrize(
    ("text", "template", "pair"),
    [
        ("the man sleeps", "{text} [SEP] a person is not awake", ("the man sleeps", "a person is not awake")),
        ("a person is not awake", "the man sleeps [SEP] {text}", ("the man sleeps", "a person is not awake")),
        ("男 睡", "{text} [SEP] 人 醒", ("男 睡", "人 醒")),
        ("not awake", Template(user="the man [SEP] a person is {text}"), ("the man", "a person is not awake")),
    ],
)
@pytest.mark.parametrize("masking", ["baseline", "attention", "text"])
def test_the_second_of_two_texts_has_its_token_types(text, template, pair, masking):
    tokenizer = words(PAIR)
    model, known = pair_model(tokenizer), tokenizer(*pair, return_tensors="pt")
    with told() as sentences:
        results = [
            extract(
                model, tokenizer, text, template=template, target=1, players="all-words", masking=masking, engine=engine
            )
            for engine in ("auto", "flat")
        ]
    for result in results:
        assert result.provenance["input_ids"] == known["input_ids"][0].tolist()
        assert result.total == pytest.approx(odds(model(**known).logits[0], 1), abs=1e-4)
        assert np.abs(result.values - results[0].values).max() < 1e-4
    assert sentences == [] and result.provenance["type_ids"] == known["token_type_ids"][0].tolist()
    if masking == "text":
        present = [i for low, high in [p.tokens for p in result.players] for i in range(low, high)]
        ids = known["input_ids"].clone()
        ids[0, present] = tokenizer.unk_token_id
        none = model(input_ids=ids, token_type_ids=known["token_type_ids"]).logits[0]
        assert result.bias == pytest.approx(odds(none, 1), abs=1e-4)


def test_a_pair_that_the_user_typed_has_its_types_too_and_is_told():
    tokenizer = words(PAIR)
    known = tokenizer("the man", "a person", return_tensors="pt")
    with pytest.warns(UserWarning, match=r"control token"):
        result = extract(
            pair_model(tokenizer), tokenizer, "the man [SEP] a person", target=1, players=["man", "person"]
        )
    assert result.provenance["type_ids"] == known["token_type_ids"][0].tolist()


def test_types_of_a_single_text_that_are_not_all_zero_are_handed_over():
    tokenizer = words(PAIR, single="[CLS]:1 $A:1 [SEP]:1")
    model, known = pair_model(tokenizer), tokenizer("the man sleeps", return_tensors="pt")
    assert known["token_type_ids"].all()
    result = extract(model, tokenizer, "the man sleeps", target=1, players=["man", "sleeps"])
    assert result.total == pytest.approx(odds(model(**known).logits[0], 1), abs=1e-4)


def test_more_than_a_pair_is_told_and_a_single_sentence_is_not():
    tokenizer = words(PAIR)
    model = pair_model(tokenizer)
    with pytest.warns(UserWarning, match=r"holds '\[SEP\]' 2 times.*may expect others"):
        result = extract(
            model, tokenizer, "man", template="{text} [SEP] a person [SEP] awake", target=1, players=["man"]
        )
    assert any("[SEP]" in note for note in result.provenance["notes"])
    with told() as sentences:
        result = extract(model, tokenizer, "the man sleeps", target=1, players=["man"])
    assert sentences == [] and not any(result.provenance["type_ids"])


def test_a_model_without_types_is_handed_none():
    tokenizer = words(PAIR)
    model = tiny(
        tokenizer, RobertaForSequenceClassification, RobertaConfig, num_labels=3, pad_token_id=0, type_vocab_size=1
    )
    result = extract(model, tokenizer, "man", template="{text} [SEP] a person", target=1, players=["man"])
    assert result.total == pytest.approx(plain(model, result, 1), abs=1e-4)


@pytest.mark.parametrize("baseline", ["unk", "token:1", 1, None, "vector"])
def test_a_player_that_is_its_own_absence_is_told(baseline):
    tokenizer = words("the movie is so not good")
    model = tiny(tokenizer, BertForSequenceClassification, BertConfig, num_labels=3)
    given = model.get_input_embeddings().weight[1].detach().clone() if baseline == "vector" else baseline
    text, players = "the movie is 素晴らしい good", ["movie", "素晴らしい", "good"]
    with pytest.warns(UserWarning, match=r"'素晴らしい' is what stands for an absent player.*choose another baseline"):
        result = extract(model, tokenizer, text, players=players, target=1, baseline=given)
    assert any("素晴らしい" in note for note in result.provenance["notes"])
    with told() as sentences:
        extract(model, tokenizer, text, players=players, target=1, baseline="pad")
        extract(model, tokenizer, text, players=players, target=1, baseline="mean")
        extract(model, tokenizer, text, players=players, target=1, masking="attention")
    assert sentences == []


@pytest.mark.parametrize("masking", ["baseline", "text"])
def test_the_same_of_two_players_sampled_coalitions_and_raw_ids(masking):
    tokenizer = words("the movie is so not good")
    model = tiny(tokenizer, pad_token_id=0)
    text, players = "the великий movie is wunderbar so good", ["великий", "wunderbar", "movie"]
    with pytest.warns(UserWarning, match=r"'великий', 'wunderbar' are what stands"):
        extract(model, tokenizer, text, players=players, target=5, masking=masking, method="sparse", budget=8)
    with pytest.warns(UserWarning, match=r"'0' is what stands"):
        inputs = CoalitionInputs([2, 1, 5, 6], [(1, 2), (2, 3)], [4], special_ids={"unk": 1}, placeholder_ids=(1,))
        coalition_values(model, inputs, masking=masking)


def test_a_causal_model_that_counts_ids_says_the_same_in_any_order():
    sizes = {
        "emb_dim": 32,
        "n_layers": 2,
        "n_heads": 4,
        "pad_index": 2,
        "causal": True,
        "n_langs": 1,
        "vocab_size": 259,
    }
    torch.manual_seed(0)
    model = XLMWithLMHeadModel(XLMConfig(**sizes, init_std=0.4, embed_init_std=0.4)).eval()
    for chat in (ENDS, None, ENDS):
        try:
            result = extract(model, letters(chat), "a witty movie", players=2, target=70)
        except ValueError as error:
            # A sentence of ours, the same each time.
            assert "masking='text'" in str(error) or "causal" in str(error)
        else:
            logits = model(input_ids=torch.tensor([result.provenance["input_ids"]])).logits[0, -1]
            assert result.total == pytest.approx(odds(logits, 70), abs=1e-3)


def test_a_classifier_is_trained_with_the_types_it_is_asked_with():
    from interact.sft.data import Example
    from interact.sft.encoding import EncodedExamples
    from interact.sft.measuring import answer_losses

    tokenizer = words(PAIR)
    model = pair_model(tokenizer, id2label={0: "no", 1: "yes", 2: "maybe"}, label2id={"no": 0, "yes": 1, "maybe": 2})
    template = Template(user="{text} [SEP] a person is not awake")
    texts = ["the man sleeps", "man"]
    encoded = EncodedExamples(model, tokenizer, [Example(t, t, "yes", template) for t in texts], 64)
    batch = encoded.collate([encoded[0], encoded[1]])
    known = tokenizer(texts, ["a person is not awake"] * 2, padding=True, return_tensors="pt")
    assert batch["token_type_ids"].tolist() == known["token_type_ids"].tolist()
    right = torch.nn.functional.cross_entropy(model(**known).logits, torch.tensor([1, 1]))
    assert answer_losses(model, encoded).label == pytest.approx(float(right.detach()), abs=1e-5)
    other = tiny(letters(), LlamaForSequenceClassification, num_labels=3)
    row = EncodedExamples(other, letters(), [Example("a", "a movie", "LABEL_1")], 64)[0]
    assert set(row) == {"input_ids", "labels"}
