"""The exact result: the scores of all 2**n coalitions, and the proof that their split is the sparsest."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import isfinite, nan
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from interact.prompt.players import LIMIT
from interact.results.answers import Interaction
from interact.results.file import MISFIT, common_fields
from interact.results.interactions import Interactions
from interact_kernels import lattice
from interact_kernels.sparsify import STATUSES, AndOrSplit, Certainty, NoiseForm, bounds, certainty, response
from interact_kernels.sparsify.response import LARGEST as LARGEST_ANSWERED

if TYPE_CHECKING:
    import pandas as pd

_ARRAYS = ("values", "i_and", "i_or", "noise", "certificate")
_OPTIMAL = 1e-9
Z = 1.96
"""Standard errors within which noise of the scores carries an effect, 95 % two-sided."""


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
    def form(self) -> NoiseForm:
        """How noise of the scores was treated; a result that names only a kappa was split with a box.

        Raises:
            ValueError: The record of the result names no form.
        """
        return NoiseForm.read(self.provenance)

    @property
    def names_form(self) -> bool:
        """Whether the record of the result names the form of its noise."""
        return self.provenance.get("noise") is not None or self.provenance.get("kappa") is not None

    @property
    def noise_name(self) -> str | None:
        """How noise of the scores was treated: soft, box or exact; None where it is not known."""
        return self.form.noise if self.names_form else None

    @property
    def evidence(self) -> str:
        """What stands behind the effects, in words."""
        proof = "certified optimal" if self.gap < _OPTIMAL else f"certified within {self.gap:.1e}"
        return f"{self.form}, {proof}" if self.names_form else proof

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
        """Say of each interaction whether it is salient, with the same sign, in every near-optimal split.

        A split is near-optimal when it costs at most (1 + eps) times as much as this one; eps 1e-4 is for claims, and
        what is certain at 1e-3 is firm. An interaction is certain when its effect has one sign and stays above its
        level in all of them. The level is that of `salient`: tau times the strongest effect, or the noise floor. Where
        noise of the scores is known, an interaction that it carries across its level (95 %) is possible at most.

        Args:
            eps: How much more a near-optimal split may cost, relative.
            tau: Salience threshold, see `salient`.
            ranges: Find the least and the largest effect over all near-optimal splits, to a thousandth of the level.
            every: Decide the weaker interactions too, not only the salient ones and those that are decided for free; or
                which of them, by kind and mask, such as those that are salient in another model.
            sigma: Standard deviation of independent noise of each score; None for what was measured of half
                precision, or 0.
            level: The effect above which an interaction is salient, instead of tau; the noise floor holds beside it.
            time_limit: Seconds after which what is left is undecided.

        Returns:
            One row per interaction, strongest first, zeros too: kind, mask, words, effect; price, how much more the
            best split costs, relative, in which a salient effect comes down to its level, or another one up to it (at
            least this where certain or excluded, at most this where possible); status (certain, possible, excluded,
            undecided); low and high, proven bounds of the effect, or its range where `ranges`; noise, its standard
            error by sigma, to first order (`interact_kernels.sparsify.response`; not of the soft form: the floor), and
            floor, that of a plain alternating sum, 2**(order/2) sigma.

        Raises:
            ValueError: eps, tau, sigma, the level or the time limit is out of range, or the result proves nothing.

        >>> from interact import game_from
        >>> r = game_from(lambda present: 2.0 * present.all(1), 2).interactions()
        >>> r.certainty().loc[0, ["words", "status"]].tolist()
        ['player 0 + player 1', 'certain']
        """
        # Here, because scoring on a bare machine needs no pandas.
        import pandas as pd

        noise, floor = self.noise_of_effects(sigma)
        found = self._certain(eps, tau, noise, ranges=ranges, every=every, level=level, time_limit=time_limit)
        effects = np.stack(self.effects())
        rows = np.argwhere(self._columns())
        rows = rows[np.argsort(-np.abs(effects[rows[:, 0], rows[:, 1]]), kind="stable")]
        at = rows[:, 0], rows[:, 1]
        words = [" + ".join(self._interaction("and", int(mask), 0.0).words) for mask in at[1]]
        columns = {
            "kind": [("and", "or")[family] for family in at[0]],
            "mask": at[1],
            "words": words,
            "effect": effects[at],
            "price": found.price[at],
            "status": [STATUSES[code] for code in found.status[at]],
            "low": found.low[at],
            "high": found.high[at],
            "noise": noise[at],
            "floor": floor[at],
        }
        return pd.DataFrame(columns)

    def noise_of_effects(
        self, sigma: float | None = None, *, among: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the standard errors of the effects that noise of the scores gives, as in `certainty`: noise and floor.

        Args:
            sigma: As in `certainty`.
            among: Effects to tell of, bool, shape [2, 2**n]; None for all.

        Returns:
            Two float64 arrays of shape [2, 2**n], the AND effects and then the OR effects.

        Raises:
            ValueError: sigma is negative or not finite.
        """
        sigma = self.noise_floor(0) if sigma is None else sigma
        if not (isfinite(sigma) and sigma >= 0):
            raise ValueError(f"sigma is the standard deviation of a score's noise, at least 0, but is {sigma}.")
        floor = sigma * np.exp2(np.stack(self._orders()) / 2) * self._columns()
        price = self.form.relative * abs(self.total - self.bias) if sigma and self.names_form else 0.0
        if not price or not self.form.soft or self.n > LARGEST_ANSWERED:
            return floor, floor
        return sigma * response(self.values, np.stack(self.effects()), price, among=among).size, floor

    def statuses(
        self, eps: float = 1e-4, tau: float = 0.05, *, time_limit: float = 600.0
    ) -> dict[tuple[str, int], str]:
        """Return the status of each salient interaction, by its kind and mask; see `certainty`."""
        salient = np.stack(self._salient(tau, merged=True))
        noise = self.noise_of_effects(among=salient)[0]
        found = self._certain(eps, tau, noise, ranges=False, every=False, time_limit=time_limit)
        chosen = np.argwhere(salient)
        return {(("and", "or")[f], int(mask)): STATUSES[found.status[f, mask]] for f, mask in chosen}

    def _certain(
        self,
        eps: float,
        tau: float,
        noise: np.ndarray,
        *,
        ranges: bool,
        every: bool | Collection[tuple[str, int]],
        time_limit: float,
        level: float | None = None,
    ) -> Certainty:
        self._salient(tau, merged=True)
        if level is not None and not (isfinite(level) and level >= 0):
            raise ValueError(f"level is an effect above which interactions are salient, at least 0, but is {level}.")
        split, bound = self._split()
        effects = np.stack(self.effects())
        floors = np.array([self.noise_floor(order) for order in range(self.n + 1)])
        level = tau * float(np.abs(effects).max(initial=0.0)) if level is None else level
        levels = np.maximum(level, np.stack([floors[o] for o in self._orders()]))
        asked = every if isinstance(every, bool) else self._places(every)
        options = {"eps": eps, "every": asked, "ranges": ranges, "time_limit": time_limit}
        return certainty(self.values, split, bound, levels=levels, reach=Z * noise, **options)

    def bounds(
        self, points: np.ndarray, eps: float = 1e-4, *, time_limit: float = 600.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return proven bounds of all effects over the near-optimal splits, see `interact_kernels.sparsify.bounds`.

        Raises:
            ValueError: The result proves nothing.
        """
        split, bound = self._split()
        return bounds(self.values, split, bound, points=points, eps=eps, time_limit=time_limit)

    def _split(self) -> tuple[AndOrSplit, float]:
        """Return the split, and the absolute price or bound of its noise."""
        if not (isfinite(self.gap) and isfinite(self.dual)):
            raise ValueError("This result has no certificate, so it has no certain interactions; extract it again.")
        cells = (self.primal, self.dual, self.gap, 0, True)
        split = AndOrSplit(self.i_and, self.i_or, self.noise, *cells, self.certificate, self.form)
        return split, self.form.relative * abs(self.total - self.bias)

    def _places(self, asked: Collection[tuple[str, int]]) -> np.ndarray:
        chosen = np.zeros((2, 1 << self.n), dtype=bool)
        for kind, mask in asked:
            if kind not in ("and", "or") or not 0 < mask < 1 << self.n:
                raise ValueError(f"every names interactions by kind and mask, such as ('and', 3), not {(kind, mask)}.")
            chosen[("and", "or").index(kind), mask] = True
        return chosen

    def _columns(self) -> np.ndarray:
        columns = np.ones((2, 1 << self.n), dtype=bool)
        columns[:, 0] = False
        columns[1, 1 << np.arange(self.n)] = False
        return columns

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
