"""The exact result: the scores of all 2**n coalitions, and the proof that their split is the sparsest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from typing import Any, ClassVar

import numpy as np

from interact.prompt.players import LIMIT
from interact.results.answers import Interaction
from interact.results.file import MISFIT, common_fields
from interact.results.interactions import Interactions
from interact_kernels import lattice

_ARRAYS = ("values", "i_and", "i_or", "noise", "certificate")


@dataclass(frozen=True, eq=False, repr=False)
class ExactInteractions(Interactions):
    """The AND-OR interactions of one prompt, from the scores of all its coalitions.

    Every array is float64 of shape [2**n], in the bit order of docs/math.md. The arrays keep the split as solved: for
    |T| = 1 AND and OR are the same function, and every query moves the OR effect of a single player into its AND
    effect unless it is asked with `merged=False`.

    Attributes:
        certificate: The dual vector that proves the bound `dual`.
    """

    certificate: np.ndarray
    method: ClassVar[str] = "exact"
    display_tau: ClassVar[float] = 0.05

    def __post_init__(self) -> None:
        size = 1 << self.n
        for name in _ARRAYS:
            self._hold(name, size, f"2**{self.n} = {size}")

    @property
    def bias(self) -> float:
        """phi(empty) = v(empty), the score with every player absent."""
        return float(self.values[0])

    @property
    def total(self) -> float:
        """v(N), the score with every player present."""
        return float(self.values[-1])

    @property
    def evidence(self) -> str:
        """What stands behind the effects, in words."""
        return f"certified within {max(self.gap, 0.0):.1e}"

    @property
    def all_scores(self) -> np.ndarray:
        """v of all 2**n coalitions."""
        return self.values

    def effects(self, *, merged: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Return the AND and OR effects of all coalitions, each float64 of shape [2**n].

        `merged` moves the OR effects of single players into their AND effects.
        """
        i_and, i_or = self.i_and.copy(), self.i_or.copy()
        if merged:
            single = 1 << np.arange(self.n)
            i_and[single] += i_or[single]
            i_or[single] = 0.0
        return i_and, i_or

    @classmethod
    def from_file(cls, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> ExactInteractions:
        """Make a result of the header and the arrays of its file."""
        n = len(header["players"])
        fits = n <= LIMIT and set(arrays) == set(_ARRAYS)
        if not fits or any(a.shape != (1 << n,) or a.dtype != np.float64 for a in arrays.values()):
            raise ValueError(MISFIT)
        bounds = {name: nan if value is None else float(value) for name, value in header["split"].items()}
        fields: dict[str, Any] = {**common_fields(header), **bounds, **arrays}
        return cls(**fields)

    def _to_file(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {}, {name: getattr(self, name) for name in _ARRAYS}

    def _effects(self, merged: bool) -> tuple[np.ndarray, np.ndarray]:
        return self.effects(merged=merged)

    def _orders(self) -> tuple[np.ndarray, np.ndarray]:
        orders = np.zeros(1, dtype=np.int64)
        for _ in range(self.n):
            orders = np.concatenate([orders, orders + 1])
        return orders, orders

    def _interaction(self, kind: str, place: int, effect: float) -> Interaction:
        words = tuple(player.text for i, player in enumerate(self.players) if place >> i & 1)
        return Interaction(kind, place, words, effect)

    def _rebuild(self, present: np.ndarray, i_and: np.ndarray, i_or: np.ndarray) -> np.ndarray:
        inside = lattice.zeta(i_or)
        phi = self.bias + lattice.zeta(i_and) + inside[-1] - inside[::-1]
        return phi[present @ (1 << np.arange(self.n))]

    def _test(self, tau: float) -> tuple[np.ndarray, np.ndarray, bool]:
        return self.values, np.asarray(self.predict(tau=tau)), False
