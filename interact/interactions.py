"""The result: which words interact, how strongly, and the proof that the split is the sparsest.

With v the scores, phi(S) = v[0] + sum_{T subset S} i_and[T] + sum_{T meets S} i_or[T] equals v[S] + noise[S] for
every coalition S (docs/math.md). For |T| = 1 AND and OR are the same function of S, so by default every query moves
the OR effect of a single player into its AND effect (`merged=True`); the arrays keep the split as solved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from interact import conversions, display, interaction_file
from interact.players import Player
from interact_kernels import lattice


@dataclass(frozen=True)
class Interaction:
    """One interaction.

    Attributes:
        kind: ``"and"`` (all of these together) or ``"or"`` (any of these).
        mask: The coalition T, bit i = player i.
        words: The players of T.
        effect: What it adds to the log-odds of the target when it is triggered.
    """

    kind: str
    mask: int
    words: tuple[str, ...]
    effect: float

    @property
    def order(self) -> int:
        """Number of players, |T|."""
        return len(self.words)


@dataclass(frozen=True)
class Fidelity:
    """How well interactions rebuild the scores of all coalitions.

    Attributes:
        values: The true scores, sorted, shape [2**n].
        rebuilt: phi of the same coalitions, shape [2**n].
        errors: (rebuilt - values) / |v(N) - v(empty)|, shape [2**n].
        terms: Number of interactions used.
        r2: Share of the variance of the scores that phi explains.
    """

    values: np.ndarray
    rebuilt: np.ndarray
    errors: np.ndarray
    terms: int
    r2: float

    def __str__(self) -> str:
        worst, mean = np.abs(self.errors).max(initial=0.0), np.abs(self.errors).mean()
        return (
            f"{self.terms} interactions rebuild {len(self.values)} scores with R^2 {self.r2:.4f} "
            f"(relative error: mean {mean:.3f}, worst {worst:.3f})"
        )


@dataclass(frozen=True, eq=False, repr=False)
class Interactions:
    """The AND-OR interactions of one prompt.

    Attributes:
        players: The players, in text order; player i is bit i of a coalition.
        text: The user's text.
        values: Scores v of all coalitions, float64, shape [2**n].
        i_and: AND effects, float64, shape [2**n].
        i_or: OR effects, float64, shape [2**n].
        noise: Tolerated deviation, float64, shape [2**n].
        primal: L1 strength of the split.
        dual: Certified lower bound of that strength over all splits.
        gap: (primal - dual) / primal.
        certificate: The dual vector that proves it, shape [2**n].
        provenance: Everything needed to repeat it: model, revision, dtype, masking, baseline, target, kappa, versions.
    """

    players: tuple[Player, ...]
    text: str
    values: np.ndarray
    i_and: np.ndarray
    i_or: np.ndarray
    noise: np.ndarray
    primal: float
    dual: float
    gap: float
    certificate: np.ndarray
    provenance: Mapping[str, Any]

    def __post_init__(self) -> None:
        size = 1 << self.n
        for name in ("values", "i_and", "i_or", "noise", "certificate"):
            array = np.ascontiguousarray(getattr(self, name), dtype=np.float64)
            if array.shape != (size,):
                raise ValueError(f"{name} must hold 2**{self.n} = {size} values, but has the shape {array.shape}.")
            object.__setattr__(self, name, array)

    @property
    def n(self) -> int:
        """Number of players."""
        return len(self.players)

    @property
    def bias(self) -> float:
        """v(empty): the score with every player absent."""
        return float(self.values[0])

    def effects(self, *, merged: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Return the AND and OR effects, each float64 of shape [2**n]; `merged` as in the module's docstring."""
        i_and, i_or = self.i_and.copy(), self.i_or.copy()
        if merged:
            single = 1 << np.arange(self.n)
            i_and[single] += i_or[single]
            i_or[single] = 0.0
        return i_and, i_or

    @property
    def and_terms(self) -> dict[frozenset[int], float]:
        """The AND effects that are not zero, by their players; order-1 OR merged in."""
        return self._terms(self.effects()[0])

    @property
    def or_terms(self) -> dict[frozenset[int], float]:
        """The OR effects of two players and more that are not zero, by their players."""
        return self._terms(self.effects()[1])

    def top(self, k: int = 10, *, merged: bool = True) -> list[Interaction]:
        """Return the k strongest interactions, strongest first; zeros are left out.

        Raises:
            ValueError: k is negative.
        """
        if k < 0:
            raise ValueError(f"top takes how many interactions to return, but got {k}.")
        effects = np.concatenate(self.effects(merged=merged))
        order = np.argsort(-np.abs(effects), kind="stable")[: int(k)]
        return [self._interaction(int(i), float(effects[i])) for i in order if effects[i] != 0]

    def salient(self, tau: float = 0.05, *, merged: bool = True) -> list[Interaction]:
        """Return the interactions stronger than tau times the strongest, strongest first.

        Raises:
            ValueError: tau is not in [0, 1).
        """
        chosen = np.concatenate(self._salient_masks(tau, merged))
        return self.top(int(chosen.sum()), merged=merged)

    def by_order(self, *, merged: bool = True) -> pd.DataFrame:
        """Sum the effects of each order: columns and_positive, and_negative, or_positive, or_negative, strength."""
        i_and, i_or = self.effects(merged=merged)
        orders = _orders(self.n)
        columns = {}
        for kind, effect in (("and", i_and), ("or", i_or)):
            for sign, part in (("positive", effect.clip(min=0)), ("negative", effect.clip(max=0))):
                columns[f"{kind}_{sign}"] = np.bincount(orders, weights=part, minlength=self.n + 1)[1:]
        frame = pd.DataFrame(columns, index=pd.RangeIndex(1, self.n + 1, name="order"))
        frame["strength"] = frame.abs().sum(axis=1)
        return frame

    def predict(self, coalitions: int | Iterable[int] | np.ndarray | None = None, *, tau: float | None = None) -> Any:
        """Rebuild scores from interactions: phi(S).

        Args:
            coalitions: A bit mask, several, or None for all 2**n in order.
            tau: Use only the salient interactions; None uses all.

        Returns:
            A float for one mask, else float64 of the shape of `coalitions`.

        Raises:
            ValueError: A mask is outside [0, 2**n).
        """
        i_and, i_or = self.effects()
        if tau is not None:
            keep_and, keep_or = self._salient_masks(tau, True)
            i_and, i_or = i_and * keep_and, i_or * keep_or
        inside = lattice.zeta(i_or)
        phi = self.bias + lattice.zeta(i_and) + inside[-1] - inside[::-1]
        if coalitions is None:
            return phi
        masks = np.asarray(list(coalitions) if isinstance(coalitions, Iterable) else coalitions)
        if masks.size and not (np.issubdtype(masks.dtype, np.integer) and 0 <= masks.min() <= masks.max() < len(phi)):
            raise ValueError(f"Coalitions are integer bit masks in [0, {len(phi)}) for {self.n} players.")
        return float(phi[int(masks)]) if masks.ndim == 0 else phi[masks.astype(np.int64)]

    def fidelity(self, tau: float = 0.05) -> Fidelity:
        """Hold the scores rebuilt from the salient interactions against all 2**n true scores."""
        order = np.argsort(self.values, kind="stable")
        truth, rebuilt = self.values[order], self.predict(tau=tau)[order]
        unit = abs(self.values[-1] - self.values[0])
        spread = ((truth - truth.mean()) ** 2).sum()
        r2 = 1.0 - ((rebuilt - truth) ** 2).sum() / spread if spread > 0 else 1.0
        errors = (rebuilt - truth) / unit if unit > 0 else rebuilt - truth
        return Fidelity(truth, rebuilt, errors, len(self.salient(tau)), float(r2))

    def to_frame(self, *, merged: bool = True) -> pd.DataFrame:
        """Return all nonzero interactions, strongest first: kind, mask, order, words, effect."""
        found = self.top(2 << self.n, merged=merged)
        rows = [(i.kind, i.mask, i.order, " + ".join(i.words), i.effect) for i in found]
        return pd.DataFrame(rows, columns=pd.Index(["kind", "mask", "order", "words", "effect"]))

    def to_json(self, *, k: int | None = None) -> str:
        """Return the k strongest interactions (None: all that are not zero) and their provenance as JSON."""
        return conversions.to_json(self, k=k)

    def to_shapiq(self, index: str | None = None, max_order: int | None = None) -> Any:
        """Return an index of the scores as `shapiq.InteractionValues`; see `interact.to_shapiq`."""
        return conversions.to_shapiq(self, index, max_order)

    def to_shap(self, *, order: int = 1) -> Any:
        """Return the Shapley values of the scores as `shap.Explanation`; see `interact.to_shap`."""
        return conversions.to_shap(self, order=order)

    def save(self, path: str | Path) -> Path:
        """Write one file (safetensors with a JSON header), at once or not at all; return its path."""
        arrays = {name: getattr(self, name) for name in interaction_file.ARRAYS}
        header = {
            "text": self.text,
            "players": [[p.text, *p.chars, *p.tokens] for p in self.players],
            "split": {"primal": self.primal, "dual": self.dual, "gap": self.gap},
            "provenance": dict(self.provenance),
        }
        return interaction_file.write(Path(path), header, arrays)

    def plot(self, k: int = 12) -> Any:
        """Draw the k strongest interactions as bars beside the order histogram; return a matplotlib Figure."""
        return display.figure(self.text, self.top(k), self.by_order())

    def __str__(self) -> str:
        return display.as_text(self)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return display.as_html(self)

    def _interaction(self, index: int, effect: float) -> Interaction:
        kind, mask = ("and", index) if index < 1 << self.n else ("or", index - (1 << self.n))
        words = tuple(p.text for i, p in enumerate(self.players) if mask >> i & 1)
        return Interaction(kind, mask, words, effect)

    def _terms(self, effects: np.ndarray) -> dict[frozenset[int], float]:
        masks = np.flatnonzero(effects).tolist()
        return {frozenset(i for i in range(self.n) if mask >> i & 1): float(effects[mask]) for mask in masks}

    def _salient_masks(self, tau: float, merged: bool) -> tuple[np.ndarray, np.ndarray]:
        if not 0 <= tau < 1:
            raise ValueError(f"tau is a share of the strongest effect, in [0, 1), but is {tau}.")
        effects = self.effects(merged=merged)
        largest = max(float(np.abs(e).max()) for e in effects)
        return np.abs(effects[0]) > tau * largest, np.abs(effects[1]) > tau * largest


def load(path: str | Path) -> Interactions:
    """Read a file that `Interactions.save` wrote.

    Raises:
        ValueError: It is missing, damaged, or not such a file.
    """
    header, arrays = interaction_file.read(Path(path))
    players = tuple(Player(str(p[0]), (p[1], p[2]), (p[3], p[4])) for p in header["players"])
    bounds = {name: float(value) for name, value in header["split"].items()}
    fields: dict[str, Any] = {**bounds, **arrays}
    return Interactions(players=players, text=header["text"], provenance=header["provenance"], **fields)


def _orders(n: int) -> np.ndarray:
    orders = np.zeros(1, dtype=np.int64)
    for _ in range(n):
        orders = np.concatenate([orders, orders + 1])
    return orders
