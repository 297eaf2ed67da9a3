"""A batch of samples as the programme that the batched solver sees, and the best points found (split.md)."""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields

import torch

from interact_kernels import lattice
from interact_kernels.sparsify.form import NoiseForm


@dataclass
class Points:
    """The best primal points and dual vectors so far, each with what it proves; [batch, 2**n] and [batch].

    Attributes:
        a: AND effects in units of the scale, signed by order.
        b: OR effects in the same units.
        q: Noise, signed by order.
        z: Dual vectors.
        primal: Cost.
        dual: Lower bound.
        iterations: Steps, int64.
        exact: Whether a holds true zeros, so that it is not computed anew from the rest.
    """

    a: torch.Tensor
    b: torch.Tensor
    q: torch.Tensor
    z: torch.Tensor
    primal: torch.Tensor
    dual: torch.Tensor
    iterations: torch.Tensor
    exact: torch.Tensor

    def offer(
        self,
        rows: torch.Tensor,
        a: torch.Tensor,
        b: torch.Tensor,
        q: torch.Tensor,
        z: torch.Tensor,
        primal: torch.Tensor,
        dual: torch.Tensor,
    ) -> None:
        """Keep what is better, of the samples `rows`."""
        better, higher = primal < self.primal[rows], dual > self.dual[rows]
        at, above = rows[better], rows[higher]
        self.a[at], self.b[at], self.q[at] = a[better], b[better], q[better]
        self.primal[at], self.exact[at] = primal[better], False
        self.z[above], self.dual[above] = z[higher], dual[higher]

    def put(self, rows: torch.Tensor, other: Points) -> None:
        """Replace the samples `rows` by those of other points."""
        for field in fields(self):
            if field.name != "iterations":
                getattr(self, field.name)[rows] = getattr(other, field.name)


class Programme:
    """What is given of each sample, in units of its largest |v - v[empty]|.

    Args:
        v: Scores, float64, shape [batch, 2**n].
        bound: Bounds of |noise| or, in the soft form, its gamma; shape [batch].
        form: How noise is treated.
    """

    def __init__(self, v: torch.Tensor, bound: torch.Tensor, form: NoiseForm) -> None:
        self.size, self.soft, self.ridge = v.shape[-1], form.soft, form.ridge
        index = torch.arange(self.size)
        order = torch.tensor([bin(i).count("1") for i in range(self.size)])
        self.odd = torch.where(order % 2 == 1, 1.0, -1.0).double().to(v.device)
        self.live = (index > 0).double().to(v.device)
        # For single players AND and OR are one function; with a ridge their ORs rest.
        self.live_or = ((order > 1) if form.ridge else (index > 0)).double().to(v.device)
        self.w = v - v[:, :1]
        self.scale = self.w.abs().amax(-1, keepdim=True)
        self.bound_given = bound[:, None]
        unit = torch.where(self.scale > 0, self.scale, 1.0)
        self.w = self.w / unit
        limit = bound[:, None] / unit
        self.delta, self.gamma = (torch.zeros_like(limit), limit) if form.soft else (limit, torch.zeros_like(limit))
        self.boxed = self.delta > 0
        self.g = self.live * self.odd * lattice.moebius(self.w)

    def take(self, rows: torch.Tensor) -> Programme:
        """Return the programme of some of the samples."""
        other = copy.copy(self)
        for name in ("w", "scale", "bound_given", "delta", "gamma", "boxed", "g"):
            setattr(other, name, getattr(self, name)[rows])
        return other

    def nothing(self) -> Points:
        """Return the points to begin with: no ORs, no noise."""
        zero = torch.zeros_like(self.g)
        primal = self.cost(self.g, zero, zero)
        still = torch.zeros(len(zero), dtype=torch.int64, device=zero.device)
        return Points(
            self.g.clone(), zero, zero.clone(), zero.clone(), primal, torch.zeros_like(primal), still, still > 0
        )

    def lower(self, x: torch.Tensor) -> torch.Tensor:
        """Sum over subsets, without the empty set."""
        return self.live * lattice.zeta(self.live * x)

    def upper(self, x: torch.Tensor) -> torch.Tensor:
        """Sum over supersets, without the empty set."""
        return self.live * lattice.zeta(x.contiguous(), adjoint=True)

    def rest(self, b: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
        """Return g - U b + L q, the AND effects that ORs and noise leave."""
        return self.g - self.upper(b) + self.lower(q)

    def half_or(self) -> torch.Tensor:
        """Return the OR effects of half the scores."""
        return -self.live_or * lattice.moebius((self.w.flip(-1) / 2).contiguous())

    def cost(self, a: torch.Tensor, b: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
        """Return what points cost; without a price noise is taken to lie in its box."""
        strength = (a.abs() + b.abs()).sum(-1)
        if not self.soft:
            return strength
        squares = (a**2 + b**2).sum(-1)
        noise, gamma = (q**2).sum(-1), self.gamma[:, 0]
        # Without a price there is no noise: only the AND effects of such a point are wrong, and they are computed anew.
        price = torch.where(gamma > 0, noise / (2 * gamma).clamp_min(1e-300), 0.0)
        return strength + self.ridge / 2 * squares + price

    def slopes(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the slopes of a and of b, 0 where an OR rests."""
        return self.live * z, self.live_or * self.lower(z)

    def bound(self, z: torch.Tensor) -> torch.Tensor:
        """Return the lower bound that dual vectors prove."""
        slope_and, slope_or = self.slopes(z)
        y = self.upper(z)
        value = (self.g * z - self.delta * y.abs()).sum(-1)
        if not self.soft:
            return value / self.divisor(z)[:, 0]
        beyond = sum(((slope.abs() - 1).clamp_min(0) ** 2).sum(-1) for slope in (slope_and, slope_or))
        return value - self.gamma[:, 0] / 2 * (y**2).sum(-1) - beyond / (2 * self.ridge)

    def divisor(self, z: torch.Tensor) -> torch.Tensor:
        """Return by what z is divided to be feasible, [batch, 1]: 1 with a ridge, which lets slopes pass 1."""
        if self.soft:
            return torch.ones_like(self.scale)
        top = torch.maximum(*(slope.abs().amax(-1, keepdim=True) for slope in self.slopes(z)))
        return torch.where(top > 0, top, 1.0)

    def in_units(self, best: Points) -> list[torch.Tensor]:
        """Return i_and, i_or, noise and y in the units and signs of the scores."""
        noise = self.odd * self.scale * best.q
        if not self.soft:
            noise = torch.minimum(torch.maximum(noise, -self.bound_given), self.bound_given)
        i_or = self.scale * best.b
        inside = lattice.zeta(i_or)
        i_and = self.live * lattice.moebius(self.scale * self.w + noise - (inside[:, -1:] - inside.flip(-1)))
        i_and = torch.where(best.exact[:, None], self.odd * self.scale * best.a, i_and)
        return [i_and, i_or, noise, self.odd * self.upper(best.z) / self.divisor(best.z)]
