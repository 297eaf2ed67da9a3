"""Work in the middle of a training as if it had not been done: random state, mode, gradients, precision."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from interact.engines.trust import quiet


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Put the random states of Python, NumPy, torch and every GPU back afterwards."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else None
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)


@contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """Look at a model in training without a trace.

    Inside, it is in eval mode, keeps no gradients, and computes in the precision of its weights: the autocast that
    accelerate wraps round a model's forward is taken off, since bfloat16 noise reads as weak interactions. Afterwards
    every module's mode, the forward, the configuration's cache switch and all random states are as before.
    """
    config = getattr(model, "config", None)
    cache = getattr(config, "use_cache", None)
    wrapped = model.__dict__.get("forward")
    original = model.__dict__.get("_original_forward")
    with kept_random_state(), quiet(model), torch.no_grad(), torch.autocast("cpu", enabled=False):
        if original is not None:
            model.forward = original
        try:
            yield
        finally:
            if original is not None:
                model.forward = wrapped
            if cache is not None and config is not None:
                config.use_cache = cache
            if torch.cuda.is_available() and torch.cuda.is_initialized():
                # What the extraction's batches took goes back before the next step needs it.
                torch.cuda.empty_cache()
