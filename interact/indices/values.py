"""The values of one index: a number for each set of players up to an order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np

from interact.formats.extras import require
from interact.formats.notebook import table_html

if TYPE_CHECKING:
    import pandas as pd

_LARGEST_ARRAY = 1 << 26


@dataclass(frozen=True, eq=False)
class IndexValues:
    """The values of one index.

    Attributes:
        index: ``"SII"``, ``"STII"``, ... as shapiq spells it.
        n: Number of players.
        order: Largest set that has a value.
        bias: v(empty) of the game.
        sets: For each order t = 0..order the sets with a value: int64, shape [c_t, t], ascending, in lexicographic
            order. From all scores every set; from terms those that can have a value other than 0.
        effects: Their values, float64, shape [c_t] each.
        players: The players in words; empty when unknown.
        estimated: Whether the game was itself an estimate (terms recovered from samples).
    """

    index: str
    n: int
    order: int
    bias: float
    sets: tuple[np.ndarray, ...]
    effects: tuple[np.ndarray, ...]
    players: tuple[str, ...] = ()
    estimated: bool = False

    @cached_property
    def terms(self) -> dict[frozenset[int], float]:
        """The values by set, the empty set included."""
        return {
            frozenset(players): effect
            for sets, effects in zip(self.sets, self.effects, strict=True)
            for players, effect in zip(sets.tolist(), effects.tolist(), strict=True)
        }

    @property
    def and_terms(self) -> Mapping[frozenset[int], float]:
        """The values as AND terms, the empty set left out: of Moebius coefficients, the game itself."""
        return {players: effect for players, effect in self.terms.items() if players}

    @property
    def or_terms(self) -> Mapping[frozenset[int], float]:
        """Empty: no index has OR terms."""
        return {}

    def __getitem__(self, players: int | Iterable[int]) -> float:
        """Return the value of a set of players, 0 where it has none.

        Raises:
            ValueError: A player outside [0, n), or more players than the order.
        """
        chosen = frozenset([players] if isinstance(players, (int, np.integer)) else (int(i) for i in players))
        if any(not 0 <= i < self.n for i in chosen) or len(chosen) > self.order:
            raise ValueError(
                f"Values are known for sets of at most {self.order} of the players [0, {self.n}), but {sorted(chosen)} "
                "was asked for."
            )
        return self.terms.get(chosen, 0.0)

    def array(self, order: int) -> np.ndarray:
        """Return the values of one order as a symmetric array, float64, shape [n] * order, 0 where players repeat.

        Raises:
            ValueError: There are no values of this order, or the array would hold more than 2**26 numbers.
        """
        if not 0 <= order <= self.order:
            raise ValueError(f"There are values of the orders 0 to {self.order}, but {order} was asked for.")
        if self.n**order > _LARGEST_ARRAY:
            raise ValueError(
                f"An array of {self.n}**{order} numbers is too large; use `sets` and `effects`, or `terms`."
            )
        full = np.zeros((self.n,) * order)
        sets, effects = self.sets[order], self.effects[order]
        for axes in permutations(range(order)):
            full[tuple(sets[:, axis] for axis in axes)] = effects if order else effects[0]
        return full

    def to_frame(self) -> pd.DataFrame:
        """Return the values other than 0, strongest first, the empty set left out: players, order, words, effect."""
        require("study", "A table of values", "pandas")
        import pandas as pd

        rows = [
            (tuple(players), len(players), " + ".join(self.players[i] for i in players) if self.players else "", effect)
            for sets, effects in zip(self.sets[1:], self.effects[1:], strict=True)
            for players, effect in zip(sets.tolist(), effects.tolist(), strict=True)
            if effect != 0
        ]
        rows.sort(key=lambda row: -abs(row[3]))
        return pd.DataFrame(rows, columns=pd.Index(["players", "order", "words", "effect"]))

    def __str__(self) -> str:
        top = self.to_frame().head(10)
        return self._summary() + "".join(
            f"\n{effect:+10.4f}  {words or players}"
            for players, words, effect in zip(top["players"], top["words"], top["effect"], strict=True)
        )

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        top = self.to_frame().head(10)
        return table_html(self._summary(), top.drop(columns="players" if self.players else "words"))

    def _summary(self) -> str:
        count = sum(int(np.count_nonzero(effects)) for effects in self.effects[1:])
        return f"{self.index} of {self.n} players up to order {self.order}: {count} values, v(empty) = {self.bias:.4g}"
