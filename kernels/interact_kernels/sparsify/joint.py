"""Joint extraction: one AND-OR split for several models of the same players, so that shared interactions agree.

    minimise  sum_T (1 - alpha) max_i |I_i(T)| + alpha sum_i |I_i(T)|   over both types, each model matched

1. The ADMM of csrc/sparsify/admm.cpp with the models side by side: the projections are each model's own, only
   the shrinkage joins them: prox of alpha l1 + (1 - alpha) l-infinity = soft threshold, then x - (projection of
   x on an l1 ball).
2. Its own certificate: with the dual norm |x|* = max_k (sum of the k largest |x_i|) / (1 - alpha + k alpha),
   every y with |(Z^T y_i)_i|* <= 1 and |(O^T y_i)_i|* <= 1 for each T bounds the loss from below by
   sum_i <w_i, y_i> - delta_i |y_i|_1.

Chen et al. 2024 (arXiv 2401.16318), alpha = 0.1.
"""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass

import numpy as np
import torch

from interact_kernels import lattice
from interact_kernels.lattice import reference as butterflies
from interact_kernels.sparsify.options import SplitOptions

_RELAXATION = 1.6
_PERIOD = 25
_OMEGA = 0.3
Triple = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class JointSplit:
    """Result of `joint_and_or_split`: float64 NumPy arrays of shape [models, 2**n], and numbers.

    Attributes:
        i_and: AND interactions of each model.
        i_or: OR interactions of each model.
        noise: Tolerated deviations, |noise| <= kappa |v[full] - v[empty]| of each model.
        primal: The joint loss reached.
        dual: Certified lower bound of the joint loss.
        gap: (primal - dual) / primal, 0 when both are 0.
        iterations: Steps of the ADMM.
        converged: Whether the gap reached rtol.
        certificate: Feasible dual vectors behind `dual`.
        alpha: Weight of the model-specific part.
    """

    i_and: np.ndarray
    i_or: np.ndarray
    noise: np.ndarray
    primal: float
    dual: float
    gap: float
    iterations: int
    converged: bool
    certificate: np.ndarray
    alpha: float


def joint_and_or_split(
    v: np.ndarray,
    *,
    kappa: float = 0.04,
    alpha: float = 0.1,
    rtol: float = 1e-3,
    options: SplitOptions | None = None,
) -> JointSplit:
    """Split the scores of several models together; the sum over T and over both types is minimised::

        (1 - alpha) max_i |I_i(T)| + alpha sum_i |I_i(T)|

    Args:
        v: Scores of the models on the same players, shape [models, 2**n]. Bring models of different output
            scales to one scale first, or the loudest decides.
        kappa: Tolerated noise of each model relative to its |v[full] - v[empty]|.
        alpha: Weight of the model-specific part, 0 to 1; 1 splits each model alone.
        rtol: Relative gap to reach.
        options: `max_iterations` and `time_limit` are read.

    Returns:
        The split with its own certified gap.

    Raises:
        ValueError: `v` is not [models, 2**n] of finite scores, or an argument is out of range.

    Warns:
        RuntimeWarning: A limit was met before the gap reached rtol.

    Source: Chen et al. 2024 (arXiv 2401.16318); the dual bound is ours.

    >>> joint = joint_and_or_split(np.array([[0.0, 0, 0, 1], [0.0, 0, 0, 2]]), kappa=0.0)
    >>> joint.i_and.round(2).tolist()
    [[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 2.0]]
    """
    options = options or SplitOptions()
    values = np.asarray(v, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] < 1 or values.shape[1] & (values.shape[1] - 1) or values.shape[1] < 1:
        raise ValueError(f"Joint scores must have shape [models, 2**n], but have {values.shape}.")
    if not np.isfinite(values).all():
        raise ValueError("Some scores are NaN or infinite; find out which coalitions the models fail on first.")
    if not (0 <= alpha <= 1 and math.isfinite(kappa) and kappa >= 0 and rtol > 0):
        raise ValueError(f"alpha must be in [0, 1], kappa >= 0 and rtol > 0, but are {alpha}, {kappa} and {rtol}.")
    split = _Joint(torch.as_tensor(values), kappa, alpha).solve(rtol, options)
    if not split.converged:
        warnings.warn(
            f"The joint AND-OR split stopped at a limit before the gap reached {rtol:g}; the gap is {split.gap:.3g}. "
            "The best point found is returned.",
            RuntimeWarning,
            stacklevel=2,
        )
    return split


