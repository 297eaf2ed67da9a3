"""What was right when the reports were tried, and stays so."""

import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import LlamaForSequenceClassification, PreTrainedTokenizerFast

from interact import Template, extract, prepare
from interact.models.adapters import put_adapter, swap_checkpoint
from interact.sft.checkpoints import load_checkpoint

from .ground import TURN, factory, found, home, letters, lora, odds, pairs, shown, talk, tiny, told, words, write


@pytest.fixture(autouse=True)
def nothing_is_told():
    """An ordinary prompt, text or file does not start to warn."""
    with told() as sentences:
        yield
    assert [s for s in sentences if not any(word in s for word in ("checkpointing", "merge"))] == []


def bert_like():
    """Make a tokenizer that lowercases, strips accents and composes, so that offsets are not those of its letters."""
    raw = Tokenizer(
        models.BPE(
            vocab={c: i for i, c in enumerate(["<unk>", *map(chr, range(33, 127)), "ı", "▁"])},
            merges=[],
            unk_token="<unk>",
        )
    )
    raw.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>")


@pytest.mark.parametrize("text", ["İstanbul is ½ ﬁne", "ﬁnd ½ cup", "ＡＢＣ good"])
def test_letters_that_a_normalizer_takes_apart_keep_their_player(text):
    inputs = prepare(bert_like(), text, players=text.split(), target=5)
    assert [p.text for p in inputs.players] == text.split()
    assert all(b - a >= 1 for a, b in inputs.spans)


def test_a_beginning_of_sequence_token_stands_once():
    tokenizer = letters("{{ '<|endoftext|>' }}" + TURN)
    assert prepare(tokenizer, "a movie", target=5).input_ids.count(0) == 1


def test_a_template_that_trims_and_one_that_refuses_a_system_message():
    trims = TURN.replace("m.content", "m.content | trim")
    assert prepare(letters(trims), "  a movie ", target=5).text == "  a movie "
    refuses = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + TURN
    )
    with pytest.raises(ValueError, match=r"System role not supported.*or no system message"):
        prepare(letters(refuses), "a movie", template=Template(system="Be brief."))


def test_what_a_text_may_hold():
    with pytest.raises(ValueError, match=r"broken character at 4"):
        prepare(letters(), "bad \ud800")
    assert "&lt;/script&gt;" in shown("so </script> good", ["</script>", "good"])._repr_html_()
    assert found("می‌خواهم فیلم خوب", "all-words") == ["می‌خواهم", "فیلم", "خوب"]
    assert found("movie 😍 bad", ["😍", "bad"]) == ["😍", "bad"]


def test_heads_of_classifiers():
    several = tiny(letters(), LlamaForSequenceClassification, num_labels=3, problem_type="multi_label_classification")
    result = extract(several, letters(), "a witty movie", players=2, target=1)
    logits = several(input_ids=torch.tensor([result.provenance["input_ids"]])).logits[0]
    assert result.total == pytest.approx(float(logits[1].detach()), abs=1e-4)
    with pytest.raises(ValueError, match=r"is a regression"):
        extract(
            tiny(letters(), LlamaForSequenceClassification, num_labels=1, problem_type="regression"),
            letters(),
            "a film",
        )


def test_a_vocabulary_wider_than_the_tokenizer_and_one_narrower():
    wide = tiny(letters(), vocab_size=300)
    result = extract(wide, letters(), "a witty movie", players=2)
    assert 0 <= result.provenance["target"]["ids"][0] < 300
    tokenizer = letters()
    tokenizer.add_tokens(["witty"])
    with pytest.raises(ValueError, match=r"is not in the vocabulary of 259 tokens"):
        extract(tiny(letters()), tokenizer, "a witty movie", players=2)


