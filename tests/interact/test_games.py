"""Games: prompts and plain functions give interactions in one way; an engine is one class in one file."""

import dataclasses

import numpy as np
import pytest
import torch

import interact
from interact import CoalitionInputs, engines
from interact.engines.engine import Engine, Plan, Verdict
from interact.engines.flat import score_batch
from interact.games import splitting
from interact.games.prompt_game import game_of
from interact.indices import shapley
from tests.interact.conftest import causal

INPUTS = CoalitionInputs([5, 17, 33, 90, 14, 61, 200, 7], [(0, 2), (3, 4), (5, 6)], [77], special_ids={"unk": 3})


class OneByOne(Engine):
    """A toy: one forward per coalition, one coalition per batch."""

    name = "one-by-one"
    summary = "one coalition a batch"
    kinds = ("causal",)

    def refusal(self, game):
        return "only baseline masking" if game.masking != "baseline" else None

    def plan(self, game, masks, **options):
        return Plan(game, masks, 1, "coalitions per batch", 1, 2, saving="half", words="in single steps")

    def run(self, plan, rows, size):
        for row in rows:
            yield np.array([row]), score_batch(plan.game, torch.from_numpy(plan.masks[[row]]))

    def check(self, game):
        return Verdict()


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setattr(engines, "ENGINES", [OneByOne(), *engines.ENGINES])


def test_an_engine_in_one_file_is_chosen_named_and_refused(toy):
    model, flat = causal(), interact.coalition_values(causal(), INPUTS, engine="flat")
    for engine in ("auto", "one-by-one"):
        torch.testing.assert_close(interact.coalition_values(model, INPUTS, engine=engine), flat)
        expected = f"{engine} takes one-by-one: in single steps."
        assert interact.explain_engine(model, INPUTS, engine=engine) == expected
    with pytest.raises(RuntimeError, match="engine='one-by-one' cannot score this: only baseline masking"):
        interact.coalition_values(model, INPUTS, engine="one-by-one", masking="attention")
    assert "auto takes tree: only baseline masking; 8 coal" in interact.explain_engine(
        model, INPUTS, masking="attention"
    )
    with pytest.raises(
        ValueError, match=r"choose one of \['auto', 'one-by-one', 'tree', 'reorder', 'packed', 'flat'\]"
    ):
        interact.coalition_values(model, INPUTS, engine="two-by-two")


def test_explaining_refuses_what_scoring_refuses():
    far = dataclasses.replace(INPUTS, target_ids=[10**6])
    for ask in (interact.coalition_values, interact.explain_engine):
        with pytest.raises(ValueError, match="outside the model's"):
            ask(causal(), far)
        with pytest.raises(RuntimeError, match="engine='packed' cannot score this"):
            ask(causal(), INPUTS, engine="packed")
        with pytest.raises(ValueError, match="an absent token cannot answer"):
            ask(causal(), dataclasses.replace(INPUTS, spans=[(7, 8)]), masking="attention")


def test_a_prompt_is_inspected_and_checked_once_a_game(monkeypatch):
    calls = []
    whole = interact.games.prompt_game.passed_checks
    monkeypatch.setattr("interact.games.prompt_game.passed_checks", lambda model: calls.append(1) or whole(model))
    game = game_of(causal(), INPUTS)
    values = np.concatenate([game([mask]) for mask in range(8)])
    assert len(calls) == 1
    np.testing.assert_allclose(values, interact.coalition_values(causal(), INPUTS).numpy(), rtol=1e-5, atol=1e-5)


def test_a_game_of_a_text_is_what_extract_splits(byte_level):
    model, text = causal(), "a gorgeous witty movie"
    game = interact.game(model, byte_level, text, target=7)
    assert [p.text for p in game.players] == ["gorgeous", "witty", "movie"] and game.n == 3 and game.text == text
    assert game.explain().startswith("auto takes tree: 8 coalitions")
    ours, theirs = game.interactions(kappa=0.02), interact.extract(model, byte_level, text, target=7, kappa=0.02)
    assert ours.and_terms == theirs.and_terms and ours.or_terms == theirs.or_terms
    when = {"date"}
    assert {k: v for k, v in ours.provenance.items() if k not in when} == {
        k: v for k, v in theirs.provenance.items() if k not in when
    }
    sampled = game.interactions("sparse", budget=60)
    np.testing.assert_allclose(sampled.predict([0, 7]), game([0, 7]), atol=0.2)


