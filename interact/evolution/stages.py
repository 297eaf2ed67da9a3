"""When denoising ends and overfitting begins; our reading of Zhang et al. 2026, who give no algorithm.

With R, E the mean strengths of removed and emerged interactions over samples, and g their gamma (rho where there is no
second model), at the followed steps t of one run:

1. Denoising ends at the first step with R(t) >= 0.95 R(last) above which R does not lie beyond noise at any later step.
2. Overfitting begins at the first step at which E grew since the followed step before, g of the emerged is below g of
   the preserved, and it has fallen from its own highest value so far, all three beyond noise. (At its first step
   everything emerged has just grown from nothing, and a young set is below an old one; so the rule requires a fall.)
3. Beyond noise: a difference is more than 1.96 times its standard deviation over bootstrap draws of the samples.
4. The same rules in every draw give the interval of each step.
5. The checkpoint to use is that of the last followed step before overfitting begins (`recommended_step`). It is the one
   stopping rule: what early stopping goes back to, and what a study holds against stopping by the validation loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from interact.evolution.bootstrap import draws, levels, ratio
from interact.evolution.classes import classify
from interact.evolution.grid import Block, follow
from interact.evolution.sums import check_reference, sum_up
from interact.evolution.tables import CLASSES, check
from interact.formats.schema import STAGES, Run, identify

SATURATED = 0.95
NORMAL = 1.96
DRAWS = 200
"""Bootstrap draws by which noise is judged, wherever the rules are used."""
_REMOVED, _PRESERVED, _EMERGED = range(len(CLASSES))


@dataclass(frozen=True)
class Estimate:
    """A step, and how sure it is.

    Attributes:
        step: The followed step at which it is first seen.
        low: Lower end of its 95 % interval over bootstrap draws in which it is seen.
        high: Upper end.
        support: Share of the draws in which it is seen at all.
    """

    step: int
    low: int
    high: int
    support: float


@dataclass(frozen=True)
class Stages:
    """The stages of one run.

    Attributes:
        run: Its name.
        basis: What generality was judged by, ``"gamma"`` or ``"rho"``.
        denoising_end: See the module's docstring; None where it was not seen.
        denoising_reason: Why it was not seen, a sentence, else empty.
        overfitting_start: See the module's docstring; None where it was not seen.
        overfitting_reason: Why it was not seen, a sentence, else empty.
        identity: What the run is, where more than its name is known.
    """

    run: str
    basis: str
    denoising_end: Estimate | None
    denoising_reason: str
    overfitting_start: Estimate | None
    overfitting_reason: str
    identity: Run | None = None

    def to_metrics(self) -> pd.DataFrame:
        """Return rows of the table `metrics`: class `all`, step -1, the step as value, NaN where it was not seen."""
        rows = []
        for name in STAGES:
            seen = getattr(self, name)
            figures = (np.nan,) * 3 if seen is None else (seen.step, seen.low, seen.high)
            rows.append((self.run, -1, "all", name, *map(float, figures)))
        columns = pd.Index(["run", "step", "class", "name", "value", "low", "high"])
        known = () if self.identity is None else (self.identity,)
        return check(identify(pd.DataFrame(rows, columns=columns), "metrics", known), "metrics")

    def __str__(self) -> str:
        lines = []
        for seen, verb, reason in (
            (self.denoising_end, "Denoising ends", self.denoising_reason),
            (self.overfitting_start, f"Overfitting (by {self.basis}) begins", self.overfitting_reason),
        ):
            lines.append(reason if seen is None else f"{verb} at step {seen.step} ({seen.low} to {seen.high}).")
        return "\n".join(lines)


@dataclass(frozen=True)
class _Curves:
    """Figures of one run in each bootstrap draw, row 0 being the samples themselves; float64 [1 + draws, steps]."""

    run: Run
    block: Block
    basis: str
    removed: np.ndarray
    emerged: np.ndarray
    general_emerged: np.ndarray
    general_preserved: np.ndarray


def detect_stages(
    interactions: pd.DataFrame,
    *,
    reference: pd.DataFrame | None = None,
    cells: pd.DataFrame | None = None,
    definition: str = "ends",
    resamples: int = DRAWS,
    seed: int = 0,
) -> Stages:
    """Find the stages of one run; the module's docstring says how.

    Args:
        interactions: Table of one run, `salient` filled in.
        reference: Table of another model, as in `measure`; without it, rho stands in for gamma.
        cells: Table; needed where a followed cell has no interactions.
        definition: Of the classes, as in `classify`.
        resamples: Bootstrap draws, at least 2.
        seed: Of the draws.

    Raises:
        ValueError: There is not exactly one run, a table does not fit, or fewer than 2 draws are asked for.
    """
    curves = _curves(interactions, reference, cells, definition, resamples, seed)
    run, basis = curves.block.run, curves.basis
    samples = curves.block.shape[1]
    if samples < 2:
        why = f"The stages of {run!r} cannot be told: one sample says nothing about noise; follow at least 2."
        return Stages(run, basis, None, why, None, why, curves.run)
    denoising = _first(curves.block, _saturated(curves))
    overfitting = _first(curves.block, _overfits(curves))
    return Stages(
        run,
        basis,
        denoising,
        "" if denoising else _why_not_denoised(curves),
        overfitting,
        "" if overfitting else _why_not_overfitted(curves),
        curves.run,
    )


def overfitting(
    interactions: pd.DataFrame,
    *,
    reference: pd.DataFrame | None = None,
    cells: pd.DataFrame | None = None,
    definition: str = "ends",
    patience: int = 1,
    seed: int = 0,
) -> bool:
    """Tell whether a run overfits at each of its last followed steps; the rule is that of `detect_stages`.

    For early stopping, which asks after every followed step. False until there is a step to have fallen from: with
    patience p, at least p + 2 followed steps, step 0 among them.

    Args:
        interactions: What has been followed so far, one run.
        reference: As in `detect_stages`.
        cells: As in `detect_stages`.
        definition: As in `detect_stages`.
        patience: At how many of the last followed steps it must hold.
        seed: Of the bootstrap draws.

    Raises:
        ValueError: As in `detect_stages`, or patience is below 1, or there is only one sample.
    """
    if patience < 1:
        raise ValueError(f"patience counts followed steps, at least 1, but is {patience}.")
    curves = _curves(interactions, reference, cells, definition, DRAWS, seed)
    if curves.block.shape[1] < 2:
        raise ValueError("One sample says nothing about noise; follow at least 2 samples to stop early.")
    held = _overfits(curves)[0]
    return len(held) >= patience and bool(held[-patience:].all())


def recommended_step(steps: Sequence[int] | np.ndarray, overfits_at: float | None) -> int:
    """Return the step whose checkpoint to use: the last followed one before overfitting begins, or the last of all.

    Args:
        steps: The followed steps, rising.
        overfits_at: The first step at which the run overfits; None or NaN where it does not.

    Raises:
        ValueError: No step was followed before that.

    >>> recommended_step([0, 10, 20, 40], 40), recommended_step([0, 10], None)
    (20, 10)
    """
    followed = [int(step) for step in steps]
    if overfits_at is None or np.isnan(overfits_at):
        return followed[-1]
    before = [step for step in followed if step < overfits_at]
    if not before:
        raise ValueError(f"No step before {overfits_at:g} was followed; the followed steps are {followed}.")
    return before[-1]


def _curves(
    interactions: pd.DataFrame,
    reference: pd.DataFrame | None,
    cells: pd.DataFrame | None,
    definition: str,
    resamples: int,
    seed: int,
) -> _Curves:
    if resamples < 2:
        raise ValueError(f"Noise is judged by at least 2 bootstrap draws (200 are usual), but got {resamples}.")
    interactions = check(interactions, "interactions")
    grid = follow(interactions, cells)
    if len(grid.blocks) != 1:
        raise ValueError(
            f"Stages are those of one run, but the table holds {len(grid.blocks)} runs; choose one of them."
        )
    if reference is not None:
        reference = check_reference(reference, grid.cells["sample"])
    block = grid.blocks[0]
    sums = sum_up(classify(interactions, cells=cells, definition=definition), grid, reference)
    weights = np.concatenate([np.ones((1, block.shape[1])), draws(block.shape[1], resamples, seed)])

    def curve(column: np.ndarray) -> np.ndarray:
        return weights @ column.reshape(block.shape).T

    above = np.abs(sums.signed) if sums.matched is None else sums.matched
    general = {group: ratio(curve(above[:, group]), curve(sums.strength[:, group])) for group in (_PRESERVED, _EMERGED)}
    return _Curves(
        run=next(run for run in grid.runs if run.name == block.run),
        block=block,
        basis="rho" if reference is None else "gamma",
        removed=curve(sums.strength[:, _REMOVED]) / block.shape[1],
        emerged=curve(sums.strength[:, _EMERGED]) / block.shape[1],
        general_emerged=general[_EMERGED],
        general_preserved=general[_PRESERVED],
    )


def _beyond_noise(difference: np.ndarray) -> np.ndarray:
    """Tell where a difference is more than noise; [1 + draws, steps]. An undefined one is not."""
    drawn = difference[1:]
    known = np.isfinite(drawn)
    count = known.sum(0)
    mean = np.where(known, drawn, 0.0).sum(0) / np.maximum(count, 1)
    variance = (np.where(known, drawn - mean, 0.0) ** 2).sum(0) / np.maximum(count - 1, 1)
    # Differences as small as rounding are none, also where the samples are all alike.
    return (difference > NORMAL * np.sqrt(variance) + 1e-12) & (count >= 2)


def _saturated(curves: _Curves) -> np.ndarray:
    """Rule 1 without "first", bool [1 + draws, steps]; never at the last step, after which nothing is known."""
    removed = curves.removed
    reached = (removed >= SATURATED * removed[:, -1:]) & (removed[:, -1:] > 0)
    for step in range(removed.shape[1] - 1):
        later = removed[:, step + 1 :] - removed[:, step : step + 1]
        reached[:, step] &= ~_beyond_noise(later).any(1)
    reached[:, -1] = False
    return reached


def _overfits(curves: _Curves) -> np.ndarray:
    """Rule 2 without "first", bool [1 + draws, steps]; never at the first step."""
    emerged = curves.general_emerged[:, 1:]
    grows = _beyond_noise(np.diff(curves.emerged, axis=1))
    below = _beyond_noise(curves.general_preserved[:, 1:] - emerged)
    highest = np.fmax.accumulate(curves.general_emerged, axis=1)[:, :-1]
    fallen = _beyond_noise(highest - emerged)
    return np.concatenate([np.zeros((len(emerged), 1), dtype=bool), grows & below & fallen], axis=1)


def _first(block: Block, held: np.ndarray) -> Estimate | None:
    if not held[0].any():
        return None
    seen = held[1:].any(1)
    places = held[1:][seen].argmax(1) if seen.any() else held[:1].argmax(1)
    # Quantiles that are steps themselves.
    steps, (_, samples) = block.steps, block.shape
    low, high = np.quantile(steps[places], levels(samples), method="inverted_cdf")
    return Estimate(int(steps[held[0].argmax()]), int(low), int(high), float(seen.mean()))


def _why_not_denoised(curves: _Curves) -> str:
    run = curves.block.run
    if not curves.removed[0, -1] > 0:
        return f"Denoising was not seen in {run!r}: at its last followed step nothing was removed."
    return f"Denoising has not ended in {run!r}: removed strength still grew at the last followed steps."


def _why_not_overfitted(curves: _Curves) -> str:
    run = curves.block.run
    if curves.block.shape[0] < 3:
        return f"Overfitting cannot be told in {run!r} before step 0 and two more steps were followed."
    if not np.isfinite(curves.general_emerged[0]).any():
        what = "the reference was not followed at its steps" if curves.basis == "gamma" else "nothing emerged"
        return f"Overfitting was not seen in {run!r}: the {curves.basis} of emerged interactions is unknown ({what})."
    return (
        f"Overfitting was not seen in {run!r}: emerged strength did not grow beyond noise at a step where its "
        f"{curves.basis} had fallen below that of the preserved."
    )
