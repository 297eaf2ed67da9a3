"""Hashes of a model's weights, by which a later run knows whether it has the same ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import torch

from interact.models.family import held_elsewhere, unwrapped


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


def state_fingerprint(model: Any) -> str | None:
    """Return a hash of all that a model computes with (64 values of each weight), adapters included.

    The next checkpoint of a training has another one. None where the weights are offloaded or quantised.
    """
    if held_elsewhere(model) is not None:
        return None
    return _hashed(unwrapped(model).parameters(), torch.float32)


def _hashed(weights: Iterable[torch.Tensor], dtype: torch.dtype) -> str:
    digest = hashlib.sha256()
    for weight in weights:
        flat = weight.detach().flatten()
        sample = flat[:: max(1, flat.numel() // 64)][:64].to(dtype).float().cpu()
        digest.update(str(tuple(weight.shape)).encode() + sample.numpy().tobytes())
    return digest.hexdigest()[:16]
