"""Scores of coalitions against a forward written out by hand, for every masking; hostile models."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from interact import CoalitionInputs, coalition_values, learn_baseline
from interact.engines import flat
from interact.engines.engine import distinct
from interact.engines.score import log_odds
from interact.prompt.masking import resolve_baseline
from tests.interact.conftest import causal, classifier
from tests.interact.families import model_of

INPUTS = CoalitionInputs(
    input_ids=[5, 17, 33, 90, 14, 61, 200, 7, 9, 11, 250, 31],
    spans=[(0, 2), (4, 5), (6, 9)],
    target_ids=[77],
    special_ids={"unk": 3},
    placeholder_ids=(3,),
)


def by_hand(model, inputs, coalition, masking, vector=None):
    """One coalition, one token's log-odds, with an explicit 4-D mask: absent tokens see themselves."""
    ids = torch.tensor([*inputs.input_ids, *inputs.target_ids[:-1]])
    absent = torch.zeros(len(ids), dtype=torch.bool)
    for player, (low, high) in enumerate(inputs.spans):
        absent[low:high] = not coalition >> player & 1
    embedded = model.get_input_embeddings()(ids).detach().clone()
    place = torch.arange(len(ids))
    sees = place[:, None] >= place
    if masking == "baseline":
        embedded[absent] = vector
    else:
        sees &= ~absent | torch.eye(len(ids), dtype=torch.bool)
    floor = torch.finfo(torch.float32).min
    masks = {"full_attention": sees, "sliding_attention": sees & (place[:, None] - place < 6)}
    masks = {k: torch.where(m, 0.0, floor)[None, None] for k, m in masks.items()}
    model.set_attn_implementation("eager")
    mask = masks if model.config.model_type == "gemma3_text" else masks["full_attention"]
    with torch.no_grad():
        out = model(inputs_embeds=embedded[None], attention_mask=mask, position_ids=place[None], use_cache=False)
    model.set_attn_implementation("sdpa")
    total = 0.0
    for i, token in enumerate(inputs.target_ids):
        z = out.logits[0, len(inputs.input_ids) - 1 + i].double()
        p = z.softmax(-1)[token]
        total += float(p.log() - torch.log1p(-p))
    return total


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2"])
@pytest.mark.parametrize("masking", ["baseline", "attention"])
@pytest.mark.parametrize("target", [[77], [77, 12, 300]])
@pytest.mark.parametrize("engine", ["flat", "tree"])
def test_all_coalitions_equal_the_forward_by_hand(name, masking, target, engine):
    model = causal(name)
    inputs = dataclasses.replace(INPUTS, target_ids=target)
    vector = resolve_baseline(model, None, inputs.special_ids).vector
    values = coalition_values(model, inputs, masking=masking, engine=engine)
    expected = torch.tensor([by_hand(model, inputs, c, masking, vector) for c in range(8)])
    torch.testing.assert_close(values, expected, rtol=1e-4, atol=1e-4)
    assert values.std() > 0.01


def test_text_masking_replaces_players_by_the_placeholder():
    model = causal()
    values = coalition_values(model, INPUTS, masking="text")
    ids = [3, *INPUTS.input_ids[2:4], *INPUTS.input_ids[4:6], 3, *INPUTS.input_ids[9:]]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0, -1]
    torch.testing.assert_close(values[0b010], log_odds(logits, torch.tensor(77)), rtol=1e-4, atol=1e-4)


def test_bit_i_is_player_i_and_a_list_of_coalitions_is_kept_in_order():
    model = causal()
    all_values = coalition_values(model, INPUTS)
    some = torch.tensor([7, 0, 5, 5])
    torch.testing.assert_close(coalition_values(model, INPUTS, coalitions=some), all_values[some])
    assert coalition_values(model, INPUTS, coalitions=torch.tensor([], dtype=torch.int64)).shape == (0,)


