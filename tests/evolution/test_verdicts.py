"""Verdicts: found where planted, withheld where nothing is there, untested where nothing could be shown."""

import pandas as pd
import pytest

from bench.verdicts import rates, study
from interact.evolution import check, mark_salient, verdicts
from interact.evolution.tables import orders_of
from interact.evolution.verdicts import AREA, SIGNS
from interact.formats.schema import HYPOTHESES

SMALL = {"draws": 20}


@pytest.fixture(scope="module")
def paper():
    return study("paper", 4, 12, seed=3, size=2.0)


def judged(planted, **changes):
    given = {**planted, **changes}
    table = verdicts(given.pop("interactions"), given.pop("cells"), **given, **SMALL)
    return check(table, "verdicts").set_index("hypothesis")


def test_what_was_planted_is_found_and_nothing_is_turned_over(paper):
    found = judged(paper)
    assert list(found.index) == list(HYPOTHESES) and set(found["run"]) == {"m/planted/seeds"}
    assert not (found["verdict"] == "contradicted").any() and (found["verdict"] == "supported").sum() >= 3
    for name, row in found.iterrows():
        assert row["low"] < row["value"] < row["high"] and row["p_holm"] >= row["p"]
        if row["verdict"] == "supported":
            assert row["value"] * SIGNS[name] > (AREA if name == "removal_first" else 0) and row["p_holm"] <= 0.05
    turned = judged(study("reversed", 4, 12, seed=3, size=2.0))
    assert not (turned["verdict"] == "supported").any() and (turned["verdict"] == "contradicted").sum() >= 3


def test_where_nothing_is_there_no_verdict_is_given():
    # How often is measured by many studies: docs/results/error_rates.parquet.
    rows = list(rates("nothing", 5, 12, 5, draws=20))
    assert next(row["contradicted"] for row in rows if row["hypothesis"] == "any false") <= 1
    assert [row["hypothesis"] for row in rows] == [*HYPOTHESES, "any false"]


def test_effects_that_move_in_a_straight_line_have_no_first(paper):
    # Removed ones fall and emerged ones rise by the same share at every step.
    table, cells = paper["interactions"], paper["cells"]
    share = cells.groupby("step")["moved"].mean()
    share = share / share.max()
    ends = table[table["step"].isin([0, 640])]
    key = ["run", "sample", "kind", "mask"]
    wide = ends.pivot(index=key, columns="step", values="effect").fillna(0.0)
    rows = [wide.assign(step=step, effect=wide[0] * (1 - x) + wide[640] * x).reset_index() for step, x in share.items()]
    line = pd.concat([row[[*key, "step", "effect"]] for row in rows], ignore_index=True)
    line = line[line["effect"] != 0].astype({"step": "int64"}).assign(salient=False)
    line = mark_salient(line.assign(order=orders_of(line["mask"].to_numpy())))
    even = cells.assign(moved=cells["step"].map(share))
    found = judged({**paper, "interactions": line, "cells": even}).loc["removal_first"]
    assert abs(found["value"]) < 0.02 and found["verdict"] == "undecided"
    # Nor where each run lacks another of the steps between.
    steps = sorted(cells["step"].unique())
    lack = dict(zip(sorted(cells["run"].unique()), steps[1:5], strict=True))
    kept = [t[t["step"] != t["run"].map(lack)].reset_index(drop=True) for t in (line, even)]
    found = judged({**paper, "interactions": kept[0], "cells": kept[1]}).loc["removal_first"]
    assert abs(found["value"]) < 0.02 and found["verdict"] == "undecided"


def test_runs_that_end_apart_have_no_common_progress(paper):
    table, cells = paper["interactions"], paper["cells"]
    run, last = cells["run"].iloc[0], cells["step"].max()
    shorter = [t[(t["run"] != run) | (t["step"] < last)].reset_index(drop=True) for t in (table, cells)]
    row = judged({**paper, "interactions": shorter[0], "cells": shorter[1]}).loc["removal_first"]
    assert row["verdict"] == "untested" and "end at different steps" in row["reason"]
    ends = [t[t["step"].isin([0, last])].reset_index(drop=True) for t in (table, cells)]
    row = judged({**paper, "interactions": ends[0], "cells": ends[1]}).loc["removal_first"]
    assert row["verdict"] == "untested" and "needs one between the two ends" in row["reason"]
    middle = sorted(cells["step"].unique())[2]
    gone = (cells["run"] == run) & (cells["step"] == middle) & (cells["sample"] == cells["sample"].iloc[0])
    with pytest.raises(ValueError, match=f"is missing at step {middle} of '{run}'"):
        judged({**paper, "cells": cells[~gone].reset_index(drop=True)})


