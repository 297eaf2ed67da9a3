"""Controls: what chance gives, what a planted effect gives, and what cannot be controlled."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from interact.evolution import (
    NoiseOptions,
    across_seeds,
    check,
    classify,
    expected_spindle,
    forecast,
    functional_labels,
    matched_sigma,
    measure,
    name_interactions,
    noise_null,
    noise_tables,
    permuted_gamma,
    permuted_rho,
    planted_share,
)
from interact_kernels import lattice
from tests.evolution.by_hand import AND, OR, STORY, STORY_CELLS, cells, interactions, value

RNG = np.random.default_rng(0)


def test_noise_draws_the_expected_spindle():
    n, sigma = 4, 0.5
    effects = np.stack([lattice.moebius(RNG.normal(scale=sigma, size=1 << n)) for _ in range(4000)])
    orders = np.array([mask.bit_count() for mask in range(1 << n)])
    spindle = expected_spindle(n, sigma)
    for order, deviation, positive in spindle.itertuples(index=False):
        found = effects[:, orders == order]
        assert found.std() == pytest.approx(deviation, rel=0.03)
        assert found.clip(min=0).sum(1).mean() == pytest.approx(positive, rel=0.05)


def test_the_noise_null_is_an_evolution_of_noise_alone():
    values = {name: RNG.normal(size=16).cumsum() for name in ("x", "y", "z")}
    quiet = noise_null(values, 0.0, run="m/d/seed-0", step=7)
    assert value(quiet, 7, "removed", "count_noise") == value(quiet, 7, "emerged", "strength_noise") == 0.0
    sigma = matched_sigma(values, {name: scores + RNG.normal(size=16) + 9.0 for name, scores in values.items()})
    assert all(0.5 < size < 1.7 for size in sigma.values())
    null = check(noise_null(values, sigma, run="m/d/seed-0", step=7), "metrics")
    assert value(null, 7, "emerged", "count_noise") > 1
    assert 0 <= value(null, 7, "all", "rho_noise") <= 1
    assert {"order4_noise_positive", "order4_noise_negative"} <= set(null["name"]) and set(null["step"]) == {7}
    again = noise_null(dict(reversed(values.items())), sigma, run="m/d/seed-0", step=7)
    pd.testing.assert_frame_equal(null, again)
    other = noise_null(values, sigma, run="m/d/seed-0", step=7, options=NoiseOptions(seed=1))
    assert value(other, 7, "all", "strength_noise") != value(null, 7, "all", "strength_noise")
    # The tables rebuild the noisy scores: kappa = 0 leaves no noise to the split.
    table, scores = noise_tables(values, 0.3, run="r", step=1, options=NoiseOptions(kappa=0.0))
    merged = table.groupby(["step", "sample"])["effect"].sum().sort_index()
    moved = (scores["total"] - scores["bias"]).groupby([scores["step"], scores["sample"]]).sum().sort_index()
    np.testing.assert_allclose(merged, moved, atol=1e-6)


def test_noise_that_does_not_fit_is_refused():
    values = {"x": np.zeros(4)}
    with pytest.raises(ValueError, match="'x' is only in one of them"):
        matched_sigma(values, {"y": np.zeros(4)})
    with pytest.raises(ValueError, match=r"must be as many, but have shapes \(4,\) and \(8,\)"):
        matched_sigma(values, {"x": np.zeros(8)})
    with pytest.raises(ValueError, match="noise of 'x' must be a finite number >= 0, but sigma is nan"):
        noise_tables(values, {"y": 1.0}, run="r", step=1)
    with pytest.raises(ValueError, match="comes after step 0, but is 0"):
        noise_tables(values, 1.0, run="r", step=0)
    with pytest.raises(ValueError, match="2\\*\\*n scores"):
        noise_tables({"x": np.zeros(3)}, 1.0, run="r", step=1)


def many(samples=6, n=5, run="m/d/seed-0", seed=0, same_sign=False):
    rng = np.random.default_rng(seed)
    rows = []
    for s in range(samples):
        masks = rng.choice(np.arange(1, 1 << n), size=12, replace=False)
        for step in (0, 10):
            effects = np.abs(rng.normal(size=12)) + 0.1 if same_sign else rng.normal(size=12)
            rows += [(step, f"s{s}", AND, int(m), e) for m, e in zip(masks, effects, strict=True)]
    return interactions(rows, run), cells([(t, f"s{s}", 0.0, 1.0) for t in (0, 10) for s in range(samples)], run, n)


def test_gamma_by_chance_is_far_from_gamma_of_the_same_model():
    table, scores = many(same_sign=True)
    classes = classify(table)
    null = check(permuted_gamma(classes, table.assign(run="other"), scores, permutations=40), "metrics")
    assert value(measure(table, scores, reference=table.assign(run="other")), 10, "preserved", "gamma") == 1.0
    # 12 of 31 masks are salient; how many of them meet by chance depends on their orders.
    assert 0.2 < value(null, 10, "preserved", "gamma_permuted") < 0.7
    assert value(null, 10, "preserved", "gamma_permuted", "high") < 0.9
    assert np.isnan(value(null, 10, "emerged", "gamma_permuted"))
    # An interaction of all players is the same under every labelling.
    full = interactions([(0, "x", OR, 7, 1.0), (0, "x", AND, 7, 2.0)])
    null = permuted_gamma(classify(full), full.assign(run="other"), cells([(0, "x", 0.0, 1.0)]), permutations=5)
    assert value(null, 0, "preserved", "gamma_permuted", "low") == 1.0
    unknown = permuted_gamma(classes, table[table["step"] == 0].assign(run="other"), scores, permutations=3)
    assert np.isnan(value(unknown, 10, "preserved", "gamma_permuted"))
    assert np.isfinite(value(unknown, 0, "preserved", "gamma_permuted"))


def test_rho_by_chance_keeps_strengths_and_the_number_of_signs():
    table, _ = many(same_sign=True)
    null = permuted_rho(classify(table), permutations=10)
    assert value(null, 10, "preserved", "rho_permuted") == pytest.approx(1.0)
    # Emerged pulls up, removed pulled down: dealt anew, both cancel.
    rows = [(0, s, AND, m, -1.0) for s in "xy" for m in range(1, 9)]
    rows += [(10, s, AND, m, 1.0) for s in "xy" for m in range(9, 17)]
    apart = interactions(rows)
    assert value(measure(apart, cells([(t, s, 0, 1) for t in (0, 10) for s in "xy"])), 10, "emerged", "rho") == 1.0
    null = check(permuted_rho(classify(apart), permutations=50), "metrics")
    assert value(null, 10, "emerged", "rho_permuted", "high") < 0.9
    with pytest.raises(ValueError, match="at least one permutation, but got 0"):
        permuted_rho(classify(apart), permutations=0)


def test_runs_of_several_seeds_are_averaged():
    rows = [
        (f"m/d/seed-{s}{b}", 5, "all", "rho", v, 0.0, 1.0) for b in ("", "/mean") for s, v in enumerate([1.0, 2, 6])
    ]
    rows += [("m/d/seed-0", 9, "all", "rho", 0.5, 0.0, 1.0), ("m/d/seed-1", 9, "all", "rho", np.nan, 0.0, 1.0)]
    table = across_seeds(pd.DataFrame(rows, columns=["run", "step", "class", "name", "value", "low", "high"]))
    check(table, "metrics")
    assert table["run"].tolist() == ["m/d/seeds", "m/d/seeds", "m/d/seeds/mean"] and table["runs"].tolist() == [3, 1, 3]
    assert table["asked_baseline"].tolist() == ["auto", "auto", "mean"] and table["seed"].isna().all()
    low, high = stats.t.interval(0.95, 2, loc=3.0, scale=stats.sem([1.0, 2.0, 6.0]))
    assert table.loc[0, ["value", "low", "high"]].tolist() == pytest.approx([3.0, low, high])
    assert table.loc[1, "value"] == 0.5 and np.isnan(table.loc[1, "low"])
    with pytest.raises(ValueError, match="the seed of 'mine' is not known"):
        across_seeds(table[:1].assign(run="mine"))


def test_the_share_of_a_planted_word():
    share = planted_share(STORY, {"x": 0})
    assert value(share, 0, "all", "planted_share") == pytest.approx(2.5 / 3.5)
    assert value(share, 20, "all", "planted_share") == pytest.approx(4 / 7)
    with pytest.raises(ValueError, match="None of the 1 planted samples"):
        planted_share(STORY, {"y": 0})
    with pytest.raises(ValueError, match="a player from 0 to 63"):
        planted_share(STORY, {"x": -1})


def labelled():
    """{a} helps everywhere; {b} helps training samples and misleads held-out ones; {a, b} OR misleads all."""
    training, heldout = [f"t{i}" for i in range(4)], [f"h{i}" for i in range(4)]
    rows = []
    for t in (0, 10):
        for s in training + heldout:
            rows += [(t, s, AND, 1, 2.0), (t, s, AND, 2, 1.0 if s in training else -1.0)]
            rows += [(t, s, OR, 3, -0.5)]
    scores = cells([(t, s, 0.0, 2.5 if s in training else 0.5) for t in (0, 10) for s in training + heldout])
    return interactions(rows), scores, training, heldout


def test_what_interactions_are_good_for():
    table, scores, training, heldout = labelled()
    samples = pd.DataFrame({"sample": training + heldout, "split": "follow", "text": "", "target": "t"})
    samples["players"] = [["Alpha", "beta", "gamma"]] * 8
    classes = name_interactions(classify(table), samples)
    found = functional_labels(classes, scores, training, heldout, by=("class", "words"))
    labels = found[found["step"] == 10].set_index("words")
    assert labels["label"].to_dict() == {
        "and: alpha": "helpful",
        "and: beta": "overfitted",
        "or: alpha + beta": "noise-like",
    }
    assert labels["certain"].all()
    change = np.logaddexp(0, -0.5) - np.logaddexp(0, -2.5)
    assert labels.loc["and: alpha", "training_change"] == pytest.approx(change)
    by_class = functional_labels(classify(table), scores, training, heldout)
    assert by_class["class"].tolist() == ["preserved", "preserved"] and set(by_class["label"]) == {"helpful"}


def test_labels_that_cannot_be_given_are_refused():
    table, scores, training, heldout = labelled()
    classes = classify(table)
    with pytest.raises(ValueError, match="'t0' is in the training split and held out"):
        functional_labels(classes, scores, training, [*heldout, "t0"])
    with pytest.raises(ValueError, match="heldout split has no samples"):
        functional_labels(classes, scores, training, [])
    with pytest.raises(ValueError, match="lacks the training sample 'q'"):
        functional_labels(classes, scores, ["q"], heldout)
    with pytest.raises(ValueError, match="no column 'words'"):
        functional_labels(classes, scores, training, heldout, by=("words",))
    with pytest.raises(ValueError, match="lacks the sample 'h0' at step 10 of 'm/d/seed-0'"):
        functional_labels(classes, scores.query("step == 0 or sample != 'h0'"), training, heldout)
    samples = pd.DataFrame({"sample": ["x"], "split": "follow", "text": "", "target": "t", "players": [["a", "b"]]})
    with pytest.raises(ValueError, match="mask 6 of the sample 'x' speaks of more than its players"):
        name_interactions(classify(STORY), samples)


def runs(count, informative, seed=0):
    rng = np.random.default_rng(seed)
    metrics, losses = [], []
    for r in range(count):
        run, hidden, now = f"m/d/seed-{r}", rng.normal(), rng.normal()
        figures = {("emerged", "rho"): hidden, ("emerged", "strength_normalised"): rng.normal()}
        figures |= {("removed", "rho"): rng.normal(), ("removed", "strength_normalised"): rng.normal()}
        metrics += [(run, 10, group, name, figure, 0.0, 0.0) for (group, name), figure in figures.items()]
        metrics += [(run, 99, "emerged", "rho", 1e6, 0.0, 0.0)]
        later = now + (5 * hidden if informative else 0)
        losses += [(run, 8, "heldout_loss", now), (run, 99, "heldout_loss", later), (run, 9, "train_loss", 1e9)]
    columns = ["run", "step", "class", "name", "value", "low", "high"]
    return pd.DataFrame(metrics, columns=columns), pd.DataFrame(losses, columns=["run", "step", "name", "value"])


def test_forecasts_gain_from_interactions_only_where_they_know_something():
    seen = forecast(*runs(20, informative=True), until=10)
    assert seen.gain > 1 and seen.errors["both"] < 0.5 * seen.errors["mean"] and "help to foretell" in str(seen)
    blind = forecast(*runs(20, informative=False), until=10)
    assert blind.errors["validation loss"] < 1e-9 and blind.gain <= 0 and "do not help" in str(blind)
    assert blind.errors["last value"] == 0 and len(blind.figures) == 4 and len(blind.predictions) == 20


def test_a_forecast_of_few_runs_is_refused():
    metrics, losses = runs(6, informative=True)
    with pytest.raises(ValueError, match=r"needs at least 5 runs.*step 10, but there are 4"):
        forecast(metrics[metrics["run"] < "m/d/seed-4"], losses, until=10)
    with pytest.raises(ValueError, match="'m/d/seed-0' was left out: it has no held-out loss after step 99"):
        forecast(metrics, losses, until=99)
    with pytest.raises(ValueError, match="must be above 0, but is 0"):
        forecast(metrics, losses, until=10, ridge=0.0)
    five = forecast(metrics, losses[losses["run"] != "m/d/seed-3"], until=10)
    assert five.left_out == ("The run 'm/d/seed-3' was left out: it has no held-out loss up to step 10.",)


def test_the_story_passes_through_every_control():
    classes = classify(STORY)
    null = permuted_gamma(classes, STORY.assign(run="other"), STORY_CELLS, permutations=3)
    assert set(null["step"]) == {0, 10, 20} and set(null["name"]) == {"gamma_permuted"}
    empty = classes[:0]
    assert len(permuted_rho(empty)) == 0
