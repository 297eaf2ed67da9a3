"""The classical indices: against shapiq, against each other, their identities, hostile input."""

from dataclasses import dataclass, field, replace
from itertools import combinations
from math import comb

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shapiq.game_theory.exact import ExactComputer
from shapiq.game_theory.moebius_converter import MoebiusConverter

from interact import indices
from interact.indices import rules
from tests.interact.test_interactions import result

LISTED = {
    "SII": indices.sii,
    "BII": indices.bii,
    "k-SII": indices.k_sii,
    "STII": indices.stii,
    "FSII": indices.fsii,
    "FBII": indices.fbii,
    "Moebius": indices.moebius,
    "Co-Moebius": indices.co_moebius,
}
EFFICIENT = (indices.k_sii, indices.stii, indices.fsii)


@dataclass
class Terms:
    """What a sparse result looks like to the indices."""

    n: int
    bias: float = 0.0
    and_terms: dict = field(default_factory=dict)
    or_terms: dict = field(default_factory=dict)


def scores(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng([n, seed]).normal(size=1 << n)


def planted(n: int, seed: int, count: int = 5, largest: int | None = None) -> Terms:
    rng = np.random.default_rng([n, seed])

    def draw() -> dict:
        sizes = rng.integers(1, (largest or n) + 1, size=count)
        return {frozenset(rng.choice(n, int(s), replace=False).tolist()): float(rng.normal()) for s in sizes}

    return Terms(n, float(rng.normal()), draw(), draw())


def present(n: int) -> np.ndarray:
    return (np.arange(1 << n)[:, None] >> np.arange(n) & 1).astype(bool)


def all_scores(game: Terms) -> np.ndarray:
    rows = present(game.n)
    v = np.full(len(rows), game.bias)
    for players, effect in game.and_terms.items():
        v += effect * rows[:, sorted(players)].all(axis=1)
    for players, effect in game.or_terms.items():
        v += effect * rows[:, sorted(players)].any(axis=1)
    return v


def computer(v: np.ndarray, n: int) -> ExactComputer:
    return ExactComputer(lambda rows: v[(np.asarray(rows, dtype=np.int64) << np.arange(n)).sum(axis=1)], n)


def subsets(n: int, order: int) -> list[tuple[int, ...]]:
    return [players for t in range(order + 1) for players in combinations(range(n), t)]


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6])
def test_every_index_is_that_of_shapiq(n):
    v = scores(n, 0)
    truth = computer(v, n)
    converter = MoebiusConverter(truth("Moebius", n))
    np.testing.assert_allclose(indices.shapley(v), [truth("SV")[(i,)] for i in range(n)], atol=1e-12)
    np.testing.assert_allclose(indices.banzhaf(v), [truth("BV")[(i,)] for i in range(n)], atol=1e-12)
    for name, function in LISTED.items():
        for order in {1, min(2, n), min(3, n), n}:
            ours, theirs = function(v, order=order), truth(name, order)
            # shapiq calls SII of order 1 SV, and writes v(empty) for the empty set there and in Co-Moebius.
            first = 1 if theirs.index in ("SV", "BV", "Co-Moebius") else 0
            keys = [key for key in subsets(n, order) if len(key) >= first]
            np.testing.assert_allclose([ours[k] for k in keys], [theirs[k] for k in keys], atol=1e-8, err_msg=name)
            assert len(keys) == sum(len(sets) for sets in ours.sets[first:])
            if name in converter.valid_indices:
                exact = converter(name, order)
                keys = [key for key in keys if key]
                np.testing.assert_allclose([ours[k] for k in keys], [exact[k] for k in keys], atol=1e-11, err_msg=name)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 7), seed=st.integers(0, 1000), order=st.integers(1, 8))
def test_terms_give_what_all_their_scores_give(n, seed, order):
    game = planted(n, seed)
    v = all_scores(game)
    np.testing.assert_allclose(indices.shapley(game), indices.shapley(v), atol=1e-10)
    np.testing.assert_allclose(indices.banzhaf(game), indices.banzhaf(v), atol=1e-10)
    np.testing.assert_allclose(indices.multi_order(game), indices.multi_order(v), atol=1e-10)
    for function in LISTED.values():
        ours, truth = function(game, order=order), function(v, order=order)
        assert ours.order == truth.order == min(order, n) and ours.estimated and not truth.estimated
        keys = subsets(n, ours.order)
        np.testing.assert_allclose([ours[k] for k in keys], [truth[k] for k in keys], atol=1e-10)


