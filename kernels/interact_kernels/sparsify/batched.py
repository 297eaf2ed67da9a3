"""The interior point for a batch at once in torch: batched Cholesky factorizations, for CUDA.

In the basis of docs/split.md a sample is: minimise |a|_1 + |b|_1 + ridge/2 (|a|^2 + |b|^2) + |q|^2 / (2 gamma) subject
to a + U b - L q = g, with L the sums over subsets and U the sums over supersets of the coalitions != empty; and
|q| <= delta without a price (box), or q = 0 (exact).

1. Pairs x, s >= 0: a+, a-, b+, b- with slacks 1 + ridge x - slope, slopes z, -z, U^T z, -U^T z; in a box also
   q + delta and delta - q. With a price q = -gamma L^T z.
2. Newton's matrix D1 + U D2 U^T + L D3 L^T is gathered and factored (normal.py).
3. Mehrotra's predictor and corrector; samples that have converged leave the batch.
4. A soft split ends at its one optimum by Newton's method on the dual (sharpen.py).
"""

from __future__ import annotations

import time

import torch

from interact_kernels.sparsify.batch_programme import Programme
from interact_kernels.sparsify.normal import factor, scaled_matrix
from interact_kernels.sparsify.options import SplitOptions
from interact_kernels.sparsify.request import SplitRequest
from interact_kernels.sparsify.result import AndOrSplit, assemble
from interact_kernels.sparsify.sharpen import sharpen

_DAMPING = 0.995
_MATRICES = 3
"""Matrices of a sample that are there at once: the gathered one, its factor, and room to work."""
_HOST_BYTES = 4 << 30
_SHARE = 0.6
_CROWDED = 0.75
"""Share of samples still moving below which the others are taken out: that copies the state."""
_FURTHER, _TRIES = 0.03, 3
"""Where a soft split is not sharp yet, by how much smaller a gap the next try begins, and how many there are."""


def interior_point(request: SplitRequest) -> AndOrSplit:
    """Solve on the device of the scores, as many samples at a time as memory holds."""
    v, bound, rtol, options, device, form = request
    size = v.shape[-1]
    chunk = max(1, _memory(device) // (_MATRICES * 8 * size * size))
    parts = []
    for first in range(0, len(v), chunk):
        rows = torch.as_tensor(v[first : first + chunk], dtype=torch.float64, device=device)
        bounds = torch.as_tensor(bound[first : first + chunk], dtype=torch.float64, device=device)
        parts.append(_solve(Programme(rows, bounds, form), rtol, options))
    columns = [torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)]
    return assemble(request, columns[:4], columns[4])


def _memory(device: torch.device | None) -> int:
    if device is None or device.type != "cuda":
        return _HOST_BYTES
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(_SHARE * (torch.cuda.mem_get_info(device)[0] + held))


def _solve(programme: Programme, rtol: float, options: SplitOptions) -> list[torch.Tensor]:
    deadline = time.monotonic() + options.time_limit
    most = 200 if options.max_iterations is None else options.max_iterations
    batch = _Batch(programme)
    batch.run(rtol, most, deadline)
    # Where the effects of a soft optimum were not found yet, the interior point goes on.
    for k in range(_TRIES):
        if not programme.soft or not sharpen(programme, batch.best, batch.present(), deadline):
            break
        batch.run(rtol * _FURTHER ** (k + 1), most, deadline, programme.gamma[:, 0] > 0)
    return [*programme.in_units(batch.best), batch.best.iterations]


