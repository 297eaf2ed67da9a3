"""The result: which words interact, how strongly, and the proof that the split is the sparsest.

With v the scores, phi(S) = v[0] + sum_{T subset S} i_and[T] + sum_{T meets S} i_or[T] equals v[S] + noise[S] for
every coalition S (docs/math.md). For |T| = 1 AND and OR are the same function of S, so by default every query moves
the OR effect of a single player into its AND effect (`merged=True`); the arrays keep the split as solved.

A result has one of two forms with the same queries. Dense: every array speaks of all 2**n coalitions, in bit order.
Sparse (`sampled` is set; any n): `values` and `noise` speak of the sampled coalitions, `i_and` and `i_or` of the terms
found, and nothing is certified; how well it holds is measured on coalitions that the fit never saw.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from interact import conversions, display, interaction_file
from interact.players import LIMIT, Player
from interact.sampled import Sampled, as_presence
from interact.terms import Fidelity, Interaction
from interact_kernels import lattice


@dataclass(frozen=True, eq=False, repr=False)
class Interactions:
    """The AND-OR interactions of one prompt.

    Attributes:
        players: The players, in text order; player i is bit i of a coalition.
        text: The user's text.
        values: Scores v, float64, shape [2**n] (sparse: [m], of `sampled.coalitions`).
        i_and: AND effects, float64, shape [2**n] (sparse: [t], of `sampled.and_sets`).
        i_or: OR effects, float64, shape [2**n] (sparse: [u], of `sampled.or_sets`).
        noise: phi - v, float64, like values: the tolerated deviation (sparse: what the terms leave unexplained).
        primal: L1 strength of the split.
        dual: Certified lower bound of that strength over all splits (sparse: NaN).
        gap: (primal - dual) / primal (sparse: NaN).
        certificate: The dual vector that proves it, shape [2**n] (sparse: [0]).
        provenance: Everything needed to repeat it: model, revision, dtype, masking, baseline, target, kappa, versions.
        sampled: What the arrays of a sparse result speak of; None for a dense one.
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
    sampled: Sampled | None = None

    def __post_init__(self) -> None:
        sizes = dict.fromkeys(("values", "i_and", "i_or", "noise", "certificate"), 1 << self.n)
        if self.sampled is not None:
            m, n = self.sampled.coalitions.shape
            if n != self.n:
                raise ValueError(f"The sampled coalitions are of {n} players, but {self.n} players are named.")
            terms = len(self.sampled.and_sets), len(self.sampled.or_sets)
            sizes = {"values": m, "i_and": terms[0], "i_or": terms[1], "noise": m, "certificate": 0}
        for name, size in sizes.items():
            array = np.ascontiguousarray(getattr(self, name), dtype=np.float64)
            if array.shape != (size,):
                told = f"2**{self.n} = {size}" if self.sampled is None else size
                raise ValueError(f"{name} must hold {told} values, but has the shape {array.shape}.")
            object.__setattr__(self, name, array)

    @property
    def n(self) -> int:
        """Number of players."""
        return len(self.players)

    @property
    def bias(self) -> float:
        """phi(empty), the score with every player absent (sparse: as the terms rebuild it)."""
        return float(self.values[0]) if self.sampled is None else self.sampled.bias

    @property
    def total(self) -> float:
        """v(N), the score with every player present (sparse and never scored: as the terms rebuild it)."""
        if self.sampled is None:
            return float(self.values[-1])
        whole = self.sampled.coalitions.all(axis=1)
        everyone = np.ones((1, self.n), dtype=bool)
        return float(self.values[whole][0] if whole.any() else self.predict(everyone)[0])

    @property
    def and_terms(self) -> dict[frozenset[int], float]:
        """The nonzero AND effects by their players, order-1 OR merged into them, strongest first."""
        return {_members(i.mask): i.effect for i in self._strongest(None, True) if i.kind == "and"}

    @property
    def or_terms(self) -> dict[frozenset[int], float]:
        """The nonzero OR effects by their players, of two players or more, strongest first."""
        return {_members(i.mask): i.effect for i in self._strongest(None, True) if i.kind == "or"}

    def effects(self, *, merged: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Return the AND and OR effects of all coalitions, each float64 of shape [2**n].

        `merged` is as in the module's docstring.

        Raises:
            ValueError: The result is sparse, and has no such arrays.
        """
        if self.sampled is not None:
            raise ValueError(
                "A sparse result has no effects of all 2**n coalitions; use and_terms, or_terms or to_frame()."
            )
        i_and, i_or = self.i_and.copy(), self.i_or.copy()
        if merged:
            single = 1 << np.arange(self.n)
            i_and[single] += i_or[single]
            i_or[single] = 0.0
        return i_and, i_or

    def top(self, k: int = 10, *, merged: bool = True) -> list[Interaction]:
        """Return the k strongest interactions, strongest first; zeros are left out.

        Raises:
            ValueError: k is negative.
        """
        if k < 0:
            raise ValueError(f"top takes how many interactions to return, but got {k}.")
        return self._strongest(int(k), merged)

    def noise_floor(self, order: int) -> float:
        """Return the noise of an effect of this order, 2**(order/2) sigma; 0 for scores in full precision.

        sigma is the measured noise of a half-precision score (`interact.engines.precision`).
        """
        sigma = (self.provenance.get("precision") or {}).get("sigma")
        return 0.0 if sigma is None else float(sigma) * 2 ** (order / 2)

    def salient(self, tau: float = 0.05, *, merged: bool = True) -> list[Interaction]:
        """Return the interactions stronger than tau times the strongest and than their noise floor, strongest first.

        Raises:
            ValueError: tau is not in [0, 1).
        """
        chosen = np.concatenate(self._salient_masks(tau, merged)).nonzero()[0]
        effects = np.concatenate(self._listed(merged))
        order = chosen[np.argsort(-np.abs(effects[chosen]), kind="stable")]
        return [self._interaction(int(i), float(effects[i])) for i in order]

    def by_order(self, *, merged: bool = True) -> pd.DataFrame:
        """Sum the effects of each order: columns and_positive, and_negative, or_positive, or_negative, strength."""
        columns = {}
        orders = self._orders()
        most = self.n if self.sampled is None else max((int(o.max()) for o in orders if len(o)), default=0)
        for kind, order, effect in zip(("and", "or"), orders, self._listed(merged), strict=True):
            for sign, part in (("positive", effect.clip(min=0)), ("negative", effect.clip(max=0))):
                columns[f"{kind}_{sign}"] = np.bincount(order, weights=part, minlength=most + 1)[1:]
        frame = pd.DataFrame(columns, index=pd.RangeIndex(1, most + 1, name="order"))
        frame["strength"] = frame.abs().sum(axis=1)
        return frame

    def predict(self, coalitions: int | Iterable[int] | np.ndarray | None = None, *, tau: float | None = None) -> Any:
        """Rebuild scores from interactions: phi(S).

        Args:
            coalitions: A bit mask, several, or booleans of shape [n] or [m, n]; None for all 2**n in order.
            tau: Use only the salient interactions; None uses all.

        Returns:
            A float for one coalition, else float64, one a coalition.

        Raises:
            ValueError: A mask is outside [0, 2**n), or all 2**n are asked of more than 20 players.
        """
        i_and, i_or = self._listed(True)
        if tau is not None:
            keep_and, keep_or = self._salient_masks(tau, True)
            i_and, i_or = i_and * keep_and, i_or * keep_or
        if coalitions is None:
            if self.n > LIMIT:
                raise ValueError(f"{self.n} players have 2**{self.n} coalitions; list those to rebuild.")
            coalitions = np.arange(1 << self.n)
        present, shape = as_presence(coalitions, self.n)
        if self.sampled is not None:
            phi = self.sampled.predict(present, i_and, i_or)
        else:
            inside = lattice.zeta(i_or)
            phi = (self.bias + lattice.zeta(i_and) + inside[-1] - inside[::-1])[present @ (1 << np.arange(self.n))]
        return phi.reshape(shape) if shape else float(phi[0])

    def fidelity(self, tau: float = 0.05) -> Fidelity:
        """Hold the scores rebuilt from the salient interactions against the true ones.

        These are all 2**n, or, of a sparse result, those held out of its fit (all that were sampled, if none were).
        """
        held = self.sampled is not None and bool(self.sampled.held_out.any())
        if self.sampled is None:
            truth, rebuilt = self.values, np.asarray(self.predict(tau=tau))
        else:
            rows = self.sampled.held_out if held else np.ones(len(self.values), dtype=bool)
            truth, rebuilt = self.values[rows], np.asarray(self.predict(self.sampled.coalitions[rows], tau=tau))
        order = np.argsort(truth, kind="stable")
        truth, rebuilt = truth[order], rebuilt[order]
        unit = abs(self.total - self.bias)
        spread = ((truth - truth.mean()) ** 2).sum()
        r2 = 1.0 - ((rebuilt - truth) ** 2).sum() / spread if spread > 0 else 1.0
        errors = (rebuilt - truth) / unit if unit > 0 else rebuilt - truth
        return Fidelity(truth, rebuilt, errors, len(self.salient(tau)), float(r2), held)

    def to_frame(self, *, merged: bool = True) -> pd.DataFrame:
        """Return all nonzero interactions, strongest first; a sparse result adds their error and stability."""
        names = ["kind", "mask", "order", "words", "effect"]
        rows = [(i.kind, i.mask, i.order, " + ".join(i.words), i.effect) for i in self._strongest(None, merged)]
        if self.sampled is None:
            return pd.DataFrame(rows, columns=pd.Index(names))
        further = [(i.error, i.stability) for i in self._strongest(None, merged)]
        rows = [(*row, *more) for row, more in zip(rows, further, strict=True)]
        return pd.DataFrame(rows, columns=pd.Index([*names, "error", "stability"]))

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
        header: dict[str, Any] = {
            "text": self.text,
            "players": [[p.text, *p.chars, *p.tokens] for p in self.players],
            "split": {"primal": self.primal, "dual": self.dual, "gap": self.gap},
            "provenance": dict(self.provenance),
        }
        if self.sampled is None:
            arrays = {name: getattr(self, name) for name in interaction_file.ARRAYS}
        else:
            # NaN is no JSON.
            header["split"] = {"primal": self.primal, "dual": None, "gap": None}
            header["bias"] = self.sampled.bias
            arrays = {name: getattr(self, name) for name in ("values", "i_and", "i_or", "noise")}
            arrays |= self.sampled.to_arrays()
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

    def _listed(self, merged: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return the AND and OR effects in the order of their lists; a sparse result is merged already."""
        return self.effects(merged=merged) if self.sampled is None else (self.i_and, self.i_or)

    def _orders(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the orders of the AND and OR effects in the order of their lists."""
        if self.sampled is None:
            return _orders(self.n), _orders(self.n)
        both = self.sampled.and_sets, self.sampled.or_sets
        first, second = (np.array([len(s) for s in sets], dtype=np.int64) for sets in both)
        return first, second

    def _strongest(self, k: int | None, merged: bool) -> list[Interaction]:
        """Return the k strongest interactions, strongest first; None for all that are not zero."""
        effects = np.concatenate(self._listed(merged))
        order = np.argsort(-np.abs(effects), kind="stable")[:k]
        return [self._interaction(int(i), float(effects[i])) for i in order if effects[i] != 0]

    def _interaction(self, index: int, effect: float) -> Interaction:
        """Describe the term at an index of the AND effects followed by the OR effects."""
        kind, place = ("and", index) if index < len(self.i_and) else ("or", index - len(self.i_and))
        if self.sampled is None:
            members = [i for i in range(self.n) if place >> i & 1]
            return Interaction(kind, place, tuple(self.players[i].text for i in members), effect)
        members = sorted(self.sampled.sets[index])
        words = tuple(self.players[i].text for i in members)
        error = getattr(self.sampled, f"{kind}_errors")[place]
        again = getattr(self.sampled, f"{kind}_stability")[place]
        known = [float(x) if np.isfinite(x) else None for x in (error, again)]
        return Interaction(kind, sum(1 << i for i in members), words, effect, *known)

    def _salient_masks(self, tau: float, merged: bool) -> tuple[np.ndarray, np.ndarray]:
        if not 0 <= tau < 1:
            raise ValueError(f"tau is a share of the strongest effect, in [0, 1), but is {tau}.")
        effects = self._listed(merged)
        largest = max(float(np.abs(e).max(initial=0.0)) for e in effects)
        most = max((int(o.max()) for o in self._orders() if len(o)), default=0)
        floors = np.array([self.noise_floor(order) for order in range(most + 1)])
        kept = [np.abs(e) > np.maximum(tau * largest, floors[o]) for e, o in zip(effects, self._orders(), strict=True)]
        return kept[0], kept[1]


def load(path: str | Path) -> Interactions:
    """Read a file that `Interactions.save` wrote.

    Raises:
        ValueError: It is missing, damaged, or not such a file.
    """
    header, arrays = interaction_file.read(Path(path))
    players = tuple(Player(str(p[0]), (p[1], p[2]), (p[3], p[4])) for p in header["players"])
    bounds = {name: float("nan" if value is None else value) for name, value in header["split"].items()}
    fields: dict[str, Any] = {**bounds, **{name: a for name, a in arrays.items() if name in interaction_file.ARRAYS}}
    try:
        if "coalitions" in arrays:
            fields["sampled"] = Sampled.from_arrays(len(players), float(header["bias"]), arrays)
            fields["certificate"] = np.zeros(0)
        return Interactions(players=players, text=header["text"], provenance=header["provenance"], **fields)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path} is damaged ({error}); extract the interactions again.") from error


def _members(mask: int) -> frozenset[int]:
    return frozenset(i for i in range(mask.bit_length()) if mask >> i & 1)


def _orders(n: int) -> np.ndarray:
    orders = np.zeros(1, dtype=np.int64)
    for _ in range(n):
        orders = np.concatenate([orders, orders + 1])
    return orders