def dual_norm(x: torch.Tensor, alpha: float) -> torch.Tensor:
    """Return the dual norm of (1 - alpha) max + alpha sum over axis 0."""
    sums = x.abs().sort(dim=0, descending=True).values.cumsum(0)
    k = torch.arange(1, len(x) + 1, dtype=x.dtype)[:, None]
    return (sums / (1 - alpha + k * alpha)).amax(0)


class _Joint:
    def __init__(self, v: torch.Tensor, kappa: float, alpha: float) -> None:
        size = v.shape[-1]
        self.alpha = alpha
        self.live = (torch.arange(size) > 0).double()
        self.odd = torch.tensor([1.0 if bin(i).count("1") % 2 else -1.0 for i in range(size)]).double()
        self.w = v - v[:, :1]
        self.scale = float(self.w.abs().max()) or 1.0
        self.bound = kappa * self.w[:, -1:].abs()
        self.delta = self.bound / self.scale
        self.noisy = bool((self.delta > 0).any())
        self.g = self.live * self.odd * lattice.moebius(self.w / self.scale)
        self.plane = _Plane(size.bit_length() - 1, 1 / _OMEGA if self.noisy else 0.0)

    def lower(self, x: torch.Tensor) -> torch.Tensor:
        return self.live * lattice.zeta(self.live * x)

    def upper(self, x: torch.Tensor) -> torch.Tensor:
        return self.live * lattice.zeta(x.contiguous(), adjoint=True)

    def loss(self, x: torch.Tensor) -> float:
        return float((1 - self.alpha) * x.abs().amax(0).sum() + self.alpha * x.abs().sum())

    def shrink(self, x: torch.Tensor, t: float) -> torch.Tensor:
        soft = x.sign() * (x.abs() - t * self.alpha).clamp_min(0)
        radius = t * (1 - self.alpha)
        falling = soft.abs().sort(dim=0, descending=True).values
        k = torch.arange(1, len(x) + 1, dtype=x.dtype)[:, None]
        cut = ((falling.cumsum(0) - radius) / k).amax(0).clamp_min(0)
        return torch.minimum(torch.maximum(soft, -cut), cut)

    def distance(self, x: Triple, y: Triple) -> float:
        weights = (1.0, 1.0, _OMEGA if self.noisy else 0.0)
        return math.sqrt(sum(w * float(((i - j) ** 2).sum()) for w, i, j in zip(weights, x, y, strict=True)))

    def solve(self, rtol: float, options: SplitOptions) -> JointSplit:
        deadline = time.monotonic() + options.time_limit
        most = 20_000 if options.max_iterations is None else options.max_iterations
        zero = torch.zeros_like(self.g)
        a, b, q, ua, ub, uq, multiplier, guess = (zero.clone() for _ in range(8))
        best = (self.loss(self.g), zero, zero)
        top = (0.0, zero)
        rho = 3.0 * self.g.numel() / (float(self.g.abs().sum()) or 1.0)
        step, gap = 0, 1.0 if best[0] > 0 else 0.0
        while gap > rtol and step < most and time.monotonic() < deadline:
            step += 1
            a0, b0, q0 = a - ua, b - ub, q - uq
            rhs = a0 + self.upper(b0) - self.lower(q0) - self.g
            multiplier = self.plane.solve(self.live * rhs, multiplier, 1e-3 * min(gap, 0.1))
            moved = (a0 - multiplier, b0 - self.lower(multiplier), q0 + self.upper(multiplier) / _OMEGA)
            triples = zip(moved, (a, b, q), (ua, ub, uq), strict=True)
            ahead = [_RELAXATION * m + (1 - _RELAXATION) * k + u for m, k, u in triples]
            kept = (
                self.shrink(ahead[0], 1 / rho),
                self.shrink(ahead[1], 1 / rho),
                torch.minimum(torch.maximum(ahead[2], -self.delta), self.delta) if self.noisy else zero,
            )
            primal_rest = self.distance(moved, kept)
            dual_rest = self.distance(kept, (a, b, q))
            ua, ub, uq = (x - k for x, k in zip(ahead, kept, strict=True))
            a, b, q = kept
            if not self.noisy:
                uq = zero
            if step % _PERIOD:
                continue
            value = self.loss(self.g - self.upper(b) + self.lower(q)) + self.loss(b)
            best = min(best, (value, b, q), key=lambda item: item[0])
            guess = self.plane.solve(self.live * (ua + self.upper(ub) - self.lower(uq)), guess, 1e-3 * gap)
            top = max((top, self.dual(guess), self.dual(ua)), key=lambda item: item[0])
            gap = (best[0] - top[0]) / best[0]
            factor = 1.6 if primal_rest > 3 * dual_rest else 1 / 1.6 if dual_rest > 3 * primal_rest else 1.0
            rho, ua, ub, uq = rho * factor, ua / factor, ub / factor, uq / factor
        return self._finish(best[1], best[2], top[1], step, rtol)

    def dual(self, z: torch.Tensor) -> tuple[float, torch.Tensor]:
        divisor = float(torch.maximum(dual_norm(z, self.alpha), dual_norm(self.lower(z), self.alpha)).max())
        if not divisor > 0:
            return 0.0, torch.zeros_like(z)
        z = z / divisor
        return float((self.g * z).sum() - (self.delta * self.upper(z).abs()).sum()), z

    def _finish(self, b: torch.Tensor, q: torch.Tensor, z: torch.Tensor, steps: int, rtol: float) -> JointSplit:
        noise = torch.minimum(torch.maximum(self.odd * self.scale * q, -self.bound), self.bound)
        i_or = self.scale * b
        inside = lattice.zeta(i_or)
        i_and = self.live * lattice.moebius(self.w + noise - (inside[:, -1:] - inside.flip(-1)))
        y = self.odd * self.upper(z)
        primal = self.loss(i_and) + self.loss(i_or)
        dual = max(0.0, float((self.w * y).sum() - (self.bound * y.abs()).sum()))
        gap = (primal - dual) / primal if primal > 0 else 0.0
        i_and, i_or, noise, y = (part.numpy() for part in (i_and, i_or, noise, y))
        return JointSplit(i_and, i_or, noise, primal, dual, gap, steps, gap <= rtol, y, self.alpha)


