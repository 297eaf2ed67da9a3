"""The result: queries, identities, the file and its damage, the displays."""

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interact import Interactions, Player, load
from interact_kernels.sparsify import and_or_split

HOSTILE = '<script>alert("x")</script> & $\\alpha$'


def result(n: int = 4, seed: int = 0, kappa: float = 0.04) -> Interactions:
    rng = np.random.default_rng(seed)
    v = rng.normal(size=1 << n) + np.arange(1 << n)
    split = and_or_split(v, kappa=kappa)
    text = " ".join(["good", "bad", HOSTILE, "film"][i % 4] for i in range(n))
    players, at = [], 0
    for i in range(n):
        word = ["good", "bad", HOSTILE, "film"][i % 4]
        players.append(Player(word, (at, at + len(word)), (i + 3, i + 4)))
        at += len(word) + 1
    return Interactions(
        players=tuple(players),
        text=text,
        values=v,
        i_and=split.i_and,
        i_or=split.i_or,
        noise=split.noise,
        primal=float(split.primal),
        dual=float(split.dual),
        gap=float(split.gap),
        certificate=split.certificate,
        provenance={"target": {"text": " positive"}, "kappa": kappa},
    )


@given(n=st.integers(0, 6), seed=st.integers(0, 20), kappa=st.sampled_from([0.0, 0.04]))
def test_prediction_from_all_terms_matches_every_score(n, seed, kappa):
    r = result(n, seed, kappa)
    for rebuilt in (r.predict(), r.predict(np.arange(1 << n)), [r.predict(s) for s in range(1 << n)]):
        np.testing.assert_allclose(rebuilt, r.values + r.noise, atol=1e-9 * (1 + np.abs(r.values).max()))


def test_merging_moves_single_or_effects_and_keeps_the_function():
    r = result()
    i_and, i_or = r.effects(merged=False)
    m_and, m_or = r.effects()
    single = [1, 2, 4, 8]
    np.testing.assert_allclose(m_and[single], i_and[single] + i_or[single])
    assert not m_or[single].any() and r.by_order().loc[1, "or_positive"] == 0


def test_top_and_salient_are_ordered_and_named():
    r = result()
    strongest = r.top(5)
    assert [abs(i.effect) for i in strongest] == sorted((abs(i.effect) for i in strongest), reverse=True)
    for item in r.top(99):
        assert item.words == tuple(p.text for i, p in enumerate(r.players) if item.mask >> i & 1)
        assert item.order == len(item.words) == item.mask.bit_count()
    largest = abs(strongest[0].effect)
    assert all(abs(i.effect) > 0.3 * largest for i in r.salient(0.3))
    assert len(r.salient(0.0)) == len(r.top(99)) and r.top(0) == []
    with pytest.raises(ValueError, match="tau is a share of the strongest effect"):
        r.salient(1.5)


def test_orders_sum_to_the_strength_and_the_frame_lists_all():
    r = result()
    frame = r.to_frame(merged=False)
    assert r.by_order(merged=False)["strength"].sum() == pytest.approx(r.primal)
    assert frame["effect"].abs().sum() == pytest.approx(r.primal)
    assert list(frame.columns) == ["kind", "mask", "order", "words", "effect"]


def test_fidelity_of_everything_is_the_noise():
    fidelity = result(kappa=0.0).fidelity(0.0)
    assert fidelity.r2 == pytest.approx(1.0) and np.abs(fidelity.errors).max() < 1e-9
    assert "rebuild 16 scores" in str(fidelity)


def test_bad_coalitions_are_a_sentence():
    for bad in (16, -1, [0.5], [99]):
        with pytest.raises(ValueError, match="integer bit masks in \\[0, 16\\)"):
            result().predict(bad)


def test_a_file_gives_back_every_bit(tmp_path):
    r = result()
    path = r.save(tmp_path / "deep" / "x.interactions")
    back = load(path)
    for name in ("values", "i_and", "i_or", "noise", "certificate"):
        assert np.array_equal(getattr(back, name), getattr(r, name))
    assert back.players == r.players and back.text == r.text and back.provenance == r.provenance
    assert (back.primal, back.dual, back.gap) == (r.primal, r.dual, r.gap)
    assert [p.name for p in path.parent.iterdir()] == ["x.interactions"]


def test_damage_at_any_place_is_a_sentence_or_harmless(tmp_path):
    whole = result().save(tmp_path / "x").read_bytes()
    broken = tmp_path / "broken"
    for cut in [0, 4, 8, 20, 300, len(whole) - 1]:
        broken.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match="extract"):
            load(broken)
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 200):
        data = bytearray(whole)
        data[place] ^= 0xFF
        broken.write_bytes(bytes(data))
        try:
            load(broken)
        except ValueError as error:
            assert "broken" in str(error)


def test_foreign_and_later_files_are_sentences(tmp_path):
    path = tmp_path / "f"
    for content, message in [
        (b"PK\x03\x04" + bytes(100), "not a file of interactions"),
        (struct.pack("<Q", 1 << 60) + b"{}", "not a file of interactions"),
        (struct.pack("<Q", 2) + b"[]", "written by another program"),
        (struct.pack("<Q", 2) + b"{}", "written by another program"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            load(path)
    with pytest.raises(ValueError, match="cannot be read"):
        load(tmp_path / "absent")
    meta = {"__metadata__": {"format": "interact.interactions", "version": "2"}}
    text = json.dumps(meta).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(ValueError, match="format version 2"):
        load(path)


def test_an_unwritable_place_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RuntimeError, match=r"could not be written to .* Choose another place"):
        result().save(tmp_path / "file" / "x")


def test_displays_show_words_and_escape_hostile_text():
    r = result()
    assert "good" in str(r) and "certified within" in repr(r)
    page = r._repr_html_()
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert r.plot().axes[0].get_xlabel()
    r.plot().canvas.draw()


def test_arrays_of_the_wrong_length_are_a_sentence():
    r = result()
    with pytest.raises(ValueError, match="noise must hold 2\\*\\*4 = 16 values"):
        Interactions(**{**vars(r), "noise": np.zeros(8)})
