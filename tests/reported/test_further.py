"""Reports of a second round, each tried with an input of our own; docs/reliability.md lists them."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import LlamaForSequenceClassification, PreTrainedTokenizerFast

from interact import Template, extract, prepare
from interact.sft.data import Example
from interact.sft.encoding import EncodedExamples
from interact.sft.training import TrainingOptions, train

from .ground import CONTROL, TURN, factory, letters, odds, pairs, tiny, told, write

CLOSE = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"


def prefixed(chat=CLOSE, trim=True):
    """Make a tokenizer that puts a space before each text, also behind a control token (tokenizers#1300)."""
    pieces = [*CONTROL, *sorted(pre_tokenizers.ByteLevel.alphabet()), "Ġg", "Ġb"]
    raw = Tokenizer(models.BPE(vocab={p: i for i, p in enumerate(pieces)}, merges=[("Ġ", "g"), ("Ġ", "b")]))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=True), decoders.ByteLevel()
    raw.post_processor = processors.ByteLevel(trim_offsets=trim)
    more = {"eos_token": CONTROL[0], "pad_token": CONTROL[0], "additional_special_tokens": CONTROL[1:]}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, **more)
    tokenizer.chat_template = chat
    return tokenizer


class Widthless(PreTrainedTokenizerFast):
    """A tokenizer that tells of each token only where it begins, as Llama 3's did (tokenizers#1517, #1553, #1688)."""

    def __call__(self, *texts, **more):
        found = super().__call__(*texts, **more)
        if "offset_mapping" in found:
            found["offset_mapping"] = [
                (a, b if i in (0, 1, 2) else a)
                for i, (a, b) in zip(found["input_ids"], found["offset_mapping"], strict=True)
            ]
        return found


def worded(kind=PreTrainedTokenizerFast):
    pieces = [*CONTROL, "a", "A", "witty", " witty", " movie", " film", "good"]
    raw = Tokenizer(models.WordLevel({p: i for i, p in enumerate(pieces)}, unk_token="a"))
    raw.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_next")
    tokenizer = kind(tokenizer_object=raw, eos_token=CONTROL[0], additional_special_tokens=CONTROL[1:])
    tokenizer.chat_template = CLOSE
    return tokenizer


def shown(tokenizer, text, players, **more):
    inputs = prepare(tokenizer, text, players=players, target=1, **more)
    return [tokenizer.convert_ids_to_tokens(inputs.input_ids[a:b]) for a, b in inputs.spans]


@pytest.mark.parametrize("trim", [True, False])
def test_the_first_letter_behind_a_control_token_belongs_to_its_word(trim):
    tokenizer = prefixed(trim=trim)
    assert shown(tokenizer, "good bad film", ["good", "bad"]) == [["Ġg", "o", "o", "d"], ["Ġb", "a", "d"]]
    assert shown(tokenizer, "good film", ["good"], template=Template(chat=False)) == [["Ġg", "o", "o", "d"]]
    model = tiny(tokenizer)
    result = extract(model, tokenizer, "good bad", players=["good", "bad"], target=70)
    ids = torch.tensor([result.provenance["input_ids"]])
    absent = torch.where((ids > 2), 0, ids)
    assert result.values[0] == pytest.approx(odds(model(input_ids=absent).logits[0, -1], 70), abs=1e-4)


@pytest.mark.parametrize("chat", [True, False])
def test_tokens_that_are_told_without_their_ends_have_their_characters(chat):
    whole, broken = worded(), worded(Widthless)
    how = {"template": Template(chat=chat)}
    for text, players in (("a witty movie", ["witty", "movie"]), ("A film", ["A"]), ("witty film", ["witty", "film"])):
        assert shown(broken, text, players, **how) == shown(whole, text, players, **how)


