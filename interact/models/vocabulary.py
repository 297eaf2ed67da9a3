"""Adapters that bring a vocabulary of another size than their base model has."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoTokenizer

from interact.models.family import held_elsewhere, unwrapped
from interact.models.sources import has_tokenizer

# Whole matrices with a row per token; what LoRA adds to them has lora_ in its name.
_EMBEDDINGS = re.compile(r"(?:^|\.)(?:embed_tokens|wte|word_embeddings|embed_in|lm_head|embed_out)\b")
_INPUT = re.compile(r"(?:^|\.)(?:embed_tokens|wte|word_embeddings|embed_in)\b")


def fit_vocabulary(model: Any, checkpoint: Path) -> None:
    """Give a base model as many tokens as an adapter's own embeddings and tokenizer have, with a warning.

    Raises:
        ValueError: The adapter's embeddings have another number of rows, and it brings no tokenizer that fits them.
    """
    rows = _rows(checkpoint)
    have = unwrapped(model).get_input_embeddings().weight.shape[0]
    sizes = set(rows.values()) - {have}
    if not sizes:
        return
    wanted = sizes.pop()
    whole = any(_INPUT.search(name) for name, size in rows.items() if size == wanted)
    tokens = _tokens(checkpoint)
    if sizes or not whole or tokens is None or tokens > wanted or held_elsewhere(model) is not None:
        told = "it brings no tokenizer" if tokens is None else f"its tokenizer has {tokens} tokens"
        raise ValueError(
            f"The adapter {checkpoint} was trained on a model with {wanted} tokens, but the base model given has "
            f"{have}, and {told}; resize the base model as in the training (resize_token_embeddings({wanted})), or "
            "pass the model it was trained on."
        )
    warnings.warn(
        f"The base model was resized from {have} to {wanted} tokens, as the adapter {checkpoint} and its tokenizer "
        "have.",
        stacklevel=3,
    )
    with torch.random.fork_rng(devices=[]):
        # The new rows are overwritten by those of the adapter.
        unwrapped(model).resize_token_embeddings(wanted, mean_resizing=False)


def _tokens(checkpoint: Path) -> int | None:
    if not has_tokenizer(checkpoint):
        return None
    try:
        return len(AutoTokenizer.from_pretrained(checkpoint))
    except MemoryError:
        raise
    except Exception:
        # Damaged files raise whatever the code that meets them raises; then there is no tokenizer.
        return None


def _rows(checkpoint: Path) -> dict[str, int]:
    """Return the numbers of rows of the embeddings that an adapter brings whole."""
    path = checkpoint / "adapter_model.safetensors"
    if not path.is_file():
        return {}
    try:
        with safe_open(path, "pt") as content:
            shapes = {name: content.get_slice(name).get_shape() for name in content.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        # PEFT meets the same damage, and it is explained there.
        return {}
    whole = {name: shape for name, shape in shapes.items() if "lora_" not in name and len(shape) == 2}
    return {name: shape[0] for name, shape in whole.items() if _EMBEDDINGS.search(name)}
