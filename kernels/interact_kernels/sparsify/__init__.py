"""The AND-OR split: the sparsest pair of AND and OR interactions that explains the scores of all coalitions.

With w = v - v[empty], constraint rows S != empty, Z[S,T] = [T subset S] and O[S,T] = [T meets S], the split is::

    minimise  sum_T |i_and[T]| + |i_or[T]| + ridge/2 |x|^2 + |noise|^2 / (2 gamma)
    subject to   Z i_and + O i_or = w + noise

with x all effects and gamma = kappa |v[full] - v[empty]| (the soft form, which has one optimum); or, without ridge and
price, with |noise| <= kappa |v[full] - v[empty]| (the box) or noise = 0 (exact). Its dual bounds every split from
below: with s = (Z^T y, O^T y), ``<w, y> - gamma/2 |y|^2 - sum_T (|s_T| - 1)+^2 / (2 ridge)`` for every y, or, in a
box, ``<w, y> - delta |y|_1`` for |s| <= 1, is at most the optimum. (docs/math.md, docs/split.md; Chen et al. 2024.)
"""

from __future__ import annotations

import warnings
from dataclasses import fields
from typing import Any

import numpy as np
import torch

from interact_kernels.sparsify.certainty import STATUSES, Certainty, bounds, certainty
from interact_kernels.sparsify.form import NoiseForm
from interact_kernels.sparsify.joint import JointSplit, joint_and_or_split
from interact_kernels.sparsify.options import SplitOptions
from interact_kernels.sparsify.order_one import merge_order_one
from interact_kernels.sparsify.registration import SPLIT
from interact_kernels.sparsify.request import SplitRequest
from interact_kernels.sparsify.response import Response, response
from interact_kernels.sparsify.result import AndOrSplit, assemble
from interact_kernels.sparsify.verify import Verdict, verify

__all__ = [
    "SPLIT",
    "STATUSES",
    "AndOrSplit",
    "Certainty",
    "JointSplit",
    "NoiseForm",
    "Response",
    "SplitOptions",
    "SplitRequest",
    "Verdict",
    "and_or_split",
    "assemble",
    "bounds",
    "certainty",
    "explain",
    "joint_and_or_split",
    "merge_order_one",
    "response",
    "verify",
]


def and_or_split(
    v: torch.Tensor | np.ndarray,
    *,
    noise: str | None = None,
    kappa: float | None = None,
    rtol: float | None = None,
    impl: str = "auto",
    options: SplitOptions | None = None,
) -> AndOrSplit:
    """Split scores into AND and OR interactions of least total strength, with a certificate of optimality.

    Exact matching holds for every coalition S to rounding:
    ``v[S] + noise[S] = v[0] + sum_{T subset S} i_and[T] + sum_{T meets S} i_or[T]``.
    The soft form has one optimum. Where that of a box is not unique the interior point heads for the analytic centre
    of the optimal face.

    Args:
        v: Scores, last axis 2**n (bit i = player i, player 0 least significant), any leading batch axes, any
            floating dtype.
        noise: ``"soft"`` (noise has a price), ``"box"`` (noise up to a bound) or ``"exact"`` (none), see `NoiseForm`;
            None is soft, or a box where a kappa is given.
        kappa: Price or bound of the noise relative to |v[full] - v[empty]|; None for 0.01 (soft) or 0.04 (box).
        rtol: Relative duality gap to reach; None for 1e-6 (soft) or 1e-3.
        impl: ``"native"`` (C++ interior point, n <= 14, with noise n <= 18), ``"admm"`` (C++ Kronecker ADMM, any n),
            ``"torch"`` (batched interior point, CUDA; n <= 14), ``"reference"`` (HiGHS, or Newton's method),
            ``"sgd-published"`` (for comparison only), or ``"auto"``; `explain` says why.
        options: Absolute noise bounds, warm start, polish and limits; see `SplitOptions`.

    Returns:
        The split, float64, with primal, dual and gap for each sample, on the device of `v`.

    Raises:
        ValueError: The last axis is not a power of two, a score is NaN or infinite, noise, kappa or rtol is
            none that there is, or an option does not fit the scores.
        RuntimeError: The named implementation cannot run here.

    Warns:
        RuntimeWarning: A limit was met first; the best point found is returned with ``converged`` False.

    Source: the programme is that of Chen et al. 2024 (arXiv 2401.16318); the certified solver is ours.

    >>> split = and_or_split(np.array([0.0, 0.0, 0.0, 1.0]), kappa=0.0, rtol=1e-9)
    >>> split.i_and.round(6).tolist()
    [0.0, 0.0, 0.0, 1.0]
    """
    options = options or SplitOptions()
    device = v.device if isinstance(v, torch.Tensor) else None
    values = v.detach().cpu().double().numpy() if isinstance(v, torch.Tensor) else np.asarray(v, dtype=np.float64)
    form = _form(noise, kappa, options)
    rtol = form.rtol if rtol is None else rtol
    _check(values, rtol, options)
    rows = values.reshape(-1, values.shape[-1])
    bound = _bounds(values, form, options)
    # Where the noise may swallow everything the optimum is 0, and a relative gap would have no meaning.
    spread = np.abs(rows - rows[:, :1])
    silent = np.all(spread <= bound[:, None], axis=-1) & (not form.soft)
    request = SplitRequest(np.where(silent[:, None], 0.0, rows), bound, rtol, options, device, form)
    if len(rows):
        split = SPLIT.run(request, impl)
    else:
        SPLIT.choose(request, impl)
        split = assemble(request, [np.zeros(rows.shape) for _ in range(4)], np.zeros(0, dtype=np.int64))
    split.noise[silent] = (rows[:, :1] - rows)[silent]
    _warn(split, rtol)
    columns: dict[str, Any] = {field.name: getattr(split, field.name) for field in fields(AndOrSplit)}
    del columns["form"]
    columns = {name: column.reshape(values.shape[:-1] + column.shape[1:]) for name, column in columns.items()}
    if device is not None:
        columns = {name: torch.as_tensor(column, device=device) for name, column in columns.items()}
    return AndOrSplit(**columns, form=form)