def test_tokens_that_stand_for_nothing_stay_without_characters():
    raw = Tokenizer(models.WordLevel({"<unk>": 0, "▁": 1, "▁good": 2, "▁film": 3}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>")
    assert shown(tokenizer, "good film", ["good", "film"]) == [["▁good"], ["▁film"]]


@pytest.mark.parametrize("layout", ["columns", "split", "records", "index"])
def test_json_as_pandas_writes_it(layout, tmp_path):
    # LLaMA-Factory#2571: a set that lies in a file by columns.
    table = pd.DataFrame({"text": ["good", "bad"], "response": ["A", "B"]})
    path = write(tmp_path, "a.json", table.to_json(orient=layout, indent=1))
    assert pairs(path) == [("good", "A"), ("bad", "B")]


def test_an_answer_that_is_cut_is_told_once():
    # LLaMA-Factory#3995, #7985, 360-LLaMA-Factory#26.
    rows = [Example(str(n), "good film", "a very long answer", Template()) for n in range(3)]
    cut = EncodedExamples(tiny(letters()), letters(), rows, 20)
    with told() as sentences:
        ids = [cut[n]["input_ids"] for n in range(3)]
    assert [len(one) for one in ids] == [20] * 3 and len(sentences) == 1 and "learned without its end" in sentences[0]
    with told() as sentences:
        assert EncodedExamples(tiny(letters()), letters(), rows, 40)[0]["input_ids"][-1] == 0
    assert sentences == []


def test_a_system_message_that_the_template_drops_is_told():
    # Rapid-MLX#1765, SUS-Chat#3, chat_templates#15.
    drops = "{% for m in messages if m.role == 'user' %}{{ m.content }}<|im_end|>{% endfor %}"
    for chat, times in ((drops, 1), (TURN, 0), (TURN.replace("m.content", "m.content | trim"), 0)):
        with told() as sentences:
            prepare(letters(chat), "a film", template=Template(system=" Be brief."), target=70)
        assert len([s for s in sentences if "does not write the system message" in s]) == times


def test_arguments_that_a_template_never_reads_are_told_documents_and_tools_too():
    with told() as sentences:
        prepare(letters(TURN), "a film", template=Template(arguments={"documents": [], "tools": []}), target=70)
    assert ["documents, tools" in s for s in sentences] == [True]


def test_words_that_other_readers_take_for_missing_are_labels(tmp_path):
    # datasets#4467.
    rows = [("good", "null"), ("bad", "NA"), ("so", "None"), ("meh", "nan")]
    table = "text,response\n" + "\n".join(",".join(row) for row in rows) + "\n"
    lines = "\n".join(json.dumps({"text": text, "response": response}) for text, response in rows)
    assert pairs(write(tmp_path, "a.csv", table)) == pairs(write(tmp_path, "a.jsonl", lines)) == rows


def test_a_beginning_that_the_tokenizer_writes_is_no_part_of_the_answer():
    # captum#1322, #1366.
    tokenizer = letters()
    special = [("<|im_start|>", 1)]
    tokenizer._tokenizer.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A", special_tokens=special
    )
    plain = Template(answer_prefix=" is", chat=False)
    inputs = prepare(tokenizer, "good film", players=["good"], target="bad", target_tokens="all", template=plain)
    assert inputs.input_ids[0] == 1 and tokenizer.decode(inputs.target_ids) == " bad"


def lora(**more):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    usual = {"r": 4, "lora_alpha": 64, "target_modules": ["q_proj"], "init_lora_weights": False}
    model = get_peft_model(tiny(letters()), LoraConfig(**{**usual, "task_type": "CAUSAL_LM", **more})).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "trainable_tokens" in name or "modules_to_save" in name:
                weight.add_(torch.randn_like(weight))
    return model


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning")
@pytest.mark.parametrize(
    "more",
    [
        {"target_modules": ["embed_tokens", "q_proj"]},  # peft#2018, #2838
        {"modules_to_save": ["embed_tokens"]},
        {"trainable_token_indices": [0, 70, 80]},
        {"use_rslora": True},  # peft#2733
        {"use_dora": True},  # peft#3608
    ],
    ids=str,
)
def test_an_adapter_that_changes_embeddings_changes_what_is_absent_too(more):
    model = lora(**more)
    inputs = prepare(letters(), "a witty movie", players=["witty", "movie"], target=70)
    values = extract(model, letters(), "a witty movie", players=["witty", "movie"], target=70).values
    ids = torch.tensor([inputs.input_ids])
    absent = ids.clone()
    for low, high in inputs.spans:
        absent[0, low:high] = 0
    right = [odds(model(input_ids=one).logits[0, -1], 70) for one in (absent, ids)]
    assert np.allclose(values[[0, -1]], right, atol=1e-3)


@pytest.mark.parametrize(("end", "chat", "times"), [("<|endoftext|>", TURN, 1), ("<|im_end|>", TURN, 0), ("", "", 0)])
def test_a_template_that_ends_answers_otherwise_is_told(end, chat, times, tmp_path):
    # trl#1623, #2059, #5988, #7230.
    tokenizer = letters(chat or None)
    if end:
        tokenizer.eos_token = end
    rows = [Example("a", "good film", "A", Template()), Example("b", "bad film", "B", Template())]
    options = TrainingOptions(method="full", max_length=64, batch_size=1)
    with told() as sentences:
        train(tiny(tokenizer), tokenizer, rows, (), tmp_path, steps=[1], options=options)
    assert len([s for s in sentences if "in a chat it may not stop" in s]) == times


@pytest.mark.parametrize("target", [4.0, True, [], object(), "", np.float32(3)])
def test_a_target_of_another_kind_is_a_sentence(target):
    # captum#1261.
    with pytest.raises(ValueError, match=r"target"):
        prepare(letters(), "good film", players=["good"], target=target)


def test_a_text_of_one_token_and_one_beyond_the_context():
    # shap#3515, inseq#221.
    assert len(extract(tiny(letters()), letters(), "a", players=["a"], target=70).values) == 2
    with pytest.raises(ValueError, match=r"108 tokens long, but the model's context holds 20"):
        extract(tiny(letters(), max_position_embeddings=20), letters(), "a good film " * 9, players=2, target=70)


@pytest.mark.parametrize("single", ["<|im_start|> $A", "$A <|im_end|>", "<|im_start|> $A <|im_end|>", "$A"])
def test_special_tokens_on_either_side_alone(single):
    # shap#3536, #3674.
    tokenizer = letters()
    special = [("<|im_start|>", 1), ("<|im_end|>", 2)]
    tokenizer._tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=special)
    inputs = prepare(tokenizer, "good film", players=["good", "film"], target=[5])
    assert [tokenizer.decode(inputs.input_ids[a:b]) for a, b in inputs.spans] == ["good", "film"]


