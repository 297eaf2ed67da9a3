"""Controls: what chance gives, what a planted effect gives, and what cannot be controlled."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from interact.evolution import (
    NoiseOptions,
    across_seeds,
    check,
    classify,
    evolution_of,
    expected_spindle,
    forecast,
    functional_labels,
    matched_sigma,
    measure,
    name_interactions,
    null_evolutions,
    null_scores,
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


def path(samples="xyz", n=4, steps=(0, 5, 7), seed=0):
    """Scores that move by a random walk from step to step."""
    rng = np.random.default_rng(seed)
    scores = {name: rng.normal(size=1 << n).cumsum() for name in samples}
    found = {0: scores}
    for before, step in pairwise(steps):
        found[step] = {name: found[before][name] + rng.normal(size=1 << n) for name in samples}
    return found


def test_nulls_move_the_scores_by_as_much_as_training_did():
    values = path()
    assert all(0.5 < size < 1.7 for size in matched_sigma(values[0], values[5]).values())
    noise = null_scores(values, "noise", run="r")
    permuted = null_scores(values, "permuted_change", run="r")
    for step in (5, 7):
        wanted = matched_sigma(values[0], values[step])
        assert matched_sigma(values[0], permuted[step]) == pytest.approx(wanted)
        assert matched_sigma(values[0], noise[step]) == pytest.approx(wanted)
    # A random walk: what came by step 5 is still there at step 7.
    first, second = (noise[step]["x"] - values[0]["x"] for step in (5, 7))
    assert np.corrcoef(first, second)[0, 1] > 0.4
    # The same players are permuted at every step, and no players and all players are who they were.
    for step in (5, 7):
        change, real = permuted[step]["x"] - values[0]["x"], values[step]["x"] - values[0]["x"]
        assert sorted(change) == pytest.approx(sorted(real)) and change[[0, -1]] == pytest.approx(real[[0, -1]])
        assert not np.allclose(change, real)
        sizes = np.array([mask.bit_count() for mask in range(16)])
        spectrum = [np.abs(lattice.moebius(c))[sizes == 2].sum() for c in (change, real)]
        assert spectrum[0] == pytest.approx(spectrum[1])
    assert null_scores(dict(reversed(values.items())), "noise", run="r")[7]["y"] == pytest.approx(noise[7]["y"])
    assert not np.allclose(null_scores(values, "noise", run="r", seed=1)[7]["y"], noise[7]["y"])


def test_nulls_go_the_way_of_the_study():
    values = path()
    options = NoiseOptions(kappa=0.0, draws=3)
    null = null_evolutions(values, run="m/d/seed-0", options=options)
    metrics = check(null.metrics, "metrics")
    assert set(metrics["step"]) == {5, 7} and value(metrics, 7, "emerged", "count_noise") > 1
    assert 0 <= value(metrics, 7, "all", "rho_permuted_change") <= 1
    assert {"order4_noise_positive", "order4_noise_negative"} <= set(metrics["name"])
    assert set(null.strength["sample"]) == set("xyz") and len(null.strength) == 6
    # Salience as the study has it: tau and rule decide how many count, and classes how many are preserved.
    few = null_evolutions(values, run="r", options=NoiseOptions(kappa=0.0, draws=3, tau=2, rule="top")).metrics
    assert value(few, 7, "all", "count_noise") == 2.0
    strict = null_evolutions(values, run="r", options=NoiseOptions(kappa=0.0, draws=3, definition="running")).metrics
    ends, kept = (value(m, 7, "preserved", "count_noise") for m in (metrics, strict))
    assert kept < ends
    # One step more, and by the running intersection fewer survive; by the two ends as many.
    two = {step: values[step] for step in (0, 7)}
    shorter = null_evolutions(two, run="r", options=NoiseOptions(kappa=0.0, draws=3, definition="running")).metrics
    assert kept < value(shorter, 7, "preserved", "count_permuted_change")
    still = {0: values[0], 7: values[0]}
    quiet = null_evolutions(still, run="r", options=options).metrics
    assert value(quiet, 7, "removed", "count_noise") == value(quiet, 7, "emerged", "strength_permuted_change") == 0.0
    # The tables rebuild the scores: kappa = 0 leaves no noise to the split.
    table, scores = evolution_of(values, run="r", options=options)
    merged = table.groupby(["step", "sample"])["effect"].sum().sort_index()
    moved = (scores["total"] - scores["bias"]).groupby([scores["step"], scores["sample"]]).sum().sort_index()
    np.testing.assert_allclose(merged, moved, atol=1e-6)
    assert scores["moved"].max() == pytest.approx(max(matched_sigma(values[0], values[7]).values()))


def test_scores_that_do_not_fit_are_refused():
    values = {"x": np.zeros(4)}
    with pytest.raises(ValueError, match="'x' is only in one of them"):
        matched_sigma(values, {"y": np.zeros(4)})
    with pytest.raises(ValueError, match=r"must have one shape, but have \(4,\) and \(8,\)"):
        matched_sigma(values, {"x": np.zeros(8)})
    with pytest.raises(ValueError, match="'x' at step 1 are not all finite"):
        null_scores({0: values, 1: {"x": np.full(4, np.inf)}}, "noise", run="r")
    with pytest.raises(ValueError, match=r"begins at step 0 and has a later step, but the steps are \[1\]"):
        null_scores({1: values}, "noise", run="r")
    with pytest.raises(ValueError, match="one of noise, permuted_change, but is 'sign'"):
        null_scores({0: values, 1: values}, "sign", run="r")
    with pytest.raises(ValueError, match="2\\*\\*n scores"):
        evolution_of({0: {"x": np.zeros(3)}}, run="r")
    with pytest.raises(ValueError, match="at least one draw, but draws is 0"):
        NoiseOptions(draws=0)


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
    assert value(null, 10, "preserved", "gamma_permuted_p") < 0.05
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
    # The verdict is the place of what was observed in what chance gives.
    assert value(null, 10, "emerged", "rho_permuted_p") < 0.05
    mixed = interactions(
        [
            (t, s, AND, m, e)
            for t, s, m, e in zip([0, 10] * 60, "xxyy" * 30, range(1, 121), RNG.normal(size=120), strict=False)
        ]
    )
    assert value(permuted_rho(classify(mixed), permutations=50), 10, "emerged", "rho_permuted_p") > 0.05
    with pytest.raises(ValueError, match="at least one permutation, but got 0"):
        permuted_rho(classify(apart), permutations=0)


def test_runs_of_several_seeds_are_averaged():
    rows = [(f"m/d/seed-{s}{b}", 5, "all", "rho", v, v, v) for b in ("", "/mean") for s, v in enumerate([1.0, 2, 6])]
    rows += [("m/d/seed-0", 9, "all", "rho", 0.5, 0.0, 1.0), ("m/d/seed-1", 9, "all", "rho", np.nan, 0.0, 1.0)]
    columns = ["run", "step", "class", "name", "value", "low", "high"]
    table = across_seeds(pd.DataFrame(rows, columns=columns))
    check(table, "metrics")
    assert table["run"].tolist() == ["m/d/seeds", "m/d/seeds", "m/d/seeds/mean"] and table["runs"].tolist() == [3, 1, 3]
    assert table["asked_baseline"].tolist() == ["auto", "auto", "mean"] and table["seed"].isna().all()
    low, high = stats.t.interval(0.95, 2, loc=3.0, scale=stats.sem([1.0, 2.0, 6.0]))
    assert table.loc[0, ["value", "low", "high"]].tolist() == pytest.approx([3.0, low, high])
    assert table.loc[1, "value"] == 0.5 and np.isnan(table.loc[1, "low"])
    with pytest.raises(ValueError, match="the seed of 'mine' is not known"):
        across_seeds(pd.DataFrame(rows, columns=columns)[:1].assign(run="mine"))


def test_seeds_on_the_same_samples_are_as_unsure_as_their_samples():
    rows = [(f"m/d/seed-{s}", 5, "all", "rho", 0.5, 0.3, 0.7) for s in range(3)]
    rows += [(f"m/d/seed-{s}", 5, "all", "rho_permuted_p", 0.5, np.nan, np.nan) for s in range(3)]
    table = across_seeds(pd.DataFrame(rows, columns=["run", "step", "class", "name", "value", "low", "high"]))
    # The seeds agree; that they do so on these samples makes nothing certain of others.
    assert table["name"].tolist() == ["rho"]
    assert table.loc[0, ["low", "high"]].tolist() == pytest.approx([0.3, 0.7], abs=1e-3)


def test_a_stage_seen_in_one_seed_is_no_stage_of_all():
    rows = [
        (f"m/d/seed-{s}", -1, "all", "overfitting_start", at, at, at) for s, at in enumerate([50.0, np.nan, np.nan])
    ]
    rows += [(f"m/d/seed-{s}", -1, "all", "denoising_end", at, at, at) for s, at in enumerate([50.0, 50, 200])]
    table = across_seeds(pd.DataFrame(rows, columns=["run", "step", "class", "name", "value", "low", "high"]))
    found = table.set_index("name")["value"]
    assert np.isnan(found["overfitting_start"]) and found["overfitting_start_seen"] == pytest.approx(1 / 3)
    assert found["denoising_end"] == 100 and found["denoising_end_seen"] == 1


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


def test_a_sample_that_a_run_never_followed_is_not_unchanged():
    table, scores, training, heldout = labelled()
    one, other = (t.assign(run="m/d/seed-1") for t in (table, scores))
    lack = [t[t["sample"] != "h2"].reset_index(drop=True) for t in (one, other)]
    both = [pd.concat(pair, ignore_index=True) for pair in ((table, lack[0]), (scores, lack[1]))]
    found = functional_labels(classify(both[0], cells=both[1]), both[1], training, heldout)
    changes = found[found["step"] == 10].groupby("run")["heldout_change"].first()
    assert changes.nunique() == 1 and len(changes) == 2


def test_one_word_is_one_word_however_unicode_writes_it():
    table, _, training, heldout = labelled()
    samples = pd.DataFrame({"sample": training + heldout, "split": "follow", "text": "", "target": "t"})
    samples["players"] = [["caf\u00e9", "STRASSE", "c"], ["cafe\u0301", "stra\u00dfe", "c"]] * 4
    named = name_interactions(classify(table), samples)
    assert set(named["words"]) == {"and: caf\u00e9", "and: strasse", "or: caf\u00e9 + strasse"}


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
    with pytest.raises(ValueError, match="mask 6 of the sample 'x' has more players than the sample"):
        name_interactions(classify(STORY), samples)


def runs(count, informative, seed=0, sisters=1):
    """Runs on `count` data sets with `sisters` seeds each; sisters end alike, for a reason that no figure knows."""
    rng = np.random.default_rng(seed)
    metrics, losses = [], []
    for d in range(count):
        hidden, mark = rng.normal(), rng.normal(size=4)
        for r in range(sisters):
            run, now = f"m/d{d}/seed-{r}", rng.normal()
            known = hidden if informative else rng.normal()
            names = [(g, n) for g in ("emerged", "removed") for n in ("rho", "strength_normalised")]
            figures = dict(zip(names, mark if sisters > 1 else rng.normal(size=4), strict=True))
            if sisters == 1:
                figures["emerged", "rho"] = known
            metrics += [(run, 10, group, name, figure, 0.0, 0.0) for (group, name), figure in figures.items()]
            metrics += [(run, 99, "emerged", "rho", 1e6, 0.0, 0.0)]
            later = 5 * hidden if sisters > 1 else now + (5 * hidden if informative else 0)
            losses += [(run, 8, "validation_label_loss", now), (run, 99, "test_label_loss", later)]
            losses += [
                (run, 9, "train_loss", 1e9),
                (run, 99, "validation_label_loss", -1e9),
                (run, 8, "test_label_loss", 1e9),
            ]
    columns = ["run", "step", "class", "name", "value", "low", "high"]
    return pd.DataFrame(metrics, columns=columns), pd.DataFrame(losses, columns=["run", "step", "name", "value"])


def test_forecasts_gain_from_interactions_only_where_they_know_something():
    seen = forecast(*runs(20, informative=True), until=10)
    assert seen.gain > 1 and seen.errors["both"] < 0.5 * seen.errors["mean"] and "help in predicting" in str(seen)
    blind = forecast(*runs(20, informative=False), until=10)
    assert blind.errors["validation loss"] < 1e-9 and blind.gain <= 0 and "do not help" in str(blind)
    assert blind.errors["last value"] == 0 and len(blind.figures) == 4 and len(blind.predictions) == 20


def test_a_forecast_finds_the_losses_of_a_run_with_a_baseline():
    metrics, losses = runs(20, informative=True)
    named = metrics.assign(run=metrics["run"] + "/unk")
    assert forecast(named, losses, until=10).errors == forecast(metrics, losses, until=10).errors
    with pytest.raises(ValueError, match="Two runs are of the training 'm/d0/seed-0'; give those of one baseline"):
        forecast(pd.concat([named, metrics.assign(run=metrics["run"] + "/pad")]), losses, until=10)


def test_a_run_is_not_foretold_from_its_sisters():
    # Figures that only tell which data set a run is of foretell nothing of another data set.
    found = forecast(*runs(8, informative=False, sisters=4), until=10)
    assert len(found.predictions) == 32 and found.errors["interactions"] > 0.9 * found.errors["mean"]


def test_a_forecast_of_few_runs_is_refused():
    metrics, losses = runs(6, informative=True)
    with pytest.raises(ValueError, match=r"needs at least 5 runs of 3 models.*step 10, but there are 4 of 4"):
        forecast(metrics[metrics["run"] < "m/d4"], losses, until=10)
    two = runs(2, informative=True, sisters=4)
    with pytest.raises(ValueError, match="but there are 8 of 2"):
        forecast(*two, until=10)
    with pytest.raises(
        ValueError, match="'m/d0/seed-0' was left out: it has no label loss on a test set after step 99"
    ):
        forecast(metrics, losses, until=99)
    with pytest.raises(ValueError, match="must be above 0, but is 0"):
        forecast(metrics, losses, until=10, ridge=0.0)
    five = forecast(metrics, losses[losses["run"] != "m/d3/seed-0"], until=10)
    assert five.left_out == (
        "The run 'm/d3/seed-0' was left out: it has no label loss on a validation set up to step 10.",
    )
    with pytest.raises(ValueError, match="it has no label loss on a validation set up to step 10"):
        forecast(metrics, losses.assign(name="heldout_loss"), until=10)


def test_the_story_passes_through_every_control():
    classes = classify(STORY)
    null = permuted_gamma(classes, STORY.assign(run="other"), STORY_CELLS, permutations=3)
    assert set(null["step"]) == {0, 10, 20} and set(null["name"]) == {"gamma_permuted", "gamma_permuted_p"}
    empty = classes[:0]
    assert len(permuted_rho(empty)) == 0