def test_closed_forms_of_or_terms_are_the_exact_sums_over_their_moebius_coefficients():
    n = 9
    orders = {rules.moebius_rule(): range(n + 1), rules.co_moebius_rule(): range(n + 1)}
    orders |= {rules.sii_rule(): range(n + 1), rules.bii_rule(): range(n + 1)}
    for family in (rules.k_sii_rule, rules.stii_rule, rules.fsii_rule, rules.fbii_rule):
        orders |= {family(k): range(k + 1) for k in (1, 2, 3, 9)}
    orders |= {rules.multi_order_rule(n, m): range(2, 3) for m in range(n - 1)}
    for rule, reached in orders.items():
        for s in range(1, n + 1):
            for t in (t for t in reached if t <= s):
                parts = (comb(s - t, r - t) * (-1) ** (r + 1) * rule.and_weight(r, t) for r in range(max(t, 1), s + 1))
                assert rule.or_weight(s, t) == sum(parts), (rule.name, s, t)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(2, 7), seed=st.integers(0, 1000), order=st.integers(1, 4), factor=st.floats(-3, 3))
def test_axioms_hold(n, seed, order, factor):
    v, w = scores(n, seed), scores(n, seed + 1)
    rows = np.arange(1 << n)
    # Player 0 is a dummy that adds 0.5; players n - 2 and n - 1 are alike.
    swapped = (rows & ~(3 << (n - 2))) | (rows >> 1 & 1 << (n - 2)) | (rows << 1 & 1 << (n - 1))
    fair = v[rows & ~1] + v[swapped & ~1] + 0.5 * (rows & 1) if n > 2 else v + v[swapped]
    assert indices.shapley(v).sum() == pytest.approx(v[-1] - v[0])
    for function in EFFICIENT:
        values = function(v, order=order)
        assert sum(values.terms.values()) == pytest.approx(v[-1])
    assert indices.co_moebius(v)[()] == pytest.approx(v[-1])
    for function in LISTED.values():
        mixed, parts = function(v + factor * w, order=order), [function(x, order=order) for x in (v, w)]
        for mine, a, b in zip(mixed.effects, *(p.effects for p in parts), strict=True):
            np.testing.assert_allclose(mine, a + factor * b, atol=1e-9)
        values = function(fair, order=order)
        assert values[n - 1] == pytest.approx(values[n - 2])
        if n > 2:
            assert values[0] == pytest.approx(0.5)
            assert all(abs(e) < 1e-9 for key, e in values.terms.items() if 0 in key and len(key) > 1)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_faithful_banzhaf_is_the_least_squares_polynomial(order):
    n = 6
    v, rows = scores(n, 3), present(n)
    keys = subsets(n, order)
    design = np.stack([rows[:, list(key)].all(axis=1) for key in keys], axis=1).astype(float)
    fitted = np.linalg.lstsq(design, v, rcond=None)[0]
    values = indices.fbii(v, order=order)
    np.testing.assert_allclose([values[key] for key in keys], fitted, atol=1e-10)


def test_multi_order_is_the_mean_over_contexts():
    n, v = 5, scores(5, 1)
    found = indices.multi_order(v)
    assert found.shape == (n - 1, n, n)
    for i, j in combinations(range(n), 2):
        for m in range(n - 1):
            contexts = [sum(1 << k for k in c) for c in combinations(sorted({*range(n)} - {i, j}), m)]
            a, b = 1 << i, 1 << j
            mean = np.mean([v[s | a | b] - v[s | a] - v[s | b] + v[s] for s in contexts])
            assert found[m, i, j] == found[m, j, i] == pytest.approx(mean)
    np.testing.assert_allclose(indices.multi_order(v, m=[3, 0]), found[[3, 0]], atol=1e-12)
    np.testing.assert_allclose(indices.multi_order(v, m=2), found[2], atol=1e-12)


