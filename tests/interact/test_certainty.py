"""What a result says of its certainty: the frame, the displays, old files, and what has none."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import interact
from interact.study.report.payload import result_payload
from tests.interact.test_interactions import result
from tests.interact.test_sampled import sparse

BOUNDS = ["low", "high", "noise", "floor"]


def soft(n: int = 5, seed: int = 0) -> interact.Interactions:
    rng = np.random.default_rng(seed)
    table = 0.1 * rng.normal(size=1 << n)
    masks = np.arange(1 << n)
    table += 2.0 * ((masks & 3) == 3) - 1.5 * ((masks & 12) != 0) + 1.0 * (masks & 1)
    game = interact.game_from(lambda present: table[present @ (1 << np.arange(n))], [f"w{i}" for i in range(n)])
    return game.interactions()


def test_the_frame_says_what_is_known_of_every_interaction():
    r = soft()
    frame = r.certainty(eps=1e-3)
    assert list(frame.columns) == ["kind", "mask", "words", "effect", "price", "status", *BOUNDS]
    assert len(frame) == 2 * 31 - 5 and (frame["effect"].abs().diff().dropna() <= 0).all()
    assert frame.loc[0, "words"] == "w0 + w1" and frame.loc[0, "status"] == "certain" and frame.loc[0, "price"] > 1e-3
    assert set(frame["status"]) <= {"certain", "possible", "excluded", "undecided"}
    assert (frame["low"] <= frame["effect"] + 1e-9).all() and (frame["high"] >= frame["effect"] - 1e-9).all()
    level = 0.05 * frame["effect"].abs().max()
    for row in frame[frame["status"] == "certain"].itertuples():
        assert abs(row.effect) > level
    for row in frame[frame["status"] == "excluded"].itertuples():
        assert abs(row.effect) <= level


def test_ranges_are_tighter_and_every_term_can_be_asked_for():
    r = soft()
    free, exact = r.certainty(eps=1e-3), r.certainty(eps=1e-3, ranges=True)
    width = [(f["high"] - f["low"])[f["effect"].abs() > 0.05 * f["effect"].abs().max()].sum() for f in (free, exact)]
    assert width[1] < width[0]
    assert not (r.certainty(every=True)["status"] == "undecided").any()


def test_planted_interactions_are_certain_and_noise_is_not():
    frame = soft().certainty()
    sure = set(frame.loc[frame["status"] == "certain", ["kind", "words"]].itertuples(index=False, name=None))
    assert {("and", "w0 + w1"), ("or", "w2 + w3"), ("and", "w0")} <= sure


def planted_game(seed: int, sigma: float) -> tuple[interact.Interactions, interact.Interactions]:
    """Six interactions of one sign: the result of their scores, and that of the same with noise."""
    rng = np.random.default_rng(seed)
    masks, v = np.arange(64), np.zeros(64)
    for order in (1, 1, 2, 2, 3, 3):
        term = int(sum(1 << int(i) for i in rng.choice(6, order, replace=False)))
        v += rng.uniform(1, 3) * ((masks & term) == term if rng.random() < 0.5 else (masks & term) != 0)
    noisy = v + sigma * rng.normal(size=64)
    found = [interact.game_from(lambda p, s=s: s[p @ (1 << np.arange(6))], 6).interactions() for s in (v, noisy)]
    return found[0], found[1]


def test_noise_of_the_scores_is_covered_and_what_is_certain_beyond_it_is_true():
    sigma, inside, salient, sure, right = 0.05, 0, 0, 0, 0
    for seed in range(12):
        clean, noisy = planted_game(seed, sigma)
        frame = noisy.certainty(sigma=sigma)
        truth = np.stack(clean.effects())
        level = 0.05 * np.abs(truth).max()
        true = truth[(frame["kind"] == "or").astype(int), frame["mask"]]
        chosen = (frame["effect"].abs() > 0.05 * frame["effect"].abs().max()).to_numpy()
        inside += ((frame["effect"] - true).abs() <= 1.96 * frame["noise"])[chosen].sum()
        salient += chosen.sum()
        certain = (frame["status"] == "certain").to_numpy()
        sure += certain.sum()
        right += ((true * np.sign(frame["effect"]) > level) & certain).sum()
        assert (frame["noise"] <= frame["floor"] * 1.5 + 1e-9).all()
    assert inside >= 0.88 * salient and salient > 60
    assert right == sure > 30


def test_measured_noise_is_taken_and_bad_noise_is_refused():
    _, r = planted_game(0, 0.05)
    assert not r.certainty()["noise"].any() and not r.certainty()["floor"].any()
    half = replace(r, provenance={**r.provenance, "precision": {"dtype": "bfloat16", "sigma": 0.5, "coalitions": 16}})
    frame = half.certainty()
    assert frame["noise"].all() and (frame["status"] == "certain").sum() < (r.certainty()["status"] == "certain").sum()
    assert frame["noise"].equals(r.certainty(sigma=0.5)["noise"])
    box = interact.game_from(lambda p: p.sum(1) ** 2.0, 3).interactions(noise="box").certainty(sigma=0.1)
    assert box["noise"].equals(box["floor"]) and box["floor"].max() == pytest.approx(0.1 * 2**1.5)
    with pytest.raises(ValueError, match="sigma is the standard deviation of a score's noise, at least 0, but is -1"):
        r.certainty(sigma=-1.0)


def test_named_interactions_are_decided_as_well():
    r = soft()
    first = r.certainty()
    weak = first[first["status"] == "undecided"].iloc[0]
    asked = r.certainty(every=[(weak["kind"], int(weak["mask"]))])
    assert asked.loc[weak.name, "status"] in ("possible", "excluded")
    assert (asked["status"] == first["status"]).sum() == len(first) - 1
    for wrong in ([("xor", 1)], [("and", 0)], [("and", 32)]):
        with pytest.raises(ValueError, match="every names interactions by kind and mask"):
            r.certainty(every=wrong)


def test_displays_say_how_much_is_certain():
    r = soft()
    sure = sum(status == "certain" for status in r.statuses().values())
    line = f"{sure} of {len(r.salient())} salient interactions are certain; v(all) ="
    assert line in str(r) and line in r._repr_html_() and "soft noise (kappa 0.01), certified optimal" in str(r)
    assert "  certain    w0 & w1" in str(r) and "<td>certain</td>" in r._repr_html_()
    payload = result_payload(r)
    assert payload["certain"] == sure and payload["noise"] == "soft" and payload["terms"][0][4] == "certain"
    # The cells of a study are shown by their classes.
    assert result_payload(r, {})["certain"] is None
    assert json.loads(r.to_json())["noise"] == "soft"


def test_the_box_is_named_and_so_is_an_old_file():
    r = result(4)
    assert r.form.noise == "box" and "noise in a box (kappa 0.04)" in str(r)
    old = interact.load(Path(__file__).parent / "files" / "exact.interactions")
    assert "noise" not in old.provenance and old.noise_name == "box"
    assert len(old.certainty()) == 2 * 7 - 3
    assert result(4, kappa=0.0).noise_name == "exact"


def test_what_has_no_certificate_says_so():
    with pytest.raises(ValueError, match="sampled coalitions has error bars and no certificate"):
        sparse(9).certainty()
    r = soft(3)
    blind = replace(r, dual=float("nan"), gap=float("nan"))
    with pytest.raises(ValueError, match="has no certificate, so it has no certain interactions"):
        blind.certainty()
    assert "are certain" not in str(blind)
    with pytest.raises(ValueError, match="names neither noise nor kappa"):
        replace(r, provenance={}).certainty()
    for wrong in ({"eps": -1.0}, {"time_limit": -1.0}):
        with pytest.raises(ValueError, match="must be >= 0"):
            r.certainty(**wrong)
    with pytest.raises(ValueError, match="tau is a share"):
        r.certainty(tau=-0.1)


def test_the_form_goes_through_the_door():
    game = interact.game_from(lambda present: present.sum(1) ** 2.0, 3)
    assert game.interactions().form.noise == "soft"
    assert game.interactions(kappa=0.02).form.noise == "box"
    assert game.interactions(noise="box").form.kappa == 0.04
    assert game.interactions(noise="exact").form.noise == "exact"
    with pytest.raises(ValueError, match="noise='no' is not known"):
        game.interactions(noise="no")
    with pytest.raises(ValueError, match="leave them out of method='sparse'"):
        game.interactions("sparse", noise="soft")


@pytest.mark.parametrize("noise", ["soft", "box", "exact"])
def test_a_file_keeps_the_form(noise, tmp_path):
    game = interact.game_from(lambda present: present.sum(1) ** 2.0, 3)
    r = game.interactions(noise=noise)
    back = interact.load(r.save(tmp_path / "x"))
    assert back.form == r.form and back.certainty().equals(r.certainty())
