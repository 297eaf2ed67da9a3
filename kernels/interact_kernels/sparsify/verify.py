"""Check a split and its certificate from nothing but the definitions, in plain NumPy.

Independent of the solvers on purpose: it has its own sums over subsets and shares no code with them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from interact_kernels.sparsify.form import NoiseForm
from interact_kernels.sparsify.result import AndOrSplit


@dataclass(frozen=True)
class Verdict:
    """What `verify` recomputed, worst case over the batch; relative errors are in units of max |v - v[0]|.

    Attributes:
        matching: Largest relative deviation from exact matching.
        noise_excess: Largest relative excess of |noise| over its bound (0 when within, and where it has a price).
        dual_excess: Largest excess of |Z^T y| or |O^T y| over 1 (0 when feasible, and with a ridge, where all are).
        primal: Cost recomputed, shape [...].
        dual: Lower bound recomputed from the certificate, scaled to be feasible, shape [...].
        gap: Relative gap of the two, shape [...].
    """

    matching: float
    noise_excess: float
    dual_excess: float
    primal: np.ndarray
    dual: np.ndarray
    gap: np.ndarray


def verify(
    split: AndOrSplit,
    v: np.ndarray,
    kappa: float | None = None,
    *,
    noise: str | None = None,
    delta: np.ndarray | float | None = None,
) -> Verdict:
    """Recompute both sides of the programme for `split` of the scores `v`.

    Args:
        split: Result of `and_or_split`, of any implementation.
        v: The scores it was made from, shape [..., 2**n].
        kappa: The kappa it was made with; None for that of the split's own form, or of the form `noise`.
        noise: The form it was made with, as in `and_or_split`; None for a box where kappa is given.
        delta: The absolute noise bounds it was made with, if not by kappa; one, or one per sample.

    Returns:
        The recomputed values; nothing of the split's own primal, dual or gap is used.
    """
    scores = np.asarray(v, dtype=np.float64)
    asked = noise is not None or kappa is not None or delta is not None
    form = split.form if not asked else NoiseForm.of(noise, kappa) if delta is None else NoiseForm("box", None)
    i_and, i_or, deviation, y = (
        np.asarray(part, dtype=np.float64) for part in (split.i_and, split.i_or, split.noise, split.certificate)
    )
    w = scores - scores[..., :1]
    unit = np.maximum(np.abs(w).max(axis=-1, keepdims=True), np.finfo(np.float64).tiny)
    if delta is None and form.kappa is None:
        raise ValueError("This split was made with bounds of its own (options.delta); give them as delta.")
    bound = form.relative * np.abs(w[..., -1:])
    if delta is not None:
        bound = np.broadcast_to(delta, w.shape[:-1])[..., None]
    built = _subset_sums(i_and) + _meeting_sums(i_or)
    superset = _subset_sums(y[..., ::-1])[..., ::-1]
    meeting = _meeting_sums(y)
    primal = np.abs(i_and[..., 1:]).sum(axis=-1) + np.abs(i_or[..., 1:]).sum(axis=-1)
    if form.soft:
        slopes = np.zeros(w.shape[:-1])
        # Squares are taken in units of the scores, so that float64 holds them.
        squares = ((i_and / unit) ** 2 + (i_or / unit) ** 2).sum(axis=-1)
        paid = np.divide((deviation / unit) ** 2, 2 * bound / unit, out=np.zeros_like(w), where=bound > 0)
        primal = primal + unit[..., 0] * (form.ridge / 2 * squares + paid.sum(axis=-1))
        # The OR of a single player is its AND, and no column of its own.
        meeting[..., [1 << i for i in range(w.shape[-1].bit_length() - 1)]] = 0.0
        beyond = sum((np.maximum(np.abs(s[..., 1:]) - 1, 0.0) ** 2).sum(axis=-1) for s in (superset, meeting))
        dual = (w * y - bound / 2 * y**2).sum(axis=-1) - unit[..., 0] * beyond / (2 * form.ridge)
        excess = np.where(bound > 0, 0.0, np.abs(deviation))
    else:
        slopes = np.maximum(np.abs(superset), np.abs(meeting))[..., 1:].max(axis=-1, initial=0.0)
        feasible = y / np.maximum(1.0, slopes)[..., None]
        dual = (w * feasible).sum(axis=-1) - bound[..., 0] * np.abs(feasible).sum(axis=-1)
        excess = np.maximum(np.abs(deviation) - bound, 0.0)
    gap = np.where(primal > 0, (primal - dual) / np.where(primal > 0, primal, 1.0), 0.0)
    return Verdict(
        matching=float((np.abs(w + deviation - built) / unit).max(initial=0.0)),
        noise_excess=float((excess / unit).max(initial=0.0)),
        dual_excess=float(np.maximum(slopes - 1.0, 0.0).max(initial=0.0)),
        primal=primal,
        dual=dual,
        gap=gap,
    )


def _subset_sums(x: np.ndarray) -> np.ndarray:
    sums = x.copy()
    for player in range(x.shape[-1].bit_length() - 1):
        view = sums.reshape(*x.shape[:-1], -1, 2, 1 << player)
        view[..., 1, :] += view[..., 0, :]
    return sums


def _meeting_sums(x: np.ndarray) -> np.ndarray:
    inside = _subset_sums(x)
    return inside[..., -1:] - inside[..., ::-1]
