"""How a split treats the noise of the scores: at a price, within a box, or not at all.

With w = v - v[empty], change = |v[full] - v[empty]| and the effects x of both kinds, a split costs::

    soft    |x|_1 + ridge / (2 max |w|) |x|_2^2 + |q|_2^2 / (2 kappa change)
    box     |x|_1    where |q| <= kappa change
    exact   |x|_1    where q = 0

The soft form has one optimum, which depends on nothing but the scores; its OR effects of single players are 0, because
AND and OR are one function there. A box or exact optimum is seldom unique (docs/split.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from interact_kernels import lattice

NOISES = ("soft", "box", "exact")
_KAPPA = {"soft": 0.01, "box": 0.04, "exact": 0.0}
_RIDGE = {"soft": 0.1, "box": 0.0, "exact": 0.0}
_RTOL = {"soft": 1e-6, "box": 1e-3, "exact": 1e-3}


@dataclass(frozen=True)
class NoiseForm:
    """The form of a split's noise; make one with `NoiseForm.of`.

    Attributes:
        noise: ``"soft"``, ``"box"`` or ``"exact"``.
        kappa: The noise's price or its bound, relative to |v[full] - v[empty]|; None for absolute bounds.
        ridge: Weight of the squared effects, in units of 1 / max |v - v[empty]|; 0 but for ``"soft"``.
    """

    noise: str
    kappa: float | None
    ridge: float = 0.0

    @classmethod
    def of(cls, noise: str | None = None, kappa: float | None = None) -> NoiseForm:
        """Return the form that was requested.

        Args:
            noise: Its name. None for ``"soft"``, and for ``"box"`` where a kappa is given.
            kappa: Its kappa; None for 0.01 (soft) or 0.04 (box). A box of 0 is exact.

        Raises:
            ValueError: The name is not known, or kappa does not fit it.

        >>> NoiseForm.of().noise, NoiseForm.of(kappa=0.04).noise, NoiseForm.of(kappa=0).noise
        ('soft', 'box', 'exact')
        """
        if noise is not None and noise not in NOISES:
            raise ValueError(f"noise={noise!r} is not known; choose one of {list(NOISES)}.")
        number = isinstance(kappa, Real) and not isinstance(kappa, bool)
        if kappa is not None and not (number and math.isfinite(kappa) and kappa >= 0):
            raise ValueError(f"kappa must be a finite number >= 0 (0.01 soft, 0.04 in a box), but is {kappa!r:.60}.")
        name = noise or ("soft" if kappa is None else "box")
        if name == "soft" and kappa == 0:
            raise ValueError("Soft noise needs a kappa above 0; use noise='exact' to allow none.")
        if name == "exact" and kappa:
            raise ValueError(f"noise='exact' allows no noise, but kappa={kappa}; leave kappa out.")
        if name == "box" and kappa == 0:
            name = "exact"
        return cls(name, _KAPPA[name] if kappa is None else float(kappa), _RIDGE[name])

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> NoiseForm:
        """Return the form that a record names; a record of before these forms names a kappa alone, which is a box.

        Raises:
            ValueError: The record names no form that there is.
        """
        noise, kappa = record.get("noise"), record.get("kappa")
        if noise is None and kappa is None:
            raise ValueError("The record of this result names neither noise nor kappa; extract it again.")
        return cls.of(noise, kappa)

    @property
    def soft(self) -> bool:
        """Whether noise has a price and no bound."""
        return self.noise == "soft"

    @property
    def relative(self) -> float:
        """The kappa, 0 for absolute bounds."""
        return 0.0 if self.kappa is None else self.kappa

    @property
    def rtol(self) -> float:
        """The default relative gap."""
        return _RTOL[self.noise]

    def record(self) -> dict[str, Any]:
        """Return what a result says of its form: JSON values."""
        return {"noise": self.noise, "kappa": self.kappa, "ridge": self.ridge}

    def __str__(self) -> str:
        if self.noise == "exact":
            return "exact matching"
        size = "given bounds" if self.kappa is None else f"kappa {self.kappa:g}"
        return f"soft noise ({size})" if self.soft else f"noise in a box ({size})"


def cost(
    form: NoiseForm, v: np.ndarray, bound: np.ndarray, i_and: np.ndarray, i_or: np.ndarray, noise: np.ndarray
) -> np.ndarray:
    """Return what splits [..., 2**n] cost under a form; `bound` [...] is gamma where it is soft."""
    strength = np.abs(i_and).sum(-1) + np.abs(i_or).sum(-1)
    if not form.soft:
        return strength
    # In units of the scores, whose squares float64 may not hold.
    unit = _unit(v)
    i_and, i_or, noise = (part / unit[..., None] for part in (i_and, i_or, noise))
    squares = (i_and**2).sum(-1) + (i_or**2).sum(-1)
    price = np.divide((noise**2).sum(-1), 2 * bound / unit, out=np.zeros_like(strength), where=bound > 0)
    return strength + unit * (form.ridge / 2 * squares + price)


def dual_slopes(y: np.ndarray) -> np.ndarray:
    """Return Z^T y and O^T y, of shape [2, ..., 2**n] with 0 at the empty set."""
    above = lattice.zeta(y, adjoint=True)
    meeting = y.sum(-1, keepdims=True) - lattice.zeta(y)[..., ::-1]
    slopes = np.stack([above, meeting])
    slopes[..., 0] = 0.0
    return slopes


def dual_bound(
    form: NoiseForm, v: np.ndarray, bound: np.ndarray, y: np.ndarray, slopes: np.ndarray | None = None
) -> np.ndarray:
    """Return the lower bound that dual vectors y [..., 2**n] prove; without a ridge they must be feasible.

    `slopes` are those of y, 0 for columns that are held; None for all columns.
    """
    value = ((v - v[..., :1]) * y).sum(-1)
    if not form.soft:
        return value - bound * np.abs(y).sum(-1)
    value = value - bound / 2 * (y**2).sum(-1)
    if not form.ridge:
        return value
    slopes = single_ors_at_rest(dual_slopes(y)) if slopes is None else slopes
    beyond = (np.maximum(np.abs(slopes) - 1, 0.0) ** 2).sum((0, -1))
    return value - beyond * _unit(v) / (2 * form.ridge)


def single_ors_at_rest(columns: np.ndarray) -> np.ndarray:
    """Put 0 for the OR of each single player, in place; `columns` has shape [2, ..., 2**n]."""
    columns[1][..., 1 << np.arange(columns.shape[-1].bit_length() - 1)] = 0.0
    return columns


def _unit(v: np.ndarray) -> np.ndarray:
    unit = np.abs(v - v[..., :1]).max(-1)
    return np.where(unit > 0, unit, 1.0)
