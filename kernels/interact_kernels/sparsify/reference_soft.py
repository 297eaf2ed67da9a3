"""The truth for the soft split: its dual is smooth and concave, and Newton's method climbs it.

With A = [Z, O] without the ORs of single players, w in units of max |w|, gamma = kappa |w[full]| and the ridge r::

    D(y) = <w, y> - gamma/2 |y|^2 - sum_T (|s_T| - 1)+^2 / (2 r),     s = A^T y

1. Its slope is w - gamma y - A x with x_T = sign(s_T) (|s_T| - 1)+ / r, the effects; its curvature is
   gamma + A_x A_x^T / r over the columns with x_T != 0. Each step is halved until D grows as it should.
2. Whatever x is, noise = A x - w makes a split: the gap is proved at every step.
"""

from __future__ import annotations

import time

import numpy as np

from interact_kernels import lattice
from interact_kernels.sparsify.options import SplitOptions

Parts = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]


def split_one(v: np.ndarray, gamma: float, ridge: float, rtol: float, options: SplitOptions) -> Parts:
    """Solve one sample; `v` is float64 of shape [2**n]. Returns i_and, i_or, noise, y and the iterations."""
    unit = float(np.abs(v - v[0]).max())
    most = 200 if options.max_iterations is None else options.max_iterations
    if unit == 0.0 or most == 0 or options.time_limit == 0:
        zero = np.zeros_like(v)
        return lattice.moebius(v - v[0]), zero, zero.copy(), zero.copy(), 0
    programme = _Dual((v - v[0]) / unit, gamma / unit, ridge)
    y, x, steps = programme.climb(rtol, most, time.monotonic() + options.time_limit)
    i_and, i_or, noise = programme.split(x)
    return unit * i_and, unit * i_or, unit * noise, np.concatenate([[0.0], y]), steps


class _Dual:
    def __init__(self, w: np.ndarray, gamma: float, ridge: float) -> None:
        self.w, self.gamma, self.ridge = w[1:], gamma, ridge
        sets = np.arange(1, len(w))
        several = sets[(sets & (sets - 1)) != 0]
        within, meets = (sets[:, None] & sets) == sets, (sets[:, None] & several) != 0
        self.columns, self.several = np.hstack([within, meets]).astype(float), several

    def effects(self, y: np.ndarray) -> np.ndarray:
        slopes = y @ self.columns
        return np.sign(slopes) * np.maximum(np.abs(slopes) - 1, 0.0) / self.ridge

    def bound(self, y: np.ndarray) -> float:
        return float(self.w @ y - self.gamma / 2 * y @ y - self.ridge / 2 * (self.effects(y) ** 2).sum())

    def climb(self, rtol: float, most: int, deadline: float) -> tuple[np.ndarray, np.ndarray, int]:
        y, step = np.zeros_like(self.w), 0
        x = self.effects(y)
        while step < most and time.monotonic() < deadline and self.cost(x) - self.bound(y) > rtol * self.cost(x):
            step += 1
            rise = self.w - self.gamma * y - self.columns @ x
            active = self.columns[:, x != 0]
            # Where v[full] = v[empty] noise costs everything, and the curvature may vanish.
            curvature = active @ active.T / self.ridge + max(self.gamma, 1e-9) * np.eye(len(y))
            ahead, length = np.linalg.solve(curvature, rise), 1.0
            while self.bound(y + length * ahead) < self.bound(y) + 1e-4 * length * (rise @ ahead) and length > 1e-12:
                length /= 2
            y = y + length * ahead
            x = self.effects(y)
        return y, x, step

    def split(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        size = len(self.w) + 1
        i_and, i_or = np.zeros(size), np.zeros(size)
        i_and[1:], i_or[self.several] = x[: size - 1], x[size - 1 :]
        noise = np.concatenate([[0.0], self.columns @ x - self.w])
        if not self.gamma:
            i_and, noise = i_and - lattice.moebius(noise), np.zeros(size)
        return i_and, i_or, noise

    def cost(self, x: np.ndarray) -> float:
        i_and, i_or, noise = self.split(x)
        both = np.concatenate([i_and, i_or])
        price = noise @ noise / (2 * self.gamma) if self.gamma else 0.0
        return float(np.abs(both).sum() + self.ridge / 2 * both @ both + price)
