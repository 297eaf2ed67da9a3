"""The terms of a sampled result: sets of players, and how well each is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

_PARTS = ("members", "sizes", "errors", "stability")


@dataclass(frozen=True, eq=False)
class Terms:
    """The sets of players behind the effects of a sampled result.

    Attributes:
        n: Number of players.
        bias: phi(empty).
        and_sets: The players of each AND term, t of them.
        or_sets: The players of each OR term, u of them, two or more players each.
        and_errors: Standard error of each AND effect (bootstrap, or of the posterior of a Gaussian process), float64,
            shape [t]; NaN where none was computed.
        or_errors: The same of the OR effects, shape [u].
        and_stability: Share of the bootstrap fits that choose the term again with the same sign, or the posterior
            probability of its sign, float64, shape [t].
        or_stability: The same of the OR terms, shape [u].
    """

    n: int
    bias: float
    and_sets: tuple[frozenset[int], ...]
    or_sets: tuple[frozenset[int], ...]
    and_errors: np.ndarray
    or_errors: np.ndarray
    and_stability: np.ndarray
    or_stability: np.ndarray
    ARRAYS: ClassVar[tuple[str, ...]] = tuple(f"{kind}_{part}" for kind in ("and", "or") for part in _PARTS)

    def __post_init__(self) -> None:
        for kind, sets, least in (("and", self.and_sets, 1), ("or", self.or_sets, 2)):
            if len(set(sets)) < len(sets):
                raise ValueError(f"{kind}_sets names a set of players twice; add up their effects.")
            for members in sets:
                if len(members) < least or not all(0 <= i < self.n for i in members):
                    raise ValueError(
                        f"The {kind.upper()} term {sorted(members)} needs at least {least} of the players "
                        f"0 to {self.n - 1}."
                    )
            for name in (f"{kind}_errors", f"{kind}_stability"):
                if getattr(self, name).shape != (len(sets),):
                    raise ValueError(f"{name} must hold {len(sets)} numbers, one per term.")

    def predict(self, present: np.ndarray, i_and: np.ndarray, i_or: np.ndarray) -> np.ndarray:
        """Return phi of coalitions (bool, [m, n]) as float64 [m]."""
        phi = np.full(len(present), self.bias)
        for effects, sets, kind in ((i_and, self.and_sets, "and"), (i_or, self.or_sets, "or")):
            for effect, members in zip(effects, sets, strict=True):
                if effect:
                    phi += effect * triggered(present, members, kind)
        return phi

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return everything but n and the bias as plain arrays for a file."""
        arrays: dict[str, np.ndarray] = {}
        for kind, sets in (("and", self.and_sets), ("or", self.or_sets)):
            arrays[f"{kind}_members"] = np.array([i for s in sets for i in sorted(s)], dtype=np.int64)
            arrays[f"{kind}_sizes"] = np.array([len(s) for s in sets], dtype=np.int64)
            arrays[f"{kind}_errors"] = getattr(self, f"{kind}_errors").astype(np.float64)
            arrays[f"{kind}_stability"] = getattr(self, f"{kind}_stability").astype(np.float64)
        return arrays

    @classmethod
    def from_arrays(cls, n: int, bias: float, arrays: Mapping[str, np.ndarray]) -> Terms:
        """Read what `to_arrays` wrote.

        Raises:
            ValueError: The arrays do not fit each other.
        """
        fields: dict[str, Any] = {}
        for kind in ("and", "or"):
            members, sizes = arrays[f"{kind}_members"], arrays[f"{kind}_sizes"]
            if members.dtype != np.int64 or sizes.dtype != np.int64 or (sizes < 1).any() or sizes.sum() != len(members):
                raise ValueError(f"{kind}_sizes do not fit {kind}_members")
            pieces = np.split(members, np.cumsum(sizes)[:-1]) if len(sizes) else []
            sets = tuple(frozenset(piece.tolist()) for piece in pieces)
            if any(len(s) != size for s, size in zip(sets, sizes.tolist(), strict=True)):
                raise ValueError(f"a term in {kind}_members names a player twice")
            fields |= {f"{kind}_sets": sets}
            fields |= {f"{kind}_{what}": arrays[f"{kind}_{what}"] for what in ("errors", "stability")}
        return cls(n=n, bias=bias, **fields)


def triggered(present: np.ndarray, members: Iterable[int], kind: str) -> np.ndarray:
    """Say in which coalitions (bool, [m, n]) a term acts: all of its members for ``"and"``, any for ``"or"``."""
    columns = [present[:, i] for i in members]
    return (np.logical_and if kind == "and" else np.logical_or).reduce(columns)
