"""Results in the neighbours' formats: shapiq, SHAP, JSON; prompts as shapiq games."""

import copy
import doctest
import importlib
import json
import sys
from itertools import combinations

import numpy as np
import pytest
import shapiq
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shapiq.game_theory.exact import ExactComputer

import interact
from interact import (
    PlayerChoice,
    Template,
    as_shapiq_game,
    coalition_values,
    from_shapiq,
    indices,
    prepare,
    to_shap,
    to_shapiq,
)
from interact.games.shapiq_game import CoalitionGame
from tests.interact.conftest import causal, classifier
from tests.interact.test_indices import Terms, planted, present, scores
from tests.interact.test_interactions import HOSTILE, result
from tests.interact.test_sampled import sparse as sampled

TEXT = "a gorgeous, witty, seductive movie"
WITHIN = Template(user="Good or bad? {text}", chat=False, answer_prefix=" This review is")


@pytest.mark.parametrize("index", ["SV", "BV", "SII", "BII", "k-SII", "STII", "FSII", "FBII", "Moebius"])
@pytest.mark.parametrize("order", [1, 2, 4])
def test_shapiq_gets_the_object_it_would_have_made(index, order):
    if index in ("SV", "BV"):
        order = 1
    n, v = 4, scores(4, 0)
    ours = to_shapiq(v, index, None if index == "Moebius" else order)
    theirs = ExactComputer(lambda rows: v[rows.astype(int) @ (1 << np.arange(n))], n)(index, order)
    assert isinstance(ours, shapiq.InteractionValues)
    assert (ours.index, ours.n_players, ours.max_order) == (theirs.index, n, theirs.max_order) and not ours.estimated
    for t in range(order + 1):
        for key in combinations(range(n), t):
            assert ours[key] == pytest.approx(theirs[key], abs=1e-8)
    assert len(ours.interactions) == len(theirs.interactions)


@settings(max_examples=20, deadline=None)
@given(
    n=st.integers(0, 6), seed=st.integers(0, 99), name=st.sampled_from(["Moebius", "SII", "FSII", "FBII", "Co-Moebius"])
)
def test_shapiq_and_back_keeps_every_value(n, seed, name):
    ours = from_shapiq(to_shapiq(scores(n, seed), name, 3))
    truth = getattr(indices, {"Co-Moebius": "co_moebius"}.get(name, name.lower()))(scores(n, seed), order=3)
    kept = {key: value for key, value in truth.terms.items() if key or ours.index == "FBII"}
    assert {key: ours.terms[key] for key in kept} == kept
    assert ours.bias == truth.bias and (ours.n, ours.order) == (n, min(3, n))


def test_terms_travel_as_moebius_coefficients_and_stay_a_game():
    game = planted(30, 0, largest=4)
    there = to_shapiq(game)
    assert there.estimated and there.baseline_value == game.bias
    back = from_shapiq(there, players=[f"word{i}" for i in range(30)])
    np.testing.assert_allclose(indices.shapley(back), indices.shapley(game), atol=1e-12)
    assert indices.sii(back).players[29] == "word29"


def test_values_that_are_an_index_already_are_handed_over_as_they_are():
    values = indices.sii(result(4), order=3)
    assert to_shapiq(values, max_order=2).max_order == 2 and len(to_shapiq(values).interactions) == 15
    assert result(4).to_shapiq("SII", 3).interactions == to_shapiq(values).interactions
    for order in (0, 4, True):
        with pytest.raises(ValueError, match="values of the orders 1 to 3, but max_order"):
            to_shapiq(values, max_order=order)
    with pytest.raises(ValueError, match="These FSII values have order 2, but max_order="):
        to_shapiq(indices.fsii(result(4)), max_order=1)


def test_unknown_indices_and_foreign_objects_are_sentences():
    with pytest.raises(ValueError, match="index 'shapley' is not known; choose one of SV, BV, SII"):
        to_shapiq([0.0, 1.0], "shapley")
    with pytest.raises(ValueError, match="SV has values of single players only, but max_order=2"):
        to_shapiq([0.0, 1.0], "SV", 2)
    with pytest.raises(ValueError, match=r"from_shapiq takes shapiq\.InteractionValues, but got dict, which has no"):
        from_shapiq({(0,): 1.0})
    with pytest.raises(ValueError, match="values are of 2 players, but 1 names were given"):
        from_shapiq(to_shapiq(scores(2, 0)), players=["one"])
    outside = to_shapiq(scores(2, 0))
    outside.interactions[(0, 7)] = 1.0
    with pytest.raises(ValueError, match="hold the set \\(0, 7\\), which is not a set of at most 2 of 2 players"):
        from_shapiq(outside)


