"""What differs between two models: no false alarms, what was changed is found, and bad input is a sentence."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kstest

import interact
from tests.interact.test_sampled import sparse

N = 5
SET = np.arange(1 << N)


def of(v: np.ndarray, **given) -> interact.Interactions:
    return interact.game_from(lambda present: v[present @ (1 << np.arange(N))], N).interactions(**given)


def scores(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    v = np.zeros(1 << N)
    for order in (1, 1, 2, 2, 3):
        term = int(sum(1 << int(i) for i in rng.choice(N, order, replace=False)))
        v += rng.uniform(1, 3) * ((SET & term) == term if rng.random() < 0.5 else (SET & term) != 0)
    return v


def test_two_identical_models_with_noise_have_uniform_p_values():
    drawn, alarms = [], 0
    for seed in range(60):
        v, rng = scores(seed), np.random.default_rng(100 + seed)
        a, b = (of(v + 0.1 * rng.normal(size=1 << N)) for _ in range(2))
        frame = interact.compare(a, b, sigma=0.1)
        # The p-values of one text depend on each other, so one of each is taken.
        drawn.append(rng.choice(frame["p"]))
        alarms += (frame["status"] == "certain").any()
    assert kstest(drawn, "uniform").pvalue > 0.01 and 0.35 < np.mean(drawn) < 0.65
    assert alarms <= 6


def test_the_same_bits_differ_in_nothing():
    r = of(scores(0))
    for given in ({}, {"sigma": 0.1}, {"sigma": (0.1, 0.0)}):
        frame = interact.compare(r, r, **given)
        assert (frame["p"] == 1).all() and (frame["q"] == 1).all() and not frame["difference"].any()
        assert not (frame["status"] == "certain").any() and len(frame) == len(r.salient())
    flat = of(np.zeros(1 << N))
    assert not len(interact.compare(flat, flat, sigma=0.1))


def test_what_was_changed_is_found_beyond_splits_and_noise():
    v = scores(1)
    changed = v + 2.5 * ((SET & 7) == 7) - 2.0 * ((SET & 24) == 24)
    rng = np.random.default_rng(0)
    a, b = (of(s + 0.02 * rng.normal(size=1 << N)) for s in (v, changed))
    frame = interact.compare(a, b, sigma=0.02)
    names = ["kind", "mask", "words", "effect_a", "effect_b", "difference", "low", "high", "noise", "p", "q", "status"]
    assert list(frame.columns) == names
    sure = frame[frame["status"] == "certain"]
    assert {("and", 7), ("and", 24)} <= set(zip(sure["kind"], sure["mask"], strict=True)) and len(sure) <= 5
    row = sure[sure["mask"] == 7].iloc[0]
    assert row["words"] == "player 0 + player 1 + player 2" and 0 < row["low"] <= row["difference"] <= row["high"]
    assert row["difference"] == pytest.approx(row["effect_b"] - row["effect_a"]) and row["q"] < 1e-3
    # The same bounds, seen from the other side.
    other = interact.compare(b, a, sigma=0.02).set_index(["kind", "mask"]).loc[("and", 7)]
    assert other["high"] == pytest.approx(-row["low"]) and other["p"] == pytest.approx(row["p"])
    # Without noise the splits alone decide, and there is no p-value.
    exact = interact.compare(of(v), of(changed))
    assert exact["p"].isna().all() and {7, 24} <= set(exact.loc[exact["status"] == "certain", "mask"])
    assert set(interact.compare(of(v), of(changed), time_limit=0.0)["status"]) <= {"possible", "undecided", "certain"}
    # Much noise explains it.
    assert not (interact.compare(a, b, sigma=5.0)["status"] == "certain").any()


def test_measured_noise_is_that_of_both_models():
    a, b = of(scores(2)), of(scores(3))
    half = [replace(r, provenance={**r.provenance, "precision": {"sigma": s}}) for r, s in ((a, 0.3), (b, 0.4))]
    one, other = interact.compare(half[0], half[1]), interact.compare(a, b, sigma=(0.3, 0.4))
    assert one.equals(other) and one["noise"].min() > 0


def test_many_texts_are_compared_text_by_text_or_by_words():
    rng = np.random.default_rng(5)
    a = [of(scores(s) + 0.05 * rng.normal(size=1 << N)) for s in range(6)]
    b = [of(r.values + 1.0 * ((SET & 3) == 3) + 0.05 * rng.normal(size=1 << N)) for r in a]
    each = interact.compare(a, b, by="text", sigma=0.05)
    assert each.columns[0] == "text" and set(each["text"]) == set(range(6))
    assert ((each["q"] >= each["p"]) | each["p"].isna()).all()
    words = interact.compare(a, b)
    names = ["kind", "words", "order", "texts", "effect_a", "effect_b", "difference", "low", "high", "noise", "p", "q"]
    assert list(words.columns) == names and (words["texts"] == 6).all()
    pair = words.set_index(["kind", "words"]).loc[("and", "player 0 & player 1")]
    assert pair["low"] > 0.3 and pair["p"] < 0.05
    # Benjamini and Yekutieli are never bolder than Benjamini and Hochberg.
    bolder = interact.compare(a, b, control="bh").set_index(["kind", "words"])["q"]
    assert (words.set_index(["kind", "words"])["q"] >= bolder - 1e-12).all() and (bolder < words["q"].min()).any()
    same = interact.compare(a, a)
    assert (same["p"] == 1).all() and not same["difference"].any()


def test_results_that_do_not_belong_together_are_refused():
    r, s = of(scores(0)), of(scores(1))
    for a, b, words in (
        (r, [s], "One side is a result and the other a list of results"),
        (5, 6, "needs a result, or a list of results, of each model, but was given 5"),
        ("x", "y", "needs a result, or a list of results, of each model, but was given 'x'"),
        ([r], [s, s], "Both models need the same texts, but there are 1 and 2 results"),
        ([], [], "There are no results to compare"),
        (r, replace(s, text="other"), "The results at place 0 are of different texts or players"),
        (r, of(scores(1), noise="box"), "were split with soft noise .* and noise in a box"),
        (r, replace(s, provenance={**s.provenance, "target": {"ids": [1]}}), "place 0 have different targets"),
        (sparse(9), sparse(9), "A result of sampled coalitions has no certificate"),
        (r, replace(s, gap=float("nan")), "has no certificate, so it has no certain interactions"),
    ):
        with pytest.raises(ValueError, match=words):
            interact.compare(a, b)
    for given, words in (
        ({"by": "letter"}, "by is one of 'words' and 'text', but is 'letter'"),
        ({"control": "no"}, "control is one of 'by' and 'bh', but is 'no'"),
        ({"level": 1.0}, "level is a share of false ones"),
        ({"sigma": -1.0}, "sigma is the standard deviation of a score's noise"),
        ({"least": 1}, "least is 1, but must be at least 2"),
        ({"tau": 2.0}, "tau is a share of the strongest"),
    ):
        with pytest.raises(ValueError, match=words):
            interact.compare(r, s, **given)


def test_noise_that_could_not_be_tested_leaves_a_difference_open():
    a, b = (
        interact.game_from(lambda m, v=v: np.array(v)[m @ np.array([1, 2])], 2).interactions()
        for v in ([0.0, 5, 3, 9], [0.0, 1, 2, -16])
    )
    # The mean of both, weighed, has no difference between all and none, so its split has no price and no derivative.
    frame = interact.compare(a, b, sigma=(300.0, 400.0))
    assert len(frame) and set(frame["status"]) <= {"possible", "undecided"}
    assert "certain" in set(interact.compare(a, b)["status"])


@pytest.mark.parametrize("options", [{"eps": -1.0}, {"eps": float("nan")}, {"time_limit": -1.0}])
def test_limits_that_mean_nothing_are_refused(options):
    r = of(scores(0))
    with pytest.raises(ValueError, match="must be >= 0, but"):
        interact.compare(r, r, **options)


def test_models_of_one_player_are_told_apart():
    one, other = (interact.game_from(lambda m, by=by: by * m[:, 0], 1).interactions() for by in (1.0, 3.0))
    assert "1 of 1 salient interactions" in str(one)
    assert list(interact.compare(one, other, sigma=[0.01, 0.01])["status"]) == ["certain"]
