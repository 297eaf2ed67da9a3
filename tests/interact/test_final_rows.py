"""The last layer for the final rows only: the same scores from fewer rows, and nothing left behind."""

import pytest
import torch
from hypothesis import given, settings
from peft import LoraConfig, get_peft_model

from interact import coalition_values, explain_engine
from interact.engines.final_rows import last_layer
from interact.engines.runner import score_by
from interact.engines.tree import Tree
from interact.games.prompt_game import game_of
from tests.interact.conftest import causal
from tests.interact.families import model_of
from tests.interact.test_tree import INPUTS, LENGTH, CoalitionInputs, lattice, problems

ALL = torch.from_numpy(lattice(4))
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def watched_rows(module):
    """Record the rows that a linear layer computes from now on."""
    rows = []
    plain = module.forward
    module.forward = lambda x, *rest, **named: (rows.append(x.shape[-2]), plain(x, *rest, **named))[1]
    return rows


def both(model, inputs=INPUTS, coalitions=ALL, **options):
    """Score with the final rows only, and with all."""
    with torch.no_grad():
        game = game_of(model, inputs, masking="attention")
        return [score_by(Tree(), game, coalitions.numpy(), final_rows=few, **options) for few in (True, False)]


@settings(max_examples=15, deadline=None)
@given(problems())
def test_final_rows_give_the_scores_of_all_rows(problem):
    spans, coalitions, most_tokens, _ = problem
    if not spans or spans[-1][1] == LENGTH:
        return
    ids = torch.randint(4, 400, (LENGTH,), generator=torch.Generator().manual_seed(len(spans))).tolist()
    inputs = CoalitionInputs(ids, spans, [77, 12])
    few, whole = both(causal("gemma3"), inputs, torch.from_numpy(coalitions), most_tokens=most_tokens)
    torch.testing.assert_close(few, whole, **CLOSE)


def test_fewer_rows_reach_the_last_layer_and_all_reach_the_others():
    model = causal()
    first, last = model.model.layers
    parts = {"q": last.self_attn.q_proj, "o": last.self_attn.o_proj, "down": last.mlp.down_proj}
    rows = {name: watched_rows(part) for name, part in parts.items()}
    others = [watched_rows(part) for part in (last.self_attn.k_proj, last.self_attn.v_proj, first.mlp.down_proj)]
    few, whole = both(model)
    assert torch.equal(few, whole)
    tokens = others[0][1]
    assert all(seen == [16, tokens] for seen in rows.values()) and tokens > 60
    assert all(seen == [tokens, tokens] for seen in others)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
def test_adapters_around_the_linear_layers_are_cut_as_well():
    names = ["q_proj", "k_proj", "o_proj", "up_proj", "down_proj"]
    model = get_peft_model(causal(), LoraConfig(r=4, target_modules=names, init_lora_weights=False)).eval()
    last = model.get_base_model().model.layers[-1]
    rows = [watched_rows(part.lora_A["default"]) for part in (last.self_attn.o_proj, last.mlp.up_proj)]
    few, whole = both(model)
    torch.testing.assert_close(few, whole, **CLOSE)
    assert all(seen[0] == 16 < seen[1] for seen in rows)
    torch.testing.assert_close(few, coalition_values(model, INPUTS, masking="attention", engine="flat"), **CLOSE)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "family", ["qwen3_moe", "gpt_oss", "gpt_neox", "gpt2", "opt", "deepseek_v3", "olmo2", "cohere"]
)
def test_families_agree(family):
    few, whole = both(model_of(family))
    torch.testing.assert_close(few, whole, **CLOSE)


def hooks_of(model):
    return [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]


def test_no_hook_stays_behind_even_after_an_error():
    model = causal()
    before = hooks_of(model)
    both(model)
    assert hooks_of(model) == before
    last = model.model.layers[-1].mlp
    plain, last.forward = last.forward, lambda x: 1 / 0
    with pytest.raises(ZeroDivisionError):
        both(model)
    assert hooks_of(model) == before
    last.forward = plain
    few, whole = both(model)
    assert torch.equal(few, whole)


def test_a_model_whose_last_layer_is_not_the_last_computes_all_rows():
    """The list's last layer runs first here, so its other rows are read by the next one."""
    model = causal()
    layers = model.model.layers
    for layer, index in zip(layers, (1, 0), strict=True):
        layer.self_attn.layer_idx = index
    plain = [layer.forward for layer in layers]
    layers[0].forward, layers[1].forward = plain[1], plain[0]
    assert last_layer(model) is layers[1]
    flat = coalition_values(model, INPUTS, masking="attention", engine="flat")
    few, whole = both(model)
    torch.testing.assert_close(whole, flat, **CLOSE)
    assert (few - flat).abs().max() > 1e-2
    torch.testing.assert_close(coalition_values(model, INPUTS, masking="attention", engine="tree"), flat, **CLOSE)
    assert "auto takes tree" in explain_engine(model, INPUTS, masking="attention")


def test_the_head_of_a_spread_model_reads_its_rows_where_its_states_lie():
    model, asked = causal("gemma3"), []
    game = game_of(model, INPUTS)
    with torch.no_grad():
        whole = score_by(Tree(), game, ALL.numpy())
    rows = watched_rows(model.lm_head)
    model.register_forward_pre_hook(lambda _, __, named: asked.append(named["logits_to_keep"]), with_kwargs=True)
    model.hf_device_map = {"model.layers.0": 0, "model.layers.1": 1}
    with torch.no_grad():
        torch.testing.assert_close(score_by(Tree(), game, ALL.numpy()), whole, rtol=0, atol=0)
    # The model is asked for all rows; the head computes those of the 16 leaves.
    assert asked == [0] and rows == [16]
