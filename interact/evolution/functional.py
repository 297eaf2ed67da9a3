"""What an interaction is good for: losses with and without it.

Dropping a group C of interactions from phi of the whole input leaves the log-odds v(N) - sum of C, so the loss of one
sample changes by ``-log sigmoid(v(N) - sum_C I) + log sigmoid(v(N))``. With the mean change over training samples and
over held-out ones, a group is

- *noise-like* where dropping it lowers the held-out loss and does not raise the training loss,
- *overfitted* where dropping it lowers the held-out loss but raises the training loss,
- *helpful* where dropping it raises the held-out loss,
- *idle* where dropping it changes no held-out loss.

Removed interactions are dropped from phi at step 0, where their effects are from; the others at the row's step. Before
training no sample has been trained on, so nothing of step 0 is overfitted: there is one loss to judge removed ones by.
A label alone shows little, for dropping any interactions of a model that predicts well makes it worse: hold it against
random ones of equal strength (`interact.evolution.matched`).
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from interact.evolution.bootstrap import RESAMPLES, weighted_means
from interact.evolution.metrics import backbone_cross_entropy
from interact.evolution.tables import check
from interact.formats.labels import as_word
from interact.formats.schema import LABELS, identify, runs_in


def name_interactions(classes: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """Add the column `words`, such as ``"and: flat + champagne"``, by which samples share an interaction.

    Args:
        classes: Table.
        samples: Table.

    Raises:
        ValueError: A table does not fit, a sample is unknown, or a mask holds a player the sample does not have.
    """
    classes, samples = check(classes, "classes"), check(samples, "samples")
    players = dict(zip(samples["sample"], samples["players"], strict=True))
    keys = classes[["sample", "kind", "mask"]].drop_duplicates()
    words = []
    for sample, kind, mask in keys.itertuples(index=False):
        if sample not in players:
            raise ValueError(f"The table samples has no row for the sample {sample!r}; add it.")
        if int(mask) >> len(players[sample]):
            raise ValueError(
                f"The mask {mask} of the sample {sample!r} has more players than the sample; pass the samples of these "
                "rows."
            )
        held = [as_word(str(word)) for i, word in enumerate(players[sample]) if int(mask) >> i & 1]
        words.append(f"{kind}: {' + '.join(sorted(held))}")
    return classes.merge(keys.assign(words=words), on=["sample", "kind", "mask"], how="left")


def functional_labels(
    classes: pd.DataFrame,
    cells: pd.DataFrame,
    training: Collection[str],
    heldout: Collection[str],
    *,
    by: tuple[str, ...] = ("class",),
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Label groups of interactions by what dropping them does to losses; the module's docstring says how.

    Args:
        classes: Table; columns named in `by` may be added to it.
        cells: Table.
        training: Samples that were trained on.
        heldout: Samples that were not.
        by: What makes a group at each run and step: ``("class",)``, or for single interactions
            ``("class", "words")`` with the column of `name_interactions`.
        resamples: Bootstrap samples; 0 for no intervals.
        seed: Of the bootstrap.

    Returns:
        One row per run, step and group: the columns of `by`, `label`, `certain` (the intervals bear the label out), and
        `training_change`, `heldout_change` with `_low` and `_high` each, in nats; then what the runs are. Samples
        without the group count as unchanged; those that a run did not follow do not count.

    Raises:
        ValueError: A table does not fit, a split is empty, both share a sample, or a sample of a split or a cell of a
            class is not in `cells`.
    """
    classes, cells = check(classes, "classes"), check(cells, "cells")
    splits = {"training": sorted(set(training)), "heldout": sorted(set(heldout))}
    _check_splits(splits, cells)
    if missing := [column for column in by if column not in classes.columns]:
        raise ValueError(
            f"The table classes has no column {missing[0]!r} to group interactions by; add it, or name another in by=."
        )
    keys = ["run", "step", *by]
    origin = classes["step"].where(classes["class"] != "removed", 0)
    groups = classes.assign(origin=origin).groupby([*keys, "origin", "sample"], observed=True, sort=True)
    dropped = groups["effect"].sum().reset_index()
    totals = cells.rename(columns={"step": "origin"})[["run", "origin", "sample", "total"]]
    dropped = dropped.merge(totals, on=["run", "origin", "sample"], how="left")
    if (unknown := dropped["total"].isna()).any():
        row = dropped[unknown].iloc[0]
        raise ValueError(
            f"The table cells lacks the sample {row['sample']!r} at step {row['origin']} of {row['run']!r}, whose "
            "interactions have a class."
        )
    total = dropped["total"].to_numpy()
    dropped["change"] = backbone_cross_entropy(total - dropped["effect"]) - backbone_cross_entropy(total)
    # A group may hold classes of both origins; then a sample has two changes, one at each model.
    changes = dropped.groupby([*keys, "sample"], observed=True, sort=True)["change"].sum().unstack("sample")
    table = changes.index.to_frame(index=False)
    followed = pd.crosstab(cells["run"].astype("str"), cells["sample"].astype("str")) > 0
    for split, samples in splits.items():
        # A sample without the group is unchanged; one that the run did not follow is unknown.
        there = followed[samples].loc[table["run"].astype("str")].to_numpy(dtype=np.float64)
        change = changes.reindex(columns=samples).fillna(0.0).to_numpy() * there
        figures = weighted_means(change, there, axis=1, resamples=resamples, seed=seed)
        for suffix, figure in zip(("", "_low", "_high"), figures, strict=True):
            table[f"{split}_change{suffix}"] = figure
    return identify(_label(table, keys), "labels", runs_in(classes).values())


def _label(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    training, heldout = (table[f"{split}_change"].to_numpy() for split in ("training", "heldout"))
    trained = np.ones(len(table), dtype=bool)
    if "class" in keys:
        trained = table["class"].to_numpy(dtype=object) != "removed"
    label = np.select([heldout > 0, (heldout < 0) & (training > 0) & trained, heldout < 0], [2, 1, 0], default=3)
    bound = {column: table[column].to_numpy() for column in table.columns if column.endswith(("_low", "_high"))}
    harms = bound["heldout_change_high"] < 0
    needs = [
        harms & (~trained | (bound["training_change_high"] <= 0)),
        harms & (bound["training_change_low"] > 0),
        bound["heldout_change_low"] > 0,
    ]
    certain = np.select([label == 0, label == 1, label == 2], needs, default=False)
    names = pd.Series(np.array(LABELS, dtype=object)[label], dtype="str")
    rest = [column for column in table.columns if column not in keys]
    return table.assign(label=names, certain=certain)[[*keys, "label", "certain", *rest]]


def _check_splits(splits: dict[str, list[str]], cells: pd.DataFrame) -> None:
    for split, samples in splits.items():
        if not samples:
            raise ValueError(f"The {split} split has no samples, so there is no loss to compare; name at least one.")
        if lacking := set(samples) - set(cells["sample"]):
            raise ValueError(
                f"The table cells lacks the {split} sample {min(lacking)!r}; add its rows, or leave it out."
            )
    if both := set(splits["training"]) & set(splits["heldout"]):
        raise ValueError(f"The sample {min(both)!r} is in the training split and held out; name it in one of them.")
