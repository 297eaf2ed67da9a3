"""A study is judged again from its stored scores as it would be by a study of that form."""

import numpy as np
import pandas as pd
import pytest

from interact.evolution import NoiseOptions, mark_salient
from interact.study.chance import chance
from interact.study.repetitions import null_again, scores_of, split_again
from interact.study.samples import load as load_samples
from interact.study.store import Store
from interact.study.tables import of_cells
from interact.study.work import cells as work_of
from interact.study.work import runs as runs_of

KEY = ["run", "step", "sample", "kind", "mask"]


@pytest.fixture(scope="module")
def study(finished):
    store = Store.open(finished)
    work = list(work_of(store.config, load_samples(finished / "samples.json")))
    return store, work, scores_of(store, work), *of_cells(store, work)


def test_the_studys_own_split_comes_out_of_its_scores(study):
    store, _, scores, interactions, cells = study
    again = split_again(scores, cells, noise=None, kappa=None, tau=store.config.tau, rule=store.config.tau_rule)
    one, other = (table.set_index(KEY).sort_index() for table in (interactions, again))
    # Scores are kept in the float32 in which the model gave them.
    pd.testing.assert_frame_equal(one[["order", "effect"]], other[["order", "effect"]], rtol=1e-5, atol=1e-6)
    pd.testing.assert_frame_equal(one[["salient"]], other[["salient"]])


def test_an_exact_split_rebuilds_every_score_and_a_box_is_weaker(study):
    store, _, scores, _, cells = study
    marks = {"tau": store.config.tau, "rule": store.config.tau_rule}
    strength = {}
    for noise in ("exact", "box"):
        table = split_again(scores, cells, noise=noise, kappa=None, **marks)
        strength[noise] = table["effect"].abs().sum()
        if noise == "exact":
            for run, step, sample, values in scores.itertuples(index=False, name=None):
                own = table[(table["run"] == run) & (table["step"] == step) & (table["sample"] == sample)]
                masks, full = own["mask"].to_numpy(np.int64), len(values) - 1
                for coalition in (0, 1, 5, full):
                    met = np.where(own["kind"] == "and", (masks & coalition) == masks, (masks & coalition) > 0)
                    assert own["effect"].to_numpy() @ met == pytest.approx(values[coalition] - values[0], abs=1e-4)
        pd.testing.assert_series_equal(mark_salient(table, **marks)["salient"], table["salient"])
    assert strength["box"] < strength["exact"]


def test_chance_is_what_the_study_drew(study):
    store, work, scores, _, cells = study
    options = NoiseOptions(tau=store.config.tau, rule=store.config.tau_rule, draws=2)
    ours = null_again(scores, cells, options).groupby("null")["strength"].sum()
    run = runs_of(store.config)[0]
    theirs = chance(store, run, cells[cells["run"] == run.name], work).strength
    assert set(ours.index) == set(theirs["null"].unique()) and (ours > 0).all()