def test_no_players_give_the_one_score_of_the_prompt():
    model = causal()
    none = dataclasses.replace(INPUTS, spans=[])
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([list(none.input_ids)])).logits[0, -1]
    torch.testing.assert_close(
        coalition_values(model, none), log_odds(logits, torch.tensor(77))[None], rtol=1e-4, atol=1e-4
    )


def test_predicted_target_is_the_argmax_of_the_unmasked_prompt():
    model = causal()
    predicted = coalition_values(model, dataclasses.replace(INPUTS, target_ids=None))
    with torch.no_grad():
        best = int(model(input_ids=torch.tensor([list(INPUTS.input_ids)])).logits[0, -1].argmax())
    torch.testing.assert_close(predicted, coalition_values(model, dataclasses.replace(INPUTS, target_ids=[best])))


@pytest.mark.parametrize("masking", ["baseline", "attention", "text"])
@pytest.mark.parametrize("labels", [1, 3])
def test_classifiers_score_a_label(masking, labels):
    model = classifier(labels)
    ids = [2, 17, 33, 90, 14, 61, 3]
    inputs = CoalitionInputs(ids, [(1, 3), (4, 5)], [labels - 1], special_ids={"unk": 1}, placeholder_ids=(1,))
    values = coalition_values(model, inputs, masking=masking)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0]
    whole = logits[0] if labels == 1 else log_odds(logits, torch.tensor(labels - 1))
    torch.testing.assert_close(values[-1], whole, rtol=1e-4, atol=1e-4)
    assert values.std() > 0


def test_labels_that_may_hold_together_are_judged_apart():
    ids = [2, 17, 33, 90, 14, 61, 3]
    model = classifier(3, problem_type="multi_label_classification")
    values = coalition_values(model, CoalitionInputs(ids, [(1, 3)], [1], special_ids={"unk": 1}))
    with torch.no_grad():
        p = model(input_ids=torch.tensor([ids])).logits[0, 1].sigmoid()
    torch.testing.assert_close(values[-1], (p / (1 - p)).log(), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="regression, which has no log-odds"):
        coalition_values(classifier(1, problem_type="regression"), CoalitionInputs(ids, [(1, 3)], [0]), baseline=1)


def test_a_prompt_without_players_proves_nothing_for_later_ones():
    model = causal()
    plain = model.forward
    coalition_values(model, dataclasses.replace(INPUTS, spans=[]), masking="attention")
    model.forward = lambda attention_mask=None, **rest: plain(**rest)
    with pytest.raises(ValueError, match="lets absent tokens influence the score"):
        coalition_values(model, INPUTS, masking="attention")


@pytest.mark.parametrize("baseline", ["unk", "eos", "mean", "token:9", 9, torch.ones(32)])
def test_every_baseline_runs_and_differs(baseline):
    model = causal()
    assert len({round(float(v), 5) for v in coalition_values(model, INPUTS, baseline=baseline)}) == 8


def test_mean_baseline_goes_through_the_embedding_module():
    model = causal("gemma3")
    found = resolve_baseline(model, "mean", {}).vector
    expected = model.get_input_embeddings()(torch.arange(420)).mean(0)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-4, atol=1e-5)


def test_a_learned_baseline_makes_the_players_interact_less_and_touches_no_weight():
    model = causal().train()
    before = {name: p.clone() for name, p in model.named_parameters()}
    learned = learn_baseline(model, [INPUTS], steps=60, lr=0.02, progress=False)

    def mean_interaction(baseline):
        v = coalition_values(model, INPUTS, baseline=baseline)
        pairs = [(1, 2), (1, 4), (2, 4), (3, 4), (1, 6), (5, 2)]
        return float(sum((v[a | b] - v[a] - v[b] + v[0]).abs() for a, b in pairs))

    assert mean_interaction(learned) < 0.8 * mean_interaction(None)
    assert model.training and all(p.grad is None for p in model.parameters())
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())
    with pytest.raises(ValueError, match="at least two players"):
        learn_baseline(model, [dataclasses.replace(INPUTS, spans=[(0, 1)])])


