"""All scores of a few real prompts, so that estimators can be held against exact effects; computed once, kept here.

::

    python -m bench.lattices       # scores what is missing, with SmolLM2 in float32; resumable

A short review with its content words as players, the first of the file's seventh rows with 12 of them, with attention
masking; the score is the log-odds of the label. `imdb-1068-sentences.npz` was scored earlier, in bfloat16 with a
float32 head, with 13 sentences as they were split then, and chosen among 18 reviews for a wide spread of its scores.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
REVIEWS = (("rotten_tomatoes", 7, "words"),)
"""Source, place in its file and players of what is scored."""


def path(source: str, place: int, players: str) -> Path:
    """Return the file of a lattice."""
    return FOLDER / f"{source}-{place}-{players}.npz"


def read(file: Path) -> np.ndarray:
    """Return all 2**n scores in bit order, float64.

    Raises:
        ValueError: The number of scores is no power of two.
    """
    values = np.load(file)["v"].astype(np.float64)
    if values.ndim != 1 or len(values) & (len(values) - 1):
        raise ValueError(f"{file} must hold 2**n scores in its array v, but v has the shape {values.shape}.")
    return values


def everyone(n: int) -> np.ndarray:
    """Return all coalitions of n players in bit order, bool [2**n, n]."""
    return (np.arange(1 << n)[:, None] >> np.arange(n) & 1).astype(bool)