@pytest.mark.parametrize("masking", ["baseline", "attention"])
def test_a_prompt_is_a_game_that_scores_each_coalition_once(byte_level, masking):
    model = causal()
    game = as_shapiq_game(model, byte_level, TEXT, target=" a", target_tokens=1, template=WITHIN, masking=masking)
    inputs = prepare(byte_level, TEXT, target=" a", target_tokens=1, template=WITHIN)
    v = coalition_values(model, inputs, masking=masking).double().numpy()
    assert isinstance(game, shapiq.Game) and game.n_players == inputs.n and game.scored == 1
    rows = present(inputs.n)
    np.testing.assert_allclose(game(rows), v - v[0], atol=1e-4)
    assert game.scored == 1 << inputs.n
    # Rows of numbers, a single row, tuples of players and of names are one and the same.
    np.testing.assert_array_equal(game(rows.astype(float)), game(rows))
    assert game(rows[5])[0] == game([(0, 2)])[0] == game([(game.players[0], game.players[2])])[0]
    assert game.normalization_value == pytest.approx(v[0], abs=1e-4)
    np.testing.assert_allclose(
        [ExactComputer(game, inputs.n)("SV")[(i,)] for i in range(inputs.n)], indices.shapley(v), atol=1e-4
    )


def test_a_conversation_is_a_game_and_a_score_may_be_named(byte_level):
    model, chat = causal(), copy.deepcopy(byte_level)
    chat.chat_template = "{% for m in messages %}<{{ m.role }}> {{ m.content }}\n{% endfor %}"
    asked = {"messages": [{"role": "user", "content": TEXT}], "target": " a", "target_tokens": 1, "score": "logit"}
    game = as_shapiq_game(model, chat, normalize=False, **asked)
    v = interact.game(model, chat, **asked)(np.arange(1 << game.n_players))
    np.testing.assert_allclose(game(present(game.n_players)), v, atol=1e-5)
    one = {"target": " a", "target_tokens": 1, "players": ["movie"]}
    inputs = prepare(byte_level, TEXT, **one)
    for score in (None, "logit", lambda logits: logits[:, 5]):
        game = as_shapiq_game(model, None, inputs, score=score, normalize=False)
        v = interact.game(model, byte_level, TEXT, score=score, **one)([0, 1])
        np.testing.assert_allclose(game(present(1)), v, atol=1e-5)
    with pytest.raises(ValueError, match="leave out players"):
        as_shapiq_game(model, None, inputs, players=["movie"])


def test_approximators_run_on_a_prompt_and_find_its_indices(byte_level):
    model = causal()
    options = {"target": " a", "target_tokens": 1, "template": WITHIN, "players": PlayerChoice("all-words")}
    game = as_shapiq_game(model, byte_level, TEXT, **options)
    n = game.n_players
    v = game(present(n))
    found = shapiq.KernelSHAPIQ(n=n, max_order=2, index="k-SII", random_state=0).approximate(1 << n, game)
    truth = indices.k_sii(v, order=2)
    for key in combinations(range(n), 2):
        assert found[key] == pytest.approx(truth[key], abs=1e-4 * np.abs(v).max())
    mine = from_shapiq(found, players=game.players)
    assert mine.players == game.players and mine[0] == pytest.approx(truth[0], abs=1e-3)


def test_proxyspex_runs_on_a_game():
    pytest.importorskip("lightgbm", reason="ProxySPEX needs lightgbm")
    if not hasattr(shapiq, "ProxySPEX"):
        pytest.skip("this shapiq has no ProxySPEX")
    planted_game = Terms(8, 2.0, {frozenset([0, 1]): 3.0, frozenset([4]): -2.0})

    def score(rows: np.ndarray) -> np.ndarray:
        return 2.0 + 3.0 * (rows[:, 0] & rows[:, 1]) - 2.0 * rows[:, 4]

    game = CoalitionGame(score, [f"w{i}" for i in range(8)])
    found = from_shapiq(shapiq.ProxySPEX(n=8, index="FBII", max_order=2, random_state=0).approximate(150, game))
    truth = indices.fbii(planted_game, order=2)
    assert found[0, 1] == pytest.approx(truth[0, 1], abs=0.3) and found[4] == pytest.approx(-2.0, abs=0.3)
    assert game.scored <= 151


def test_games_know_equal_words_apart_and_take_more_players_than_a_lattice(byte_level):
    words = prepare(byte_level, "good film good jokes", players=PlayerChoice("all-words"), target=" a", target_tokens=1)
    names = as_shapiq_game(causal(), None, words).player_name_lookup
    assert list(names) == ["good", "film", "good (2)", "jokes"]
    ids = np.random.default_rng(0).integers(2, 300, 40)
    inputs = interact.CoalitionInputs(ids, [(i, i + 1) for i in range(24)], target_ids=[5], special_ids={"unk": 1})
    game = as_shapiq_game(causal(), None, inputs)
    assert game.n_players == 24 and game.players[23] == "23"
    with pytest.raises(ValueError, match="CoalitionInputs hold players, target and template already; leave out target"):
        as_shapiq_game(causal(), None, inputs, target=" a")
    rows = np.zeros((3, 24), dtype=bool)
    rows[1:] = True
    assert game(rows)[0] == 0.0 and game(rows)[1] == game(rows)[2] and game.scored == 2
    raw = as_shapiq_game(causal(), byte_level, TEXT, target=" a", target_tokens=1, normalize=False, template=WITHIN)
    assert raw(np.zeros(raw.n_players, dtype=bool))[0] != 0 and raw.normalization_value == 0


