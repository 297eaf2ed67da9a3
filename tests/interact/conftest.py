"""Tiny tokenizers trained here and tiny random models: real code paths, no download."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedTokenizerFast,
)

from interact.models.embedded import wheels
from interact.models.embedded.sources import SOURCES, Source
from tests.interact.package_index import Index

CORPUS = [
    "a gorgeous, witty, seductive movie",
    "not a boring film but a quiet, moving one",
    "the plot is thin and the jokes are old",
    "this review is positive, that review is negative",
]
CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] | trim }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def byte_level_tokenizer() -> PreTrainedTokenizerFast:
    """Train a tiny byte-level tokenizer with a chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=["<|end|>", "<|unk|>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(CORPUS, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", unk_token="<|unk|>")
    fast.chat_template = CHAT
    return fast


@pytest.fixture(scope="session")
def byte_level() -> PreTrainedTokenizerFast:
    return byte_level_tokenizer()


@pytest.fixture(scope="session")
def sentencepiece_like() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=["<s>", "<unk>", "</s>"], unk_token="<unk>")
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", unk_token="<unk>", eos_token="</s>", pad_token="</s>"
    )


@pytest.fixture(scope="session")
def wordpiece() -> PreTrainedTokenizerFast:
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=150, special_tokens=specials))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )


def causal(name: str = "llama", **changes):
    """Build a tiny random causal model whose answer depends on every token."""
    torch.manual_seed(0)
    common = {
        "vocab_size": 420,
        "initializer_range": 0.2,
        "pad_token_id": None,
        "eos_token_id": 0,
        "bos_token_id": None,
    }
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"intermediate_size": 64, "num_key_value_heads": 2, "max_position_embeddings": 256}
    if name == "llama":
        model = LlamaForCausalLM(LlamaConfig(**{**common, **sizes, **changes}))
    elif name == "gemma3":
        layers = {"sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"], "head_dim": 8}
        model = Gemma3ForCausalLM(
            Gemma3TextConfig(**{**common, **sizes, **layers, "query_pre_attn_scalar": 8, **changes})
        )
    elif name == "gpt2":
        model = GPT2LMHeadModel(
            GPT2Config(**{**common, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256, **changes})
        )
    else:
        del sizes["intermediate_size"], sizes["num_key_value_heads"], common["initializer_range"]
        options = {"ffn_dim": 64, "word_embed_proj_dim": 32, "init_std": 0.2, "pad_token_id": 1}
        model = OPTForCausalLM(OPTConfig(**{**common, **sizes, **options, **changes}))
    return model.eval()


def classifier(labels: int = 3, **changes):
    """Build a tiny random BERT with a classification head."""
    torch.manual_seed(0)
    names = dict(enumerate(["negative", "neutral", "positive"][:labels]))
    config = BertConfig(
        vocab_size=150,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        initializer_range=0.2,
        num_labels=labels,
        **({"id2label": names, "label2id": {v: k for k, v in names.items()}} if labels == 3 else {}),
        **changes,
    )
    return BertForSequenceClassification(config).eval()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory, byte_level):
    place = tmp_path_factory.mktemp("model")
    causal().save_pretrained(place)
    byte_level.save_pretrained(place)
    return str(place)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    folder = tmp_path / "index"
    folder.mkdir()
    index = Index(folder, [])
    monkeypatch.setattr(wheels, "download", index.download)
    return index


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Source], Source]:
    def offer(source: Source) -> Source:
        monkeypatch.setitem(SOURCES, source.name, source)
        return source

    return offer
