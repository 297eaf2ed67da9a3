"""What a table `metrics` says at a glance: one row per run and step, the classes beside each other."""

from __future__ import annotations

import pandas as pd

from interact.evolution.tables import CLASSES

FIGURES = ("count", "strength", "rho", "gamma")


def overview(metrics: pd.DataFrame, *, last: bool = False) -> pd.DataFrame:
    """Lay out the leading figures of a table `metrics` (docs/formats.md).

    Args:
        metrics: The table, of any runs.
        last: Only the last step of each run.

    Returns:
        One row per run and step (the index); columns (class, name) of removed, preserved and emerged interactions
        where they are known.

    >>> from interact.evolution import empty
    >>> len(overview(empty("metrics")))
    0
    """
    rows = metrics[metrics["class"].isin(CLASSES) & metrics["name"].isin(FIGURES) & (metrics["step"] >= 0)]
    if last:
        rows = rows[rows["step"] == rows.groupby("run")["step"].transform("max")]
    wide = rows.pivot_table(index=["run", "step"], columns=["class", "name"], values="value", sort=False)
    return wide.sort_index().reindex(columns=[c for k in CLASSES for f in FIGURES if (c := (k, f)) in wide.columns])