def test_a_tokenizer_without_special_tokens_and_half_precision():
    raw = Tokenizer(models.WordLevel({"a": 0, "b": 1, "c": 2}, unk_token="a"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw)
    model = tiny(tokenizer, pad_token_id=None, eos_token_id=None)
    result = extract(model, tokenizer, "b c", players=["b"], target=[2], baseline="mean")
    logits = model(input_ids=torch.tensor([result.provenance["input_ids"]])).logits[0, -1]
    assert result.total == pytest.approx(odds(logits, 2), abs=1e-4)
    half = extract(tiny(letters()).to(torch.bfloat16), letters(), "a witty movie", players=2, target=70)
    assert half.provenance["precision"]["sigma"] > 0


def test_adapters_that_are_swapped_disabled_or_merged_for_a_while(tmp_path):
    base = home(tmp_path)
    for step in (2, 4):
        lora(base.parent / f"checkpoint-{step}", step)
    score = lambda model: extract(model, letters(), "a witty movie", players=2, target=70).values  # noqa: E731
    two, four = (load_checkpoint(str(base), base.parent / f"checkpoint-{step}")[0] for step in (2, 4))
    right = score(four)
    with two.disable_adapter():
        assert np.allclose(score(two), score(tiny(letters())), atol=1e-4)
    two.merge_adapter()
    assert np.allclose(score(swap_checkpoint(two, base.parent / "checkpoint-4")), right, atol=1e-3)
    assert np.allclose(score(put_adapter(two.unload(), base.parent / "checkpoint-4")), right, atol=1e-3)


def test_files_that_are_well_made(tmp_path):
    first = talk(("system", "Be brief."), ("human", "good"), ("gpt", "A"))
    assert pairs(factory(tmp_path, [first], formatting="sharegpt")) == [("good", "A")]
    column = {**talk(("human", "good"), ("gpt", "A")), "sys": "Be brief."}
    columns = {"messages": "conversations", "system": "sys"}
    assert pairs(factory(tmp_path, [column], formatting="sharegpt", columns=columns)) == [("good", "A")]
    partial = [{"question": "good", "output": "A"}]
    assert pairs(factory(tmp_path, partial, columns={"prompt": "question"})) == [("good", "A")]
    assert pairs(write(tmp_path, "a.csv", "\ufefftext,response\ngood,A\n")) == [("good", "A")]
    with pytest.raises(ValueError, match=r"Row 2 .* empty response"):
        pairs(write(tmp_path, "a.csv", "text,response\ngood,A\nshort\n"))
    assert pairs(write(tmp_path, "a.json", json.dumps([{"text": "좋은 영화", "response": "긍정"}]))) == [
        ("좋은 영화", "긍정")
    ]


def test_a_dictionary_of_templates_with_a_default():
    assert prepare(letters({"default": TURN, "tool_use": "x"}), "a movie", target=5).input_ids[0] == 1


def test_a_single_sentence_for_a_model_of_pairs():
    tokenizer = words("the man sleeps")
    assert prepare(tokenizer, "the man sleeps", players=["man"]).notes == ()


def test_letters_of_several_tokens_have_their_offsets_twice():
    inputs = prepare(letters(), "很好 é movie", players=["很", "好", "é"], target=5)
    assert [b - a for a, b in inputs.spans] == [3, 3, 2]


def test_tokens_without_characters_belong_to_no_player():
    raw = Tokenizer(models.WordLevel({"<s>": 0, "a": 1, "b": 2, "</s>": 3, "<sep>": 4}, unk_token="a"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    parts = [("<s>", 0), ("</s>", 3), ("<sep>", 4)]
    raw.post_processor = processors.TemplateProcessing(single="<s> <sep> $A </s> </s>", special_tokens=parts)
    inputs = prepare(PreTrainedTokenizerFast(tokenizer_object=raw), "a b", players=["a", "b"], target=[1])
    assert inputs.input_ids == (0, 4, 1, 2, 3, 3) and inputs.spans == ((2, 3), (3, 4))


def test_a_token_over_several_words_makes_one_player_with_a_note():
    raw = Tokenizer(models.WordLevel({"<unk>": 0, "in new york": 1, " it is good": 2}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Split(",", "removed")
    with told() as sentences:
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>")
        inputs = prepare(tokenizer, "in new york, it is good", players=["new", "york", "good"], target=[1])
    assert [p.text for p in inputs.players] == ["new york", "good"]
    assert sentences[0].startswith("'new york' became one player")