def vote(masks):
    return 2.0 * masks[:, :2].all(1) - masks[:, 2]


def test_a_function_is_a_game_exact_and_sampled():
    game = interact.game_from(vote, ["not", "good", "film"], provenance={"model": "an API"})
    exact = game.interactions(kappa=0)
    assert exact.and_terms == {frozenset({0, 1}): 2.0, frozenset({2}): -1.0} and not exact.or_terms
    assert exact.provenance["model"] == "an API" and exact.gap <= 1e-3
    assert shapley(exact).tolist() == [1.0, 1.0, -1.0]
    assert game.explain() == "The function vote scores every coalition."
    many = interact.game_from(vote, 30).interactions("sparse", budget=400)
    assert dict(many.and_terms) == pytest.approx({frozenset({0, 1}): 2.0, frozenset({2}): -1.0}, abs=1e-6)


def test_bad_games_are_sentences():
    with pytest.raises(ValueError, match=r"one score per coalition, shape \(4,\), but returned \(4, 2\)"):
        interact.game_from(lambda masks: masks, 2).interactions()
    with pytest.raises(ValueError, match="no score for 1 of 4 coalitions; the first is the mask 0x3: its"):
        interact.game_from(lambda masks: np.where(masks.all(1), np.nan, 1.0), 2).interactions()
    for players in (-1, True, [1, 2, 3], "abc", 2.5, None):
        with pytest.raises(ValueError, match="players are names in a list, or their number, 0 or more, but are"):
            interact.game_from(vote, players)
    assert interact.game_from(vote, np.int64(3)).n == 3
    with pytest.raises(ValueError, match="provenance must hold JSON values"):
        interact.game_from(vote, 3, provenance={"a": np.float32(1)})
    with pytest.raises(ValueError, match="holds at most 20 players"):
        interact.game_from(vote, 21).interactions()
    with pytest.raises(ValueError, match="method='all' is not known"):
        interact.game_from(vote, 3).interactions("all")
    with pytest.raises(ValueError, match="belong to sampled coalitions"):
        interact.game_from(vote, 3).interactions(budget=8)
    with pytest.raises(ValueError, match="integer bit masks"):
        interact.game_from(vote, 3)(np.zeros((2, 4), dtype=bool))


def test_many_players_are_split_in_a_box_unless_asked_otherwise(monkeypatch):
    monkeypatch.setattr("interact.games.game._MOST_SOFT", 2)
    three = interact.game_from(lambda masks: 1.0 * masks.all(1) + masks[:, 0], 3)
    assert three.interactions().provenance["noise"] == "box"
    assert three.interactions(noise="soft").provenance["noise"] == "soft"
    two = interact.game_from(lambda masks: 1.0 * masks.all(1), 2)
    assert two.interactions().provenance["noise"] == "soft"


@pytest.mark.parametrize(
    ("device", "samples", "n", "card"),
    [
        ("cuda", 1, 11, True),
        ("cuda:1", 8, 8, True),
        ("cuda", 1, 10, False),
        ("cuda", 99, 7, False),
        ("cpu", 99, 12, False),
    ],
)
def test_a_card_splits_where_there_is_enough_to_do(device, samples, n, card):
    assert splitting.worth_a_card(torch.device(device), samples, 1 << n) == card


def test_a_split_on_the_card_is_the_same_and_a_full_card_leaves_it_to_the_cpu(monkeypatch):
    scores = np.random.default_rng(0).normal(size=(8, 256))
    here = splitting.split_on(scores, None, noise=None, kappa=None)
    # What would lie on the card lies on the CPU, as a tensor.
    monkeypatch.setattr(splitting.torch, "as_tensor", lambda values, device: torch.from_numpy(values))
    there = splitting.split_on(scores, torch.device("cuda"), noise=None, kappa=None)
    assert all(type(part) is np.ndarray for part in (there.i_and, there.gap, there.certificate))
    np.testing.assert_allclose(there.i_or, here.i_or, atol=1e-9)

    def full(values, device):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(splitting.torch, "as_tensor", full)
    np.testing.assert_array_equal(
        splitting.split_on(scores, torch.device("cuda"), noise=None, kappa=None).i_or, here.i_or
    )
