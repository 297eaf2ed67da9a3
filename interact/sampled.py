"""The sparse form of a result: which coalitions were sampled, and which terms were found, for any number of players.

phi(S) = bias + sum_{T in and_sets, T subset S} i_and[T] + sum_{T in or_sets, T meets S} i_or[T]. Nothing here is as
long as 2**n. A set of one player is always an AND term (docs/math.md, Interactions).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import torch

ARRAYS = (
    *("values", "i_and", "i_or", "noise", "coalitions", "held_out"),
    *(f"{kind}_{what}" for kind in ("and", "or") for what in ("members", "sizes", "errors", "stability")),
)
"""What the file of a sparse result holds beside its header."""


@dataclass(frozen=True, eq=False)
class Sampled:
    """What the arrays of a sparse result speak of.

    Attributes:
        coalitions: Which players are present in each sampled coalition, bool, shape [m, n].
        held_out: Which of these the fit never saw, bool, shape [m].
        bias: phi(empty).
        and_sets: The players of each AND term, t of them.
        or_sets: The players of each OR term, u of them, two or more players each.
        and_errors: Bootstrap standard error of each AND effect, float64, shape [t]; NaN where none was computed.
        or_errors: The same of the OR effects, shape [u].
        and_stability: Share of the bootstrap fits that choose the term again with the same sign, float64, shape [t].
        or_stability: The same of the OR terms, shape [u].
    """

    coalitions: np.ndarray
    held_out: np.ndarray
    bias: float
    and_sets: tuple[frozenset[int], ...]
    or_sets: tuple[frozenset[int], ...]
    and_errors: np.ndarray
    or_errors: np.ndarray
    and_stability: np.ndarray
    or_stability: np.ndarray

    def __post_init__(self) -> None:
        m, n = self.coalitions.shape
        if self.held_out.shape != (m,):
            raise ValueError(f"held_out must hold {m} booleans, one a coalition, but has {self.held_out.shape}.")
        for kind, sets, least in (("and", self.and_sets, 1), ("or", self.or_sets, 2)):
            if len(set(sets)) < len(sets):
                raise ValueError(f"{kind}_sets names a set of players twice; add up their effects.")
            for members in sets:
                if len(members) < least or not all(0 <= i < n for i in members):
                    raise ValueError(
                        f"The {kind.upper()} term {sorted(members)} needs at least {least} of the players 0 to {n - 1}."
                    )
            for name in (f"{kind}_errors", f"{kind}_stability"):
                if getattr(self, name).shape != (len(sets),):
                    raise ValueError(f"{name} must hold {len(sets)} numbers, one a term.")

    @property
    def sets(self) -> tuple[frozenset[int], ...]:
        """All terms, AND first."""
        return self.and_sets + self.or_sets

    def predict(self, masks: np.ndarray, i_and: np.ndarray, i_or: np.ndarray) -> np.ndarray:
        """Return phi of coalitions (bool, [m, n]) as float64 [m]."""
        phi = np.full(len(masks), self.bias)
        for effects, sets, kind in ((i_and, self.and_sets, "and"), (i_or, self.or_sets, "or")):
            for effect, members in zip(effects, sets, strict=True):
                if effect:
                    phi += effect * triggered(masks, members, kind)
        return phi

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return everything but the bias as plain arrays for a file; players are packed eight to a byte."""
        arrays: dict[str, np.ndarray] = {
            "coalitions": np.packbits(self.coalitions, axis=1, bitorder="little"),
            "held_out": self.held_out.astype(np.uint8),
        }
        for kind, sets in (("and", self.and_sets), ("or", self.or_sets)):
            arrays[f"{kind}_members"] = np.array([i for s in sets for i in sorted(s)], dtype=np.int64)
            arrays[f"{kind}_sizes"] = np.array([len(s) for s in sets], dtype=np.int64)
            arrays[f"{kind}_errors"] = getattr(self, f"{kind}_errors").astype(np.float64)
            arrays[f"{kind}_stability"] = getattr(self, f"{kind}_stability").astype(np.float64)
        return arrays

    @classmethod
    def from_arrays(cls, n: int, bias: float, arrays: Mapping[str, np.ndarray]) -> Sampled:
        """Read what `to_arrays` wrote.

        Raises:
            ValueError: The arrays do not fit each other.
        """
        packed = arrays["coalitions"]
        if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != (n + 7) // 8:
            raise ValueError(f"coalitions of {n} players do not have the shape {packed.shape}")
        sets: dict[str, Any] = {}
        for kind in ("and", "or"):
            members, sizes = arrays[f"{kind}_members"], arrays[f"{kind}_sizes"]
            if members.dtype != np.int64 or sizes.dtype != np.int64 or (sizes < 1).any() or sizes.sum() != len(members):
                raise ValueError(f"{kind}_sizes do not fit {kind}_members")
            pieces = np.split(members, np.cumsum(sizes)[:-1]) if len(sizes) else []
            sets[f"{kind}_sets"] = tuple(frozenset(piece.tolist()) for piece in pieces)
            if any(len(s) != size for s, size in zip(sets[f"{kind}_sets"], sizes.tolist(), strict=True)):
                raise ValueError(f"a term in {kind}_members names a player twice")
            for what in ("errors", "stability"):
                sets[f"{kind}_{what}"] = arrays[f"{kind}_{what}"]
        coalitions = np.unpackbits(packed, axis=1, count=n, bitorder="little").astype(bool)
        return cls(coalitions=coalitions, held_out=arrays["held_out"].astype(bool), bias=bias, **sets)


def triggered(masks: np.ndarray, members: Iterable[int], kind: str) -> np.ndarray:
    """Say in which coalitions (bool, [m, n]) a term speaks: all of its members for ``"and"``, any for ``"or"``."""
    columns = [masks[:, i] for i in members]
    return (np.logical_and if kind == "and" else np.logical_or).reduce(columns)


def as_presence(coalitions: object, n: int) -> tuple[np.ndarray, tuple[int, ...]]:
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
