"""The sampled result: a few terms of any number of players, and how well they predict coalitions that no fit saw.

phi(S) = bias + sum_{T in and_sets, T subset S} i_and[T] + sum_{T in or_sets, T meets S} i_or[T]. Nothing here is as
long as 2**n, and nothing is certified.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from interact.results.answers import Interaction, finite
from interact.results.file import MISFIT, common_fields
from interact.results.interactions import Interactions
from interact.results.terms import Terms

if TYPE_CHECKING:
    import pandas as pd

_NUMBERS = ("values", "i_and", "i_or", "noise")


@dataclass(frozen=True, eq=False, repr=False)
class SampledInteractions(Interactions):
    """The AND-OR interactions of one prompt, from the scores of sampled coalitions of any number of players.

    `values` and `noise` have the shape [m] and are about `coalitions`; `i_and` [t] and `i_or` [u] of the sets of
    `terms`. A term of one player is always an AND term, so `merged` changes nothing.

    Attributes:
        coalitions: Which players are present in each sampled coalition, bool, shape [m, n].
        held_out: Which of these the fit never saw, bool, shape [m].
        terms: The players of each effect, the bias, and how well each term is known.
    """

    coalitions: np.ndarray
    held_out: np.ndarray
    terms: Terms
    dual: float = field(default=nan, init=False)
    gap: float = field(default=nan, init=False)
    method: ClassVar[str] = "sparse"
    # The terms of a sampled result are few and chosen already.
    display_tau: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        m, n = self.coalitions.shape
        if n != self.n or self.terms.n != self.n:
            raise ValueError(
                f"The coalitions are of {n} and the terms of {self.terms.n} players, but {self.n} players are named."
            )
        if self.held_out.shape != (m,):
            raise ValueError(f"held_out must hold {m} booleans, one per coalition, but has {self.held_out.shape}.")
        lengths = (m, len(self.terms.and_sets), len(self.terms.or_sets), m)
        for name, size in zip(_NUMBERS, lengths, strict=True):
            self._hold(name, size, str(size))

    @property
    def bias(self) -> float:
        """phi(empty), the score with every player absent as the terms rebuild it."""
        return self.terms.bias

    @property
    def empty(self) -> float:
        """v(empty), the score with every player absent; as the terms rebuild it where it was never scored."""
        none = ~self.coalitions.any(axis=1)
        return float(self.values[none][0]) if none.any() else self.bias

    @property
    def total(self) -> float:
        """v(N), the score with every player present; as the terms rebuild it where it was never scored."""
        whole = self.coalitions.all(axis=1)
        everyone = np.ones((1, self.n), dtype=bool)
        return float(self.values[whole][0] if whole.any() else self.predict(everyone)[0])

    @property
    def evidence(self) -> str:
        """What stands behind the effects, in words."""
        return f"fitted to {len(self.values)} sampled coalitions"

    @property
    def all_scores(self) -> None:
        """None: not all 2**n coalitions are known, or some of them were held out."""

    def effects(self, *, merged: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Raise an error: there are no arrays of all coalitions.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "A sparse result has no effects of all 2**n coalitions; use and_terms, or_terms or to_frame()."
        )

    def to_frame(self, *, merged: bool = True) -> pd.DataFrame:
        """Return all nonzero interactions, strongest first, with the error and the stability of each."""
        found = self._strongest(None, merged)
        known = {name: [getattr(i, name) for i in found] for name in ("error", "stability")}
        return super().to_frame(merged=merged).assign(**known)

    @classmethod
    def from_file(cls, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> SampledInteractions:
        """Make a result of the header and the arrays of its file."""
        n = len(header["players"])
        packed, bias = arrays["coalitions"], header["bias"]
        fits = set(arrays) == {*_NUMBERS, "coalitions", "held_out", *Terms.ARRAYS} and isinstance(bias, (int, float))
        if not fits or any(arrays[name].dtype != np.float64 for name in _NUMBERS):
            raise ValueError(MISFIT)
        if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != (n + 7) // 8:
            raise ValueError(f"coalitions of {n} players do not have the shape {packed.shape}")
        fields: dict[str, Any] = {**common_fields(header), **{name: arrays[name] for name in _NUMBERS}}
        return cls(
            **fields,
            coalitions=np.unpackbits(packed, axis=1, count=n, bitorder="little").astype(bool),
            held_out=arrays["held_out"].astype(bool),
            terms=Terms.from_arrays(n, float(bias), arrays),
        )

    def _to_file(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        arrays = {name: getattr(self, name) for name in _NUMBERS}
        arrays["coalitions"] = np.packbits(self.coalitions, axis=1, bitorder="little")
        arrays["held_out"] = self.held_out.astype(np.uint8)
        return {"bias": self.bias}, arrays | self.terms.to_arrays()

    def _effects(self, merged: bool) -> tuple[np.ndarray, np.ndarray]:
        return self.i_and, self.i_or

    def _orders(self) -> tuple[np.ndarray, np.ndarray]:
        both = self.terms.and_sets, self.terms.or_sets
        of_and, of_or = (np.array([len(s) for s in sets], dtype=np.int64) for sets in both)
        return of_and, of_or

    def _interaction(self, kind: str, place: int, effect: float) -> Interaction:
        members = sorted(getattr(self.terms, f"{kind}_sets")[place])
        words = tuple(self.players[i].text for i in members)
        known = [finite(getattr(self.terms, f"{kind}_{what}")[place]) for what in ("errors", "stability")]
        return Interaction(kind, sum(1 << i for i in members), words, effect, *known)

    def _rebuild(self, present: np.ndarray, i_and: np.ndarray, i_or: np.ndarray) -> np.ndarray:
        return self.terms.predict(present, i_and, i_or)

    def _test(self, tau: float) -> tuple[np.ndarray, np.ndarray, bool]:
        held = bool(self.held_out.any())
        rows = self.held_out if held else np.ones(len(self.values), dtype=bool)
        return self.values[rows], np.asarray(self.predict(self.coalitions[rows], tau=tau)), held