def explain(
    v: torch.Tensor | np.ndarray | None = None,
    *,
    noise: str | None = None,
    kappa: float | None = None,
    options: SplitOptions | None = None,
) -> str:
    """Say which implementation of `and_or_split` runs for scores like `v`, and why the others do not.

    >>> explain(np.zeros(1 << 16), kappa=0.0).split(":")[1].split("(")[0].strip()
    'auto takes admm'
    """
    options = options or SplitOptions()
    scores = np.broadcast_to(0.0, (1, 1 << 10 if v is None else v.shape[-1]))
    device = v.device if isinstance(v, torch.Tensor) else None
    form = _form(noise, kappa, options)
    bound = np.atleast_1d(form.relative if options.delta is None else _on_the_host(options.delta))
    return SPLIT.explain(SplitRequest(scores, bound, form.rtol, options, device, form))


def _form(noise: str | None, kappa: float | None, options: SplitOptions) -> NoiseForm:
    if options.delta is None:
        return NoiseForm.of(noise, kappa)
    if noise not in (None, "box"):
        raise ValueError(f"options.delta bounds the noise in a box, but noise={noise!r}; leave one of them out.")
    return NoiseForm("box", None)


def _bounds(values: np.ndarray, form: NoiseForm, options: SplitOptions) -> np.ndarray:
    spread = np.abs(values[..., -1] - values[..., 0])
    if options.delta is None:
        return np.ascontiguousarray((form.relative * spread).reshape(-1))
    given = _on_the_host(options.delta)
    try:
        delta = np.broadcast_to(np.asarray(given, dtype=np.float64), spread.shape)
    except ValueError as error:
        raise ValueError(
            f"options.delta must be one bound or one per sample (shape {spread.shape}), but has {np.shape(given)}."
        ) from error
    if not (np.isfinite(delta).all() and (delta >= 0).all()):
        raise ValueError("options.delta must hold finite bounds >= 0.")
    return np.ascontiguousarray(delta.reshape(-1))


def _on_the_host(delta: Any) -> Any:
    return delta.detach().cpu().numpy() if isinstance(delta, torch.Tensor) else delta


def _warn(split: AndOrSplit, rtol: float) -> None:
    missed = ~split.converged
    if missed.any():
        warnings.warn(
            f"{int(missed.sum())} of {missed.size} AND-OR splits stopped at a limit before the gap reached {rtol:g}; "
            f"the largest gap is {float(split.gap.max()):.3g}. The best points found are returned.",
            RuntimeWarning,
            stacklevel=3,
        )


def _check(values: np.ndarray, rtol: float, options: SplitOptions) -> None:
    size = values.shape[-1] if values.ndim else 0
    if size < 1 or size & (size - 1):
        raise ValueError(f"The last axis must hold 2**n scores (one per coalition), but the shape is {values.shape}.")
    with np.errstate(over="ignore", invalid="ignore"):
        bad = int((~np.isfinite(values)).sum())
        wide = not bad and not np.isfinite(values - values[..., :1]).all()
    if bad:
        raise ValueError(
            f"{bad} of {values.size} scores are NaN or infinite; find out which coalitions the model fails on first."
        )
    if wide:
        raise ValueError("The scores differ by more than float64 can hold; scale them down first.")
    if not rtol > 0:
        raise ValueError(f"rtol must be a positive relative gap (1e-3 is usual), but is {rtol}.")
    if options.max_iterations is not None and options.max_iterations < 0:
        raise ValueError(f"options.max_iterations must be >= 0 or None, but is {options.max_iterations}.")
    if not options.time_limit >= 0:
        raise ValueError(f"options.time_limit must be a number of seconds >= 0, but is {options.time_limit}.")
    if (options.correctors is not None and options.correctors < 0) or not options.rho > 0:
        raise ValueError("options.correctors must be >= 0 and options.rho > 0.")
