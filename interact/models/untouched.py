"""Whether a model's weights are still those that were loaded.

An adapter belongs to the weights that it was trained on. Merging another adapter, or training on, changes them in
place, and nothing in the model says so: so a few numbers of each weight are kept when it is loaded, or read from
its files.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from safetensors import SafetensorError, safe_open

from interact.models.family import held_elsewhere, unwrapped

_VALUES = 64
_ROUNDING = 4
"""How many steps of float32 a weight may have moved: adding and taking away an adapter rounds twice.

In half precision such a step is as large as what an adapter adds, so there nothing may have moved."""


def remember(model: Any) -> None:
    """Keep a few numbers of each weight, to be compared with later."""
    if held_elsewhere(model) is None:
        unwrapped(model).interact_loaded = {name: _sample(weight) for name, weight in _weights(model)}


@torch.no_grad()
def changed_weight(model: Any) -> str | None:
    """Return the name of a weight that is not what was loaded, or None where none is, or nothing is known."""
    if held_elsewhere(model) is not None:
        return None
    known = getattr(unwrapped(model), "interact_loaded", None)
    there = known.get if known is not None else _on_disk(str(getattr(unwrapped(model).config, "_name_or_path", "")))
    for name, weight in _weights(model):
        before = there(name)
        if before is None:
            continue
        now = _sample(weight)
        before = before.to(now.device, weight.dtype).float()
        if before.shape != now.shape:
            continue
        fine = weight.dtype in (torch.float32, torch.float64)
        slack = _ROUNDING * torch.finfo(weight.dtype).eps * float(before.abs().max()) if fine else 0.0
        if not torch.allclose(now, before, rtol=0, atol=slack, equal_nan=True):
            return name
    return None


def _weights(model: Any) -> list[tuple[str, torch.Tensor]]:
    """Return the weights of the model below its adapters, by the names they have without any."""
    found = []
    for name, weight in unwrapped(model).named_parameters():
        if "lora_" not in name and "modules_to_save" not in name and weight.is_floating_point() and weight.dim():
            found.append((name.replace(".base_layer", "").replace(".original_module", ""), weight.detach()))
    return found


def _sample(weight: torch.Tensor) -> torch.Tensor:
    return torch.cat([weight[0].flatten()[:_VALUES], weight[-1].flatten()[:_VALUES]]).float()


def _on_disk(name: str) -> Callable[[str], torch.Tensor | None]:
    """Return what reads the same numbers from the model's files, where they are on this machine."""
    files = _files(name)

    def read(weight: str) -> torch.Tensor | None:
        if weight not in files:
            return None
        try:
            with safe_open(files[weight], "pt") as content:
                rows = content.get_slice(weight)
                return torch.cat([rows[:1].flatten()[:_VALUES], rows[-1:].flatten()[:_VALUES]])
        except (OSError, SafetensorError, RuntimeError, ValueError):
            return None

    return read


def _files(name: str) -> dict[str, Path]:
    """Return which file of a model holds each weight; nothing where it has no safetensors here."""
    place = _here(name, "model.safetensors")
    try:
        if place is not None:
            with safe_open(place, "pt") as content:
                return dict.fromkeys(content.keys(), place)
        index = _here(name, "model.safetensors.index.json")
        if index is None:
            return {}
        parts = json.loads(index.read_text("utf-8-sig"))["weight_map"]
        found = {weight: _here(name, part) for weight, part in parts.items()}
        return {weight: path for weight, path in found.items() if path is not None}
    except (OSError, SafetensorError, ValueError, KeyError):
        return {}


def _here(name: str, file: str) -> Path | None:
    if not name:
        return None
    path = Path(name).expanduser() / file
    if path.is_file():
        return path
    try:
        cached = try_to_load_from_cache(name, file)
    except ValueError:
        # A path is no name of the hub.
        return None
    return Path(cached) if isinstance(cached, str) else None
