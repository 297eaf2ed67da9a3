"""Hashes of a model's weights, by which a later run knows whether it has the same ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import torch
from torch.utils.weak import WeakTensorKeyDictionary

from interact.models.family import held_elsewhere, length_dependent_positions, unwrapped

_NOT_COMPUTED_WITH = ("_name_or_path", "transformers_version", "architectures")
_OF_ADAPTERS = ("_active_adapter", "active_adapter", "_disable_adapters", "scaling", "merged_adapters")
_SPOTS, _PRIME = 1024, 2654435761
"""Places of a weight that are read each time, spread over its rows and columns."""
_known: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def kept_otherwise(model: Any) -> str | None:
    """Say why a model's `fingerprint` is not that of the same weights elsewhere: ``"float16"`` rounds, others hide."""
    if (kind := held_elsewhere(model)) is not None:
        return kind
    return "float16" if any(w.dtype == torch.float16 for w in unwrapped(model).parameters()) else None


def fingerprint(model: Any) -> str:
    """Return a hash of a model's weights (64 values of each, in bfloat16), without what PEFT added."""
    named = unwrapped(model).named_parameters()
    plain = [weight for name, weight in named if "lora_" not in name and "modules_to_save" not in name]
    return _hashed(plain, torch.bfloat16)


def state_fingerprint(model: Any) -> str:
    """Return a hash of all that a model computes with: weights, buffers, configuration, adapters and their state.

    All bits of each weight and buffer count, as sums, so that the next checkpoint of a training, or one that differs in
    a single number, has another one. (What writes through ``weight.data`` after a first call is seen at 1,024 places
    alone.) Of what is offloaded only the shape counts.
    """
    digest = hashlib.sha256()
    # Of some position encodings a long prompt rewrites the frequencies.
    rewritten = "inv_freq" if length_dependent_positions(model) else None
    for name, weight in (*model.named_parameters(), *model.named_buffers()):
        if name.rpartition(".")[2] == rewritten:
            continue
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)} {_sums(weight)}".encode())
    config = {k: v for k, v in model.config.to_dict().items() if k not in _NOT_COMPUTED_WITH}
    digest.update(json.dumps([config, _adapters(model)], sort_keys=True, default=str).encode())
    return digest.hexdigest()[:16]


def _sums(weight: torch.Tensor) -> list[int]:
    """Return sums of the bits of a weight, which no order of adding changes: of all, by row, by column, by place."""
    if weight.is_meta or not weight.numel():
        return []
    try:
        words = _words(weight.detach())
    except (RuntimeError, NotImplementedError, TypeError):
        return []  # A tensor whose numbers cannot be read (torchao).
    places = torch.arange(1, 1 + max(_SPOTS, *words.shape), device=words.device)
    some = words.flatten()[(places[:_SPOTS] * _PRIME) % words.numel()]
    spots = int((some * places[:_SPOTS]).sum())
    # Sums read all of a weight, so they are kept while its version stays; one made in inference mode has no version.
    state = None if weight.is_inference() else (weight.data_ptr(), weight._version, spots)
    if (known := _known.get(weight)) is None or known[0] != state or state is None:
        rows, columns = words.sum(1), words.sum(0)
        sums = rows.sum(), (rows * places[: len(rows)]).sum(), (columns * places[: len(columns)]).sum()
        known = state, [int(one) for one in sums]
        if state is not None:
            _known[weight] = known
    return [*known[1], spots]


def _words(weight: torch.Tensor) -> torch.Tensor:
    """Return the bits of a weight as int64, [rows, words of a row]; one row where rows are no whole words."""
    plain = weight.contiguous().flatten().view(torch.uint8)
    rows = weight.shape[0] if weight.dim() > 1 and not len(plain) // weight.shape[0] % 8 else 1
    if short := -len(plain) % 8:
        plain = torch.nn.functional.pad(plain, (0, short))
    return plain.view(torch.int64).reshape(rows, -1)


def _adapters(model: Any) -> list[Any]:
    """Return which adapters of PEFT take part, and how strongly."""
    found: list[Any] = []
    for name, module in model.named_modules():
        told = {key: getattr(module, key, None) for key in _OF_ADAPTERS}
        if any(value is not None for value in told.values()):
            found.append([name, {key: value for key, value in told.items() if value is not None}])
    return found


def _hashed(weights: Iterable[torch.Tensor], dtype: torch.dtype) -> str:
    digest = hashlib.sha256()
    for weight in weights:
        flat = weight.detach().flatten()
        sample = flat[:: max(1, flat.numel() // 64)][:64].to(dtype).float().cpu()
        digest.update(str(tuple(weight.shape)).encode() + sample.numpy().tobytes())
    return digest.hexdigest()[:16]