def test_pairwise_is_the_gain_of_playing_as_one():
    n, v = 5, scores(5, 2)
    found = indices.pairwise(v)
    np.testing.assert_allclose(found, indices.multi_order(v).mean(axis=0), atol=1e-12)

    def share(merged: list[int], rest: list[int]) -> float:
        """Shapley value of some players who play as one beside `rest`, all others absent."""
        games = present(len(rest) + 1) @ np.array([*(1 << k for k in rest), sum(1 << k for k in merged)])
        return indices.shapley(v[games])[-1]

    for i, j in combinations(range(n), 2):
        rest = [k for k in range(n) if k not in (i, j)]
        assert found[i, j] == pytest.approx(share([i, j], rest) - share([i], rest) - share([j], rest))


def test_a_thousand_players_cost_what_their_terms_cost():
    game = planted(1000, 0, count=300, largest=10)
    phi = np.zeros(1000)
    for terms in (game.and_terms, game.or_terms):
        for players, effect in terms.items():
            phi[sorted(players)] += effect / len(players)
    np.testing.assert_allclose(indices.shapley(game), phi, atol=1e-12)
    pairs = indices.pairwise(game)
    i, j = sorted(next(players for players in game.or_terms if len(players) > 1))[:2]
    shared = [(kind, s, e) for kind in ("and_terms", "or_terms") for s, e in getattr(game, kind).items() if {i, j} <= s]
    truth = sum((1 if kind == "and_terms" else -1) * effect / (len(s) - 1) for kind, s, effect in shared)
    assert pairs[i, j] == pytest.approx(truth)
    v_full = game.bias + sum(game.and_terms.values()) + sum(game.or_terms.values())
    for function in EFFICIENT:
        assert sum(function(game, order=3).terms.values()) == pytest.approx(v_full)
    everyone = Terms(1000, 0.0, {}, {frozenset(range(1000)): 1.0})
    np.testing.assert_allclose(indices.shapley(everyone), np.full(1000, 1e-3))
    assert indices.multi_order(everyone, m=998)[0, 1] == 0 and indices.multi_order(everyone, m=0)[0, 1] == -1
    for wasteful in (lambda: indices.moebius(everyone), lambda: indices.fsii(everyone, order=4)):
        with pytest.raises(ValueError, match=r"out of 1000 players are too many to list .* pass a lower order"):
            wasteful()
    with pytest.raises(ValueError, match="too many at once; name a few contexts with m="):
        indices.multi_order(everyone)


def test_a_result_answers_with_its_scores_and_its_terms_with_the_split():
    r = result(4, kappa=0.04)
    np.testing.assert_allclose(indices.shapley(r), indices.shapley(r.values), atol=1e-12)
    split = Terms(4, r.bias, r.and_terms, r.or_terms)
    np.testing.assert_allclose(indices.shapley(split), indices.shapley(r.predict()), atol=1e-9)
    assert indices.sii(r).players == tuple(p.text for p in r.players)
    assert all(len(players) > 1 for players in r.or_terms) and all(r.or_terms.values())


def test_moebius_coefficients_are_a_game_again_and_other_values_are_not():
    v = scores(4, 0)
    np.testing.assert_allclose(indices.shapley(indices.moebius(v)), indices.shapley(v), atol=1e-12)
    with pytest.raises(ValueError, match="values of the index SII, from which the game cannot be computed"):
        indices.shapley(indices.sii(v))
    with pytest.raises(ValueError, match="stop at order 2 of 4 players"):
        indices.shapley(indices.moebius(v, order=2))


def test_games_without_or_with_one_player():
    for function in LISTED.values():
        assert function([3.0], order=1).terms == {frozenset(): 3.0}
        assert function([3.0, 5.0], order=4)[0] == pytest.approx(2.0)
    assert indices.shapley([3.0]).shape == (0,) and indices.pairwise([3.0]).shape == (0, 0)
    assert indices.multi_order([3.0, 5.0]).shape == (0, 1, 1) and indices.pairwise([3.0, 5.0]).tolist() == [[0.0]]
    assert indices.shapley(Terms(3, 1.0)).tolist() == [0.0, 0.0, 0.0]


