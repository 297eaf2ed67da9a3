"""Checkpoints of a fine-tuning: finding them, and putting one on its base model.

Read are PEFT adapters and whole models, in folders named ``step-N`` (ours) or ``checkpoint-N`` (transformers' Trainer,
TRL, LLaMA-Factory).
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from interact.models import embedded
from interact.models.adapters import check_names, check_seal, put_adapter, swap_checkpoint
from interact.models.load import load_model, load_tokenizer, load_trainable
from interact.models.placement import DTYPES, placed, settled_dtype
from interact.models.sources import STEP, adapter_folder, kind_of
from interact.sft.undisturbed import kept_random_state

__all__ = ["find_checkpoints", "fresh_classifier", "load_checkpoint", "put_adapter", "swap_checkpoint"]


def find_checkpoints(folder: str | Path) -> dict[int, Path]:
    """Find the checkpoints of a finished or killed training.

    Args:
        folder: Its output folder; its own adapter or model counts as the last step, if a trainer state says which.

    Returns:
        {step: checkpoint}, in the order of the steps.

    Raises:
        ValueError: The folder does not exist or holds no checkpoint.

    >>> find_checkpoints("saves/qwen/lora/sft")  # doctest: +SKIP
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise ValueError(f"The folder of checkpoints {folder} does not exist; check the path.")
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        match = STEP.fullmatch(path.name)
        if match is None or not path.is_dir():
            continue
        try:
            place = adapter_folder(path)
        except ValueError as error:
            warnings.warn(f"Left out: {error}", stacklevel=2)
            continue
        if kind_of(place) is None:
            warnings.warn(f"{path} holds neither an adapter nor a model: left out.", stacklevel=2)
        else:
            found[int(match[1])] = place
    last = _last_step(folder)
    if last is not None and last not in found and kind_of(folder) is not None:
        found[last] = folder
    if not found:
        raise ValueError(
            f"{folder} holds no checkpoints; expected are folders step-N or checkpoint-N with an adapter "
            "(adapter_config.json) or a model (config.json) in each."
        )
    return dict(sorted(found.items()))


def load_checkpoint(
    base: str | Any,
    checkpoint: str | Path,
    *,
    dtype: str = "auto",
    device: str = "auto",
    device_map: str | None = None,
    bits: int | None = None,
) -> tuple[Any, Any]:
    """Load a checkpoint: an adapter on its base model, or a whole model.

    Args:
        base: The base model: a folder, an embedded name or a hub id. For whole models it is not needed ("").
        checkpoint: A folder as `find_checkpoints` returns.
        dtype: Precision of the weights, see `interact.load_model`.
        device: A torch device, see `interact.load_model`.
        device_map: See `interact.load_model`.
        bits: See `interact.load_model`.

    Returns:
        The model in eval mode, and the tokenizer. `swap_checkpoint` puts another checkpoint's adapter on it.

    Raises:
        ValueError: No checkpoint, or the adapter of another base model.
        RuntimeError: The base model cannot be loaded.

    >>> load_checkpoint("smollm2", "checkpoints/step-100")  # doctest: +SKIP
    """
    checkpoint = adapter_folder(Path(checkpoint).expanduser())
    kind = kind_of(checkpoint)
    if kind is None:
        raise ValueError(f"{checkpoint} holds neither an adapter (adapter_config.json) nor a model; check the path.")
    check_seal(checkpoint)
    place: dict[str, Any] = {"dtype": dtype, "device": device, "device_map": device_map, "bits": bits}
    if kind == "model":
        return load_model(str(checkpoint), **place)
    check_names(str(base), checkpoint)
    model, tokenizer = load_trainable(str(base), **place)
    rows = model.get_input_embeddings().weight.shape[0]
    model = put_adapter(model, checkpoint)
    if model.get_input_embeddings().weight.shape[0] != rows:
        # The adapter has brought its own vocabulary.
        tokenizer = load_tokenizer(str(checkpoint))
    return model, tokenizer


def fresh_classifier(
    name: str, labels: list[str], *, seed: int = 0, dtype: str = "auto", device: str = "auto"
) -> tuple[Any, Any]:
    """Load an encoder with a new classification head, drawn from the seed.

    Args:
        name: A model folder, the embedded ``"minilm"``, or a hub id.
        labels: The labels' names, in order.
        seed: Seed of the head.
        dtype: Precision of the weights, see `interact.load_model`.
        device: A torch device, see `interact.load_model`.

    Raises:
        ValueError: Fewer than two labels, or one twice.
        RuntimeError: The model cannot be loaded.

    >>> fresh_classifier("minilm", ["negative", "positive"])  # doctest: +SKIP
    """
    if len(labels) < 2 or len(set(labels)) < len(labels):
        raise ValueError(f"A classifier needs two or more different labels, but got {labels}.")
    place = placed(dtype, device)
    folder = str(embedded.fetch(name)) if name in embedded.NAMES else name
    names = dict(enumerate(labels))
    try:
        with kept_random_state():
            torch.manual_seed(seed)
            model = AutoModelForSequenceClassification.from_pretrained(
                folder,
                dtype=DTYPES[settled_dtype(dtype, place.device, folder)],
                id2label=names,
                label2id={label: i for i, label in names.items()},
            )
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except MemoryError:
        raise
    except Exception as error:
        # Damaged files raise whatever the code that meets them raises.
        raise RuntimeError(
            f"The encoder {name!r} could not be loaded: {error} Check the folder or the hub id."
        ) from error
    # The head is drawn on the CPU, so that a seed means the same everywhere.
    return model.to(place.device).eval(), tokenizer


def _last_step(folder: Path) -> int | None:
    try:
        return int(json.loads((folder / "trainer_state.json").read_text("utf-8-sig"))["global_step"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
