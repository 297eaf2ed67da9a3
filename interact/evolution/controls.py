"""The controls without which a claim is not shown: permutations, seeds, and a planted word.

1. `permuted_rho`: the same strengths with signs dealt anew among them; what rho a class of that size has by chance.
2. `permuted_gamma`: the other model with its players' labels shuffled; what gamma has by chance.
3. `across_seeds`: mean and 95 % interval over runs that differ in nothing but the seed, and over their samples.
4. `planted_share`: how much of the strength lies on a word that leaks the answer.

A permutation gives a distribution, and a verdict is the place of the observed figure in it (`place_in_null`), never a
comparison of two intervals. The nulls of a whole evolution are in `interact.evolution.noise`, matched subsets in
`.matched`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from interact.evolution.bootstrap import RESAMPLES, bounds, place_in_null, ratio
from interact.evolution.grid import follow
from interact.evolution.metrics import tabulate
from interact.evolution.sums import GROUPS, check_reference, salient_terms, same_sign, terms_of, was_followed
from interact.evolution.tables import CLASSES, check, empty
from interact.formats.schema import STAGES, identify, runs_in


def permuted_rho(classes: pd.DataFrame, *, permutations: int = 200, seed: int = 0) -> pd.DataFrame:
    """Measure rho when the signs of a sample's effects are permuted among all its classes.

    Strengths, and how many effects are positive, stay; so a class cancels more, or less, than chance where its rho is
    outside the interval. Few effects rarely cancel: this is what a small class must be compared with.

    Args:
        classes: Table.
        permutations: How often to permute, at least 1.
        seed: Of the permutations.

    Returns:
        Table `metrics`: `rho_permuted`, the mean over permutations and the range of their middle 95 %, and
        `rho_permuted_p`, the two-sided p-value of the observed rho in their distribution.

    Raises:
        ValueError: The table does not fit, or permutations is below 1.
    """
    classes = _checked(classes, permutations)
    rng = np.random.default_rng(seed)
    parts = [empty("metrics")]
    for run, part in classes.groupby("run", sort=True, observed=True):
        steps, step = np.unique(part["step"].to_numpy(), return_inverse=True)
        sample = np.unique(part["sample"].to_numpy(dtype=object), return_inverse=True)[1]
        samples = int(sample.max()) + 1
        cell = step * samples + sample
        by_cell = np.argsort(cell, kind="stable")
        sign, strength = np.sign(part["effect"].to_numpy()), part["effect"].abs().to_numpy()
        place = cell * 3 + _codes(part["class"])

        def total(weights: np.ndarray, place: np.ndarray = place, size: int = len(steps) * samples) -> np.ndarray:
            return _with_all(np.bincount(place, weights=weights, minlength=size * 3).reshape(size, 3))

        shape = (len(steps), samples, len(GROUPS))
        below = total(strength).reshape(shape).sum(1)
        observed = ratio(np.abs(total(strength * sign)).reshape(shape).sum(1), below)
        drawn = []
        for _ in range(permutations):
            dealt = np.empty_like(sign)
            dealt[by_cell] = sign[np.lexsort((rng.random(len(cell)), cell))]
            drawn.append(ratio(np.abs(total(strength * dealt)).reshape(shape).sum(1), below))
        parts.append(_null(str(run), steps, np.stack(drawn), observed, "rho_permuted"))
    return _joined(parts, classes)


def permuted_gamma(
    classes: pd.DataFrame, reference: pd.DataFrame, cells: pd.DataFrame, *, permutations: int = 100, seed: int = 0
) -> pd.DataFrame:
    """Measure gamma when the labels of each sample's players are permuted in the other model.

    Orders and strengths stay, only which words they are about is lost: the gamma that two models have by chance.

    Args:
        classes: Table.
        reference: Table `interactions` of the other model, as in `measure`.
        cells: Table of the measured runs; it says how many players a sample has.
        permutations: How often to permute, at least 1.
        seed: Of the permutations.

    Returns:
        Table `metrics`: `gamma_permuted`, the mean over permutations and the range of their middle 95 %, and
        `gamma_permuted_p`, the two-sided p-value of the observed gamma in their distribution.

    Raises:
        ValueError: A table does not fit, `cells` lacks a sample of the reference, or permutations is below 1.
    """
    classes = _checked(classes, permutations)
    reference, cells = check_reference(reference, classes["sample"]), check(cells, "cells")
    others = salient_terms(reference)
    players = cells.drop_duplicates("sample").set_index("sample")["n"]
    # A reference may hold more samples than are compared.
    others = others[others["sample"].isin(classes["sample"].unique())].reset_index(drop=True)
    if lacking := sorted(set(others["sample"]) - set(players.index)):
        raise ValueError(f"The table cells does not say how many players the sample {lacking[0]!r} has; add its rows.")
    terms = terms_of(classes)
    known = was_followed(terms, reference)
    names = pd.Index(terms["sample"].unique()).union(others["sample"].unique())
    counts = players.reindex(names).fillna(1).to_numpy(dtype=np.int64)
    terms, others = (_coded(table, names) for table in (terms, others))
    rng = np.random.default_rng(seed)
    general = []
    for _ in range(permutations):
        shuffled = _shuffle(others["mask"].to_numpy(), others["sample"].to_numpy(), counts, rng)
        general.append(same_sign(terms, others.assign(mask=shuffled)))
    seen = same_sign(terms, others)
    # Where the other model was not followed, its gamma is unknown, and so is chance.
    unknown = np.where(known, 1.0, np.nan)
    strength, code = classes["effect"].abs().to_numpy(), _codes(classes["class"])
    parts = [empty("metrics")]
    for run, rows in classes.groupby("run", sort=True, observed=True).indices.items():
        steps, step = np.unique(classes["step"].to_numpy()[rows], return_inverse=True)
        place, size = step * 3 + code[rows], len(steps) * 3

        def total(weights: np.ndarray, place: np.ndarray = place, size: int = size) -> np.ndarray:
            return _with_all(np.bincount(place, weights=weights, minlength=size).reshape(-1, 3))

        found = [ratio(total((strength * unknown * same)[rows]), total(strength[rows])) for same in (seen, *general)]
        parts.append(_null(str(run), steps, np.stack(found[1:]), found[0], "gamma_permuted"))
    return _joined(parts, classes)


def across_seeds(metrics: pd.DataFrame) -> pd.DataFrame:
    """Average every figure over the runs that differ in their seed only, with a 95 % t-interval.

    Such runs have the same model, data and asked_baseline, and follow the same samples, so a mean over runs moves with
    both (Owen 2007)::

        mean +- t(0.975, f) sqrt(deviation^2 / runs + mean of the squared errors over samples)

    An error over samples is that of a run's own interval; f are Satterthwaite's degrees of freedom, the samples' part
    being taken as well known. That the samples' errors are all shared is the careful side. A stage is averaged only
    where it is seen in every run, and NAME_seen tells the share of the runs in which it is. p-values are not averaged.

    Args:
        metrics: Table of several runs.

    Returns:
        Table `metrics` with the runs MODEL/DATA/seeds[/BASELINE], and one more column, `runs` int64: how many of them
        have the figure (NaN is none). Fewer than two give no interval; fewer than three are too few to claim from.

    Raises:
        ValueError: The table does not fit, or the seed of a run is not known.
    """
    metrics = check(metrics, "metrics")
    metrics = metrics[~metrics["name"].str.endswith("_p")].reset_index(drop=True)
    known = runs_in(metrics)
    if seedless := [name for name, run in known.items() if run.seed is None]:
        raise ValueError(
            f"Runs that differ in their seed are averaged, but the seed of {seedless[0]!r} is not known: fill in the "
            "column seed, or leave the run out."
        )
    together = {name: run.over_seeds for name, run in known.items()}
    keys = ["run", "step", "class", "name"]
    names = metrics["run"].astype("str").map({name: run.name for name, run in together.items()})
    # The interval of a stage is one of steps, which are no errors of a mean.
    reach = ((metrics["high"] - metrics["low"]) / 2).where(metrics["step"] >= 0, 0.0)
    squared = (reach / stats.norm.ppf(0.975)) ** 2
    grouped = metrics.assign(run=names, squared=squared).groupby(keys, sort=True, observed=True)
    table = grouped.agg(
        mean=("value", "mean"),
        deviation=("value", "std"),
        count=("value", "count"),
        size=("value", "size"),
        squared=("squared", "mean"),
    ).reset_index()
    runs = table["count"].to_numpy(dtype=np.int64)
    stage = table["name"].isin(STAGES).to_numpy()
    unseen = stage & (runs < table["size"].to_numpy())
    several = (runs > 1) & ~unseen
    between = table["deviation"].to_numpy()[several] ** 2 / runs[several]
    within = np.nan_to_num(table["squared"].to_numpy()[several])
    total = between + within
    share = np.divide(between, total, out=np.ones_like(total), where=total > 0)
    freedom = np.minimum((runs[several] - 1) / np.maximum(share**2, 1e-9), 1e9)
    half = np.full(len(table), np.nan)
    half[several] = stats.t.ppf(0.975, freedom) * np.sqrt(total)
    mean = np.where(unseen, np.nan, table["mean"].to_numpy())
    averaged = table[keys].assign(value=mean, low=mean - half, high=mean + half, runs=runs)
    shares = table.loc[stage, keys].assign(value=runs[stage] / table["size"].to_numpy()[stage], low=np.nan, high=np.nan)
    shares = shares.assign(name=shares["name"] + "_seen", runs=table["size"].to_numpy(dtype=np.int64)[stage])
    counted = pd.concat([averaged, shares] if len(shares) else [averaged], ignore_index=True)
    counts = counted["runs"].to_numpy()
    return identify(counted.drop(columns="runs"), "metrics", together.values()).assign(runs=counts)


def planted_share(
    interactions: pd.DataFrame, planted: Mapping[str, int], *, resamples: int = RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Measure how much of the strength lies on a planted word: sum of |I(T)| over T that hold it / sum of all |I(T)|.

    Args:
        interactions: Table; all effects count, salient or not.
        planted: The planted word's player in each sample that has one; other samples are left out.
        resamples: Bootstrap samples; 0 for no intervals.
        seed: Of the bootstrap.

    Returns:
        Table `metrics`, class `all`, name `planted_share`; the share over all samples, so strong ones weigh more.

    Raises:
        ValueError: A table does not fit, no sample is planted, or a player is not in 0..63.
    """
    interactions = check(interactions, "interactions")
    if bad := {sample: player for sample, player in planted.items() if not 0 <= player < 64}:
        raise ValueError(f"A planted word is a player from 0 to 63, but this was given: {bad}.")
    table = interactions[interactions["sample"].isin(list(planted))].reset_index(drop=True)
    if not len(table):
        raise ValueError(
            f"None of the {len(planted)} planted samples has interactions in the table; name samples of it."
        )
    grid = follow(table)
    bit = table["sample"].astype("str").map(dict(planted)).to_numpy(dtype=np.uint64)
    holds = (table["mask"].to_numpy() >> bit) & np.uint64(1)
    strength, cell = table["effect"].abs().to_numpy(), grid.locate(table)
    above, below = (
        np.bincount(cell, weights=part, minlength=len(grid.cells))[:, None] for part in (strength * holds, strength)
    )
    return tabulate({"planted_share": (above, below)}, grid, ("all",), resamples=resamples, seed=seed)