def test_default_baseline_prefers_unk_then_pad_then_eos():
    model = causal()
    assert resolve_baseline(model, None, {"unk": 3, "pad": 4, "eos": 5}).name == "unk"
    assert resolve_baseline(model, None, {"pad": 4, "eos": 5}).name == "pad"
    assert resolve_baseline(model, None, {}).name == "eos"


def test_half_precision_models_run():
    model = causal().to(torch.bfloat16)
    values = coalition_values(model, INPUTS)
    torch.testing.assert_close(values, coalition_values(causal(), INPUTS), rtol=0.1, atol=0.3)


def test_training_state_random_state_and_gradients_are_left_alone():
    model = causal(attention_dropout=0.5).train()
    model.lm_head.weight.grad = torch.ones_like(model.lm_head.weight)
    before = torch.get_rng_state()
    first = coalition_values(model, INPUTS)
    assert model.training and model.model.layers[0].training and bool((model.lm_head.weight.grad == 1).all())
    assert torch.equal(before, torch.get_rng_state())
    torch.testing.assert_close(first, coalition_values(model.eval(), INPUTS))


def test_a_batch_that_does_not_fit_is_halved_and_said(monkeypatch):
    model, whole, seen = causal(), flat.score_batch, []

    def short_of_memory(game, coalitions):
        seen.append(len(coalitions))
        if len(coalitions) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(game, coalitions)

    expected = coalition_values(model, INPUTS)
    monkeypatch.setattr(flat, "score_batch", short_of_memory)
    with pytest.warns(UserWarning, match="Memory ran out at 8 coalitions per batch; continuing with 2"):
        torch.testing.assert_close(coalition_values(model, INPUTS, engine="flat"), expected)
    assert max(seen) == 8


def test_a_small_memory_budget_gives_the_same_scores():
    model = causal()
    torch.testing.assert_close(coalition_values(model, INPUTS, memory_budget=1), coalition_values(model, INPUTS))


def test_log_odds_do_not_saturate():
    logits = torch.tensor([60.0, 0.0, -60.0], dtype=torch.float32)
    assert float(log_odds(logits, torch.tensor(0))) == pytest.approx(60.0)
    assert float(log_odds(logits, torch.tensor(2))) == pytest.approx(-120.0)
    assert math.isfinite(float(log_odds(logits.half(), torch.tensor(0))))


def test_opt_counts_positions_by_hand_too():
    model = causal("opt")
    values = coalition_values(model, INPUTS, masking="attention")
    expected = torch.tensor([by_hand(model, INPUTS, c, "attention") for c in range(8)])
    torch.testing.assert_close(values, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"masking": "dropout"}, "masking='dropout' is not known"),
        ({}, {"engine": "warp"}, "engine='warp' is not known"),
        ({}, {"baseline": "bos"}, "baseline='bos' is not known"),
        ({}, {"baseline": "pad"}, "has no pad token"),
        ({}, {"baseline": 9999}, "not in the vocabulary of 420"),
        ({}, {"baseline": 1.5}, "must be a name, a token id or a torch vector"),
        ({}, {"baseline": torch.ones(5)}, "baseline vector has the shape \\(5,\\)"),
        ({}, {"coalitions": torch.tensor([8])}, "must lie in \\[0, 2\\*\\*3\\)"),
        ({}, {"coalitions": torch.tensor([0.5])}, "integer bit masks"),
        ({"input_ids": range(64), "spans": [(i, i + 1) for i in range(30, 51)]}, {}, "at most 20 players"),
        ({}, {"memory_budget": 0}, "memory_budget must be a positive"),
        ({}, {"memory_budget": "2 GB"}, "but is '2 GB'"),
        ({}, {"coalitions": "all"}, "coalitions must be a tensor, an array or a list of numbers, but are 'all'"),
        ({"target_ids": [9999]}, {}, "outside the model's 420 outputs"),
        ({"input_ids": [1] * 300, "spans": [(0, 1)]}, {}, "context holds 256"),
        ({"spans": [(10, 12)]}, {"masking": "attention"}, "an absent token cannot answer"),
    ],
)
def test_bad_input_is_a_sentence(changes, options, message):
    with pytest.raises(ValueError, match=message):
        coalition_values(causal(), dataclasses.replace(INPUTS, **changes), **options)


