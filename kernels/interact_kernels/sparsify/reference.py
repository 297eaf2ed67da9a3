"""The truth for the AND-OR split: the linear programme as written, solved by HiGHS.

1. Variables i_and = a+ - a-, i_or = b+ - b-, noise q in [-delta, delta]; one equation for each S != empty.
2. HiGHS returns a vertex and the multipliers y of the equations.
3. Both sides are repaired to be exactly feasible: i_and is recomputed from the exact-matching identity, y is
   scaled until |Z^T y| <= 1 and |O^T y| <= 1. Their difference is the certified gap.
The soft form is no linear programme: see `reference_soft`.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from interact_kernels import lattice
from interact_kernels.sparsify import reference_soft
from interact_kernels.sparsify.form import dual_slopes
from interact_kernels.sparsify.options import SplitOptions
from interact_kernels.sparsify.request import SplitRequest
from interact_kernels.sparsify.result import AndOrSplit, assemble


def solve(request: SplitRequest) -> AndOrSplit:
    """Solve sample by sample."""
    form, options = request.form, request.options
    rows = [
        reference_soft.split_one(row, float(bound), form.ridge, request.rtol, options)
        if form.soft
        else split_one(row, float(bound), options)
        for row, bound in zip(request.v, request.bound, strict=True)
    ]
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return assemble(request, columns[:4], columns[4])


def split_one(
    v: np.ndarray, bound: float, options: SplitOptions
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """Solve one sample; `v` is float64 of shape [2**n]. Returns i_and, i_or, noise, y and the iterations."""
    size = len(v)
    scale = float(np.abs(v - v[0]).max())
    if scale == 0.0 or options.max_iterations == 0 or options.time_limit == 0:
        zero = np.zeros(size)
        return lattice.moebius(v - v[0]), zero, zero.copy(), zero.copy(), 0
    w = (v - v[0]) / scale
    delta = bound / scale
    i_or, noise, y, iterations = _solve(w, delta)
    noise = np.clip(noise * scale, -bound, bound)
    i_and = lattice.moebius(v - v[0] + noise - scale * or_values(i_or))
    i_and[0] = 0.0
    y = y / max(1.0, float(np.abs(dual_slopes(y)).max()))
    return i_and, i_or * scale, noise, y, iterations


def or_values(i_or: np.ndarray) -> np.ndarray:
    """Return O i_or: for each S the sum of the OR effects of the sets that meet S. Shape [2**n]."""
    inside = lattice.zeta(i_or)
    return inside[-1] - inside[::-1]


def _solve(w: np.ndarray, delta: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    size = len(w)
    n = size.bit_length() - 1
    subset = sparse.csr_matrix(np.ones((1, 1)))
    disjoint = subset
    for _ in range(n):
        subset = sparse.kron(np.array([[1, 0], [1, 1]]), subset, format="csr")
        disjoint = sparse.kron(np.array([[1, 1], [1, 0]]), disjoint, format="csr")
    z = subset[1:, 1:]
    o = sparse.csr_matrix(np.ones((size - 1, size - 1)) - disjoint[1:, 1:].toarray())
    rows = sparse.hstack([z, -z, o, -o, -sparse.identity(size - 1)], format="csr")
    cost = np.concatenate([np.ones(4 * (size - 1)), np.zeros(size - 1)])
    bounds = [(0.0, None)] * (4 * (size - 1)) + [(-delta, delta)] * (size - 1)
    result = linprog(cost, A_eq=rows, b_eq=w[1:], bounds=bounds, method="highs")
    if result.x is None:
        raise RuntimeError(f"HiGHS found no AND-OR split for {n} players: {result.message}")
    parts = result.x.reshape(5, size - 1)
    pad = [np.concatenate([[0.0], part]) for part in (parts[2] - parts[3], parts[4], result.eqlin.marginals)]
    return pad[0], pad[1], pad[2], int(result.nit)
