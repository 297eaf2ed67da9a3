"""A study judged again from its scores, without a model: under other forms of noise."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from interact.evolution import NoiseOptions, mark_salient, null_evolutions
from interact.formats.schema import runs_in
from interact.games.game import Scores, game_from, split_together
from interact.results import load
from interact.sft.following import placed_in, unchecked_rows
from interact.study.store import Store
from interact.study.work import Cell

_PLACE = ["run", "step", "sample"]


def scores_of(store: Store, work: Iterable[Cell]) -> pd.DataFrame:
    """Return the scores of the cells that are done: columns run, step, sample and values, float32 [2**n] in each.

    Raises:
        ValueError: A cell holds sampled coalitions.
    """
    rows = []
    for cell in work:
        if not (path := store.cell(cell.key)).is_file():
            continue
        if (values := load(path).all_scores) is None:
            raise ValueError(f"{path} holds sampled coalitions, which cannot be split again; leave its run out.")
        rows.append((cell.run.name, cell.step, cell.sample.id, values.astype(np.float32)))
    return pd.DataFrame(rows, columns=pd.Index([*_PLACE, "values"]))


def split_again(
    scores: pd.DataFrame, cells: pd.DataFrame, *, noise: str | None, kappa: float | None, tau: float, rule: str
) -> pd.DataFrame:
    """Make the table `interactions` from scores, under any form of noise.

    Args:
        scores: What `scores_of` returned.
        cells: Table of these cells, which tells their runs.
        noise: How noise of the scores is treated, see `interact.extract`.
        kappa: Its price or bound.
        tau: Salience threshold.
        rule: Its rule, see `interact.evolution.mark_salient`.
    """
    known, parts = runs_in(cells), []
    for size, rows in scores.groupby(scores["values"].map(len)):
        plain = game_from(_kept, int(size).bit_length() - 1)
        values = [np.asarray(found, dtype=np.float64) for found in rows["values"]]
        results = split_together([(plain, Scores(found, {})) for found in values], noise=noise, kappa=kappa)
        for result, (run, step, sample) in zip(results, rows[_PLACE].itertuples(index=False, name=None), strict=True):
            parts.append(unchecked_rows(placed_in(result, known[run], int(step), str(sample))))
    return mark_salient(pd.concat(parts, ignore_index=True), tau=tau, rule=rule)


def _kept(_: np.ndarray) -> np.ndarray:
    raise RuntimeError("The scores of this game were kept, and its model is not here.")


def null_again(scores: pd.DataFrame, cells: pd.DataFrame, options: NoiseOptions) -> pd.DataFrame:
    """Return the strength by chance of the salient set at the last step, for `interact.evolution.verdicts`.

    Args:
        scores: What `scores_of` returned, of held-out samples.
        cells: Table of these cells.
        options: The form of noise, tau and its rule, and how many draws.
    """
    parts = []
    for name, run in runs_in(cells).items():
        own = scores[scores["run"] == name]
        values: dict[int, dict[str, np.ndarray]] = {int(step): {} for step in sorted(own["step"].unique())}
        for _, step, sample, found in own[[*_PLACE, "values"]].itertuples(index=False, name=None):
            values[int(step)][str(sample)] = np.asarray(found, dtype=np.float64)
        parts.append(null_evolutions(values, run=run, options=options).strength)
    return pd.concat(parts, ignore_index=True)