def test_a_loss_that_was_logged_twice_counts_as_it_was_last(paper):
    twice = pd.concat([paper["losses"].assign(value=9.0), paper["losses"]], ignore_index=True)
    pd.testing.assert_frame_equal(judged({**paper, "losses": twice}), judged(paper))


def test_what_is_removed_by_the_growth_of_the_rest_alone_has_no_progress(paper):
    # As under a new head: all effects at step 0 are tiny, double, and are no longer salient beside what emerges.
    table = paper["interactions"]
    key = ["run", "sample", "kind", "mask"]
    later, start = table[table["step"] > 0], table[table["step"] == 0]
    steps = later[["run", "step"]].drop_duplicates()
    grown = start.drop(columns="step").merge(steps, on="run")
    parts = [start, grown.assign(effect=2 * grown["effect"]), later.assign(effect=1000 * later["effect"])]
    both = pd.concat(parts).groupby([*key, "step"], observed=True)["effect"].sum().reset_index()
    both = both.assign(order=orders_of(both["mask"].to_numpy()), salient=False)
    row = judged({**paper, "interactions": mark_salient(both)}).loc["removal_first"]
    assert row["verdict"] == "untested" and "stronger at the last step than at step 0" in row["reason"]


def test_what_the_design_could_not_show_is_untested(paper):
    table, cells, losses = paper["interactions"], paper["cells"], paper["losses"]
    reasons = judged(paper, losses=None, null=None, cells=cells.drop(columns="moved"))["reason"]
    assert "does not say how far the scores moved" in reasons["removal_first"]
    assert "label losses of a validation and a test set" in reasons["early_good"] == reasons["late_bad"]
    assert "No evolution of chance was drawn" in reasons["not_noise"]
    assert reasons["removed_noise"] == reasons["preserved_carry"] == ""
    # A test loss that falls to the end: nothing is late, whatever its number.
    falls = losses.assign(value=losses["value"].where(losses["step"] < 200, 0.1))
    found = judged(paper, losses=falls)
    assert found.loc["late_bad", "verdict"] == "untested"
    assert "rises by 0.000 nats after the least validation loss; 0.02 are needed" in found.loc["late_bad", "reason"]
    assert "There are 0 followed training samples" in judged(paper, training=())["reason"]["late_bad"]
    # An older log has the mean over responses only, which is no loss of the label.
    old = judged(paper, losses=losses.assign(name="heldout_loss"))
    assert set(old.loc[["early_good", "late_bad"], "verdict"]) == {"untested"}
    two = cells["run"].unique()[:2]
    few = judged(paper, interactions=table[table["run"].isin(two)], cells=cells[cells["run"].isin(two)])
    assert set(few["verdict"]) == {"untested"} and "There are 2 runs of 12" in few["reason"].iloc[0]
    none = judged(paper, interactions=table[~table["salient"]])
    assert none.loc["preserved_carry", "verdict"] == "untested"
    assert "nothing to compare" in none.loc["preserved_carry", "reason"]


def test_the_published_classes_move_only_what_was_gone_for_a_while(paper):
    table, cells, key = paper["interactions"], paper["cells"], ["run", "sample", "kind", "mask"]
    terms = pd.MultiIndex.from_frame(table[key])
    first, last = (terms[table["salient"] & (table["step"] == step)] for step in (0, 640))
    preserved = terms.isin(first.intersection(last))
    # Where nothing that is preserved is ever gone, both definitions are one.
    steady = {**paper, "interactions": table.assign(salient=table["salient"] | preserved)}
    assert preserved.sum() == cells["step"].nunique() * len(first.intersection(last))
    pd.testing.assert_frame_equal(judged(steady), judged(steady, definition="running"))
    # Now all that is preserved is gone at one step between: nothing is left to carry the prediction, and it is emerged.
    gone = preserved & (table["step"] == sorted(cells["step"].unique())[1])
    absent = {**paper, "interactions": table.assign(salient=(table["salient"] | preserved) & ~gone)}
    by_ends, running = judged(absent), judged(absent, definition="running")
    assert running.loc["preserved_carry", "verdict"] == "untested"
    assert running.loc["removed_noise", "value"] == by_ends.loc["removed_noise", "value"]
    assert running.loc["early_good", "value"] != by_ends.loc["early_good", "value"]
    # What was preserved is emerged then; where it shrinks, emergence has no progress.
    shrunk = table["effect"].where(~(preserved & (table["step"] == 640)), 0.01 * table["effect"])
    row = judged({**absent, "interactions": absent["interactions"].assign(effect=shrunk)}, definition="running")
    assert "emerged ones are no stronger at the last step" in row.loc["removal_first", "reason"]
