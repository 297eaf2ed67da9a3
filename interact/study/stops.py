"""Where a training would have been stopped, by which rule, and what that would have cost.

1. Every rule chooses one of the followed steps from what can be known without the test set: by interactions the last
   step before overfitting begins (`interact.evolution.recommended_step`, which is what early stopping goes back to); by
   the loss the best step so far once the label loss on the validation set has risen at one followed step (patience 1);
   or the end.
2. Each choice is judged by the label loss on the test set there; its regret is that loss minus the least one over the
   followed steps.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from interact.evolution import empty, recommended_step
from interact.formats.schema import Run, identify


def compare_stops(metrics: pd.DataFrame, losses: pd.DataFrame, runs: Iterable[Run]) -> pd.DataFrame:
    """Return rows of the table `metrics`, step -1: ``stop_by_RULE``, ``test_loss_at_stop_by_RULE``, ``regret_by_RULE``.

    RULE is interactions, loss or end. A run whose log does not tell the losses of a validation and a test set has no
    rows.

    Args:
        metrics: Table with `overfitting_start` of each run.
        losses: Table.
        runs: The runs.
    """
    rows, known = [], list(runs)
    for run in known:
        own = losses[losses["run"] == run.training]
        validation, test = (
            own[own["name"] == f"{part}_label_loss"].set_index("step")["value"].sort_index()
            for part in ("validation", "test")
        )
        figures = metrics[metrics["run"] == run.name]
        seen = figures[figures["name"] == "overfitting_start"]["value"]
        # A training logs its losses before all of its steps are followed.
        followed = set(figures["step"])
        steps = [step for step in validation.index if step in test.index and step in followed]
        if not steps or not len(seen) or not np.isfinite(test[steps]).all():
            continue
        choices = {
            "interactions": recommended_step(steps, float(seen.iloc[0])),
            "loss": first_rise(validation[steps]),
            "end": steps[-1],
        }
        least = float(test[steps].min())
        for rule, step in choices.items():
            figures = {"stop": step, "test_loss_at_stop": test[step], "regret": test[step] - least}
            rows += [
                (run.name, -1, "all", f"{name}_by_{rule}", float(v), np.nan, np.nan) for name, v in figures.items()
            ]
    columns = pd.Index(["run", "step", "class", "name", "value", "low", "high"])
    return identify(pd.DataFrame(rows, columns=columns), "metrics", known) if rows else empty("metrics")


def first_rise(loss: pd.Series) -> int:
    """Return the step to go back to once a loss, indexed by rising steps, has risen: the one before; else the last.

    >>> first_rise(pd.Series([0.7, 0.5, 0.6, 0.1], index=[0, 10, 20, 30]))
    10
    """
    steps = [int(step) for step in loss.index]
    rises = np.flatnonzero(np.diff(loss.to_numpy()) > 0)
    return steps[rises[0]] if len(rises) else steps[-1]
