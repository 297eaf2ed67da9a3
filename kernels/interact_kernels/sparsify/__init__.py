"""The AND-OR split: the sparsest pair of AND and OR interactions that explains the scores of all coalitions.

With w = v - v[empty], constraint rows S != empty, Z[S,T] = [T subset S] and O[S,T] = [T meets S], the split is
the linear programme::

    minimise  sum_T |i_and[T]| + |i_or[T]|   subject to   Z i_and + O i_or = w + noise,  |noise| <= delta

with delta = kappa |v[full] - v[empty]|. Its dual bounds every split from below: for each y with |Z^T y| <= 1 and
|O^T y| <= 1 entrywise, ``<w, y> - delta |y|_1`` is at most the optimum. (docs/math.md; Chen et al. 2024.)
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import torch

from interact_kernels import dispatch
from interact_kernels.sparsify import reference
from interact_kernels.sparsify.result import AndOrSplit
from interact_kernels.sparsify.verify import Verdict, verify

__all__ = ["AndOrSplit", "Verdict", "and_or_split", "explain", "verify"]


def and_or_split(
    v: torch.Tensor | np.ndarray, *, kappa: float = 0.04, rtol: float = 1e-3, impl: str = "auto"
) -> AndOrSplit:
    """Split scores into AND and OR interactions of least total strength, with a certificate of optimality.

    Exact matching holds for every coalition S to rounding:
    ``v[S] + noise[S] = v[0] + sum_{T subset S} i_and[T] + sum_{T meets S} i_or[T]``.

    Args:
        v: Scores, last axis 2**n (bit i = player i, player 0 least significant), any leading batch axes.
        kappa: Tolerated noise relative to |v[full] - v[empty]|; 0 asks for an exact split.
        rtol: Relative duality gap to reach.
        impl: ``"auto"`` or ``"reference"`` (HiGHS through SciPy; n up to about 10).

    Returns:
        The split, float64, with primal, dual and gap for each sample.

    Raises:
        ValueError: The last axis is not a power of two, a score is NaN or infinite, kappa is negative, or
            rtol is not positive.

    >>> split = and_or_split(np.array([0.0, 0.0, 0.0, 1.0]), kappa=0.0)
    >>> split.i_and.round(6).tolist()
    [0.0, 0.0, 0.0, 1.0]
    """
    values = v.detach().cpu().numpy() if isinstance(v, torch.Tensor) else np.asarray(v)
    values = values.astype(np.float64)
    _check(values, kappa, rtol)
    dispatch.choose("and_or_split", [dispatch.Candidate("reference")], impl)
    batch = values.shape[:-1]
    rows = [reference.split_one(row, kappa, rtol) for row in values.reshape(-1, values.shape[-1])]
    columns = {}
    for name in (field.name for field in fields(AndOrSplit)):
        stacked = np.array([getattr(row, name) for row in rows])
        # An empty batch has no row to tell the type of its columns.
        if not rows:
            vector = name in ("i_and", "i_or", "noise", "certificate")
            kind = {"iterations": np.int64, "converged": np.bool_}.get(name, np.float64)
            stacked = np.zeros((0, values.shape[-1]) if vector else (0,), dtype=kind)
        columns[name] = stacked.reshape(batch + stacked.shape[1:])
    if isinstance(v, torch.Tensor):
        columns = {name: torch.as_tensor(column) for name, column in columns.items()}
    return AndOrSplit(**columns)


def explain() -> str:
    """Say which implementation of `and_or_split` runs, and why the others do not."""
    return dispatch.explain("and_or_split", [dispatch.Candidate("reference")])


def _check(values: np.ndarray, kappa: float, rtol: float) -> None:
    size = values.shape[-1] if values.ndim else 0
    if size < 1 or size & (size - 1):
        raise ValueError(f"The last axis must hold 2**n scores (one a coalition), but the shape is {values.shape}.")
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise ValueError(
            f"{bad} of {values.size} scores are NaN or infinite; find out which coalitions the model fails on first."
        )
    if not (np.isfinite(kappa) and kappa >= 0):
        raise ValueError(f"kappa must be a finite number >= 0 (0.04 is usual), but is {kappa}.")
    if not rtol > 0:
        raise ValueError(f"rtol must be a positive relative gap (1e-3 is usual), but is {rtol}.")