def test_a_prompt_that_is_written_out_already_is_told():
    # inseq#271, #278.
    written = "<|im_start|>user\ngood film<|im_end|>\n<|im_start|>assistant\n"
    with told() as sentences:
        inputs = prepare(letters(), written, players=["good"], target=70)
    assert "Control tokens belong in the template" in sentences[0] and not set(inputs.input_ids) & {1, 2}
    with told() as sentences:
        inside = Template(user=written.replace("good film", "{text}"), chat=False)
        inputs = prepare(letters(), "good film", players=["good"], target=70, template=inside)
    assert sentences == [] and [i for i in inputs.input_ids if i < 3] == [1, 2, 1]


def test_letters_that_a_normalizer_drops_or_widens_keep_their_player():
    # tokenizers#663.
    known = {"<unk>": 0, "This": 1, "is": 2, "...": 3, "good": 4}
    raw = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    raw.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("\x10", "")])
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>")
    players = ["T\x10his", "is", "…", "good"]
    assert shown(tokenizer, "T\x10his \x10 is … good", players) == [["This"], ["is"], ["..."], ["good"]]


def test_control_tokens_that_eat_white_space_leave_the_players():
    # transformers#33371.
    tokenizer = letters(TURN)
    eating = [AddedToken(name, lstrip=True, rstrip=True) for name in CONTROL[1:]]
    tokenizer.add_special_tokens({"additional_special_tokens": eating})
    inputs = prepare(tokenizer, "good film", players=["good", "film"], target=70)
    assert [tokenizer.decode(inputs.input_ids[a:b]) for a, b in inputs.spans] == ["good", "film"]


def test_labels_are_taken_by_their_names():
    # transformers#3093, fastai#3945.
    names = {0: "1", 1: "0", 2: "10"}
    model = tiny(letters(), LlamaForSequenceClassification, num_labels=3, id2label=names, pad_token_id=2)
    ids = [extract(model, letters(), "a film", players=1, target=one).provenance["target"]["ids"] for one in ("1", 1)]
    assert ids == [[0], [1]]


def test_columns_of_no_name_and_histories(tmp_path):
    # LLaMA-Factory#4108, #4683.
    row = {"instruction": "good", "output": "A"}
    columns = {"prompt": "instruction", "query": "", "response": "output"}
    assert pairs(factory(tmp_path, [row], columns=columns)) == [("good", "A")]
    rows = [{**row, "history": [["x", "y"]]}, {**row, "history": []}]
    with pytest.warns(UserWarning, match=r"1 rows of 'x' have a history"):
        assert pairs(factory(tmp_path, rows, columns={**columns, "history": "history"})) == [("good", "A")]