def _row_major(m: np.ndarray) -> tuple[float, float, float, float]:
    return float(m[0, 0]), float(m[0, 1]), float(m[1, 0]), float(m[1, 1])


class _Plane:
    """(I + U U^T + weight L L^T)^-1 on the coalitions != empty; csrc/sparsify/kronecker_solver.cpp explains."""

    def __init__(self, n: int, weight: float) -> None:
        self.weight = weight
        u, low = np.array([[2.0, 1.0], [1.0, 1.0]]), np.array([[1.0, 1.0], [1.0, 2.0]])
        pair = (u, low) if weight else (u, np.eye(2))
        half = np.linalg.inv(np.linalg.cholesky(pair[1]))
        values, vectors = np.linalg.eigh(half @ pair[0] @ half.T)
        self.basis = half.T @ vectors
        diagonal = torch.ones(1, dtype=torch.float64)
        for _ in range(n):
            diagonal = torch.kron(torch.as_tensor(values), diagonal)
        self.inverse = 1 / (diagonal + (weight or 1.0))
        self.live = (torch.arange(1 << n) > 0).double()
        self.column: torch.Tensor | None = None
        unit = (torch.arange(1 << n) == 0).double()[None]
        self.column = self.precondition(unit)

    def precondition(self, x: torch.Tensor) -> torch.Tensor:
        y = x.clone()
        butterflies.kronecker_(y, _row_major(self.basis.T))
        y *= self.inverse
        butterflies.kronecker_(y, _row_major(self.basis))
        if self.column is None:
            return y
        return self.live * (y - y[:, :1] / self.column[:, :1] * self.column)

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        y = x + lattice.zeta(lattice.zeta(x), adjoint=True)
        if self.weight:
            inner = self.live * lattice.zeta(x, adjoint=True)
            y = y + self.weight * lattice.zeta(inner)
        return self.live * y

    def solve(self, rhs: torch.Tensor, guess: torch.Tensor, tolerance: float) -> torch.Tensor:
        if not self.weight:
            return self.precondition(rhs)
        x, rest = guess, rhs - self.apply(guess)
        direction, product = torch.zeros_like(x), torch.ones(len(x), 1, dtype=x.dtype)
        for _ in range(30):
            if float(rest.norm()) <= tolerance * float(rhs.norm()):
                break
            solved = self.precondition(rest)
            following = (rest * solved).sum(-1, keepdim=True)
            direction = solved + following / product.clamp_min(1e-300) * direction
            product = following
            image = self.apply(direction)
            length = product / (direction * image).sum(-1, keepdim=True).clamp_min(1e-300)
            x, rest = x + length * direction, rest - length * image
        return x
