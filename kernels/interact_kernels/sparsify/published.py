"""The published fit, kept to compare with: subgradient descent with momentum on the L1 strength.

1. v_and = w / 2 + p and v_or = w / 2 - p + q, both p and q start at 0; q is clipped to [-delta, delta].
2. SGD with momentum 0.9 and a rate that falls linearly to 0, for a fixed number of steps.
3. No dual, so no certificate: y = 0, the gap is 1 and nothing ever converges.

Li & Zhang 2023 (arXiv 2304.13312), Zhou et al. 2024; not for use: it stops 3 % to 250 % above the optimum.
"""

from __future__ import annotations

import numpy as np

from interact_kernels import lattice
from interact_kernels.sparsify.request import SplitRequest
from interact_kernels.sparsify.result import AndOrSplit, assemble

STEPS = 10_000
RATE = 1e-5
MOMENTUM = 0.9


def solve(request: SplitRequest) -> AndOrSplit:
    """Fit all samples together."""
    v, options = request.v, request.options
    steps = STEPS if options.max_iterations is None else options.max_iterations
    w = v - v[:, :1]
    bound = request.bound[:, None]
    p, q = np.zeros_like(w), np.zeros_like(w)
    speed_p, speed_q = np.zeros_like(w), np.zeros_like(w)
    for step in range(steps):
        rate = RATE * (1 - step / steps)
        s, u = w / 2 + p, w / 2 - p + q
        grad_s = lattice.moebius(np.sign(lattice.moebius(s)), adjoint=True)
        grad_u = lattice.moebius(np.sign(lattice.moebius(np.ascontiguousarray(u[:, ::-1]))), adjoint=True)[:, ::-1]
        speed_p = MOMENTUM * speed_p + grad_s - grad_u
        speed_q = MOMENTUM * speed_q + grad_u
        p, q = p - rate * speed_p, np.clip(q - rate * speed_q, -bound, bound)
        p[:, 0] = q[:, 0] = 0.0
    i_or = -lattice.moebius(np.ascontiguousarray((w / 2 - p + q)[:, ::-1]))
    i_or[:, 0] = 0.0
    i_and = lattice.moebius(w / 2 + p)
    i_and[:, 0] = 0.0
    return assemble(request, [i_and, i_or, q, np.zeros_like(w)], np.full(len(v), steps))
