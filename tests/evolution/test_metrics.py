"""Metrics: figures worked out with a pencil, what they must not depend on, and references that do not fit."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interact.evolution import (
    backbone_cross_entropy,
    check,
    classify,
    fixed_reference,
    generalisability,
    measure,
    non_cancellation,
)
from tests.evolution.by_hand import AND, OR, STORY, STORY_CELLS, cells, evolutions, interactions, value

# The other model has {a} at every step, {b, c} with the other sign at 0, and {c} with the same sign at 20.
OTHER = interactions(
    [
        (0, "x", AND, 1, 0.1),
        (0, "x", AND, 6, 7.0),
        (0, "x", OR, 3, 1.0),
        (10, "x", AND, 1, 1.0),
        (20, "x", AND, 1, 1.0),
        (20, "x", AND, 4, -9.0),
        (20, "x", OR, 4, 1.0),
    ],
    run="other",
)


def test_figures_worked_out_with_a_pencil():
    running = classify(STORY, definition="running")
    metrics = check(measure(STORY, STORY_CELLS, reference=OTHER, classes=running), "metrics")
    expected = {
        # At step 20: removed {a, b} OR (0.5 at step 0), preserved {a} (4), emerged {b, c} (-2) and {c} (-1).
        (20, "removed", "strength"): 0.5,
        (20, "removed", "strength_normalised"): 0.25,
        (20, "removed", "gamma"): 1.0,
        (20, "preserved", "strength_normalised"): 0.8,
        (20, "preserved", "gamma"): 1.0,
        (20, "emerged", "strength"): 3.0,
        (20, "emerged", "count"): 2.0,
        (20, "emerged", "rho"): 1.0,
        (20, "emerged", "gamma"): 1 / 3,
        (20, "emerged", "gamma_count"): 0.5,
        (20, "emerged", "contribution"): -1.5,
        (20, "emerged", "cross_entropy"): math.log(1 + math.exp(3)),
        (20, "emerged", "order1_negative"): -1.0,
        (20, "emerged", "order2_negative"): -2.0,
        (20, "emerged", "order2_positive"): 0.0,
        (20, "all", "rho"): 1 / 7,
        (20, "all", "gamma"): 5 / 7,
        (20, "all", "scale"): 5.0,
        (20, "all", "cross_entropy_model"): math.log(1 + math.exp(-5)),
        # At step 10: removed {b, c} (-1) and {a, b} OR (0.5), as they were at step 0, where v(empty) = -1.
        (10, "removed", "strength"): 1.5,
        (10, "removed", "rho"): 1 / 3,
        (10, "removed", "gamma"): 1 / 3,
        (10, "removed", "cross_entropy"): math.log(1 + math.exp(0.5)),
        # All classes have the bias of the model that is followed, at step 10 v(empty) = -2.
        (10, "removed", "cross_entropy_bias"): math.log(1 + math.exp(2.5)),
        (10, "removed", "gain_per_strength"): (math.log(1 + math.exp(2)) - math.log(1 + math.exp(2.5))) / 1.5,
        (10, "preserved", "cross_entropy_bias"): math.log(1 + math.exp(-1)),
        (10, "emerged", "strength"): 0.0,
        (10, "emerged", "cross_entropy"): math.log(2),
    }
    for place, figure in expected.items():
        assert value(metrics, *place) == pytest.approx(figure, abs=1e-12), place
    for name in ("rho", "gamma", "contribution", "rho_by_sample", "gamma_by_sample"):
        assert np.isnan(value(metrics, 10, "emerged", name))
    assert metrics[["low", "high"]].isna().all(axis=None), "one sample has no spread"


def test_samples_weigh_by_their_strength():
    rows = [(0, "x", AND, 1, 3.0), (0, "x", AND, 2, -1.0), (0, "y", AND, 1, 12.0)]
    metrics = measure(
        interactions(rows), cells([(0, "x", 0.0, 2.0), (0, "y", 1.0, 1.0), (0, "z", 0.0, 4.0)]), resamples=500
    )
    assert value(metrics, 0, "preserved", "rho") == pytest.approx(14 / 16)
    assert value(metrics, 0, "preserved", "rho_by_sample") == pytest.approx(0.75)
    assert value(metrics, 0, "preserved", "strength") == pytest.approx(16 / 3)
    # The scores of y do not move, so its strength cannot be held against them.
    assert value(metrics, 0, "preserved", "strength_normalised") == pytest.approx((4 / 2 + 0 / 4) / 2)
    assert value(metrics, 0, "preserved", "rho", "low") == 0.5
    assert value(metrics, 0, "preserved", "rho", "high") == 1.0


@settings(max_examples=3, deadline=None)
@given(evolutions(), st.floats(0.01, 100.0))
def test_shares_do_not_depend_on_scale_and_strengths_do(evolution, factor):
    table, scores = evolution
    plain = measure(table, scores, resamples=20)
    scaled = measure(
        table.assign(effect=table["effect"] * factor),
        scores.assign(bias=scores["bias"] * factor, total=scores["total"] * factor),
        resamples=20,
    )
    for name, power in [("rho", 0), ("strength_normalised", 0), ("count", 0), ("strength", 1), ("contribution", 1)]:
        rows = plain["name"] == name
        ours, theirs = (part.loc[rows, ["value", "low", "high"]].to_numpy() for part in (plain, scaled))
        np.testing.assert_allclose(theirs, ours * factor**power, rtol=1e-9, atol=1e-12)


@settings(max_examples=3, deadline=None)
@given(evolutions())
def test_a_model_generalises_to_itself_and_runs_are_measured_apart(evolution):
    table, scores = evolution
    first = table[table["run"] == "m/d/seed-0"]
    alone = scores[scores["run"] == "m/d/seed-0"]
    together = measure(table, scores, resamples=20)
    together = together[together["run"] == "m/d/seed-0"].reset_index(drop=True)
    shared = ~together["name"].str.startswith("order")
    apart = measure(first, alone, resamples=20)
    pd.testing.assert_frame_equal(
        together[shared].reset_index(drop=True),
        apart[~apart["name"].str.startswith("order")].reset_index(drop=True),
    )
    if set(first["sample"]) == set(alone["sample"]):
        own = measure(first, alone, reference=first.assign(run="other"), resamples=0)
        gamma = own[own["name"].str.startswith("gamma")]["value"]
        assert np.isclose(gamma.dropna(), 1.0).all()
        flipped = first.assign(run="other", effect=-first["effect"])
        gamma = measure(first, alone, reference=flipped, resamples=0)
        assert (gamma[gamma["name"] == "gamma"]["value"].dropna() == 0).all()


@settings(max_examples=3, deadline=None)
@given(evolutions())
def test_sums_over_orders_and_classes_are_the_whole(evolution):
    table, scores = evolution
    wide = measure(table, scores, resamples=0).pivot(index=["run", "step", "class"], columns="name", values="value")
    orders = [name for name in wide.columns if name.startswith("order")]
    np.testing.assert_allclose(wide[orders].abs().sum(axis=1), wide["strength"], rtol=1e-9, atol=1e-12)
    whole = wide.xs("all", level="class")
    for name in ("strength", "count"):
        parts = wide.xs("preserved", level="class")[name] + wide.xs("emerged", level="class")[name]
        np.testing.assert_allclose(parts, whole[name], rtol=1e-9)
    # rho as the plain function computes it, from all salient effects of one cell.
    one = table[table["salient"] & (table["sample"] == "s0")]
    if len(one):
        run, step = one["run"].iloc[0], one["step"].iloc[0]
        here = one[(one["run"] == run) & (one["step"] == step)]["effect"].to_numpy()
        only = measure(table[table["sample"] == "s0"], scores[scores["sample"] == "s0"])
        found = value(only[only["run"] == run], step, "all", "rho")
        assert found == pytest.approx(non_cancellation(here))


def test_small_functions():
    assert non_cancellation(np.array([1.0, -1.0])) == 0.0 and np.isnan(non_cancellation(np.zeros(2)))
    assert generalisability(np.array([3.0, -1.0, 0.0]), np.array([1.0, 1.0, 0.0]), by_count=True) == 0.5
    assert np.isnan(generalisability(np.zeros(0), np.zeros(0)))
    with pytest.raises(ValueError, match=r"\(2,\) effects cannot be matched with \(3,\)"):
        generalisability(np.ones(2), np.ones(3))
    # No overflow, and no saturation where 1 - sigmoid would be 0.
    np.testing.assert_allclose(backbone_cross_entropy(np.array([-1e4, 1e4, 50.0])), [1e4, 0.0, np.exp(-50.0)])


def test_gamma_is_unknown_where_the_reference_was_not_followed():
    metrics = measure(STORY, STORY_CELLS, reference=OTHER[OTHER["step"] != 10])
    assert np.isnan(value(metrics, 10, "preserved", "gamma")) and np.isnan(value(metrics, 10, "all", "gamma_count"))
    assert value(metrics, 10, "removed", "gamma") == pytest.approx(1 / 3)
    assert value(metrics, 20, "preserved", "gamma") == pytest.approx(4 / 6)
    still = fixed_reference(OTHER[OTHER["step"] == 0], [0, 10, 20])
    metrics = measure(STORY, STORY_CELLS, reference=still)
    assert value(metrics, 10, "preserved", "gamma") == 1.0 and value(metrics, 20, "emerged", "gamma") == 0.0
    with pytest.raises(ValueError, match="has one step, but the reference holds 3"):
        fixed_reference(OTHER, [0, 10])


def test_references_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="'other' has no interactions of the samples 'x'"):
        measure(STORY, STORY_CELLS, reference=OTHER.assign(sample="y"))
    with pytest.raises(ValueError, match="the table holds 'a', 'other'; choose one"):
        measure(STORY, STORY_CELLS, reference=pd.concat([OTHER, OTHER.assign(run="a")]))
    with pytest.raises(ValueError, match="no run at all"):
        measure(STORY, STORY_CELLS, reference=OTHER[:0])


def test_tables_that_do_not_fit_each_other_are_refused():
    with pytest.raises(ValueError, match="has the sample 'y' at step 0 of 'm/d/seed-0', which was not followed"):
        measure(STORY, STORY_CELLS, classes=classify(STORY).assign(sample="y"))
    with pytest.raises(ValueError, match="0 or more, but is -1"):
        measure(STORY, STORY_CELLS, resamples=-1)
    with pytest.raises(ValueError, match="'total' in the table cells are NaN or infinite"):
        measure(STORY, STORY_CELLS.assign(total=np.nan))
    assert len(measure(STORY, STORY_CELLS.drop(columns="n").assign(n=3), classes=classify(STORY)))
