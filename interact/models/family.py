"""What a Hugging Face model is: causal or classifier, its context, its sizes, its quirks."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
)

_PLAIN = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Family:
    """What the forward engines need to know of a model.

    Attributes:
        kind: ``"causal"`` (scores next tokens) or ``"classifier"`` (scores labels).
        outputs: Vocabulary size or number of labels.
        context: Most tokens the model was built for, None when it names no limit.
        layers: Number of layers.
        width: Hidden size.
        inner: Size of the feed-forward layers.
        cached: Values that a token leaves in the cache of a layer, its key and its value (an upper bound for hybrids).
        takes: Names of the parameters of the model's forward.
        independent: Whether the labels of a classifier are judged apart from each other (one label, or several that
            may hold at once), so that a label's logit is its log-odds.
        reads_last: Whether the answer is read at the last token (else at the first).
        first_position: Position id of the first token.
    """

    kind: str
    outputs: int
    context: int | None
    layers: int
    width: int
    inner: int
    cached: int
    takes: frozenset[str]
    independent: bool
    reads_last: bool
    first_position: int


def inspect_model(model: Any) -> Family:
    """Describe a model.

    Raises:
        ValueError: It is an encoder-decoder, or neither a causal language model nor a sequence classifier.
    """
    if not isinstance(model, torch.nn.Module):
        raise ValueError(f"The model must be a loaded Hugging Face model, but is {model!r:.80}; load it first.")
    plain = unwrapped(model)
    config = getattr(plain, "config", None)
    name = type(plain).__name__
    if config is None:
        inside = "; pass what it wraps (.module)" if isinstance(getattr(plain, "module", None), torch.nn.Module) else ""
        raise ValueError(f"{name} is not a Hugging Face model (it has no config){inside}.")
    if getattr(config, "is_encoder_decoder", False):
        raise ValueError(f"{name} is an encoder-decoder; interact takes causal language models and classifiers.")
    causal = name in _names(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) or name.endswith(("ForCausalLM", "LMHeadModel"))
    classifier = name in _names(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES) or name.endswith(
        "ForSequenceClassification"
    )
    if not (causal or classifier):
        raise ValueError(
            f"{name} is neither a causal language model nor a sequence classifier; load it with "
            "AutoModelForCausalLM or AutoModelForSequenceClassification."
        )
    problem = getattr(config, "problem_type", None)
    if classifier and problem == "regression":
        raise ValueError(f"{name} is a regression, which has no log-odds; interact takes classifiers.")
    if classifier and hasattr(plain, "score") and config.pad_token_id is None:
        raise ValueError(
            f"{name} reads its answer at the last token that is not padding, but its config has no pad_token_id; set "
            "model.config.pad_token_id to a token that prompts do not end with."
        )
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    weight = plain.get_input_embeddings().weight
    width = int(getattr(text, "hidden_size", None) or weight.shape[1])
    inner = getattr(text, "intermediate_size", None) or getattr(text, "n_inner", None) or 4 * width
    return Family(
        kind="causal" if causal else "classifier",
        outputs=int(getattr(text, "vocab_size", weight.shape[0])) if causal else int(config.num_labels),
        context=_context(plain, text),
        layers=int(getattr(text, "num_hidden_layers", None) or getattr(text, "n_layer", 1)),
        width=width,
        inner=max(inner) if isinstance(inner, (list, tuple)) else int(inner),
        cached=_cached(text, width),
        takes=frozenset(inspect.signature(plain.forward).parameters),
        independent=classifier and (config.num_labels == 1 or problem == "multi_label_classification"),
        reads_last=causal or hasattr(plain, "score"),
        first_position=_first_position(plain),
    )


def unwrapped(model: Any) -> Any:
    """Return the model inside the wrappers of torch and PEFT."""
    model = opened(model)
    return opened(model.get_base_model()) if hasattr(model, "get_base_model") else model


def opened(model: Any) -> Any:
    """Return the model inside the wrappers of torch, which only change how it is run."""
    while True:
        if hasattr(model, "_orig_mod"):
            model = model._orig_mod
        elif isinstance(model, (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)):
            model = model.module
        else:
            return model


def _cached(text: Any, width: int) -> int:
    # From the written form: where layers differ, some configurations refuse to be asked for one value.
    sizes = text.to_dict()
    heads = sizes.get("num_attention_heads") or 1
    keys = sizes.get("num_key_value_heads") or heads
    if not isinstance(heads, int) or not isinstance(keys, int):
        return 2 * width
    return 2 * keys * int(sizes.get("head_dim") or width // heads)


def length_dependent_positions(model: Any) -> str | None:
    """Say which position encodings of a model depend on the length of a call, or None."""
    kinds = sorted(_rope_types(unwrapped(model).config.to_dict()) & {"dynamic", "longrope"})
    return f"{kinds[0]} position encodings depend on the length of a call" if kinds else None


def _rope_types(part: Any) -> set[str]:
    """Collect every rope type in a configuration, wherever a family keeps it."""
    if not isinstance(part, dict):
        return set()
    own = {str(part[key]) for key in ("rope_type", "type") if isinstance(part.get(key), str)}
    return own.union(*(_rope_types(inner) for inner in part.values()))


def _context(plain: Any, text: Any) -> int | None:
    limit = getattr(text, "max_position_embeddings", None) or getattr(text, "n_positions", None)
    if limit is not None and limit < 1:
        # XLNet says -1 for no limit.
        return None
    return limit if limit is None else limit - _first_position(plain)


def _first_position(plain: Any) -> int:
    # RoBERTa and its kin count positions from behind the padding index.
    table = getattr(getattr(plain.base_model, "embeddings", None), "position_embeddings", None)
    reserved = getattr(table, "padding_idx", None)
    return 0 if reserved is None else reserved + 1


def takes_types(model: Any, family: Family, kinds: int = 2) -> bool:
    """Say whether a model tells so many kinds of token types apart: 2 for the texts of a pair."""
    known = getattr(model.config, "type_vocab_size", None)
    return "token_type_ids" in family.takes and (known is None or known >= kinds)


def label_index(model: Any, label: str | int) -> int:
    """Return the index of a classifier's label, given by name (any case) or number.

    Raises:
        ValueError: The classifier has no such label, or several that differ only in case.
    """
    names = {int(i): str(name) for i, name in (getattr(model.config, "id2label", None) or {}).items()}
    if isinstance(label, int):
        if 0 <= label < model.config.num_labels:
            return label
        raise ValueError(f"The label {label} does not exist; this classifier has {model.config.num_labels} labels.")
    found = [i for i, name in names.items() if name == label]
    found = found or [i for i, name in names.items() if name.lower() == label.lower()]
    if len(found) != 1:
        raise ValueError(f"The label {label!r} names {len(found)} labels of this classifier; it has {names}.")
    return found[0]


def device_of(model: Any) -> torch.device:
    """Return where the model's inputs belong."""
    embedding = model.get_input_embeddings()
    hook = getattr(embedding, "_hf_hook", None)
    for one in (hook, *getattr(hook, "hooks", ())):
        # Weights that accelerate offloads lie on no device between two calls; it computes with them here.
        if (device := getattr(one, "execution_device", None)) is not None:
            return torch.device(device)
    return embedding.weight.device


def held_elsewhere(model: Any) -> str | None:
    """Say how a model holds its weights, ``"offloaded"`` or ``"quantised"``, where they are not plain numbers here."""
    plain = unwrapped(model)
    weights = list(plain.parameters())
    if any(weight.is_meta for weight in weights):
        return "offloaded"
    # GPTQ keeps integers as buffers, torchao behind a tensor that says it is bfloat16.
    odd = any(type(w.data) is not torch.Tensor or w.dtype not in _PLAIN for w in weights)
    told = getattr(plain.config, "quantization_config", None) or getattr(plain, "is_quantized", False)
    return "quantised" if odd or told else None


def _names(mapping: Any) -> set[str]:
    names: set[str] = set()
    for value in mapping.values():
        names.update([value] if isinstance(value, str) else value)
    return names
