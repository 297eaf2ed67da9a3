"""A prompt as a shapiq game: its value function scores whole batches of coalitions with the fast engines.

1. The approximator asks for coalitions, as rows of booleans.
2. Rows asked before are answered from memory; the new ones go to `interact.coalition_values` in one batch.
3. shapiq subtracts v(empty), which was scored when the game was made.

This module imports shapiq; `interact.as_shapiq_game` imports it when it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from shapiq.game import Game

from interact.formats.labels import told_apart


class CoalitionGame(Game):
    """A game whose values come from a function of whole batches.

    Attributes:
        scored: How many different coalitions were scored so far, v(empty) included.
        players: The players in words, as given; `player_name_lookup` tells equal words apart by a number.
    """

    def __init__(
        self,
        score: Callable[[np.ndarray], np.ndarray],
        players: Sequence[str],
        *,
        normalize: bool = True,
    ) -> None:
        """Make the game and score v(empty).

        Args:
            score: bool, shape [m, n], which players are present -> float, shape [m].
            players: Their names; n of them.
            normalize: Subtract v(empty) from every value, as shapiq's approximators expect.

        Raises:
            ValueError: There are no players.
        """
        if not players:
            raise ValueError("A shapiq game needs at least one player, but the text has none; name players.")
        self.players = tuple(players)
        self._score = score
        self._known: dict[bytes, float] = {}
        empty = float(self._look_up(np.zeros((1, len(players)), dtype=bool))[0])
        super().__init__(
            n_players=len(players),
            normalize=normalize,
            normalization_value=empty if normalize else None,
            player_names=told_apart(players),
        )

    @property
    def scored(self) -> int:
        """How many different coalitions were scored so far, v(empty) included."""
        return len(self._known)

    def value_function(self, coalitions: Any) -> np.ndarray:
        """Return v of each row, float64, shape [m], v(empty) not subtracted."""
        return self._look_up(np.asarray(coalitions).astype(bool))

    def _look_up(self, coalitions: np.ndarray) -> np.ndarray:
        keys = [row.tobytes() for row in np.packbits(coalitions, axis=1)]
        fresh = {key: row for row, key in enumerate(keys) if key not in self._known}
        if fresh:
            scores = self._score(np.ascontiguousarray(coalitions[list(fresh.values())]))
            self._known.update(zip(fresh, np.asarray(scores, dtype=np.float64).tolist(), strict=True))
        return np.array([self._known[key] for key in keys], dtype=np.float64)
