"""What a result answers with: one interaction, and how well interactions rebuild the scores."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Interaction:
    """One interaction.

    Attributes:
        kind: ``"and"`` (all of these together) or ``"or"`` (any of these).
        mask: The coalition T, bit i = player i.
        words: The players of T.
        effect: What it adds to the log-odds of the target when it is triggered.
        error: Standard error of the effect in a sampled result, else None.
        stability: Share of bootstrap fits that choose it again with the same sign, or the posterior probability of its
            sign, in a sampled result, else None.
    """

    kind: str
    mask: int
    words: tuple[str, ...]
    effect: float
    error: float | None = None
    stability: float | None = None

    @property
    def order(self) -> int:
        """Number of players, |T|."""
        return len(self.words)

    @property
    def members(self) -> frozenset[int]:
        """The players of T by their numbers."""
        return frozenset(i for i in range(self.mask.bit_length()) if self.mask >> i & 1)


@dataclass(frozen=True)
class Fidelity:
    """How well interactions rebuild the scores of all coalitions, or of those held out in a sampled result.

    Attributes:
        values: The true scores, sorted, shape [2**n] or [held out].
        rebuilt: phi of the same coalitions.
        errors: (rebuilt - values) / |v(N) - v(empty)|, like values.
        terms: Number of interactions used.
        r2: Share of the variance of the scores that phi explains.
        held_out: Whether the coalitions were held out of the fit.
    """

    values: np.ndarray
    rebuilt: np.ndarray
    errors: np.ndarray
    terms: int
    r2: float
    held_out: bool = False

    def __str__(self) -> str:
        worst, mean = np.abs(self.errors).max(initial=0.0), np.abs(self.errors).mean()
        which = f"{len(self.values)} {'held-out ' * self.held_out}scores"
        return (
            f"{self.terms} interactions rebuild {which} with R^2 {self.r2:.4f} "
            f"(relative error: mean {mean:.3f}, worst {worst:.3f})"
        )


def finite(number: float) -> float | None:
    """Return a number as JSON can hold it; None for what is not finite, which means not known."""
    return float(number) if math.isfinite(number) else None