def _checked(classes: pd.DataFrame, permutations: int) -> pd.DataFrame:
    if permutations < 1:
        raise ValueError(f"A permutation control takes at least one permutation, but got {permutations}.")
    return check(classes, "classes")


def _codes(names: pd.Series) -> np.ndarray:
    return names.map({name: code for code, name in enumerate(CLASSES)}).to_numpy(dtype=np.int64)


def _with_all(sums: np.ndarray) -> np.ndarray:
    """Add the column `all`: what is preserved and what has emerged; float64 [rows, 3] to [rows, 4]."""
    return np.concatenate([sums, sums[:, 1:].sum(1, keepdims=True)], axis=1)


def _null(run: str, steps: np.ndarray, drawn: np.ndarray, observed: np.ndarray, name: str) -> pd.DataFrame:
    """Tabulate the null, drawn [permutations, steps, groups], and the place in it of observed [steps, groups]."""
    low, high = bounds(drawn)
    nothing = np.full_like(observed, np.nan)
    frames = []
    for what, figures in (
        (name, (drawn.mean(0), low, high)),
        (f"{name}_p", (place_in_null(observed, drawn), nothing, nothing)),
    ):
        index = pd.MultiIndex.from_product([[run], steps, GROUPS, [what]])
        frame = pd.DataFrame(index.to_list(), columns=pd.Index(["run", "step", "class", "name"]))
        bound = {column: part.reshape(-1) for column, part in zip(("value", "low", "high"), figures, strict=True)}
        frames.append(frame.assign(**bound))
    return pd.concat(frames, ignore_index=True)


def _joined(parts: list[pd.DataFrame], classes: pd.DataFrame) -> pd.DataFrame:
    known = runs_in(classes).values()
    return pd.concat([identify(part, "metrics", known) for part in parts if len(part)] or parts, ignore_index=True)


def _coded(terms: pd.DataFrame, samples: pd.Index) -> pd.DataFrame:
    """Put numbers in the place of names, which are slow to compare again and again."""
    return terms.assign(sample=samples.get_indexer(pd.Index(terms["sample"])), kind=(terms["kind"] == "or").astype(int))


def _shuffle(masks: np.ndarray, sample: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the masks with each sample's players relabelled by a permutation of its own."""
    most = int(counts.max(initial=1))
    # Players a sample does not have sort behind those it has, onto themselves.
    keys = np.where(np.arange(most) < counts[:, None], rng.random((len(counts), most)), 1.0 + np.arange(most))
    label = np.argsort(keys, axis=1).astype(np.uint64)
    shuffled = np.zeros_like(masks)
    for player in range(most):
        bit = (masks >> np.uint64(player)) & np.uint64(1)
        shuffled |= bit << label[sample, player]
    return shuffled
