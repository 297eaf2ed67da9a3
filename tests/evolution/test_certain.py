"""Classes with three values and figures with bounds: by hand, against chance, and from real results."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import interact
from interact.evolution import certain_changes, certain_classes, certain_metrics, only_certain
from interact.sft.following import certainty_rows

RUN = "m/d/seed-0"
COLUMNS = ["step", "sample", "kind", "mask", "effect", "salient", "status", "low", "high"]


def known(rows, run=RUN):
    return pd.DataFrame(rows, columns=COLUMNS).assign(run=run)


# One sample: {a} stays, {b} goes, {c} comes, {a, b} may go, {a, c} may have been there, {b, c} never was.
STORY = known(
    [
        (0, "x", "and", 1, 2.0, True, "certain", 1.5, 2.5),
        (0, "x", "and", 2, -1.0, True, "certain", -1.2, -0.8),
        (0, "x", "and", 4, 0.0, False, "excluded", 0.0, 0.0),
        (0, "x", "and", 3, 1.0, True, "certain", 0.5, 1.0),
        (0, "x", "or", 5, 0.0, False, "undecided", -1.0, 1.0),
        (0, "x", "or", 6, 0.0, False, "excluded", 0.0, 0.0),
        (7, "x", "and", 1, 3.0, True, "certain", 2.0, 4.0),
        (7, "x", "and", 2, 0.0, False, "excluded", 0.0, 0.0),
        (7, "x", "and", 4, -2.0, True, "certain", -2.0, -1.0),
        (7, "x", "and", 3, 0.5, True, "possible", -0.5, 1.0),
        (7, "x", "or", 5, 1.0, True, "certain", 0.5, 1.5),
        (7, "x", "or", 6, 0.0, False, "excluded", 0.0, 0.0),
    ]
)


def test_classes_are_those_of_kleenes_logic():
    table = certain_classes(STORY).set_index(["kind", "mask"])
    assert ("or", 6) not in table.index and len(table) == 5
    truth = {
        ("and", 1): ("preserved", "no", "yes", "no"),
        ("and", 2): ("removed", "yes", "no", "no"),
        ("and", 4): ("emerged", "no", "no", "yes"),
        ("and", 3): ("preserved", "open", "open", "no"),
        ("or", 5): ("emerged", "no", "open", "open"),
    }
    for place, answers in truth.items():
        assert tuple(table.loc[place, ["class", "removed", "preserved", "emerged"]]) == answers
    assert table.loc[("and", 2), "effect_start"] == -1.0 and table.loc[("and", 2), "effect"] == 0.0


def test_changes_are_certain_where_all_pairs_of_splits_agree():
    table = certain_changes(STORY).set_index(["kind", "mask"])
    assert list(table.loc[("and", 1), ["low", "high", "moved", "strength", "turned"]]) == [
        -0.5,
        2.5,
        "open",
        "open",
        "no",
    ]
    assert list(table.loc[("and", 2), ["low", "high", "moved", "strength", "turned"]]) == [
        0.8,
        1.2,
        "up",
        "weaker",
        "no",
    ]
    assert list(table.loc[("and", 4), ["low", "high", "moved", "strength", "turned"]]) == [
        -2,
        -1,
        "down",
        "stronger",
        "no",
    ]
    assert table.loc[("and", 3), "turned"] == "open" == table.loc[("or", 5), "turned"]
    turned = STORY.copy()
    turned.loc[(turned["step"] == 7) & (turned["mask"] == 1), ["effect", "low", "high"]] = -2.2, -2.4, -2.0
    assert list(certain_changes(turned).loc[0, ["moved", "strength", "turned"]]) == ["down", "open", "yes"]


def test_what_is_called_certain_of_a_change_is_so_in_whatever_pair_is_drawn():
    rng, level, seen = np.random.default_rng(1), 0.3, set()
    for _ in range(40):
        rows, ranges = [], []
        for step in (0, 3):
            low, high = np.sort(rng.normal(scale=1.5, size=2))
            status = "certain" if max(low, -high) > level else "excluded" if max(high, -low) <= level else "possible"
            rows.append((step, "x", "and", 1, 0.5 * (low + high), True, status, low, high))
            ranges.append((low, high))
        row = certain_changes(known(rows)).iloc[0]
        seen |= {row["moved"], row["strength"], row["turned"]}
        # Both ends of each range and what lies between, in all pairs.
        first, last = (np.linspace(*ends, 41) for ends in ranges)
        change = last[None] - first[:, None]
        assert row["low"] == pytest.approx(change.min()) and row["high"] == pytest.approx(change.max())
        assert (row["moved"] == "up") == (change > 0).all() and (row["moved"] == "down") == (change < 0).all()
        growth = np.abs(last)[None] - np.abs(first)[:, None]
        if row["strength"] != "open":
            assert (growth > 0).all() if row["strength"] == "stronger" else (growth < 0).all()
        there = (np.abs(last) > level)[None] & (np.abs(first) > level)[:, None]
        turned = there & (np.sign(last)[None] != np.sign(first)[:, None])
        assert (row["turned"] == "yes") == turned.all()
        assert row["turned"] != "no" or not turned.any()
    assert seen == {"up", "down", "stronger", "weaker", "yes", "no", "open"}


def test_a_sign_that_training_turns_is_certain():
    sets = np.arange(16)
    scores = {
        0: 2.0 * ((sets & 3) == 3) + 1.0 * ((sets & 12) == 12),
        5: -1.5 * ((sets & 3) == 3) + 3.0 * ((sets & 12) == 12),
    }
    cells = []
    for step, v in scores.items():
        place = {"run": RUN, "step": step, "sample": "x"}
        game = interact.game_from(lambda present, v=v: v[present @ (1 << np.arange(4))], 4, provenance=place)
        cells.append(game.interactions())
    table = certain_changes(certainty_rows(cells, ranges=True)).set_index(["kind", "mask"])
    assert list(table.loc[("and", 3), ["moved", "turned"]]) == ["down", "yes"]
    assert list(table.loc[("and", 12), ["moved", "strength", "turned"]]) == ["up", "stronger", "no"]
    assert table.loc[("and", 12), "low"] <= 2.0 <= table.loc[("and", 12), "high"]


def figure(table, group, name):
    row = table[(table["class"] == group) & (table["name"] == name)].iloc[0]
    return tuple(row[["value", "certain", "low", "high"]])


def test_figures_have_bounds():
    table = certain_metrics(STORY)
    assert figure(table, "removed", "count") == (1, 1, 1, 2)
    assert figure(table, "preserved", "count") == (2, 1, 1, 3)
    assert figure(table, "emerged", "count") == (2, 1, 1, 2)
    assert figure(table, "removed", "strength") == pytest.approx((1, 1, 0.8, 1.2 + 1.0))
    assert figure(table, "preserved", "strength") == pytest.approx((3.5, 3, 2, 4 + 1 + 1.5))
    # Preserved: +[2, 4] for sure, perhaps [-0.5, 1] and [0.5, 1.5]; rho is least with 2 and -0.5.
    assert figure(table, "preserved", "rho") == pytest.approx((1, 1, 1.5 / 2.5, 1))
    # Emerged: -[1, 2] for sure, perhaps +[0.5, 1.5]: they may cancel.
    assert figure(table, "emerged", "rho") == pytest.approx((1 / 3, 1, 0, 1))


def test_samples_without_a_salient_interaction_count_in_the_mean():
    run = STORY["run"].iloc[0]
    table, more = certain_metrics(STORY), certain_metrics(STORY, bare={run: STORY["sample"].nunique()})
    for name in ("count", "strength"):
        alone, both = (figure(t, "removed", name) for t in (table, more))
        assert both == pytest.approx(tuple(value / 2 for value in alone))
    assert figure(more, "removed", "rho") == figure(table, "removed", "rho")


def test_gamma_has_bounds_too():
    other = STORY.assign(run="other")
    other.loc[other["mask"] == 1, ["effect", "low", "high"]] = -1.0
    table = certain_metrics(STORY, reference=other)
    assert figure(table, "removed", "gamma")[:3] == pytest.approx((1, 1, 0.8 / (0.8 + 1.0)))
    # {a} has the other sign there; what may be preserved may be general.
    value, certain, low, high = figure(table, "preserved", "gamma")
    assert (value, certain, low) == pytest.approx((0.5 / 3.5, 0, 0)) and high == pytest.approx(2.5 / 4.5)


def test_bounds_hold_whatever_is_drawn_within_them():
    rng = np.random.default_rng(0)
    for _ in range(20):
        rows = []
        for sample in ("x", "y"):
            for mask in range(1, 6):
                low, high = np.sort(rng.normal(size=2))
                sure = low * high > 0 and rng.random() < 0.5
                end = (0.5 * (low + high), sure, "certain" if sure else "possible", low, high)
                rows += [(0, sample, "and", mask, 1.0, True, "certain", 0.9, 1.1), (3, sample, "and", mask, *end)]
        table = certain_metrics(known(rows))
        bounds = {name: figure(table, "preserved", name)[2:] for name in ("count", "strength", "rho")}
        ends = [row for row in rows if row[0] == 3]
        for _ in range(50):
            sums = {"x": [], "y": []}
            for _, sample, _, _, _, _, status, low, high in ends:
                if status == "certain" or rng.random() < 0.5:
                    sums[sample].append(rng.choice([low, high, rng.uniform(low, high)]))
            strength = sum(np.abs(part).sum() for part in sums.values())
            drawn = {"count": sum(map(len, sums.values())) / 2, "strength": strength / 2}
            if strength > 0:
                drawn["rho"] = sum(abs(sum(part)) for part in sums.values()) / strength
            for name, value in drawn.items():
                assert bounds[name][0] - 1e-9 <= value <= bounds[name][1] + 1e-9


def test_certain_ones_alone_stay_salient():
    names = ["run", "step", "sample", "kind", "mask", "effect", "salient"]
    table = only_certain(STORY[names].astype({"mask": "uint64"}), STORY)
    assert table["salient"].sum() == 6 and not (table["salient"] & (STORY["status"] != "certain")).any()


def test_followed_results_give_the_table():
    sets = np.arange(16)
    scores = {
        0: 2.0 * ((sets & 3) == 3) - 1.5 * ((sets & 12) == 12),
        5: 2.0 * ((sets & 3) == 3) + 1.0 * ((sets & 5) == 5),
    }
    results = []
    for step, v in scores.items():
        r = interact.game_from(lambda present, v=v: v[present @ (1 << np.arange(4))], 4).interactions()
        results.append(replace(r, provenance={**r.provenance, "run": RUN, "step": step, "sample": "x"}))
    rows = certainty_rows(results, ranges=True)
    assert len(rows) == 6 and set(rows["step"]) == {0, 5}
    table = certain_classes(rows).set_index("mask")
    assert table.loc[12, "removed"] == table.loc[3, "preserved"] == table.loc[5, "emerged"] == "yes"
    metrics = certain_metrics(rows)
    value, certain, low, high = figure(metrics, "removed", "strength")
    assert value == certain and low <= value <= high and high - low < 0.1
    with pytest.raises(ValueError, match="must name run, step and sample, but lacks run"):
        certainty_rows([interact.game_from(lambda present: present.sum(1) * 1.0, 3).interactions()])


def test_tables_that_do_not_fit_are_refused():
    for table, words in (
        (STORY.drop(columns="low"), "but 'low' is missing"),
        (STORY.assign(status="maybe"), "must hold certain, possible, excluded, undecided, but holds 'maybe'"),
        (STORY[STORY["step"] > 0], "defined from step 0, at which the run 'm/d/seed-0' was not followed"),
        (STORY.drop(index=0), "is given at step 7, but not at step 0"),
        (STORY.drop(index=6), "The interaction and 1 of 'x' in 'm/d/seed-0' is known at 1 of 2 steps"),
        (pd.concat([STORY, STORY[:1]]), "occurs twice at one step"),
    ):
        with pytest.raises(ValueError, match=words):
            certain_classes(table)
    with pytest.raises(ValueError, match="The reference must be one run, but holds 2"):
        certain_metrics(STORY, reference=pd.concat([STORY, STORY.assign(run="other")]))
    assert not len(certain_metrics(STORY[:0]))
