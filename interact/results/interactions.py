"""What every result answers: which words interact, how strongly, and how well that rebuilds the scores.

With v the scores, phi(S) = phi(empty) + sum_{T subset S} i_and[T] + sum_{T meets S} i_or[T] equals v[S] + noise[S] for
every coalition S that was scored (docs/math.md). For |T| = 1 AND and OR are the same function of S, so by default every
query moves the OR effect of a single player into its AND effect (`merged=True`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from interact.formats.extras import require
from interact.prompt.players import LIMIT, Player
from interact.results import conversions, display, file, schema
from interact.results.answers import Fidelity, Interaction, finite
from interact.results.coalitions import read_coalitions

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class Interactions(ABC):
    """The AND-OR interactions of one prompt, exact or sampled.

    `Interactions(...)` makes the form whose fields are given: `interact.ExactInteractions`, whose arrays hold all
    2**n coalitions, or `interact.SampledInteractions`, whose arrays hold sampled coalitions and a few terms.

    Attributes:
        players: The players, in text order; player i is bit i of a coalition.
        text: The user's text.
        values: Scores v, float64, one per scored coalition.
        i_and: AND effects, float64.
        i_or: OR effects, float64.
        noise: phi - v, float64, like values: the tolerated deviation, or what the terms leave unexplained.
        primal: What the split costs: the L1 strength of the effects and, under soft noise, its price and a ridge.
        dual: Certified lower bound of that cost over all splits; NaN where nothing is certified.
        gap: (primal - dual) / primal.
        provenance: Everything needed to repeat it: model, revision, dtype, masking, baseline, target, kappa, versions.
        method: ``"exact"`` or ``"sparse"``, as `interact.extract` calls it.
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
    provenance: Mapping[str, Any]
    method: ClassVar[str]
    display_tau: ClassVar[float]
    """Threshold of the interactions whose fit the displays show."""

    def __new__(cls, *args: Any, **given: Any) -> Interactions:
        """Make the form whose fields are given, where none is named."""
        if cls is not Interactions:
            return super().__new__(cls)
        forms = {form: {field.name for field in fields(form) if field.init} for form in cls.__subclasses__()}
        for form, names in forms.items():
            if names == set(given):
                # Python calls the form's __init__ next.
                return super().__new__(form)
        wanted = " or ".join(f"{form.__name__}({', '.join(sorted(names))})" for form, names in forms.items())
        raise TypeError(f"Interactions takes the fields of one of its forms by name: {wanted}.")

    @property
    def n(self) -> int:
        """Number of players."""
        return len(self.players)

    @property
    @abstractmethod
    def bias(self) -> float:
        """phi(empty), the score with every player absent as the interactions rebuild it."""

    @property
    def empty(self) -> float:
        """v(empty), the score with every player absent."""
        return self.bias

    @property
    @abstractmethod
    def total(self) -> float:
        """v(N), the score with every player present."""

    @property
    @abstractmethod
    def evidence(self) -> str:
        """What stands behind the effects, in words."""

    @property
    @abstractmethod
    def all_scores(self) -> np.ndarray | None:
        """v of all 2**n coalitions in the bit order of docs/math.md, or None if only terms are known."""

    @property
    def and_terms(self) -> dict[frozenset[int], float]:
        """The nonzero AND effects by their players, order-1 OR merged into them, strongest first."""
        return {i.members: i.effect for i in self._strongest(None, True) if i.kind == "and"}

    @property
    def or_terms(self) -> dict[frozenset[int], float]:
        """The nonzero OR effects by their players, of two players or more, strongest first."""
        return {i.members: i.effect for i in self._strongest(None, True) if i.kind == "or"}

    @abstractmethod
    def effects(self, *, merged: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Return the AND and OR effects of all coalitions, each float64 of shape [2**n].

        Raises:
            ValueError: The result is sampled, and has no such arrays.
        """

    def top(self, k: int = 10, *, merged: bool = True) -> list[Interaction]:
        """Return the k strongest interactions, strongest first; zeros are left out.

        Raises:
            ValueError: k is negative.
        """
        if k < 0:
            raise ValueError(f"top takes a number of interactions, 0 or more, but got {k}.")
        return self._strongest(int(k), merged)

    def noise_floor(self, order: int) -> float:
        """Return the noise of an effect of this order, 2**(order/2) sigma; 0 for scores in full precision.

        sigma is the measured noise of a half-precision score (`interact.models.precision`).
        """
        sigma = (self.provenance.get("precision") or {}).get("sigma")
        return 0.0 if sigma is None else float(sigma) * 2 ** (order / 2)

    def salient(self, tau: float = 0.05, *, merged: bool = True) -> list[Interaction]:
        """Return the interactions stronger than tau times the strongest and than their noise floor, strongest first.

        Raises:
            ValueError: tau is not in [0, 1).
        """
        chosen = np.concatenate(self._salient(tau, merged)).nonzero()[0]
        effects = np.concatenate(self._effects(merged))
        return self._interactions(effects, chosen[np.argsort(-np.abs(effects[chosen]), kind="stable")])

    def by_order(self, *, merged: bool = True) -> pd.DataFrame:
        """Sum the effects of each order: columns and_positive, and_negative, or_positive, or_negative, strength."""
        require("study", "A table of interactions", "pandas")
        import pandas as pd

        columns = {}
        orders = self._orders()
        largest = _largest(orders)
        for kind, order, effect in zip(("and", "or"), orders, self._effects(merged), strict=True):
            for sign, part in (("positive", effect.clip(min=0)), ("negative", effect.clip(max=0))):
                columns[f"{kind}_{sign}"] = np.bincount(order, weights=part, minlength=largest + 1)[1:]
        frame = pd.DataFrame(columns, index=pd.RangeIndex(1, largest + 1, name="order"))
        frame["strength"] = frame.abs().sum(axis=1)
        return frame

    def certainty(
        self,
        eps: float = 1e-4,
        tau: float = 0.05,
        ranges: bool = False,
        *,
        every: bool | Collection[tuple[str, int]] = False,
        sigma: float | None = None,
        level: float | None = None,
        time_limit: float = 600.0,
    ) -> pd.DataFrame:
        """Say which interactions are salient in every near-optimal split; see `interact.ExactInteractions.certainty`.

        Raises:
            ValueError: The result is sampled, or proves nothing.
        """
        raise ValueError(
            "A result of sampled coalitions has error bars and no certificate, so it has no certain interactions; "
            "extract with method='exact' (up to 20 players)."
        )

    def statuses(
        self, eps: float = 1e-4, tau: float = 0.05, *, time_limit: float = 600.0
    ) -> dict[tuple[str, int], str]:
        """Return the status of each salient interaction, by its kind and mask; empty where nothing is certified."""
        return {}

    @property
    def noise_name(self) -> str | None:
        """How noise of the scores was treated: soft, box or exact; None of a sampled result or an unnamed form."""
        return None

    @property
    def strength(self) -> float:
        """L1 strength of the effects, order-1 OR merged into AND."""
        return float(sum(np.abs(part).sum() for part in self._effects(True)))

    def predict(self, coalitions: int | Iterable[int] | np.ndarray | None = None, *, tau: float | None = None) -> Any:
        """Rebuild scores from interactions: phi(S).

        Args:
            coalitions: A bit mask, several, or booleans of shape [n] or [m, n]; None for all 2**n in order.
            tau: Use only the salient interactions; None uses all.

        Returns:
            A float for one coalition, else float64, one per coalition.

        Raises:
            ValueError: A mask is outside [0, 2**n), or all 2**n are asked of more than 20 players.
        """
        i_and, i_or = self._effects(True)
        if tau is not None:
            keep_and, keep_or = self._salient(tau, True)
            i_and, i_or = i_and * keep_and, i_or * keep_or
        if coalitions is None:
            if self.n > LIMIT:
                raise ValueError(f"{self.n} players have 2**{self.n} coalitions; list those to rebuild.")
            coalitions = np.arange(1 << self.n)
        present, shape = read_coalitions(coalitions, self.n)
        phi = self._rebuild(present, i_and, i_or)
        return phi.reshape(shape) if shape else float(phi[0])

    def fidelity(self, tau: float = 0.05) -> Fidelity:
        """Compare the scores rebuilt from the salient interactions with the true ones.

        These are all 2**n, or, of a sampled result, those held out of its fit (all that were sampled, if none were).
        """
        truth, rebuilt, held_out = self._test(tau)
        order = np.argsort(truth, kind="stable")
        truth, rebuilt = truth[order], rebuilt[order]
        unit = abs(self.total - self.bias)
        spread = ((truth - truth.mean()) ** 2).sum()
        r2 = 1.0 - ((rebuilt - truth) ** 2).sum() / spread if spread > 0 else 1.0
        errors = (rebuilt - truth) / unit if unit > 0 else rebuilt - truth
        return Fidelity(truth, rebuilt, errors, len(self.salient(tau)), float(r2), held_out)

    def to_frame(self, *, merged: bool = True) -> pd.DataFrame:
        """Return all nonzero interactions, strongest first; a sampled result adds their error and stability."""
        require("study", "A table of interactions", "pandas")
        import pandas as pd

        rows = [(i.kind, i.mask, i.order, " + ".join(i.words), i.effect) for i in self._strongest(None, merged)]
        return pd.DataFrame(rows, columns=pd.Index(["kind", "mask", "order", "words", "effect"]))

    def to_json(self, *, k: int | None = None) -> str:
        """Return the k strongest interactions (None: all that are not zero) as JSON, see `interact.results.schema`."""
        return schema.to_json(self, k=k)

    def to_shapiq(self, index: str | None = None, max_order: int | None = None) -> Any:
        """Return an index of the scores as `shapiq.InteractionValues`; see `interact.to_shapiq`."""
        return conversions.to_shapiq(self, index, max_order)

    def to_shap(self, *, order: int = 1) -> Any:
        """Return the Shapley values of the scores as `shap.Explanation`; see `interact.to_shap`."""
        return conversions.to_shap(self, order=order)

    def save(self, path: str | Path) -> Path:
        """Write one file (safetensors with a JSON header), at once or not at all; return its path."""
        added, arrays = self._to_file()
        header: dict[str, Any] = {
            "text": self.text,
            "players": [[p.text, *p.chars, *p.tokens] for p in self.players],
            "split": {"primal": self.primal, "dual": finite(self.dual), "gap": finite(self.gap)},
            "provenance": dict(self.provenance),
        }
        return file.write(Path(path), header | added, arrays)

    @classmethod
    @abstractmethod
    def from_file(cls, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Interactions:
        """Make a result of the header and the arrays of its file.

        Raises:
            ValueError: They do not fit each other.
        """

    def plot(self, k: int = 12) -> Any:
        """Draw the k strongest interactions as bars beside the order histogram; return a matplotlib Figure."""
        return display.figure(self, self.top(k), self.by_order())

    def __str__(self) -> str:
        return display.as_text(self)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return display.as_html(self)

    @abstractmethod
    def _to_file(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return what the file's header holds beside the fields of every result, and the file's arrays."""

    @abstractmethod
    def _effects(self, merged: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return the AND and the OR effects as arrays, one number per term."""

    @abstractmethod
    def _orders(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the orders of the AND and of the OR terms, like the effects."""

    @abstractmethod
    def _interaction(self, kind: str, place: int, effect: float) -> Interaction:
        """Describe the term at a place of the AND or of the OR effects."""

    @abstractmethod
    def _rebuild(self, present: np.ndarray, i_and: np.ndarray, i_or: np.ndarray) -> np.ndarray:
        """Return phi of coalitions (bool, [m, n]) from effects; float64 [m]."""

    @abstractmethod
    def _test(self, tau: float) -> tuple[np.ndarray, np.ndarray, bool]:
        """Return the scores to test against, what the salient terms make of them, and whether no fit saw them."""

    def _strongest(self, k: int | None, merged: bool) -> list[Interaction]:
        """Return the k strongest interactions, strongest first; None for all that are not zero."""
        effects = np.concatenate(self._effects(merged))
        order = np.argsort(-np.abs(effects), kind="stable")[:k]
        return self._interactions(effects, order[effects[order] != 0])

    def _interactions(self, effects: np.ndarray, chosen: np.ndarray) -> list[Interaction]:
        """Describe the terms at places of the AND effects followed by the OR effects."""
        start = len(self.i_and)
        places = [("and", i, i) if i < start else ("or", i - start, i) for i in chosen.tolist()]
        return [self._interaction(kind, place, float(effects[i])) for kind, place, i in places]

    def _salient(self, tau: float, merged: bool) -> tuple[np.ndarray, np.ndarray]:
        """Say which of the AND and of the OR effects are salient."""
        if not 0 <= tau < 1:
            raise ValueError(f"tau is a share of the strongest effect, in [0, 1), but is {tau}.")
        effects, orders = self._effects(merged), self._orders()
        largest = max(float(np.abs(e).max(initial=0.0)) for e in effects)
        floors = np.array([self.noise_floor(order) for order in range(_largest(orders) + 1)])
        kept = [np.abs(e) > np.maximum(tau * largest, floors[o]) for e, o in zip(effects, orders, strict=True)]
        return kept[0], kept[1]

    def _hold(self, name: str, size: int, words: str) -> None:
        """Keep a field as a float64 array of this length, which `words` tell."""
        array = np.ascontiguousarray(getattr(self, name), dtype=np.float64)
        if array.shape != (size,):
            raise ValueError(f"{name} must hold {words} values, but has the shape {array.shape}.")
        object.__setattr__(self, name, array)


def _largest(orders: Iterable[np.ndarray]) -> int:
    return max((int(order.max()) for order in orders if len(order)), default=0)