def test_values_are_looked_up_by_set_as_an_array_and_as_a_table():
    values = indices.sii(result(4), order=2)
    full = values.array(2)
    assert full.shape == (4, 4) and not full.diagonal().any() and full[1, 3] == full[3, 1] == values[3, 1]
    assert values[np.int64(2)] == values[{2}] == values.array(1)[2] and values.array(0) == values[()]
    frame = values.to_frame()
    assert list(frame["effect"].abs()) == sorted(frame["effect"].abs(), reverse=True)
    assert set(frame["order"]) == {1, 2} and frame["words"].str.contains("good").any()
    assert "SII of 4 players up to order 2" in str(values) and "good + bad" in repr(values)
    for wrong in (7, [0, 1, 2], [-1]):
        with pytest.raises(ValueError, match="sets of at most 2 of the players \\[0, 4\\)"):
            values[wrong]
    with pytest.raises(ValueError, match="orders 0 to 2, but 3 was asked for"):
        values.array(3)
    with pytest.raises(ValueError, match="1000\\*\\*3 numbers is too large"):
        indices.sii(planted(1000, 0, largest=5), order=3).array(3)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ([1.0, 2.0, 3.0], "array of 2\\*\\*n numbers, n at most 26"),
        ([], "array of 2\\*\\*n numbers"),
        ([[1.0, 2.0]], "the shape is \\(1, 2\\)"),
        ([[1.0], [2.0, 3.0]], "real numbers, one per coalition"),
        (["a", "b"], "real numbers, one per coalition, but these are <U1"),
        ([1j, 2.0], "but these are complex128"),
        ([0.0, float("nan"), 1.0, float("inf")], "score of coalition 1 is nan \\(2 scores are not finite\\)"),
        (torch.ones(2, requires_grad=True), "real numbers, one per coalition, but NumPy says"),
        ("a text", "interactions or from an array of 2\\*\\*n scores, but got str"),
        (None, "but got NoneType"),
        (Terms(3, float("nan")), "bias v\\(empty\\) must be a finite number, but is nan"),
        (
            Terms(3, 0.0, {frozenset([3]): 1.0}),
            "AND term is a set of players in \\[0, 3\\), not empty, but one is \\[3\\]",
        ),
        (
            Terms(3, 0.0, {}, {frozenset(): 1.0}),
            "OR term is a set of players in \\[0, 3\\), not empty, but one is \\[\\]",
        ),
        (Terms(3, 0.0, {}, {frozenset([1]): float("inf")}), "effect of the OR term \\[1\\] is inf"),
    ],
)
def test_what_is_no_game_is_a_sentence(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        indices.shapley(wrong)


def test_orders_and_contexts_out_of_range_are_sentences():
    v = scores(3, 0)
    for order in (0, -1, 1.5, True, "2"):
        for function in LISTED.values():
            with pytest.raises(ValueError, match="order of an index is a whole number of at least 1"):
                function(v, order=order)
    for m in (2, -1, 0.5, True, "all", [0, 2]):
        with pytest.raises(ValueError, match="context of a pair out of 3 players has 0 to 1 players"):
            indices.multi_order(v, m=m)
    with pytest.raises(ValueError, match="A pair needs two players, but the game has 1"):
        indices.multi_order([0.0, 1.0], m=0)
    with pytest.raises(ValueError, match="up to 22 out of 22 players are too many to list"):
        indices.moebius(np.zeros(1 << 22))


def test_a_notebook_shows_the_strongest_values_and_escapes_the_words():
    words = ("<script>alert(1)</script>", "good", "a & b")
    shown = replace(indices.sii(np.arange(8.0) ** 2, order=2), players=words)._repr_html_()
    assert "SII of 3 players" in shown and "&lt;script&gt;" in shown and "a &amp; b" in shown
    assert "<script" not in shown and "28.000" in shown
    unnamed = indices.sii(np.arange(8.0) ** 2, order=1)._repr_html_()
    assert "(2,)" in unnamed and "14.000" in unnamed
