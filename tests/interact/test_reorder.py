"""The cache-reordering forward against the flat one: many families, trees, budgets and caches that lie."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from transformers import DynamicCache

from interact import CoalitionInputs, coalition_values, explain_engine
from interact.engines import reorder, trust
from interact.engines.tree import coalition_tree
from interact.games.prompt_game import game_of
from tests.interact.conftest import causal, classifier
from tests.interact.families import model_of
from tests.interact.test_tree import INPUTS, LENGTH, lattice, problems

CLOSE = {"rtol": 1e-4, "atol": 1e-4}
# By what they keep: linear states and convolutions, ALiBi, positions of their own, plain keys and values.
FAMILIES = "bloom mpt falcon xglm bart lfm2 qwen3_next mamba llama gpt2 opt".split()


def watch(model):
    """Record the shape [rows, tokens] of every call from now on."""
    shapes = []

    def note(module, arguments, keywords):
        if "inputs_embeds" in keywords:
            shapes.append(tuple(keywords["inputs_embeds"].shape[:2]))

    model.register_forward_pre_hook(note, with_kwargs=True)
    return shapes


@settings(max_examples=12, deadline=None)
@given(problems(), st.sampled_from([[77], [77, 12, 31]]), st.sampled_from(["gemma3", "gpt2"]))
def test_reorder_equals_flat_for_any_tree_and_budget(problem, target, name):
    spans, coalitions, megabytes, rows = problem
    model = causal(name)
    ids = torch.randint(4, 400, (LENGTH,), generator=torch.Generator().manual_seed(len(spans))).tolist()
    inputs = CoalitionInputs(ids, spans, target, special_ids={"unk": 3})
    options = {"coalitions": torch.from_numpy(coalitions)}
    flat = coalition_values(model, inputs, engine="flat", **options)
    if not spans:
        return
    torch.testing.assert_close(coalition_values(model, inputs, engine="reorder", **options), flat, **CLOSE)
    budget = megabytes * rows * 20_000
    cut = coalition_values(model, inputs, engine="reorder", memory_budget=budget, **options)
    torch.testing.assert_close(cut, flat, **CLOSE)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", FAMILIES)
def test_families_that_go_on_from_their_cache(family):
    model, inputs = model_of(family), dataclasses.replace(INPUTS, target_ids=[77, 12])
    flat = coalition_values(model, inputs, engine="flat")
    assert flat.std() > 1e-3
    torch.testing.assert_close(coalition_values(model, inputs, engine="reorder"), flat, **CLOSE)
    torch.testing.assert_close(coalition_values(model, inputs), flat, **CLOSE)
    taken = "tree" if family in ("llama", "gpt2", "opt") else "reorder"
    assert f"auto takes {taken}: " in explain_engine(model, inputs)


def test_it_computes_the_tokens_of_the_tree_and_finishes_lonely_branches_at_once():
    model = causal()
    shapes = watch(model)
    # A model with a hook is checked by itself, at its first use.
    coalition_values(model, INPUTS, engine="reorder")
    shapes.clear()
    coalition_values(model, INPUTS, engine="reorder")
    assert sum(rows * tokens for rows, tokens in shapes) == coalition_tree(game_of(model, INPUTS), lattice(4)).tokens
    assert shapes == [(1, 1), (2, 3), (4, 4), (8, 2), (16, 4)]
    shapes.clear()
    some = torch.tensor([0b0000, 0b1111])
    coalition_values(model, INPUTS, coalitions=some, engine="reorder")
    assert shapes == [(1, 1), (2, 13)]


def test_batches_follow_the_budget():
    model = causal()
    ids = torch.randint(4, 400, (48,), generator=torch.Generator().manual_seed(0)).tolist()
    inputs = CoalitionInputs(ids, [(6 * i + 3, 6 * i + 4) for i in range(7)], [77], special_ids={"unk": 3})
    shapes = watch(model)
    whole = coalition_values(model, inputs, engine="reorder")
    row = 2 * 2 * 2 * 8 * 4 * len(ids)
    for budget, rows in ((row, 1), (100 * row, 20), (10_000 * row, 128)):
        shapes.clear()
        torch.testing.assert_close(coalition_values(model, inputs, engine="reorder", memory_budget=budget), whole)
        assert max(shapes)[0] <= rows
    assert max(shapes)[0] == 128


def test_the_answering_token_may_be_a_player():
    inputs = dataclasses.replace(INPUTS, spans=[(0, 2), (12, 14)])
    model = causal()
    flat = coalition_values(model, inputs, engine="flat")
    torch.testing.assert_close(coalition_values(model, inputs, engine="reorder"), flat, **CLOSE)
    assert "the token that answers belongs to a player; 4 coalitions" in explain_engine(model, inputs)


def test_many_players_from_a_list_and_repeated_coalitions():
    n = 70
    ids = torch.randint(4, 400, (150,), generator=torch.Generator().manual_seed(0)).tolist()
    inputs = CoalitionInputs(ids, [(2 * i + 1, 2 * i + 2) for i in range(n)], [77], special_ids={"unk": 3})
    rows = torch.rand(12, n, generator=torch.Generator().manual_seed(1)) < 0.5
    rows = torch.cat([rows, rows[:3]])
    values = coalition_values(causal(), inputs, coalitions=rows, engine="reorder")
    torch.testing.assert_close(values, coalition_values(causal(), inputs, coalitions=rows, engine="flat"), **CLOSE)
    assert torch.equal(values[:3], values[12:])


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
def test_lora_adapters_are_followed():
    model = get_peft_model(causal(), LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    flat = coalition_values(model.eval(), INPUTS, engine="flat")
    torch.testing.assert_close(coalition_values(model, INPUTS, engine="reorder"), flat, **CLOSE)


@pytest.mark.filterwarnings("ignore")
def test_models_of_one_configuration_are_checked_once(monkeypatch):
    monkeypatch.setattr(trust, "_passed", {})
    calls = []
    plain = trust.plain_logits
    monkeypatch.setattr(trust, "plain_logits", lambda *given: calls.append(1) or plain(*given))
    coalition_values(causal(), INPUTS)
    once = len(calls)
    coalition_values(causal(), INPUTS)
    assert once and len(calls) == once
    # Another configuration, an adapter and a hook may each change how positions and masks are treated.
    hooked = causal()
    watch(hooked)
    adapted = get_peft_model(causal(), LoraConfig(r=2, target_modules=["q_proj"])).eval()
    for model in (causal(hidden_size=48), adapted, hooked):
        before = len(calls)
        coalition_values(model, INPUTS)
        assert len(calls) > before


def test_longer_prompts_are_checked_where_a_window_may_end(monkeypatch):
    monkeypatch.setattr(trust, "_passed", {})
    model, calls = causal(sliding_window=45), []
    plain = trust.plain_logits
    monkeypatch.setattr(trust, "plain_logits", lambda *given: calls.append(len(given[2])) or plain(*given))
    for length in (40, 41, 44, 43, 45, 46, 50, 63, 64, 65):
        ids = torch.randint(4, 400, (length,), generator=torch.Generator().manual_seed(length)).tolist()
        coalition_values(model, CoalitionInputs(ids, [(3, 5), (8, 9)], [77], special_ids={"unk": 3}))
    # The window ends at 45, and 64 is a power of two.
    assert sorted(set(calls) - {16}) == [40, 45, 46, 64, 65]


def test_trust_in_some_steps_is_no_trust_in_others():
    """Mamba goes on right by one token and wrong by several, which a prompt of single tokens does not show."""
    model = model_of("mamba")
    single = dataclasses.replace(INPUTS, spans=[(11, 12), (12, 13), (13, 14)])
    mixed = dataclasses.replace(INPUTS, input_ids=INPUTS.input_ids[:10], spans=[(1, 2), (4, 6)])
    for inputs in (single, mixed, single):
        flat = coalition_values(model, inputs, engine="flat")
        torch.testing.assert_close(coalition_values(model, inputs, engine="reorder"), flat, **CLOSE)


def test_a_cache_that_does_not_branch_is_found_out(monkeypatch):
    # As in a new process: this configuration has passed with the right cache.
    monkeypatch.setattr(trust, "_passed", {})
    monkeypatch.setattr(DynamicCache, "reorder_cache", lambda self, rows: self.batch_repeat_interleave(len(rows)))
    with pytest.raises(RuntimeError, match="engine='reorder' cannot score this: the reordered cache"):
        coalition_values(causal(), INPUTS, engine="reorder")
    # One that always continues the first prefix has the right shape and the wrong numbers.
    monkeypatch.setattr(DynamicCache, "reorder_cache", lambda self, rows: self.batch_select_indices(0 * rows))
    with pytest.raises(RuntimeError, match="reordered cache's scores of LlamaForCausalLM differ by"):
        coalition_values(causal(), INPUTS, engine="reorder")


def test_a_model_that_gives_back_no_cache_is_left_to_the_flat_forward():
    model = causal()
    plain = model.forward

    def forward(past_key_values=None, use_cache=None, return_dict=True, inputs_embeds=None, input_ids=None):
        return plain(input_ids=input_ids, inputs_embeds=inputs_embeds, use_cache=False)

    model.forward = forward
    flat = coalition_values(model, INPUTS)
    torch.testing.assert_close(flat, coalition_values(causal(), INPUTS), **CLOSE)
    assert "auto takes flat: the model takes no position_ids" in explain_engine(model, INPUTS)
    with pytest.raises(RuntimeError, match="gives back no cache that can be reordered"):
        coalition_values(model, INPUTS, engine="reorder")


def test_memory_that_runs_out_is_halved_and_said(monkeypatch):
    model, whole = causal(), reorder._Walk._call
    expected = coalition_values(model, INPUTS, engine="reorder")

    def short_of_memory(self, embedded, *rest):
        if len(embedded) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(self, embedded, *rest)

    monkeypatch.setattr(reorder._Walk, "_call", short_of_memory)
    with pytest.warns(UserWarning, match="Memory ran out at 4 prefixes per batch; continuing with 2"):
        torch.testing.assert_close(coalition_values(model, INPUTS, engine="reorder"), expected)
    monkeypatch.setattr(reorder._Walk, "_call", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA")))
    with pytest.raises(torch.OutOfMemoryError):
        coalition_values(model, INPUTS, engine="reorder")


@pytest.mark.parametrize(
    ("model", "changes", "options", "message"),
    [
        (causal, {}, {"masking": "text"}, "text masking moves the positions"),
        (causal, {}, {"masking": "attention"}, "a model's own cache does not hide absent tokens"),
        (causal, {"spans": []}, {}, "there are no players or no coalitions"),
        (classifier, {"target_ids": [0]}, {}, "only causal models share beginnings"),
    ],
)
def test_it_says_why_it_refuses(model, changes, options, message):
    inputs = dataclasses.replace(INPUTS, placeholder_ids=(3,), **changes)
    with pytest.raises(RuntimeError, match=f"engine='reorder' cannot score this: {message}"):
        coalition_values(model(), inputs, engine="reorder", **options)
    coalition_values(model(), inputs, **options)
