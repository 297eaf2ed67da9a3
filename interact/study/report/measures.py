"""The metrics table, looked up by run, class and name; nothing is computed here."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

_ORDER = re.compile(r"order(\d{1,2})_(noise_)?(positive|negative)")


@dataclass(frozen=True)
class Series:
    """One metric over the steps.

    Attributes:
        steps: int64, increasing, shape [k].
        values, low, high: float64, shape [k]; NaN where there is none.
    """

    steps: np.ndarray
    values: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def at(self, step: int) -> tuple[float, float, float]:
        """Return value, low and high at a step; NaN where it was not measured."""
        found = np.flatnonzero(self.steps == step)
        if not len(found):
            return (math.nan, math.nan, math.nan)
        i = int(found[-1])
        return float(self.values[i]), float(self.low[i]), float(self.high[i])


@dataclass(frozen=True)
class Stage:
    """Where a stage of training ends or begins: a step, with its interval (NaN where there is none)."""

    step: float
    low: float
    high: float


class Measures:
    """The metrics of a study by run, class and name."""

    def __init__(self, metrics: pd.DataFrame) -> None:
        # A step measured twice shows its last row.
        rows = metrics.drop_duplicates(["run", "step", "class", "name"], keep="last").sort_values("step", kind="stable")
        self._series: dict[tuple[str, str, str], Series] = {}
        self._stages: dict[tuple[str, str], Stage] = {}
        for key, group in rows.groupby(["run", "class", "name"], sort=False):
            run, kind, name = (str(part) for part in key) if isinstance(key, tuple) else ("", "", "")
            arrays = [group[c].to_numpy() for c in ("step", "value", "low", "high")]
            if arrays[0][0] < 0:
                self._stages[run, name] = Stage(*(float(array[0]) for array in arrays[1:]))
            arrays = [array[arrays[0] >= 0] for array in arrays]
            if len(arrays[0]):
                self._series[run, kind, name] = Series(*arrays)

    def get(self, run: str, kind: str, name: str) -> Series | None:
        """Return a metric over the steps, or None where it was not measured."""
        return self._series.get((run, kind, name))

    def control(self, run: str, kind: str, name: str) -> Series | None:
        """Return a control over the steps: of its class, or else of all classes together."""
        return self.get(run, kind, name) or self.get(run, "all", name)

    def stage(self, run: str, name: str) -> Stage | None:
        """Return a stage; its step is NaN where none was found; None where it was not looked for."""
        return self._stages.get((run, name))

    def measured(self, name: str, runs: Sequence[str] | None = None) -> bool:
        """Say whether any run, or any of these, has the metric in any class."""
        return any(key[2] == name and (runs is None or key[0] in runs) for key in self._series)

    def orders(self, run: str, kind: str, *, noise: bool = False) -> list[int]:
        """List the orders whose sums were measured."""
        found = [_ORDER.fullmatch(name) for r, k, name in self._series if (r, k) == (run, kind)]
        return sorted({int(m[1]) for m in found if m and bool(m[2]) == noise})

    def noise_step(self, run: str, kind: str) -> int | None:
        """Return the last step at which the noise control of the orders was run."""
        series = [s for (r, k, name), s in self._series.items() if (r, k) == (run, kind) and _is_noise(name)]
        return max((int(s.steps[-1]) for s in series), default=None)

    def others(self, names: Collection[str]) -> list[tuple[str, int | None, str, str, tuple[float, float, float]]]:
        """List what goes by none of these names: run, step (None: of the whole run), class, name, figure."""
        found: list[tuple[str, int | None, str, str, tuple[float, float, float]]] = []
        for (run, kind, name), series in self._series.items():
            if name not in names and not _ORDER.fullmatch(name):
                step = int(series.steps[-1])
                found.append((run, step, kind, name, series.at(step)))
        for (run, name), stage in self._stages.items():
            if name not in names:
                found.append((run, None, "all", name, (stage.step, stage.low, stage.high)))
        return found

    def order_sums(self, run: str, kind: str, step: int, *, noise: bool = False) -> dict[int, tuple[float, float]]:
        """Return the sum of positive and of negative effects of each order at a step."""
        infix = "noise_" if noise else ""
        sums = {}
        for order in self.orders(run, kind, noise=noise):
            both = [self.get(run, kind, f"order{order}_{infix}{sign}") for sign in ("positive", "negative")]
            values = [series.at(step)[0] if series else math.nan for series in both]
            if not all(math.isnan(value) for value in values):
                sums[order] = (values[0], values[1])
        return sums


def _is_noise(name: str) -> bool:
    found = _ORDER.fullmatch(name)
    return bool(found and found[2])


@dataclass(frozen=True)
class StepScale:
    """Where a step lies on its axis: log(1 + step) where steps span more than a factor of ten, else the step itself.

    Attributes:
        steps: The steps to label.
    """

    steps: tuple[int, ...]

    @property
    def logarithmic(self) -> bool:
        """Whether the axis is log(1 + step)."""
        positive = [step for step in self.steps if step > 0]
        return bool(positive) and max(positive) > 10 * min(positive)

    def __call__(self, step: float | np.ndarray) -> np.ndarray:
        """Place one or several steps."""
        return np.log1p(step) if self.logarithmic else np.asarray(step, dtype=float)

    def ticks(self, *, closest: float = 0.06) -> list[int]:
        """Choose the steps whose labels do not touch: `closest` is a share of the axis."""
        chosen: list[int] = []
        span = float(self(self.steps[-1]) - self(self.steps[0])) if self.steps else 0.0
        for step in sorted(self.steps, reverse=True):
            if not chosen or float(self(chosen[-1]) - self(step)) >= closest * span:
                chosen.append(step)
        return chosen[::-1]
