"""A model's own cache, whatever its name and whatever it holds: how large it is, and a copy with other rows."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Set
from typing import Any

import numpy as np
import torch

_NAMES = ("cache", "past_key_values", "cache_params", "layer_past")
"""What releases and families of transformers call a cache, in arguments and outputs, newest first."""


def cache_argument(takes: Set[str]) -> str | None:
    """Return the name by which a forward takes a cache, None when it takes none; `takes`: its parameters.

    >>> cache_argument({"input_ids", "past_key_values"})
    'past_key_values'
    """
    return next((name for name in _NAMES if name in takes), None)


def cache_of(output: Any) -> Any:
    """Return the cache that a model's output carries, None when it carries none."""
    # The fields alone: an old name may be kept as a property that warns.
    fields = vars(output)
    return next((fields[name] for name in _NAMES if fields.get(name) is not None), None)


def branch(cache: Any, rows: np.ndarray, *, keep: bool) -> Any:
    """Return a cache whose row i is row `rows[i]` of a cache; without `keep` that one is used up.

    >>> branch(cache, np.array([0, 0, 1, 1]), keep=True)  # doctest: +SKIP
    """
    tensors = list(_tensors(cache, set()))
    if keep:
        # The structure is copied, the tensors are not: reordering makes new ones.
        cache = copy.deepcopy(cache, {id(tensor): tensor for tensor in tensors})
    device = tensors[0].device if tensors else None
    cache.reorder_cache(torch.from_numpy(rows).to(device))
    return cache


def held_bytes(cache: Any) -> int:
    """Return how many bytes the tensors of a cache take."""
    return sum(tensor.nbytes for tensor in _tensors(cache, set()))


def _tensors(part: Any, seen: set[int]) -> Iterator[torch.Tensor]:
    """Yield the tensors in a cache, wherever it keeps them."""
    if id(part) in seen:
        return
    seen.add(id(part))
    if isinstance(part, torch.Tensor):
        yield part
        return
    if isinstance(part, dict):
        inner: Any = part.values()
    elif isinstance(part, (list, tuple)):
        inner = part
    else:
        inner = vars(part).values() if hasattr(part, "__dict__") and not isinstance(part, type) else ()
    for one in inner:
        yield from _tensors(one, seen)
