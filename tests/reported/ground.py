"""Tokenizers, models, adapters and data files as small as a reported fault needs them."""

import json
import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Trainer, TrainingArguments

from interact import extract, prepare
from interact.sft.data import read_examples

CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TURN = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"


def letters(chat=None):
    """Make a tokenizer with one token per byte; the ids 0 to 2 are CONTROL."""
    pieces = CONTROL + sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE(vocab={p: i for i, p in enumerate(pieces)}, merges=[]))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token=CONTROL[0], pad_token=CONTROL[0], additional_special_tokens=CONTROL[1:]
    )
    tokenizer.chat_template = chat
    return tokenizer


def words(known, single="[CLS] $A [SEP]"):
    """Make a tokenizer with one token per known word, [UNK] for the rest, and BERT's pairs."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *known.split()]
    raw = Tokenizer(models.WordLevel({w: i for i, w in enumerate(pieces)}, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    raw.post_processor = processors.TemplateProcessing(
        single=single, pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def tiny(tokenizer, kind=LlamaForCausalLM, config=LlamaConfig, **more):
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    usual = {"vocab_size": len(tokenizer), "initializer_range": 0.4, "pad_token_id": 0, "eos_token_id": 0}
    return kind(config(**{**usual, **sizes, **more})).eval()


def odds(logits, label):
    others = torch.cat([logits[:label], logits[label + 1 :]])
    return float((logits[label] - others.logsumexp(0)).detach())


def write(folder, name, content):
    path = Path(tempfile.mkdtemp(dir=folder)) / name
    path.write_text(content, "utf-8")
    return path


def factory(folder, rows, name="d.json", **entry):
    """Write a folder of LLaMA-Factory with one set."""
    path = write(folder, name, rows if isinstance(rows, str) else json.dumps(rows))
    (path.parent / "dataset_info.json").write_text(json.dumps({"x": {"file_name": name, **entry}}))
    return path.parent


def talk(*said):
    return {"conversations": [{"from": who, "value": what} for who, what in said]}


def chat(asked, answer, **more):
    return {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer, **more}]}


def pairs(source, **how):
    return [(e.text, e.response) for e in read_examples(source, **how)]


def found(text, players=None):
    return [p.text for p in prepare(letters(), text, players=players, target=5).players]


def shown(text, players):
    return extract(tiny(letters()), letters(), text, players=players, target=70)


def lora(folder, seed=1, base=None, name="default", **more):
    torch.manual_seed(seed)
    options = {"r": 4, "lora_alpha": 64, "target_modules": "all-linear", "init_lora_weights": False}
    config = LoraConfig(**{**options, "task_type": "CAUSAL_LM", **more})
    with warnings.catch_warnings():
        # PEFT's own, of a vocabulary that it saves whole.
        warnings.filterwarnings("ignore", message=".*save_embedding_layers.*")
        model = get_peft_model(base or tiny(letters()), config, adapter_name=name)
        model.save_pretrained(str(folder))


def home(folder, name="base"):
    """Write a base model with its tokenizer."""
    place = Path(tempfile.mkdtemp(dir=folder)) / name
    tiny(letters()).save_pretrained(place)
    letters().save_pretrained(place)
    return place


def fit(tokenizer, follow, out, steps=2, **how):
    rows = [{"input_ids": i, "labels": i} for i in (tokenizer(x)["input_ids"] for x in ("a good movie", "a poor one"))]
    args = TrainingArguments(
        str(out), max_steps=steps, per_device_train_batch_size=1, use_cpu=True, report_to=[], save_steps=1
    )
    with warnings.catch_warnings():
        # torch's own, of a loader without a card.
        warnings.filterwarnings("ignore", message=".*pin_memory.*")
        Trainer(tiny(tokenizer), args, train_dataset=rows, processing_class=tokenizer, callbacks=[follow]).train(**how)


@contextmanager
def told():
    """Collect the sentences of warnings."""
    sentences = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield sentences
    sentences += [str(one.message) for one in caught]
