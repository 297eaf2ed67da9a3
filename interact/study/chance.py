"""What chance would do instead of a training of a study, from the scores of its cells."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from interact.evolution.noise import NoiseOptions, NullEvolutions, null_evolutions
from interact.formats.schema import Run
from interact.results import load
from interact.study.store import Store
from interact.study.work import Cell


def chance(store: Store, run: Run, followed: pd.DataFrame, work: Iterable[Cell]) -> NullEvolutions:
    """Draw evolutions that move the scores by as much as the training did, at every followed step.

    Args:
        store: The study.
        run: The run.
        followed: Table `cells` of what is followed of it.
        work: The study's work list.
    """
    config, wanted = store.config, set(followed["sample"])
    values: dict[int, dict[str, np.ndarray]] = {int(step): {} for step in sorted(followed["step"].unique())}
    for cell in work:
        if cell.run == run and cell.step in values and cell.sample.id in wanted:
            values[cell.step][cell.sample.id] = load(store.cell(cell.key)).values
    options = NoiseOptions(
        noise=config.noise, kappa=config.kappa, tau=config.tau, rule=config.tau_rule, definition=config.classes
    )
    return null_evolutions(values, run=run, options=options)
