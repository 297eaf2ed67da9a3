"""The end of a batch of soft splits: from near the optimum to it, by Newton's method on the dual.

The dual is smooth, and quadratic where no effect comes or goes: once the interior point has found which effects there
are, a step or two end at the optimum, with true zeros. Whatever a and b are, q = L^-1 (a + U b - g) makes them a split.
"""

from __future__ import annotations

import time

import torch

from interact_kernels import lattice
from interact_kernels.sparsify.batch_programme import Points, Programme
from interact_kernels.sparsify.normal import factor, scaled_matrix

_ROUNDS = 8
_SHARP, _OPTIMAL = 1e-12, 1e-9


def sharpen(programme: Programme, best: Points, deadline: float) -> bool:
    """Improve points in place; samples whose noise has no price stay as they are. True where some are not optimal."""
    rows = _left(programme, best).nonzero()[:, 0]
    z = best.z[rows]
    for step in range(_ROUNDS):
        if not len(rows) or time.monotonic() > deadline:
            break
        p = programme.take(rows)
        found, rest, weights = _effects(p, z)
        gap, known = _gap(found), _gap(best)[rows]
        better = gap <= known
        best.put(rows[better], _some(found, better))
        still = _left(programme, best)[rows].nonzero()[:, 0]
        if step + 1 == _ROUNDS or not len(still):
            break
        rows, p = rows[still], p.take(still)
        z = z[still] + _newton(p, rest[still], [weight[still] for weight in weights])
    return bool(_left(programme, best, _OPTIMAL).any())


def _left(programme: Programme, best: Points, gap: float = _SHARP) -> torch.Tensor:
    return (programme.gamma[:, 0] > 0) & (_gap(best) > gap)


def _gap(points: Points) -> torch.Tensor:
    return (points.primal - points.dual) / points.primal.clamp_min(1e-300)


def _effects(p: Programme, z: torch.Tensor) -> tuple[Points, torch.Tensor, list[torch.Tensor]]:
    """Return the points that dual vectors stand for, the slope of the dual there, and which effects there are."""
    beyond = [slope.sign() * (slope.abs() - 1).clamp_min(0) / p.ridge for slope in p.slopes(z)]
    a, b = beyond
    weights = [(part != 0).double() / p.ridge for part in beyond]
    q = -p.gamma * p.upper(z)
    rest = p.rest(b, q) - a
    q = p.live * (q - lattice.moebius(rest))
    primal, dual = p.cost(a, b, q), p.bound(z)
    still = torch.zeros(len(z), dtype=torch.int64, device=z.device)
    return Points(a, b, q, z, primal, dual, still, still == 0), rest, weights


def _newton(p: Programme, rest: torch.Tensor, weights: list[torch.Tensor]) -> torch.Tensor:
    upper, lower = p.upper(weights[1]), p.lower(p.gamma * p.live.expand_as(rest))
    root = (upper + lower + weights[0]).clamp_min(1e-300).rsqrt() * p.live
    solved = factor(scaled_matrix(upper, lower, root))
    step = root * torch.cholesky_solve((root * rest)[:, :, None], solved)[:, :, 0]
    return torch.nan_to_num(step, 0.0, 0.0, 0.0)


def _some(points: Points, chosen: torch.Tensor) -> Points:
    return Points(**{name: part[chosen] for name, part in vars(points).items()})
