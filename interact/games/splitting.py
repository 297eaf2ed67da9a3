"""Where the scores of games are split: on the card of their model when there is enough to do, else on the CPU."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from interact_kernels.memory import out_of_memory
from interact_kernels.sparsify import AndOrSplit, SplitOptions, and_or_split

SECONDS = 600.0
"""After this the best split found is taken, with its gap said in a warning; only n > 12 can need so long."""
_ALONE, _TOGETHER, _MANY = 11, 8, 8
"""Least players for which a card splits one sample, and for which it splits _MANY samples or more.

An H200 was 11 times faster than 16 threads for one sample of 12 players, and 2.4 times for 256 of 10."""


def split_on(scores: np.ndarray, device: torch.device | None, *, noise: str | None, kappa: float | None) -> AndOrSplit:
    """Split scores where it is fastest.

    Args:
        scores: float64, shape [samples, 2**n].
        device: Where the model that gave them lies; None where there is none.
        noise: How noise of the scores is treated.
        kappa: Its price or bound.

    Returns:
        The splits as NumPy arrays.
    """
    options = SplitOptions(time_limit=SECONDS)
    if device is None or not worth_a_card(device, *scores.shape):
        return and_or_split(scores, noise=noise, kappa=kappa, options=options)
    try:
        split = and_or_split(torch.as_tensor(scores, device=device), noise=noise, kappa=kappa, options=options)
    except RuntimeError as error:
        # The model may leave no room beside it.
        if not out_of_memory(error):
            raise
        return and_or_split(scores, noise=noise, kappa=kappa, options=options)
    parts = {field.name: getattr(split, field.name) for field in dataclasses.fields(split)}
    return AndOrSplit(**{name: part.cpu().numpy() if name != "form" else part for name, part in parts.items()})


def worth_a_card(device: torch.device, samples: int, size: int) -> bool:
    """Say whether a card splits so many samples of `size` scores faster than the CPU would."""
    n = size.bit_length() - 1
    return device.type == "cuda" and (n >= _ALONE or (n >= _TOGETHER and samples >= _MANY))
