"""Coalitions as a caller may give them: bit masks or booleans."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral

import numpy as np
import torch


def read_coalitions(coalitions: object, n: int) -> tuple[np.ndarray, tuple[int, ...]]:
    """Read coalitions in any accepted form.

    Args:
        coalitions: One bit mask (bit i = player i) or an array or iterable of them, as Python or NumPy integers; or
            booleans (NumPy or torch) of shape [n] or [m, n]. An integer array of two axes is never bit masks.
        n: Number of players.

    Returns:
        bool of shape [m, n], and the shape that answers should have.

    Raises:
        ValueError: They are neither, or a mask is outside [0, 2**n).
    """
    given = coalitions.detach().cpu().numpy() if isinstance(coalitions, torch.Tensor) else coalitions
    if not isinstance(given, np.ndarray):
        if isinstance(given, Iterable):
            given = list(given)
        if isinstance(given, Sequence) and any(isinstance(g, (bool, np.bool_, np.ndarray, Sequence)) for g in given):
            given = np.asarray(given)
    if isinstance(given, np.ndarray) and given.dtype == bool and given.ndim in (1, 2) and given.shape[-1] == n:
        return np.atleast_2d(given), given.shape[:-1]
    masks = given if isinstance(given, np.ndarray) else np.array(given, dtype=object)
    if masks.ndim > 1 and masks.dtype.kind in "iu":
        raise ValueError(
            f"Coalitions of two axes must be booleans of shape [m, {n}], but are {masks.dtype} of shape {masks.shape}; "
            "turn zeros and ones into booleans (masks.astype(bool)), and give bit masks as a list."
        )
    if (
        n < 63
        and np.issubdtype(masks.dtype, np.signedinteger)
        and masks.size
        and masks.min() >= 0
        and masks.max() < 1 << n
    ):
        return (masks.reshape(-1, 1) >> np.arange(n) & 1).astype(bool), masks.shape
    flat = masks.reshape(-1).tolist()
    if not all(isinstance(s, Integral) and not isinstance(s, bool) and 0 <= int(s) < 1 << n for s in flat):
        size = 1 << n if n < 64 else f"2**{n}"
        raise ValueError(
            f"Coalitions are integer bit masks in [0, {size}) for {n} players, or booleans of shape [m, {n}]."
        )
    width = (n + 7) // 8
    packed = np.array(bytearray(b"".join(int(s).to_bytes(width, "little") for s in flat)), dtype=np.uint8)
    present = np.unpackbits(packed.reshape(len(flat), width), axis=1, count=n, bitorder="little")
    return present.astype(bool), masks.shape
