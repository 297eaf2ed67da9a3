"""Nulls of "training is not noise": evolutions in which the scores move as much, but at random.

1. `noise`: at each followed step v_0 plus Gaussian noise, for each sample as large as v_t - v_0 is over its coalitions;
   a random walk, so that what survives must survive at every step, as in the real evolution.
2. `permuted_change`: v_0 plus the change v_t - v_0 with the sample's players permuted, the same way at every step. The
   change keeps its size, its spectrum by order and its course, and loses which words it is about.
3. Either goes through split, salience, classes and metrics as the study itself did: same kappa, tau, rule and
   definition of the classes, at all of its steps, several times. An observed figure is compared with that distribution.

Noise is the weaker null: an order-k AND effect sums 2^k scores with signs, so independent noise gives it the variance
2^k sigma^2; with C(n, k) effects of order k, noise alone draws a spindle of high orders.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import comb

import numpy as np
import pandas as pd

from interact.evolution.bootstrap import bounds
from interact.evolution.classes import classify, mark_salient
from interact.evolution.metrics import measure
from interact.evolution.tables import check, empty, orders_of
from interact.formats.schema import Run, identify

NULLS = ("noise", "permuted_change")
"""The nulls, as their metrics end."""
Scores = Mapping[int, Mapping[str, np.ndarray]]
"""Scores v_t of each sample at each followed step, float64 [2**n], bit i = player i."""
_PLAIN = ("rho", "strength", "strength_normalised", "count")


@dataclass(frozen=True)
class NoiseOptions:
    """How a null is split, marked and measured; as the study itself was.

    Attributes:
        noise: How noise of the scores is treated, see `interact_kernels.sparsify.NoiseForm`.
        kappa: Its price or bound; None for the form's own.
        tau: Salience, as in `interact.evolution.salient`.
        rule: Likewise.
        definition: Of the classes, as in `interact.evolution.classify`.
        draws: Evolutions drawn of each null.
        seed: Of the draws.
    """

    noise: str | None = None
    kappa: float | None = None
    tau: float = 0.05
    rule: str = "max"
    definition: str = "ends"
    draws: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ValueError(f"A null takes at least one draw, but draws is {self.draws}.")


@dataclass(frozen=True)
class NullEvolutions:
    """What chance gives.

    Attributes:
        metrics: Table `metrics` at each step after 0, names ending in those of `NULLS`: the mean over draws, and the
            range of their middle 95 %; formulas as in `measure`.
        strength: Columns run, sample, null, strength: sum |I| of the salient set at the last step, mean over draws.
    """

    metrics: pd.DataFrame
    strength: pd.DataFrame


def matched_sigma(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return the noise that moves scores by as much as training did: the standard deviation of v_t - v_0.

    A shift of all scores alike is no interaction, and is left out.

    Args:
        before: Scores v_0 of each sample, float64 [2**n].
        after: Scores v_t of the same samples.

    Raises:
        ValueError: The samples or their numbers of players differ.

    >>> matched_sigma({"a": np.array([0.0, 1.0])}, {"a": np.array([1.0, 4.0])})
    {'a': 1.0}
    """
    if set(before) != set(after):
        odd = sorted(set(before) ^ set(after))
        raise ValueError(f"Scores before and after must be of the same samples, but {odd[0]!r} is only in one of them.")
    for sample, values in before.items():
        if np.shape(values) != np.shape(after[sample]):
            shapes = f"{np.shape(values)} and {np.shape(after[sample])}"
            raise ValueError(f"The scores of {sample!r} before and after must have one shape, but have {shapes}.")
    return {sample: float(np.std(np.subtract(after[sample], before[sample]))) for sample in before}


def expected_spindle(n: int, sigma: float) -> pd.DataFrame:
    """Return what noise alone gives the AND effects (Moebius transform) of each order, on average.

    ``deviation = sigma sqrt(2^k)``, ``positive = C(n, k) deviation / sqrt(2 pi)``; the negative sum is as large. The
    sparse split holds less than that, but is shaped by it.

    Args:
        n: Number of players.
        sigma: Standard deviation of the noise of one score.

    Returns:
        Columns order, deviation, positive; one row per order from 1 to n.

    >>> expected_spindle(2, 1.0)["deviation"].round(3).tolist()
    [1.414, 2.0]
    """
    order = np.arange(1, n + 1)
    deviation = sigma * np.sqrt(2.0**order)
    positive = np.array([comb(n, int(k)) for k in order]) * deviation / np.sqrt(2 * np.pi)
    return pd.DataFrame({"order": order, "deviation": deviation, "positive": positive})