class _Batch:
    """State of a batch; every vector has shape [batch, 2**n] and entry 0 at rest.

    `all` and `kept` are those of every sample; `p`, `x`, `s`, `z` and `counted` those of the samples
    `rows`, which move.
    """

    def __init__(self, programme: Programme) -> None:
        self.all = self.p = programme
        self.best = programme.nothing()
        self.rows = torch.arange(len(programme.g), device=programme.g.device)
        self._start()
        self.kept = [part.clone() for part in (self.x, self.s, self.z, self.counted)]

    def run(self, rtol: float, most: int, deadline: float, among: torch.Tensor | None = None) -> None:
        """Iterate until the gap of each sample (or of those `among` all) is rtol or a limit is met; keep the best."""
        self._take(torch.arange(len(self.all.g), device=self.rows.device))
        self._record()
        for _ in range(most + 1):
            gap = self.best.primal - self.best.dual > rtol * self.best.primal
            moving = gap & (self.best.iterations < most)
            moving = (moving if among is None else moving & among)[self.rows]
            count = int(moving.sum())
            if not count or time.monotonic() > deadline:
                return
            if count < _CROWDED * len(moving):
                self._take(self.rows[moving])
                moving = moving[moving]
            self.best.iterations[self.rows] += moving
            self._iterate(moving.double()[:, None])
            self._record()

    def present(self) -> torch.Tensor:
        """Return which effects of all samples exceed their slacks, by sign, shape [batch, 2, 2**n]."""
        self._take(self.rows)
        x, s, _, counted = self.kept
        above = (x[:, :4] > s[:, :4]) * counted[:, :4]
        return above[:, 0::2] - above[:, 1::2]

    def _take(self, rows: torch.Tensor) -> None:
        """Let these samples move from here on."""
        state = (self.x, self.s, self.z, self.counted)
        for whole, part in zip(self.kept, state, strict=True):
            whole[self.rows] = part
        self.rows, self.p = rows, self.all.take(rows)
        self.x, self.s, self.z, self.counted = (whole[rows] for whole in self.kept)

    def _start(self) -> None:
        p = self.p
        b = p.half_or()
        a = p.rest(b, torch.zeros_like(b))
        strength = (a.abs() + b.abs()).sum(-1, keepdim=True)
        margin = torch.where(strength > 0, strength, 1.0) / (2 * a.shape[-1])
        signed = torch.stack([a, -a, b, -b], 1)
        box = torch.where(p.boxed, p.delta, 1.0).expand_as(a)
        price = torch.where(p.boxed, margin / torch.where(p.boxed, p.delta, 1.0), 1.0).expand_as(a)
        self.x = torch.cat([signed.clamp_min(0) + margin[:, None], box[:, None], box[:, None]], 1)
        self.s = torch.cat([1 + p.ridge * self.x[:, :4], price[:, None], price[:, None]], 1)
        # Which of the six products of a sample count.
        self.counted = p.live.expand_as(self.x).clone()
        self.counted[:, 2:4] *= p.live_or
        self.counted[:, 4:] *= p.boxed[:, None].double()
        self.x = torch.where(self.counted > 0, self.x, 1.0)
        self.s = torch.where(self.counted > 0, self.s, 1.0)
        self.z = torch.zeros_like(a)

    def _point(self) -> tuple[torch.Tensor, torch.Tensor]:
        b = self.p.live_or * (self.x[:, 2] - self.x[:, 3])
        if self.p.soft:
            return b, -self.p.gamma * self.p.upper(self.z)
        q = self.p.live * (self.x[:, 4] - self.x[:, 5]) / 2
        return b, torch.where(self.p.boxed, torch.minimum(torch.maximum(q, -self.p.delta), self.p.delta), 0.0)

    def _record(self) -> None:
        b, q = self._point()
        a = self.p.rest(b, q)
        self.best.offer(self.rows, a, b, q, self.z, self.p.cost(a, b, q), self.p.bound(self.z))

    def _iterate(self, moving: torch.Tensor) -> None:
        p = self.p
        ratio = self.counted[:, :4] * self.x[:, :4] / self._slack()
        d1, d2 = ratio[:, 0] + ratio[:, 1], ratio[:, 2] + ratio[:, 3]
        d3 = p.gamma * p.live
        if not p.soft:
            d3 = torch.where(p.boxed, p.live / (self.s[:, 4] / self.x[:, 4] + self.s[:, 5] / self.x[:, 5]), 0.0)
        upper, lower = p.upper(d2), p.lower(d3)
        root = (upper + lower + d1).clamp_min(1e-300).rsqrt() * p.live
        solved = factor(scaled_matrix(upper, lower, root))
        b, q = self._point()
        rest = p.rest(b, q) - p.live * (self.x[:, 0] - self.x[:, 1])
        products = self.x * self.s
        count = self.counted.sum((1, 2)).clamp_min(1.0)
        mu = (self.counted * products).sum((1, 2)) / count
        dx, ds, dz = self._newton(-products, rest, solved, root, d3)
        up, down = self._lengths(dx, ds)
        ahead = (self.counted * (self.x + up * dx) * (self.s + down * ds)).sum((1, 2)) / count
        aim = ((ahead / mu.clamp_min(1e-300)) ** 3 * mu)[:, None, None]
        dx, ds, dz = self._newton(aim - products - dx * ds, rest, solved, root, d3)
        up, down = (moving[:, :, None] * _DAMPING * length for length in self._lengths(dx, ds))
        self.x, self.s, self.z = self.x + up * dx, self.s + down * ds, self.z + down[:, 0] * dz

    def _slack(self) -> torch.Tensor:
        """Return what a change of x costs its slack: with a ridge the slack grows with x."""
        return self.s[:, :4] + self.p.ridge * self.x[:, :4]

    def _newton(
        self, target: torch.Tensor, rest: torch.Tensor, solved: torch.Tensor, root: torch.Tensor, d3: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        p, slack = self.p, self._slack()
        h = self.counted[:, :4] * target[:, :4] / slack
        hq = d3 * (target[:, 4] / self.x[:, 4] - target[:, 5] / self.x[:, 5]) * self.counted[:, 4]
        rhs = p.live * (rest - h[:, 0] + h[:, 1]) - p.upper(h[:, 2] - h[:, 3]) + p.lower(hq)
        dz = root * torch.cholesky_solve((root * rhs)[:, :, None], solved)[:, :, 0]
        slope = p.lower(dz)
        dq = hq - d3 * p.upper(dz)
        slopes = torch.stack([dz, -dz, slope, -slope], 1)
        plain = (target[:, :4] + self.x[:, :4] * slopes) / slack
        dx = torch.cat([plain, dq[:, None], -dq[:, None]], 1)
        ds = (target[:, 4:] - self.s[:, 4:] * dx[:, 4:]) / self.x[:, 4:]
        ds = torch.cat([p.ridge * plain - slopes, ds], 1)
        # A failed factorization (NaN) must not spoil the point reached.
        dx, ds = (torch.nan_to_num(self.counted * d, 0.0, 0.0, 0.0) for d in (dx, ds))
        return dx, ds, torch.nan_to_num(dz, 0.0, 0.0, 0.0)

    def _lengths(self, dx: torch.Tensor, ds: torch.Tensor) -> list[torch.Tensor]:
        reach = [
            torch.where(d < 0, -x / torch.where(d < 0, d, 1.0), torch.inf).amin((1, 2))
            for x, d in ((self.x, dx), (self.s, ds))
        ]
        if self.p.soft:
            # The slacks hold the ridge and the noise is that of the dual, so both sides take one step.
            reach = [torch.minimum(*reach)] * 2
        return [length.clamp_max(1.0)[:, None, None] for length in reach]
