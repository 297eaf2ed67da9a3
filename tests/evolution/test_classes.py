"""Salience and classes: an evolution known by hand, the identities, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interact.evolution import check, classify, drop_incomplete, empty, mark_salient, measure, salient
from tests.evolution.by_hand import AND, OR, STORY, STORY_CELLS, cells, evolutions, interactions, value

KEY = ["run", "sample", "kind", "mask"]


def sets(table):
    return {step: set(map(tuple, part[KEY].to_numpy())) for step, part in table.groupby("step")}


@pytest.mark.parametrize(("definition", "back"), [("ends", "preserved"), ("running", "emerged")])
def test_the_story_told_by_hand(definition, back):
    classes = classify(STORY, definition=definition)
    assert classes.loc[classes["reemerged"], ["step", "kind", "mask"]].to_numpy().tolist() == [[20, AND, 6]]
    rows = {(int(r.step), r.kind, int(r.mask)): (r[5], r.effect) for r in classes.itertuples(index=False)}
    assert rows == {
        (0, AND, 1): ("preserved", 2.0),
        (0, AND, 6): ("preserved", -1.0),
        (0, OR, 3): ("preserved", 0.5),
        (10, AND, 1): ("preserved", 3.0),
        (10, AND, 6): ("removed", -1.0),
        (10, OR, 3): ("removed", 0.5),
        (20, AND, 1): ("preserved", 4.0),
        (20, AND, 6): (back, -2.0),
        (20, AND, 4): ("emerged", -1.0),
        (20, OR, 3): ("removed", 0.5),
    }
    check(classes, "classes")
    with pytest.raises(ValueError, match="definition must be 'ends' or 'running', but is 'both'"):
        classify(STORY, definition="both")


def test_classes_by_the_two_ends_do_not_depend_on_the_steps_between():
    sparse, dense = classify(STORY[STORY["step"] != 10]), classify(STORY)
    columns = ["kind", "mask", "class", "effect"]
    ends = [t[t["step"] == 20][columns].reset_index(drop=True) for t in (sparse, dense)]
    pd.testing.assert_frame_equal(*ends)
    # The published definition calls one interaction preserved or emerged, as one more step is followed.
    sparse, dense = (classify(t, definition="running") for t in (STORY[STORY["step"] != 10], STORY))
    named = [t[(t["step"] == 20) & (t["mask"] == 6)]["class"].item() for t in (sparse, dense)]
    assert named == ["preserved", "emerged"]
    # Re-emerged ones are counted apart: they are no news.
    metrics = measure(STORY, STORY_CELLS)
    assert value(metrics, 20, "emerged", "count") == value(metrics, 20, "preserved", "reemerged") == 1


@settings(max_examples=8, deadline=None)
@given(evolutions(), st.sampled_from(["ends", "running"]))
def test_the_identities_of_classes(evolution, definition):
    table, scores = evolution
    classes = classify(table, cells=scores, definition=definition)
    omega = sets(table[table["salient"]])
    p, e, r = (sets(classes[classes["class"] == name]) for name in ("preserved", "emerged", "removed"))
    start, before = omega.get(0, set()), omega.get(0, set())
    for step in sorted(scores["step"].unique()):
        now, kept, new, gone = (found.get(step, set()) for found in (omega, p, e, r))
        assert kept | new == now and not kept & new
        assert kept == (start if definition == "ends" else before) & now and kept <= start
        assert gone == start - now
        before = kept
    # Effects are those of step 0 for removed interactions, else those of the step.
    origin = classes["step"].where(classes["class"] != "removed", 0)
    found = classes.assign(step=origin).merge(table, on=["run", "step", "sample", "kind", "mask"])
    assert len(found) == len(classes) and (found["effect_x"] == found["effect_y"]).all()


@settings(max_examples=4, deadline=None)
@given(evolutions(), st.randoms(use_true_random=False))
def test_the_order_of_rows_says_nothing(evolution, random):
    table, scores = evolution
    shuffled = table.sample(frac=1, random_state=random.randrange(2**31))
    pd.testing.assert_frame_equal(classify(table, cells=scores), classify(shuffled, cells=scores[::-1]))


def test_rules_of_salience():
    effects = np.array([1.0, -0.04, 0.06, 0.0, -0.5])
    assert salient(effects).tolist() == [True, False, True, False, True]
    assert salient(effects, 0.05, "initial", initial=np.array([10.0])).tolist() == [True, False, False, False, False]
    assert salient(effects, 0.05, "absolute").tolist() == [True, False, True, False, True]
    assert salient(effects, 2, "top").tolist() == [True, False, False, False, True]
    assert salient(effects, 99, "top").tolist() == [True, True, True, False, True]
    assert salient(np.zeros(3)).tolist() == [False] * 3 and salient(np.zeros(0)).shape == (0,)


@settings(max_examples=4, deadline=None)
@given(evolutions(), st.sampled_from([("max", 0.3), ("initial", 0.3), ("absolute", 0.7), ("top", 3)]))
def test_tables_are_marked_as_cells_are(evolution, rule):
    table = evolution[0]
    starts = {key: part["effect"] for key, part in table[table["step"] == 0].groupby(["run", "sample"])}
    if rule[0] == "initial":
        known = [key in starts for key in zip(table["run"], table["sample"], strict=True)]
        table = table[np.array(known, dtype=bool)]
    marked = mark_salient(table, rule=rule[0], tau=rule[1])
    for (run, _, sample), part in marked.groupby(["run", "step", "sample"]):
        initial = starts.get((run, sample))
        initial = None if initial is None else initial.to_numpy()
        expected = salient(part["effect"].to_numpy(), rule[1], rule[0], initial=initial)
        assert (part["salient"].to_numpy() == expected).all()


@pytest.mark.parametrize(
    ("rule", "tau", "sentence"),
    [
        ("best", 1, "one of max, initial, absolute, top, but is 'best'"),
        ("max", 1.0, r"a share of the largest effect, in \[0, 1\), but is 1.0"),
        ("initial", -0.1, "a share of the largest effect"),
        ("absolute", float("nan"), "an effect >= 0, but is nan"),
        ("top", 2.5, "how many interactions are salient, but is 2.5"),
    ],
)
def test_unfit_rules_are_refused(rule, tau, sentence):
    with pytest.raises(ValueError, match=sentence):
        mark_salient(STORY, rule=rule, tau=tau)
    with pytest.raises(ValueError, match=sentence):
        salient(np.ones(1), tau, rule)


def test_the_initial_rule_needs_step_0():
    with pytest.raises(ValueError, match="pass initial="):
        salient(np.ones(2), 0.1, "initial")
    with pytest.raises(ValueError, match="the sample 'x' of 'm/d/seed-0' has no interactions there"):
        mark_salient(STORY[STORY["step"] > 0], rule="initial")


def test_a_missing_step_0_is_refused():
    with pytest.raises(ValueError, match=r"'m/d/seed-0' was not followed at step 0 \(its first step is 10\)"):
        classify(STORY[STORY["step"] > 0])


def test_a_sample_missing_at_a_step_is_named_and_can_be_dropped():
    two = pd.concat([STORY, STORY[STORY["step"] != 10].assign(sample="y")], ignore_index=True)
    with pytest.raises(ValueError, match=r"The sample 'y' is missing at step 10 of 'm/d/seed-0'.*drop_incomplete"):
        classify(two)
    kept, none, said = drop_incomplete(two)
    pd.testing.assert_frame_equal(classify(kept), classify(STORY))
    assert none is None and said == ["The sample 'y' of 'm/d/seed-0' was left out: it has 2 of 3 steps."]
    kept, _, said = drop_incomplete(two, drop="step")
    assert said == ["The step 10 of 'm/d/seed-0' was left out: it has 1 of 2 samples."]
    assert sorted(classify(kept)["step"].unique()) == [0, 20]
    assert drop_incomplete(STORY, STORY_CELLS)[2] == []
    with pytest.raises(ValueError, match="drop is 'run'"):
        drop_incomplete(STORY, drop="run")


def test_a_cell_without_interactions_is_known_from_the_cells():
    silent = STORY[STORY["step"] != 10]
    classes = classify(silent, cells=STORY_CELLS)
    assert classes[classes["step"] == 10]["class"].tolist() == ["removed"] * 3
    # What was lost at step 10 is back at step 20, also {a}.
    assert classes[classes["step"] == 20].groupby("class")["reemerged"].agg(["sum", "size"]).to_numpy().tolist() == [
        [0, 1],
        [2, 2],
        [0, 1],
    ]
    with pytest.raises(ValueError, match="sample 'x' at step 10 of 'm/d/seed-0', but the table cells does not list it"):
        classify(STORY, cells=STORY_CELLS[STORY_CELLS["step"] != 10])


def test_nothing_in_nothing_out():
    assert classify(empty("interactions")).equals(empty("classes"))
    assert len(measure(empty("interactions"), empty("cells"))) == 0
    zero = interactions([(0, "x", AND, 1, 0.0), (5, "x", AND, 1, 0.0)])
    assert not zero["salient"].any() and len(classify(zero)) == 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.drop(columns="mask"), "has no column 'mask'; it must have run, step, sample, kind, mask"),
        (lambda t: t.assign(effect="big"), "'effect' of the table interactions must be float64, but is"),
        (lambda t: t.assign(mask=t["mask"].astype(float)), "'mask' of the table interactions must be uint64"),
        (lambda t: t.assign(mask=-1), "holds coalitions, but some are negative"),
        (lambda t: t.assign(mask=np.uint64(0), order=0), "an interaction between no players"),
        (lambda t: t.assign(order=2), "is said to have order 2"),
        (lambda t: t.assign(effect=np.inf), "7 of 7 values of 'effect' in the table interactions are NaN or infinite"),
        (lambda t: t.assign(kind="xor"), "The kind 'xor' of the table interactions is none of and, or"),
        (lambda t: t.assign(step=t["step"] - 5), "count from 0, but the least is -5"),
        (lambda t: t.assign(sample=None), "7 missing values in 'sample'"),
        (lambda t: t.assign(salient=1), "'salient' of the table interactions must be bool"),
        (lambda t: pd.concat([t, t]), "7 rows that repeat another one's run, step, sample, kind, mask"),
        (lambda t: t.to_dict(), "must be a pandas DataFrame, but is a dict"),
    ],
)
def test_damaged_tables_are_refused(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        classify(change(STORY))


def test_tables_have_names_and_types():
    with pytest.raises(ValueError, match="no table 'results' in a study; there are interactions, cells"):
        check(STORY, "results")
    assert check(STORY.astype({"sample": "category", "mask": "int64"}), "interactions")["mask"].dtype == np.uint64
    assert "words" in check(STORY.assign(words="a"), "interactions")
    categories = classify(STORY.astype({"run": "category", "sample": "category", "kind": "category"}))
    pd.testing.assert_frame_equal(categories, classify(STORY))
    for mask in (1 << 63, (1 << 64) - 1):
        wide = interactions([(0, "x", AND, mask, 1.0)])
        assert classify(wide)["mask"].tolist() == [mask] and wide["order"].tolist() == [mask.bit_count()]
    assert len(check(cells([(0, "x", 0.0, 1.0)]), "cells")) == 1
