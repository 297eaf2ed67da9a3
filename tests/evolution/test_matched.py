"""Matched subsets: a class is told from chance of its strength and orders, and only then."""

import numpy as np
import pytest

from interact.evolution import classify, functional_labels, matched_subsets
from interact.evolution.matched import group_effects
from tests.evolution.by_hand import AND, STORY, STORY_CELLS, cells, interactions, value


def world(preserved, removed, samples=12, noise=0.05, seed=0):
    """Per sample: 6 preserved terms, 6 removed and 6 emerged ones of order 2, of strength about 0.3.

    Args:
        preserved: Share of the preserved terms that pull towards the label; 0.5 is chance.
        removed: Likewise of the removed ones.
    """
    rng = np.random.default_rng(seed)
    masks = [m for m in range(1, 64) if m.bit_count() == 2] + [m for m in range(64, 128) if m.bit_count() == 2]
    rows, scores = [], []
    for s in range(samples):
        chosen = rng.permutation(masks)[:18]
        size = 0.3 * (1 + noise * rng.normal(size=18))
        share = np.repeat([preserved, removed, 0.5], 6)
        effect = size * np.where((np.arange(18) % 6) < np.round(6 * share), 1, -1)
        for step, part in ((0, slice(0, 12)), (10, np.r_[0:6, 12:18])):
            rows += [(step, f"s{s}", AND, int(m), e) for m, e in zip(chosen[part], effect[part], strict=True)]
            scores.append((step, f"s{s}", -1.0, -1.0 + effect[part].sum()))
    return interactions(rows), cells(scores, n=7)


def test_terms_that_carry_the_prediction_gain_more_than_others_of_their_strength():
    found = matched_subsets(*world(preserved=5 / 6, removed=1 / 6))
    assert value(found, 10, "preserved", "gain_per_strength_over_matched", "low") > 0
    assert value(found, 10, "emerged", "gain_per_strength_over_matched", "high") < 0
    # Those that pull away from the label are worse than chance; dropping them does less harm, here even good.
    assert value(found, 10, "removed", "drop_over_matched", "high") < 0
    assert value(found, 10, "removed", "drop") < 0


def test_a_class_like_any_other_is_told_from_nothing():
    found = matched_subsets(*world(preserved=2 / 3, removed=2 / 3))
    # Dropping the removed makes the model worse, and so would dropping any others: no finding.
    assert value(found, 10, "removed", "drop") > 0.05
    low, high = (value(found, 10, "removed", "drop_over_matched", bound) for bound in ("low", "high"))
    assert low <= 0.02 and high >= -0.02 and high - low < 0.1
    assert value(found, 0, "preserved", "drop_over_matched") == pytest.approx(0.0)


def test_strengths_and_orders_are_matched_exactly():
    table, scores = world(0.5, 0.5, samples=3)
    classes = classify(table)
    mask = ((classes["class"] == "removed") & (classes["step"] == 10)).to_numpy()
    one = group_effects(table, scores, classes, {"removed": mask}, samples=50)["removed"]
    expected = classes[mask].groupby("sample")["effect"].apply(lambda e: e.abs().sum()).to_numpy()
    np.testing.assert_allclose(one.strength[one.strength > 0], expected)
    # If every term pulls the same way, any subset of equal strength does the same.
    same = table.assign(effect=table["effect"].abs())
    alike = group_effects(same, scores, classify(same), {"removed": mask}, samples=20)["removed"]
    np.testing.assert_allclose(alike.drop, alike.drop_matched)
    np.testing.assert_allclose(alike.gain, alike.gain_matched)
    with pytest.raises(ValueError, match="at least one random subset"):
        matched_subsets(table, scores, samples=0)
    with pytest.raises(ValueError, match="'both' holds removed and other interactions"):
        group_effects(table, scores, classes, {"both": np.ones(len(classes), dtype=bool)})
    story = matched_subsets(STORY, STORY_CELLS, resamples=0)
    assert set(story["class"]) == {"removed", "preserved", "emerged"} and story["low"].isna().all()


def test_nothing_of_the_model_before_training_is_overfitted():
    # Before training, training and held-out samples are alike; that they differ is chance.
    table, scores = world(0.5, 0.5, samples=8)
    names = [f"s{i}" for i in range(8)]
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(names)
        labels = functional_labels(classify(table), scores, order[:4], order[4:], resamples=50)
        assert "overfitted" not in set(labels[labels["class"] == "removed"]["label"])
