"""The end of a batch of soft splits: from near the optimum to it, by Newton's method on the dual.

The dual is smooth, and quadratic where no effect comes or goes: once the interior point has found which effects there
are, a step or two end at the optimum, with true zeros. The first step takes the effects that exceed their slacks, since
slopes tell them apart only very near the optimum. Whatever a and b are, q = L^-1 (a + U b - g) makes them a split.
"""

from __future__ import annotations

import time

import torch

from interact_kernels import lattice
from interact_kernels.sparsify.batch_programme import Points, Programme
from interact_kernels.sparsify.normal import factor, scaled_matrix

_ROUNDS = 5
_SHARP, _OPTIMAL = 1e-12, 1e-9


def sharpen(programme: Programme, best: Points, present: torch.Tensor, deadline: float) -> bool:
    """Improve points in place; samples whose noise has no price stay as they are.

    Args:
        programme: The samples.
        best: Their points.
        present: Which effects exceed their slacks, by sign: -1, 0 or 1, shape [batch, 2, 2**n], AND before OR.
        deadline: Of the monotonic clock.

    Returns:
        Whether some are not optimal.
    """
    rows = _left(programme, best).nonzero()[:, 0]
    z = best.z[rows]
    for step in range(_ROUNDS):
        if not len(rows) or time.monotonic() > deadline:
            break
        p = programme.take(rows)
        found, rest, weights = _effects(p, z, [slope.sign() * (slope.abs() > 1) for slope in p.slopes(z)])
        gap, known = _gap(found), _gap(best)[rows]
        better = gap <= known
        best.put(rows[better], _some(found, better))
        still = _left(programme, best)[rows].nonzero()[:, 0]
        if step + 1 == _ROUNDS or not len(still):
            break
        rows, p, z = rows[still], p.take(still), z[still]
        rest, weights = rest[still], [weight[still] for weight in weights]
        if step == 0:
            _, rest, weights = _effects(p, z, list(present[rows].unbind(1)))
        z = z + _newton(p, rest, weights)
    return bool(_left(programme, best, _OPTIMAL).any())


def _left(programme: Programme, best: Points, gap: float = _SHARP) -> torch.Tensor:
    return (programme.gamma[:, 0] > 0) & (_gap(best) > gap)


def _gap(points: Points) -> torch.Tensor:
    return (points.primal - points.dual) / points.primal.clamp_min(1e-300)


def _effects(
    p: Programme, z: torch.Tensor, signs: list[torch.Tensor]
) -> tuple[Points, torch.Tensor, list[torch.Tensor]]:
    """Return the points that dual vectors and signs of effects stand for, the dual's slope there, and the weights."""
    weights = [sign.abs().double() / p.ridge for sign in signs]
    a, b = (weight * (slope - sign) for weight, slope, sign in zip(weights, p.slopes(z), signs, strict=True))
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
