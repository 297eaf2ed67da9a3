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
        takes: Names of the parameters of the model's forward.
    """

    kind: str
    outputs: int
    context: int | None
    layers: int
    width: int
    inner: int
    takes: frozenset[str]


def inspect_model(model: Any) -> Family:
    """Describe a model.

    Raises:
        ValueError: It is an encoder-decoder, or neither a causal language model nor a sequence classifier.
    """
    plain = model.get_base_model() if hasattr(model, "peft_config") else model
    config = plain.config
    name = type(plain).__name__
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
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    weight = plain.get_input_embeddings().weight
    width = int(getattr(text, "hidden_size", None) or weight.shape[1])
    inner = getattr(text, "intermediate_size", None) or getattr(text, "n_inner", None) or 4 * width
    return Family(
        kind="causal" if causal else "classifier",
        outputs=int(getattr(text, "vocab_size", weight.shape[0])) if causal else int(config.num_labels),
        context=getattr(text, "max_position_embeddings", None) or getattr(text, "n_positions", None),
        layers=int(getattr(text, "num_hidden_layers", None) or getattr(text, "n_layer", 1)),
        width=width,
        inner=max(inner) if isinstance(inner, (list, tuple)) else int(inner),
        takes=frozenset(inspect.signature(plain.forward).parameters),
    )


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
    return model.get_input_embeddings().weight.device


def _names(mapping: Any) -> set[str]:
    names: set[str] = set()
    for value in mapping.values():
        names.update([value] if isinstance(value, str) else value)
    return names
