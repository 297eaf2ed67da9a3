"""The sparse form of a result: the same queries, the same file, any number of players."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interact import Player, load
from interact.results import SampledInteractions, Terms
from tests.interact.test_interactions import result


def sparse(n: int = 100, terms: int = 12, seed: int = 0, rows: int = 40) -> SampledInteractions:
    """Return a sparse result whose scores it explains but for noise."""
    rng = np.random.default_rng(seed)
    coalitions = rng.random((rows, n)) < 0.5
    sets = {frozenset(rng.choice(n, rng.integers(1, min(n, 4) + 1), replace=False).tolist()) for _ in range(terms)}
    and_sets = tuple(s for i, s in enumerate(sorted(sets, key=sorted)) if i % 2 or len(s) < 2)
    or_sets = tuple(s for s in sorted(sets, key=sorted) if s not in and_sets)
    i_and, i_or = rng.normal(size=len(and_sets)), rng.normal(size=len(or_sets))
    held_out = rng.random(rows) < 0.3
    found = Terms(
        n=n,
        bias=0.5,
        and_sets=and_sets,
        or_sets=or_sets,
        and_errors=np.full(len(and_sets), 0.01),
        or_errors=np.full(len(or_sets), np.nan),
        and_stability=np.ones(len(and_sets)),
        or_stability=np.full(len(or_sets), np.nan),
    )
    phi = found.predict(coalitions, i_and, i_or)
    values = phi + 0.01 * rng.normal(size=rows)
    return SampledInteractions(
        players=tuple(Player(f"w{i}", (4 * i, 4 * i + 3), (i, i + 1)) for i in range(n)),
        text=" ".join(f"w{i:<2}" for i in range(n)),
        values=values,
        i_and=i_and,
        i_or=i_or,
        noise=phi - values,
        primal=float(np.abs(i_and).sum() + np.abs(i_or).sum()),
        provenance={"target": {"text": " positive"}},
        coalitions=coalitions,
        held_out=held_out,
        terms=found,
    )


@settings(deadline=None, max_examples=40)
@given(n=st.integers(1, 90), seed=st.integers(0, 50))
def test_booleans_and_bit_masks_are_the_same_coalitions(n, seed):
    r = sparse(n, seed=seed)
    present = r.coalitions
    masks = [sum(1 << i for i in np.flatnonzero(row).tolist()) for row in present]
    np.testing.assert_array_equal(r.predict(masks), r.predict(present))
    assert r.predict(masks[0]) == r.predict(present[0]) == r.predict(present)[0]
    np.testing.assert_allclose(r.predict(present), r.values + r.noise, atol=1e-12)
    truth = r.bias + sum(e for s, e in r.and_terms.items() if present[0][list(s)].all())
    truth += sum(e for s, e in r.or_terms.items() if present[0][list(s)].any())
    assert r.predict(masks[0]) == pytest.approx(truth)


@settings(deadline=None, max_examples=40)
@given(n=st.integers(0, 6), seed=st.integers(0, 20))
def test_the_terms_of_a_dense_result_rebuild_it_too(n, seed):
    r = result(n, seed)
    assert not any(len(s) < 2 for s in r.or_terms) and frozenset() not in r.and_terms
    present = (np.arange(1 << n)[:, None] >> np.arange(n) & 1).astype(bool)
    rebuilt = [
        r.bias
        + sum(e for s, e in r.and_terms.items() if row[list(s)].all())
        + sum(e for s, e in r.or_terms.items() if row[list(s)].any())
        for row in present
    ]
    np.testing.assert_allclose(r.predict(present), rebuilt, atol=1e-9)
    np.testing.assert_array_equal(r.predict(present), r.predict())


def test_queries_speak_of_terms_only():
    r = sparse(1000, terms=30)
    frame = r.to_frame()
    assert len(frame) == len(r.and_terms) + len(r.or_terms) and {"error", "stability"} <= set(frame.columns)
    assert r.top(3)[0].mask.bit_length() <= 1000 and r.top(1)[0].words[0].startswith("w")
    assert r.by_order()["strength"].sum() == pytest.approx(r.primal) and r.by_order().index.max() <= 4
    held = r.fidelity(0.0)
    assert held.held_out and len(held.values) == r.held_out.sum() and held.r2 > 0.9
    assert "held-out scores" in str(r) and "±" in str(r) and "sampled coalitions" in r._repr_html_()
    r.plot().canvas.draw()
    with pytest.raises(ValueError, match="no effects of all 2\\*\\*n coalitions"):
        r.effects()
    with pytest.raises(ValueError, match="list those to rebuild"):
        r.predict()
    for bad in (1 << 1000, -1, [0.5], np.zeros((2, 3), bool), [True] * 3, "x"):
        with pytest.raises(ValueError, match=r"integer bit masks in \[0, 2\*\*1000\) .* or booleans of shape"):
            r.predict(bad)


def test_no_terms_at_all_is_a_result():
    r = sparse(3, terms=0)
    assert r.top() == [] and r.and_terms == {} and "no interactions" in str(r) and len(r.by_order()) == 0
    assert r.predict(5) == r.bias and r.salient() == []


def test_a_file_gives_back_every_bit(tmp_path):
    for n in (1, 8, 9, 70):
        r = sparse(n)
        back = load(r.save(tmp_path / "x"))
        for name in ("values", "i_and", "i_or", "noise", "coalitions", "held_out"):
            assert np.array_equal(getattr(back, name), getattr(r, name))
        for name in ("and_errors", "or_errors", "and_stability", "or_stability"):
            np.testing.assert_array_equal(getattr(back.terms, name), getattr(r.terms, name))
        assert (back.and_terms, back.or_terms, back.bias) == (r.and_terms, r.or_terms, r.bias)
        assert back.players == r.players and np.isnan(back.gap)


def test_damage_is_a_sentence_or_harmless(tmp_path):
    whole = sparse(30).save(tmp_path / "x").read_bytes()
    broken = tmp_path / "broken"
    for place in np.random.default_rng(0).integers(0, len(whole), 300):
        data = bytearray(whole)
        data[place] ^= 0xFF
        broken.write_bytes(bytes(data))
        try:
            load(broken)
        except ValueError as error:
            assert "broken" in str(error)


def test_terms_that_do_not_fit_are_sentences():
    r = sparse(4)
    for change, sentence in (
        ({"or_sets": (frozenset({1}),) * len(r.terms.or_sets)}, "or_sets names a set of players twice"),
        ({"and_sets": (frozenset({9}), *r.terms.and_sets[1:])}, "needs at least 1 of the players 0 to 3"),
        ({"and_errors": np.zeros(1)}, "and_errors must hold"),
    ):
        with pytest.raises(ValueError, match=sentence):
            Terms(**{**vars(r.terms), **change})
    for change, sentence in (
        ({"held_out": np.zeros(3, bool)}, "held_out must hold 40 booleans"),
        ({"i_and": np.zeros(99)}, "i_and must hold"),
        ({"coalitions": np.zeros((40, 5), bool)}, "coalitions are of 5 and the terms of 4 players, but 4 players"),
    ):
        with pytest.raises(ValueError, match=sentence):
            SampledInteractions(**{**vars(r), **change})
