"""Stages: found where they were put, said to be unknown where they cannot be seen."""

import numpy as np
import pandas as pd
import pytest

from interact.evolution import check, detect_stages, overfitting, recommended_step
from tests.evolution.by_hand import AND, STORY, interactions

STEPS = (0, 10, 20, 40, 80)
# Strength of what was removed by each step, and of what emerged, with how much of that has a partner of other sign.
REMOVED = (0.0, 5.0, 10.0, 10.0, 10.0)
EMERGED = (0.0, 2.0, 2.0, 6.0, 12.0)
CANCELLED = (0.0, 0.0, 0.0, 0.8, 0.9)


def planted(samples=6, steps=STEPS, noise=0.05, seed=0):
    """Mask 1: preserved. Masks 2, 3: removed in two parts. Masks 4, 5: emerged, a positive and a negative one."""
    rng = np.random.default_rng(seed)
    rows = []
    for s in range(samples):
        for step, removed, emerged, cancelled in zip(STEPS, REMOVED, EMERGED, CANCELLED, strict=True):
            unit = (1 + noise * rng.normal()) if step else 1.0
            rows.append((step, f"s{s}", AND, 1, 20.0))
            rows += [(step, f"s{s}", AND, mask, 5.0) for mask, gone in ((2, 5.0), (3, 10.0)) if removed < gone]
            if emerged:
                rows.append((step, f"s{s}", AND, 4, unit * emerged * (1 - cancelled / 2)))
            if cancelled:
                rows.append((step, f"s{s}", AND, 5, -unit * emerged * cancelled / 2))
    table = interactions(rows)
    return table[table["step"].isin(steps)].reset_index(drop=True)


def test_stages_are_found_where_they_were_put():
    stages = detect_stages(planted())
    assert stages.basis == "rho" and stages.denoising_reason == stages.overfitting_reason == ""
    assert stages.denoising_end.step == 20
    assert stages.overfitting_start.step == 40
    for seen in (stages.denoising_end, stages.overfitting_start):
        assert seen.low <= seen.step <= seen.high and seen.low in STEPS and seen.support > 0.9
    assert "Denoising ends at step 20" in str(stages) and "Overfitting (by rho) begins at step 40" in str(stages)
    rows = stages.to_metrics()
    check(rows, "metrics")
    assert rows["name"].tolist() == ["denoising_end", "overfitting_start"] and (rows["step"] == -1).all()
    assert rows["value"].tolist() == [20.0, 40.0] and set(rows["class"]) == {"all"}


def test_gamma_takes_the_place_of_rho_with_a_reference():
    table = planted()
    same = table.assign(run="other")
    assert detect_stages(table, reference=same).overfitting_start is None
    # The other model never has what emerges after step 20.
    without = same[~(same["mask"].isin([4, 5]) & (same["step"] > 20))]
    stages = detect_stages(table, reference=without)
    assert stages.basis == "gamma" and stages.overfitting_start.step == 40
    assert detect_stages(table, reference=same[same["step"] == 0]).overfitting_start is None


def test_the_predicate_sees_what_has_been_followed_so_far():
    seen = [overfitting(planted(steps=STEPS[: i + 1])) for i in range(len(STEPS))]
    assert seen == [False, False, False, True, True]
    patient = [overfitting(planted(steps=STEPS[: i + 1]), patience=2) for i in (3, 4)]
    assert patient == [False, True]
    assert not overfitting(planted(), patience=9)
    with pytest.raises(ValueError, match="at least 1, but is 0"):
        overfitting(planted(), patience=0)


def test_a_plateau_that_is_left_again_ends_no_denoising():
    # Strength 9.6 of 10 at step 10, the same at step 20, 14 at step 40, back to 10: more was removed after the plateau.
    gone = {0: (), 10: (2,), 20: (2,), 40: (2, 3), 80: (2, 4)}
    size = {1: 20.0, 2: 9.6, 3: 4.4, 4: 0.4}
    rows = [
        (t, f"s{s}", AND, m, e * (1 + 0.01 * s))
        for s in range(6)
        for t in STEPS
        for m, e in size.items()
        if m not in gone[t]
    ]
    stages = detect_stages(interactions(rows))
    assert stages.denoising_end is None or stages.denoising_end.step >= 40


def test_early_stopping_and_the_study_recommend_one_checkpoint():
    table = planted()
    start = detect_stages(table).overfitting_start.step
    first = next(step for step in STEPS if overfitting(table[table["step"] <= step]))
    # Told while the training runs and told afterwards, it begins at the same step.
    assert first == start == 40
    assert recommended_step(STEPS, start) == 20 and recommended_step(STEPS, float("nan")) == 80
    with pytest.raises(ValueError, match="No step before 0 was followed"):
        recommended_step(STEPS, 0)


def test_noise_alone_is_no_overfitting():
    rng = np.random.default_rng(3)
    masks = range(1, 32)
    for _ in range(2):
        rows = [
            (t, f"s{s}", AND, m, rng.normal()) for t in STEPS for s in range(6) for m in masks if rng.random() < 0.5
        ]
        assert not overfitting(interactions(rows))


def test_what_cannot_be_seen_is_said():
    stages = detect_stages(planted(samples=1))
    assert stages.denoising_end is None and "one sample says nothing about noise" in stages.denoising_reason
    with pytest.raises(ValueError, match="follow at least 2 samples"):
        overfitting(planted(samples=1))
    growing = detect_stages(planted(steps=STEPS[:3]))
    assert growing.denoising_end is None and "removed strength still grew" in growing.denoising_reason
    young = detect_stages(planted(steps=STEPS[:2]))
    assert "before step 0 and two more steps" in young.overfitting_reason
    assert young.to_metrics()["value"].isna().all() and str(young) == "\n".join(
        [young.denoising_reason, young.overfitting_reason]
    )
    still = interactions([(t, s, AND, 1, 1.0) for t in STEPS for s in "xyz"])
    assert "nothing was removed" in detect_stages(still).denoising_reason
    assert "nothing emerged" in detect_stages(still).overfitting_reason


def test_stages_are_those_of_one_run():
    with pytest.raises(ValueError, match="but the table holds 2 runs"):
        detect_stages(pd.concat([STORY, STORY.assign(run="again")]))
    with pytest.raises(ValueError, match="at least 2 bootstrap draws"):
        detect_stages(planted(), resamples=1)
    with pytest.raises(ValueError, match="missing at step 40"):
        detect_stages(planted().query("not (sample == 's3' and step == 40)"))
