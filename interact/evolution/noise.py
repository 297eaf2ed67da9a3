"""The noise null: what an evolution looks like when scores move at random by as much as training moved them.

1. Noise of matched size: sigma of a sample is the standard deviation of v_t - v_0 over coalitions.
2. Split v_0 and v_0 + Gaussian noise of that sigma anew, and classify and measure the two as steps 0 and t.
3. An order-k AND effect sums 2^k scores with signs, so independent noise gives it the variance 2^k sigma^2; with
   C(n, k) effects of order k, noise alone draws a spindle of high orders.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import comb

import numpy as np
import pandas as pd

from interact.evolution.classes import mark_salient
from interact.evolution.metrics import measure
from interact.evolution.tables import check, empty, orders_of
from interact.formats.schema import Run, identify


@dataclass(frozen=True)
class NoiseOptions:
    """How noisy scores are split, marked and measured; as the study itself was.

    Attributes:
        noise: How noise of the scores is treated, see `interact_kernels.sparsify.NoiseForm`.
        kappa: Its price or bound; None for the form's own.
        tau: Salience, as in `interact.evolution.salient`.
        rule: Likewise.
        resamples: Bootstrap samples.
        seed: Of the noise and the bootstrap.
    """

    noise: str | None = None
    kappa: float | None = None
    tau: float = 0.05
    rule: str = "max"
    resamples: int = 200
    seed: int = 0


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
            raise ValueError(f"The scores of {sample!r} before and after must be as many, but have shapes {shapes}.")
    return {sample: float(np.std(np.subtract(after[sample], before[sample]))) for sample in before}


def expected_spindle(n: int, sigma: float) -> pd.DataFrame:
    """Return what noise alone gives the AND effects (Moebius transform) of each order, on average.

    ``deviation = sigma sqrt(2^k)``, ``positive = C(n, k) deviation / sqrt(2 pi)``; the negative sum is as large. The
    sparse split holds less than that, but is shaped by it.

    Args:
        n: Number of players.
        sigma: Standard deviation of the noise of one score.

    Returns:
        Columns order, deviation, positive; one row an order from 1 to n.

    >>> expected_spindle(2, 1.0)["deviation"].round(3).tolist()
    [1.414, 2.0]
    """
    order = np.arange(1, n + 1)
    deviation = sigma * np.sqrt(2.0**order)
    positive = np.array([comb(n, int(k)) for k in order]) * deviation / np.sqrt(2 * np.pi)
    return pd.DataFrame({"order": order, "deviation": deviation, "positive": positive})


def noise_tables(
    values: Mapping[str, np.ndarray],
    sigma: Mapping[str, float] | float,
    *,
    run: str | Run,
    step: int,
    options: NoiseOptions | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split scores and noisy scores, as a run that was followed at steps 0 and `step`.

    The noise of a sample depends on the seed, the run, the step and the sample's name alone.

    Args:
        values: Scores v_0 of each sample, float64 [2**n], bit i = player i.
        sigma: Standard deviation of the noise, one for all samples or one for each.
        run: The run, or what to call it.
        step: What to call the noisy step, above 0.
        options: See `NoiseOptions`.

    Returns:
        Tables `interactions` (salient ones marked) and `cells`.

    Raises:
        ValueError: Scores are not 2**n finite numbers, a sigma is missing or negative, or step is not above 0.
    """
    # Loading torch takes seconds that the tables do not need.
    from interact_kernels.sparsify import and_or_split, merge_order_one

    options = options or NoiseOptions()
    run, known = (run.name, (run,)) if isinstance(run, Run) else (run, ())
    if step < 1:
        raise ValueError(f"The noisy step comes after step 0, but is {step}.")
    rows, cells = [empty("interactions")], []
    for sample, scores in values.items():
        scores = np.asarray(scores, dtype=np.float64)
        size = sigma.get(sample, np.nan) if isinstance(sigma, Mapping) else sigma
        if not 0 <= size < np.inf:
            raise ValueError(f"The noise of {sample!r} must be a finite number >= 0, but sigma is {size}.")
        names = [zlib.crc32(name.encode()) for name in (run, sample)]
        noise = np.random.default_rng([options.seed, step, *names]).normal(scale=size, size=scores.shape)
        both = np.stack([scores, scores + noise])
        split = merge_order_one(and_or_split(both, noise=options.noise, kappa=options.kappa))
        for row, at in enumerate((0, step)):
            for kind, effects in (("and", split.i_and[row]), ("or", split.i_or[row])):
                mask = np.flatnonzero(effects).astype(np.uint64)
                found = pd.DataFrame({"mask": mask, "order": orders_of(mask), "effect": effects[mask]})
                rows.append(found.assign(run=run, step=at, sample=sample, kind=kind, salient=False))
            n = both.shape[1].bit_length() - 1
            cells.append((run, at, sample, n, both[row, 0], both[row, -1]))
    table = identify(
        pd.concat([part for part in rows if len(part)] or rows[:1], ignore_index=True), "interactions", known
    )
    table = table[list(rows[0].columns)]
    columns = pd.Index(["run", "step", "sample", "n", "bias", "total"])
    marked = mark_salient(table, tau=options.tau, rule=options.rule)
    return marked, check(identify(pd.DataFrame(cells, columns=columns), "cells", known), "cells")


def noise_null(
    values: Mapping[str, np.ndarray],
    sigma: Mapping[str, float] | float,
    *,
    run: str | Run,
    step: int,
    options: NoiseOptions | None = None,
) -> pd.DataFrame:
    """Measure an evolution made of noise alone: the control of order histograms and of rho.

    Args:
        values: As in `noise_tables`.
        sigma: As in `noise_tables`; `matched_sigma` gives what training would need.
        run: The run it is a control of, or its name.
        step: The step it is a control of.
        options: See `NoiseOptions`.

    Returns:
        Table `metrics` at `step`, each class: `rho_noise`, `strength_noise`, `strength_normalised_noise`,
        `count_noise`, `order{k}_noise_positive` and `order{k}_noise_negative`; formulas as in `measure`.

    Raises:
        ValueError: As in `noise_tables`.
    """
    options = options or NoiseOptions()
    tables = noise_tables(values, sigma, run=run, step=step, options=options)
    metrics = measure(*tables, resamples=options.resamples, seed=options.seed)
    metrics = metrics[metrics["step"] == step]
    plain = metrics["name"].isin(["rho", "strength", "strength_normalised", "count"])
    metrics = metrics[plain | metrics["name"].str.startswith("order")]
    renamed = metrics["name"].str.replace(r"^(order\d+)_(\w+)$", r"\1_noise_\2", regex=True)
    return metrics.assign(name=renamed.where(~plain, metrics["name"] + "_noise")).reset_index(drop=True)
