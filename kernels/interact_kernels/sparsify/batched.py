"""The interior point for a batch at once in torch: batched Cholesky factorizations, for CUDA.

In the basis of docs/split.md a sample is: minimise |a|_1 + |b|_1 subject to a + U b - L q = g, |q| <= delta, with
L the sums over subsets and U the sums over supersets of the coalitions != empty.

1. Pairs x, s >= 0: a+, a-, b+, b- with slacks 1 - z, 1 + z, 1 - U^T z, 1 + U^T z, and q + delta, delta - q.
2. Newton's matrix D1 + U D2 U^T + L D3 L^T is gathered: upper[S | S'] + lower[S & S'].
3. Mehrotra's predictor and corrector; samples that have converged no longer move.
"""

from __future__ import annotations

import time

import torch

from interact_kernels import lattice
from interact_kernels.sparsify.options import SplitOptions
from interact_kernels.sparsify.request import SplitRequest
from interact_kernels.sparsify.result import AndOrSplit, assemble

_DAMPING = 0.995
_MATRIX_BYTES = 4 << 30


def interior_point(request: SplitRequest) -> AndOrSplit:
    """Solve on the device of the scores, as many samples at a time as memory holds."""
    v, bound, rtol, options, device, _ = request
    size = v.shape[-1]
    chunk = max(1, _MATRIX_BYTES // (3 * 8 * size * size))
    parts = []
    for first in range(0, len(v), chunk):
        rows = torch.as_tensor(v[first : first + chunk], dtype=torch.float64, device=device)
        bounds = torch.as_tensor(bound[first : first + chunk], dtype=torch.float64, device=device)
        parts.append(_Batch(rows, bounds).solve(rtol, options))
    columns = [torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)]
    return assemble(request, columns[:4], columns[4])