def test_a_model_without_any_special_token_says_what_to_do():
    model = causal(eos_token_id=None)
    with pytest.raises(ValueError, match="no unk, pad or eos token"):
        coalition_values(model, dataclasses.replace(INPUTS, special_ids={}))


def test_nan_logits_name_the_coalition():
    model = causal()
    with torch.no_grad():
        model.get_input_embeddings().weight[3] = torch.nan
    with pytest.raises(ValueError, match="NaN or infinite scores for 7 of 8 coalitions \\(first: 0b000\\)"):
        coalition_values(model, INPUTS)
    with torch.no_grad():
        model.lm_head.weight.fill_(torch.nan)
    with pytest.raises(ValueError, match="predicts nothing"):
        coalition_values(model, dataclasses.replace(INPUTS, target_ids=None))


def test_models_of_other_kinds_are_refused():
    with pytest.raises(ValueError, match="neither a causal language model nor a sequence classifier"):
        coalition_values(causal().model, INPUTS)
    with pytest.raises(ValueError, match="must be a loaded Hugging Face model"):
        coalition_values("smollm2", INPUTS)
    with pytest.raises(ValueError, match="it has no config"):
        coalition_values(torch.nn.Linear(2, 2), INPUTS)


def test_a_model_that_hides_behind_its_input_ids_is_caught():
    """A model that ignores the embeddings passed in would give the same score to every coalition."""
    model = causal()
    plain = model.forward

    def forward(input_ids=None, inputs_embeds=None, **rest):
        if inputs_embeds is not None:
            inputs_embeds = inputs_embeds * 0.5
        return plain(input_ids=input_ids, inputs_embeds=inputs_embeds, **rest)

    model.forward = forward
    with pytest.raises(ValueError, match="baseline masking would be wrong"):
        coalition_values(model, INPUTS)


def test_a_model_that_ignores_the_mask_is_caught():
    model = causal()
    plain = model.forward
    model.forward = lambda attention_mask=None, **rest: plain(**rest)
    with pytest.raises(ValueError, match="lets absent tokens influence the score"):
        coalition_values(model, INPUTS, masking="attention")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
@pytest.mark.parametrize("masking", ["baseline", "attention", "text"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_cuda_gives_the_scores_of_the_cpu(masking, dtype):
    slack = 1e-3 if dtype == torch.float32 else 0.3
    values = coalition_values(causal().to("cuda", dtype), INPUTS, masking=masking)
    torch.testing.assert_close(values, coalition_values(causal(), INPUTS, masking=masking), rtol=slack, atol=slack)


def test_a_model_that_can_neither_cache_nor_take_embeddings_is_told_what_it_can():
    # BLT groups bytes by their ids, and its configuration cannot make a cache.
    model = model_of("blt")
    inputs = CoalitionInputs([5, 17, 33, 90], [(1, 2)], [77], special_ids={"unk": 3}, placeholder_ids=(9,))
    with pytest.raises(ValueError, match=r"not with its embeddings passed in .* use masking='text'"):
        coalition_values(model, inputs)
    assert coalition_values(model, inputs, masking="text").isfinite().all()


@pytest.mark.parametrize("n", [0, 1, 10, 62, 63, 70])
def test_distinct_coalitions_are_sorted_as_rows(n):
    masks = np.random.default_rng(n).random((40, n)) < 0.5
    masks = np.concatenate([masks, masks[:7], np.ones((1, n), bool), np.zeros((1, n), bool)])
    rows, inverse = distinct(masks)
    assert np.array_equal(rows, np.unique(masks, axis=0)) and np.array_equal(rows[inverse], masks)
    assert distinct(masks[:0])[0].shape == (0, n)