def null_scores(values: Scores, null: str, *, run: str, seed: int = 0) -> dict[int, dict[str, np.ndarray]]:
    """Draw the scores of an evolution of chance; the module's docstring says how.

    A sample's draw depends on the seed, the run and the sample's name alone.

    Args:
        values: Scores at each followed step, step 0 among them.
        null: One of `NULLS`.
        run: The name of the run it is a control of.
        seed: Of the draw.

    Raises:
        ValueError: The null is unknown, step 0 or a later step is missing, or the samples of the steps differ.
    """
    if null not in NULLS:
        raise ValueError(f"The null must be one of {', '.join(NULLS)}, but is {null!r}.")
    steps = sorted(values)
    if not steps or steps[0] != 0 or len(steps) < 2:
        raise ValueError(f"An evolution of chance begins at step 0 and has a later step, but the steps are {steps}.")
    for step in steps:
        if bad := [name for name, scores in values[step].items() if not np.isfinite(scores).all()]:
            raise ValueError(f"The scores of {bad[0]!r} at step {step} are not all finite.")
    sizes = {step: matched_sigma(values[0], values[step]) for step in steps}
    drawn: dict[int, dict[str, np.ndarray]] = {step: {} for step in steps}
    for sample, start in values[0].items():
        start = np.asarray(start, dtype=np.float64)
        names = [zlib.crc32(name.encode()) for name in (run, sample)]
        rng = np.random.default_rng([seed, *names])
        n = len(start).bit_length() - 1
        moved, walked = _permuted_masks(rng.permutation(n)), np.zeros_like(start)
        size = 0.0
        for step in steps:
            if null == "permuted_change":
                change = (np.asarray(values[step][sample], dtype=np.float64) - start)[moved]
            else:
                now = sizes[step][sample]
                grown = np.sqrt(max(now**2 - size**2, 0.0))
                walked = walked + rng.normal(scale=grown, size=start.shape)
                # Exactly as large, also where training came back towards its beginning.
                walked = walked * (now / spread if (spread := float(np.std(walked))) > 0 else 0.0)
                size, change = now, walked
            drawn[step][sample] = start + change
    return drawn