class _Batch:
    """State of a batch; every vector has shape [batch, 2**n] and entry 0 at rest."""

    def __init__(self, v: torch.Tensor, delta: torch.Tensor) -> None:
        size = v.shape[-1]
        index = torch.arange(size, device=v.device)
        self.odd = torch.tensor([1.0 if bin(i).count("1") % 2 else -1.0 for i in range(size)], device=v.device).double()
        self.union, self.meet = index[:, None] | index[None, :], index[:, None] & index[None, :]
        self.live = (index > 0).double()
        self.w = v - v[:, :1]
        self.scale = self.w.abs().amax(-1, keepdim=True)
        self.unit = torch.where(self.scale > 0, self.scale, 1.0)
        self.bound = delta[:, None]
        self.delta = self.bound / self.unit
        self.noisy = self.delta > 0
        self.g = self.live * self.odd * lattice.moebius(self.w / self.unit)
        self._start()

    def lower(self, x: torch.Tensor) -> torch.Tensor:
        return self.live * lattice.zeta(self.live * x)

    def upper(self, x: torch.Tensor) -> torch.Tensor:
        return self.live * lattice.zeta(x.contiguous(), adjoint=True)

    def _start(self) -> None:
        half = (self.w / self.unit).flip(-1) / 2
        b = -self.live * lattice.moebius(half.contiguous())
        a = self.g - self.upper(b)
        strength = (a.abs() + b.abs()).sum(-1, keepdim=True)
        margin = torch.where(strength > 0, strength, 1.0) / (2 * a.shape[-1])
        signed = torch.stack([a, -a, b, -b], 1)
        box = torch.where(self.noisy, self.delta, 1.0).expand_as(a)
        price = torch.where(self.noisy, margin / torch.where(self.noisy, self.delta, 1.0), 1.0).expand_as(a)
        self.x = torch.cat([signed.clamp_min(0) + margin[:, None], box[:, None], box[:, None]], 1)
        self.s = torch.cat([torch.ones_like(signed), price[:, None], price[:, None]], 1)
        self.x[..., 0] = self.s[..., 0] = 1.0
        # Which of the six products of a sample count.
        self.counted = self.live.expand_as(self.x).clone()
        self.counted[:, 4:] *= self.noisy[:, None].double()
        self.z = torch.zeros_like(a)
        self.best_b, self.best_q, self.best_z = (torch.zeros_like(a) for _ in range(3))
        self.primal = self.g.abs().sum(-1)
        self.dual = torch.zeros_like(self.primal)

    def solve(self, rtol: float, options: SplitOptions) -> list[torch.Tensor]:
        deadline = time.monotonic() + options.time_limit
        most = 200 if options.max_iterations is None else options.max_iterations
        iterations = torch.zeros(len(self.z), dtype=torch.int64, device=self.z.device)
        for step in range(most + 1):
            self._record()
            moving = self.primal - self.dual > rtol * self.primal
            if step == most or not moving.any() or time.monotonic() > deadline:
                break
            iterations += moving
            self._iterate(moving.double()[:, None])
        return [*self._finish(), iterations]

    def _point(self) -> tuple[torch.Tensor, torch.Tensor]:
        b = self.live * (self.x[:, 2] - self.x[:, 3])
        q = self.live * (self.x[:, 4] - self.x[:, 5]) / 2
        return b, torch.where(self.noisy, torch.minimum(torch.maximum(q, -self.delta), self.delta), 0.0)

    def _record(self) -> None:
        b, q = self._point()
        primal = (self.g - self.upper(b) + self.lower(q)).abs().sum(-1) + b.abs().sum(-1)
        top = torch.maximum(self.z.abs().amax(-1), self.lower(self.z).abs().amax(-1))
        dual = (self.g * self.z - self.delta * self.upper(self.z).abs()).sum(-1) / torch.where(top > 0, top, 1.0)
        better, higher = primal < self.primal, dual > self.dual
        self.best_b, self.best_q = (
            torch.where(better[:, None], new, old) for new, old in ((b, self.best_b), (q, self.best_q))
        )
        self.best_z = torch.where(higher[:, None], self.z, self.best_z)
        self.primal, self.dual = torch.minimum(primal, self.primal), torch.maximum(dual, self.dual)

    def _iterate(self, moving: torch.Tensor) -> None:
        ratio = self.counted * self.x / self.s
        d1, d2 = ratio[:, 0] + ratio[:, 1], ratio[:, 2] + ratio[:, 3]
        d3 = torch.where(self.noisy, self.live / (self.s[:, 4] / self.x[:, 4] + self.s[:, 5] / self.x[:, 5]), 0.0)
        matrix = self.upper(d2)[:, self.union] + self.lower(d3)[:, self.meet]
        matrix.diagonal(dim1=-2, dim2=-1).add_(d1)
        root = matrix.diagonal(dim1=-2, dim2=-1).clamp_min(1e-300).rsqrt() * self.live
        matrix *= root[:, :, None] * root[:, None, :]
        matrix.diagonal(dim1=-2, dim2=-1).copy_(torch.ones_like(root) * (1 + 1e-13))
        factor = torch.linalg.cholesky_ex(matrix)[0]
        b, q = self._point()
        rest = self.g - self.upper(b) + self.lower(q) - self.live * (self.x[:, 0] - self.x[:, 1])
        products = self.x * self.s
        count = self.counted.sum((1, 2)).clamp_min(1.0)
        mu = (self.counted * products).sum((1, 2)) / count
        dx, ds, dz = self._newton(-products, rest, factor, root, d3)
        up, down = self._lengths(dx, ds)
        ahead = (self.counted * (self.x + up * dx) * (self.s + down * ds)).sum((1, 2)) / count
        aim = ((ahead / mu.clamp_min(1e-300)) ** 3 * mu)[:, None, None]
        dx, ds, dz = self._newton(aim - products - dx * ds, rest, factor, root, d3)
        up, down = (moving[:, :, None] * _DAMPING * length for length in self._lengths(dx, ds))
        self.x, self.s, self.z = self.x + up * dx, self.s + down * ds, self.z + down[:, 0] * dz

    def _newton(
        self, target: torch.Tensor, rest: torch.Tensor, factor: torch.Tensor, root: torch.Tensor, d3: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        h = target / self.s
        hq = d3 * (target[:, 4] / self.x[:, 4] - target[:, 5] / self.x[:, 5])
        rhs = self.live * (rest - h[:, 0] + h[:, 1]) - self.upper(h[:, 2] - h[:, 3]) + self.lower(hq)
        dz = root * torch.cholesky_solve((root * rhs)[:, :, None], factor)[:, :, 0]
        slope = self.lower(dz)
        dq = hq - d3 * self.upper(dz)
        slopes = torch.stack([dz, -dz, slope, -slope], 1)
        dx = torch.cat([(target[:, :4] + self.x[:, :4] * slopes) / self.s[:, :4], dq[:, None], -dq[:, None]], 1)
        ds = torch.cat([-slopes, (target[:, 4:] - self.s[:, 4:] * dx[:, 4:]) / self.x[:, 4:]], 1)
        # A failed factorization (NaN) must not spoil the point reached.
        dx, ds = (torch.nan_to_num(self.counted * d, 0.0, 0.0, 0.0) for d in (dx, ds))
        return dx, ds, torch.nan_to_num(dz, 0.0, 0.0, 0.0)

    def _lengths(self, dx: torch.Tensor, ds: torch.Tensor) -> list[torch.Tensor]:
        reach = [
            torch.where(d < 0, -x / torch.where(d < 0, d, 1.0), torch.inf).amin((1, 2))
            for x, d in ((self.x, dx), (self.s, ds))
        ]
        return [length.clamp_max(1.0)[:, None, None] for length in reach]

    def _finish(self) -> list[torch.Tensor]:
        noise = self.odd * self.scale * self.best_q
        noise = torch.minimum(torch.maximum(noise, -self.bound), self.bound)
        i_or = self.scale * self.best_b
        inside = lattice.zeta(i_or)
        i_and = self.live * lattice.moebius(self.w + noise - (inside[:, -1:] - inside.flip(-1)))
        top = torch.maximum(self.best_z.abs().amax(-1), self.lower(self.best_z).abs().amax(-1))[:, None]
        y = self.odd * self.upper(self.best_z) / torch.where(top > 0, top, 1.0)
        return [i_and, i_or, noise, y]