def test_a_classifier_is_a_game_of_its_label(wordpiece):
    game = as_shapiq_game(classifier(), wordpiece, TEXT, target="positive")
    inputs = prepare(wordpiece, TEXT)
    v = coalition_values(classifier(), inputs.__class__(**{**vars(inputs), "target_ids": (2,)})).double().numpy()
    np.testing.assert_allclose(game(present(inputs.n)), v - v[0], atol=1e-4)


def test_a_text_without_players_is_no_game(byte_level):
    with pytest.raises(ValueError, match="A shapiq game needs at least one player"):
        as_shapiq_game(causal(), byte_level, TEXT, players=[], target=" a", target_tokens=1, template=WITHIN)
    with pytest.raises(ValueError, match="masking"):
        as_shapiq_game(causal(), byte_level, TEXT, target=" a", target_tokens=1, masking="none")


@pytest.mark.parametrize(
    ("library", "extra", "call"),
    [
        ("shapiq", "shapley", lambda: to_shapiq([0.0, 1.0])),
        ("shapiq", "shapley", lambda: as_shapiq_game(None, None, TEXT)),
        ("shap", "shap", lambda: to_shap([0.0, 1.0])),
    ],
)
def test_a_missing_library_is_named_with_its_extra(monkeypatch, library, extra, call):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(
        RuntimeError, match=f'{library}, which is not installed; run: pip install "interact-llm\\[{extra}\\]"'
    ):
        call()


def test_shap_gets_an_explanation():
    shap = pytest.importorskip("shap", reason="shap is not installed (extra shap)")
    r = result(4)
    found = r.to_shap()
    assert isinstance(found, shap.Explanation) and found.feature_names == [p.text for p in r.players]
    np.testing.assert_allclose(found.values, indices.shapley(r), atol=1e-12)
    assert found.base_values + found.values.sum() == pytest.approx(r.values[-1])
    pairs = to_shap(r, order=2).values
    np.testing.assert_allclose(pairs.sum(axis=1), found.values, atol=1e-9)
    np.testing.assert_allclose(2 * pairs[0, 1], indices.sii(r)[0, 1], atol=1e-12)
    assert "good" in shap.plots.text(found, display=False)


def test_shap_knows_values_and_pairs_only():
    for order in (0, 3, "2"):
        with pytest.raises(ValueError, match="single players or of pairs \\(order 1 or 2\\), not"):
            to_shap([0.0, 1.0], order=order)


def test_json_holds_the_result_and_hostile_text():
    r = result(4)
    back = json.loads(r.to_json())
    assert back["text"] == r.text and HOSTILE in back["players"] and back["bias"] == r.bias
    terms = {(i["kind"], frozenset(i["players"])): i["effect"] for i in back["interactions"]}
    assert terms == {("and", k): e for k, e in r.and_terms.items()} | {("or", k): e for k, e in r.or_terms.items()}
    assert [abs(i["effect"]) for i in back["interactions"]] == sorted(map(abs, terms.values()), reverse=True)
    assert back["interactions"][0]["words"] == list(r.top(1)[0].words) and back["provenance"]["kappa"] == 0.04
    assert json.loads(r.to_json(k=2))["interactions"] == back["interactions"][:2]
    assert json.loads(result(0).to_json())["interactions"] == []
    with pytest.raises(ValueError, match="to_json takes a number of interactions, 0 or more, but got -1"):
        r.to_json(k=-1)


@pytest.mark.parametrize(
    "name", ["interact.indices", "interact.indices.cardinal", "interact.indices.pairs", "interact.results.conversions"]
)
def test_examples_in_the_code_are_true(name):
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried and not failed


def test_tensors_are_scores_too():
    v = torch.from_numpy(scores(3, 0))
    np.testing.assert_array_equal(indices.shapley(v), indices.shapley(v.numpy()))


def test_a_sparse_result_is_read_by_its_terms_even_where_it_sampled_every_coalition():
    sparse = sampled(n=5, rows=1 << 5)
    truth = Terms(sparse.n, sparse.bias, sparse.and_terms, sparse.or_terms)
    np.testing.assert_allclose(indices.shapley(sparse), indices.shapley(truth), atol=1e-12)
    assert sparse.to_shapiq("SII").estimated
    back = json.loads(sparse.to_json())
    assert len(back["interactions"]) == len(sparse.and_terms) + len(sparse.or_terms) > 0