def evolution_of(
    values: Scores, *, run: str | Run, options: NoiseOptions | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split scores, as a run that was followed at their steps.

    Args:
        values: Scores at each step.
        run: The run, or what to call it.
        options: See `NoiseOptions`.

    Returns:
        Tables `interactions` (salient ones marked) and `cells`.

    Raises:
        ValueError: Scores are not 2**n finite numbers.
    """
    name, known = (run.name, (run,)) if isinstance(run, Run) else (run, ())
    return _evolutions({name: values}, options or NoiseOptions(), known)


def _evolutions(
    drawn: Mapping[str, Scores], options: NoiseOptions, known: tuple[Run, ...] = ()
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split the scores of several runs that have the same steps and samples, all at once."""
    # Loading torch takes seconds that the tables do not need.
    from interact_kernels.sparsify import and_or_split, merge_order_one

    names = list(drawn)
    steps, samples = sorted(drawn[names[0]]), list(drawn[names[0]][min(drawn[names[0]])])
    rows, cells = [], []
    for sample in samples:
        stacked = np.stack([[drawn[name][step][sample] for step in steps] for name in names])
        split = merge_order_one(and_or_split(stacked, noise=options.noise, kappa=options.kappa))
        for kind, effects in (("and", split.i_and), ("or", split.i_or)):
            at, mask = np.nonzero(effects.reshape(-1, effects.shape[-1]))
            place = {"run": np.repeat(names, len(steps))[at], "step": np.tile(steps, len(names))[at]}
            rows.append(pd.DataFrame({**place, "sample": sample, "kind": kind, "mask": mask.astype(np.uint64)}))
            rows[-1]["effect"] = effects.reshape(-1, effects.shape[-1])[at, mask]
        frame = pd.DataFrame(
            {"run": np.repeat(names, len(steps)), "step": np.tile(steps, len(names)), "sample": sample}
        )
        scores = {"n": stacked.shape[-1].bit_length() - 1, "bias": stacked[..., 0].ravel()}
        moved = np.std(stacked - stacked[:, :1], axis=-1).ravel()
        cells.append(frame.assign(**scores, total=stacked[..., -1].ravel(), moved=moved))
    table = pd.concat([part for part in rows if len(part)] or rows[:1], ignore_index=True)
    table = table.assign(order=orders_of(table["mask"].to_numpy()), salient=False)
    table = identify(table, "interactions", known)[list(empty("interactions").columns)]
    marked = mark_salient(table, tau=options.tau, rule=options.rule)
    return marked, check(identify(pd.concat(cells, ignore_index=True), "cells", known), "cells")


def null_evolutions(values: Scores, *, run: str | Run, options: NoiseOptions | None = None) -> NullEvolutions:
    """Measure evolutions of chance: the controls of counts, strengths, rho and order histograms.

    Args:
        values: Scores at each followed step, step 0 among them.
        run: The run they are a control of, or its name.
        options: See `NoiseOptions`.

    Raises:
        ValueError: As in `null_scores` and `evolution_of`.
    """
    options = options or NoiseOptions()
    name, known = (run.name, (run,)) if isinstance(run, Run) else (run, ())
    parts, strengths = [empty("metrics")], []
    for null in NULLS:
        drawn = {
            str(draw): null_scores(values, null, run=name, seed=options.seed + draw) for draw in range(options.draws)
        }
        table, cells = _evolutions(drawn, options)
        classes = classify(table, cells=cells, definition=options.definition)
        metrics = measure(table, cells, classes=classes, resamples=0)
        metrics = metrics[(metrics["step"] > 0) & _kept(metrics["name"], null)]
        parts.append(identify(_summed(metrics, null).assign(run=name), "metrics", known)[list(parts[0].columns)])
        last = table[(table["step"] == max(values)) & table["salient"]]
        sums = last["effect"].abs().groupby(last["sample"].astype("str")).sum() / options.draws
        sums = sums.reindex(list(values[0]), fill_value=0.0).rename("strength").rename_axis("sample")
        strengths.append(sums.reset_index().assign(run=name, null=null)[["run", "sample", "null", "strength"]])
    metrics = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    return NullEvolutions(check(metrics, "metrics"), pd.concat(strengths, ignore_index=True))


def _kept(names: pd.Series, null: str) -> pd.Series:
    # The permuted change keeps the spectrum by order, so it says nothing of it.
    return names.isin(_PLAIN) | (names.str.startswith("order") & (null == "noise"))


def _summed(metrics: pd.DataFrame, null: str) -> pd.DataFrame:
    """Return the mean of each figure over the draws, which are its runs, and the range of their middle 95 %."""
    wide = metrics.pivot(index=["step", "class", "name"], columns="run", values="value")
    # An order that some draws lack sums to nothing there.
    orders = np.asarray(wide.index.get_level_values("name").str.startswith("order"))
    drawn = np.where(np.isnan(wide.to_numpy()) & orders[:, None], 0.0, wide.to_numpy()).T
    low, high = bounds(drawn)
    known = np.isfinite(drawn)
    mean = np.where(known, drawn, 0.0).sum(0) / np.maximum(known.sum(0), 1)
    table = wide.index.to_frame(index=False)
    name = table["name"].str.replace(r"^(order\d+)_(\w+)$", rf"\1_{null}_\2", regex=True)
    name = name.where(~table["name"].isin(_PLAIN), table["name"] + f"_{null}")
    return table.assign(name=name, value=np.where(known.any(0), mean, np.nan), low=low, high=high)


def _permuted_masks(players: np.ndarray) -> np.ndarray:
    """Return the coalition that each coalition becomes where player i is called players[i], int64 [2**n]."""
    masks = np.arange(1 << len(players))
    return sum((((masks >> i) & 1) << int(p) for i, p in enumerate(players)), np.zeros_like(masks))
