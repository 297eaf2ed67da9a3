"""A model attending through a function of ours for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from interact.models.family import unwrapped


@contextmanager
def attending_by(model: Any, name: str) -> Iterator[None]:
    """Let a model attend by the function that transformers' `AttentionInterface` knows under `name`."""
    plain = unwrapped(model)
    before = plain.config._attn_implementation
    try:
        plain.set_attn_implementation(name)
        yield
    finally:
        plain.set_attn_implementation(before)
