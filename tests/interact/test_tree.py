"""The coalition tree: its plan, and its scores against the flat forward on many families, trees and cuts."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from interact import CoalitionInputs, coalition_values, explain_engine
from interact.engines import tree
from interact.engines.coalition_tree import CoalitionTree, Costs
from tests.interact.conftest import causal, classifier

LENGTH = 24


def lattice(n: int) -> np.ndarray:
    return (np.arange(1 << n)[:, None] >> np.arange(n) & 1).astype(bool)


@st.composite
def problems(draw, most_players=5):
    """Random disjoint spans with a tail, some coalitions, and a cut."""
    n = draw(st.integers(0, most_players))
    edges = sorted(draw(st.sets(st.integers(0, LENGTH - 2), min_size=2 * n, max_size=2 * n)))
    spans = list(zip(edges[::2], edges[1::2], strict=True))
    rows = draw(st.lists(st.integers(0, (1 << n) - 1), min_size=1, max_size=12, unique=True))
    return spans, lattice(n)[rows], draw(st.integers(1, 40)), draw(st.integers(1, 5))


@given(problems(), st.booleans())
def test_every_path_spells_its_masked_prompt(problem, drop_absent):
    """Walk the runs as an engine does, keeping only what is carried, and read each leaf's path."""
    spans, coalitions, most_tokens, most_leaves = problem
    plan = CoalitionTree(LENGTH, spans, coalitions, drop_absent=drop_absent)
    seen, computed, kept = {}, 0, np.zeros((0, 2), dtype=np.int64)
    for run in plan.runs(most_tokens, most_leaves):
        tokens = np.stack([run.position, run.absent], axis=1)
        assert np.array_equal(tokens[: run.kept], kept)
        computed += len(tokens) - run.kept
        assert len(run.leaves) <= most_leaves
        for leaf, row in zip(run.leaves, run.rows, strict=True):
            segment = int(np.searchsorted(run.start, leaf + run.kept, side="right")) - 1
            path = []
            while segment >= 0:
                path.append(tokens[run.start[segment] : run.start[segment] + run.length[segment]])
                segment = run.parent[segment]
            seen[int(row)] = np.concatenate(path[::-1])
        kept = tokens[run.carry]
    assert computed == plan.tokens and sorted(seen) == list(range(len(coalitions)))
    for row, present in enumerate(coalitions):
        absent = np.zeros(LENGTH, dtype=bool)
        for here, (low, high) in zip(present, spans, strict=True):
            absent[low:high] = not here
        place = np.arange(LENGTH)
        expected = place[~absent] if drop_absent else place
        assert np.array_equal(seen[row][:, 0], expected)
        assert np.array_equal(seen[row][:, 1].astype(bool), absent[expected])


def test_token_counts_follow_the_law():
    """Context after k players 2^k times, player k's span 2^(k-1) or 2^k times, tail 2^n times."""
    spans = [(4, 6), (8, 9), (12, 15)]
    attention = CoalitionTree(20, spans, lattice(3), drop_absent=True)
    assert attention.tokens == 4 + 2 + 2 * 2 + 2 * 1 + 4 * 3 + 4 * 3 + 8 * 5
    baseline = CoalitionTree(20, spans, lattice(3), drop_absent=False)
    assert baseline.tokens == 4 + 2 * 2 + 2 * 2 + 4 * 1 + 4 * 3 + 8 * 3 + 8 * 5
    assert attention.saving() == "8 coalitions: 76 tokens instead of 160 (2.1x fewer)"
    assert attention.explain(4096, 100) == f"{attention.saving()}, in 1 run of at most 4096 tokens"


@given(problems(), st.booleans())
def test_memory_is_predicted_before_anything_runs(problem, drop_absent):
    spans, coalitions, most_tokens, most_leaves = problem
    plan = CoalitionTree(LENGTH, spans, coalitions, drop_absent=drop_absent)
    costs = Costs(token=1_000_000, kept=10_000, leaf=100)
    runs = list(plan.runs(most_tokens, most_leaves))
    sizes = [(len(r.position) - r.kept) * 1_000_000 + len(r.leaves) * 100 + len(r.carry) * 10_000 for r in runs]
    assert plan.memory(most_tokens, most_leaves, costs) == max(sizes)
    words = plan.explain(most_tokens, most_leaves, costs)
    assert f"in {len(runs)} run" in words and words.endswith(f", {max(sizes) / 1e6:.0f} MB of memory")


@settings(max_examples=25, deadline=None)
@given(problems(), st.sampled_from(["baseline", "attention"]), st.sampled_from([[77], [77, 12]]))
def test_tree_equals_flat_for_any_tree_and_cut(problem, masking, target):
    spans, coalitions, most_tokens, _ = problem
    if not spans or spans[-1][1] == LENGTH:
        return
    model = causal("gemma3")
    draw = torch.Generator().manual_seed(len(spans))
    ids = torch.randint(4, 400, (LENGTH,), generator=draw).tolist()
    inputs = CoalitionInputs(ids, spans, target, special_ids={"unk": 3})
    rows = torch.from_numpy(coalitions)
    options = {"coalitions": rows, "masking": masking}
    flat = coalition_values(model, inputs, engine="flat", **options)
    torch.testing.assert_close(coalition_values(model, inputs, engine="tree", **options), flat, rtol=1e-4, atol=1e-4)
    bytes_of_a_token = 2 * (8 * 32 + 3 * 64) * 4
    cut = coalition_values(model, inputs, engine="tree", memory_budget=most_tokens * bytes_of_a_token, **options)
    torch.testing.assert_close(cut, flat, rtol=1e-4, atol=1e-4)


INPUTS = CoalitionInputs(
    [5, 17, 33, 90, 14, 61, 100, 7, 9, 11, 50, 31, 8, 21],
    [(1, 2), (4, 6), (8, 9), (10, 11)],
    [77],
    special_ids={"unk": 3},
)
FAMILIES = (
    "llama mistral qwen2 qwen3 gemma gemma2 gemma3_text gpt2 gpt_neox opt phi phi3 olmo2 cohere granite stablelm "
    "starcoder2 gpt_oss qwen3_moe smollm3 mamba bloom bert lfm2"
).split()
EXACT = set(FAMILIES) - {"mamba", "bloom", "bert", "lfm2"}


def tiny(family: str, **changes):
    """A random model of a family: small sizes under whatever names its configuration uses."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "n_embd": 32, "intermediate_size": 64, "num_hidden_layers": 2, "n_layer": 2}
    sizes |= {"num_attention_heads": 4, "n_head": 4, "num_key_value_heads": 2, "head_dim": 8, "ffn_dim": 64}
    sizes |= {"word_embed_proj_dim": 32, "sliding_window": 5, "vocab_size": 120, "pad_token_id": 0, "eos_token_id": 2}
    sizes |= {
        "num_experts": 4,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "query_pre_attn_scalar": 8,
    }
    known = CONFIG_MAPPING[family]()
    sizes = {k: v for k, v in sizes.items() if hasattr(known, k) or k in ("pad_token_id", "eos_token_id")}
    if family == "lfm2":
        sizes["layer_types"] = ["conv", "full_attention"]
    config = CONFIG_MAPPING[family](**sizes)
    model = AutoModelForCausalLM.from_config(config).eval().float()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                parameter.mul_(4.0)
    return model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("masking", ["baseline", "attention"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_exact_or_falls_back_and_never_wrong(family, masking):
    model = tiny(family)
    try:
        flat = coalition_values(model, INPUTS, masking=masking, engine="flat")
    except ValueError as error:
        assert family not in EXACT and ("use masking=" in str(error) or "see later ones" in str(error))
        return
    torch.testing.assert_close(coalition_values(model, INPUTS, masking=masking), flat, rtol=1e-3, atol=1e-3)
    if family in EXACT:
        values = coalition_values(model, INPUTS, masking=masking, engine="tree")
        torch.testing.assert_close(values, flat, rtol=1e-3, atol=1e-3)
        words = explain_engine(model, INPUTS, masking=masking)
        assert "auto takes tree: 16 coalitions: " in words and "tokens instead of 224" in words
        assert "in 1 run of at most 2048 tokens, under 1 MB of memory." in words
    else:
        with pytest.raises(RuntimeError, match="engine='tree' cannot score this"):
            coalition_values(model, INPUTS, masking=masking, engine="tree")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("masking", ["baseline", "attention"])
@pytest.mark.parametrize("family", ["llama4_text", "phimoe"])
def test_a_short_prompt_does_not_vouch_for_a_long_one(family, masking):
    """These hide a chunk or a window in their mask function, which a short prompt does not reach."""
    model = tiny(family, attention_chunk_size=8, sliding_window=8)
    short = dataclasses.replace(INPUTS, input_ids=INPUTS.input_ids[:6], spans=[(1, 2), (3, 4)])
    ids = torch.randint(4, 120, (48,), generator=torch.Generator().manual_seed(0)).tolist()
    long = dataclasses.replace(INPUTS, input_ids=ids, spans=[(3, 4), (20, 22), (30, 31), (40, 42)])
    for inputs in (short, long):
        flat = coalition_values(model, inputs, masking=masking, engine="flat")
        torch.testing.assert_close(coalition_values(model, inputs, masking=masking), flat, rtol=1e-3, atol=1e-3)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
def test_lora_adapters_are_followed():
    model = get_peft_model(causal(), LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    model.eval()
    flat = coalition_values(model, INPUTS, engine="flat")
    torch.testing.assert_close(coalition_values(model, INPUTS, engine="tree"), flat, rtol=1e-4, atol=1e-4)
    with model.disable_adapter():
        assert (coalition_values(model, INPUTS) - flat).abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_no_further_from_float32_than_the_flat_forward(dtype):
    truth = coalition_values(causal(), INPUTS, engine="flat")
    half = causal().to(dtype)
    flat_error = (coalition_values(half, INPUTS, engine="flat") - truth).abs().mean()
    assert (coalition_values(half, INPUTS, engine="tree") - truth).abs().mean() <= 1.5 * flat_error + 1e-3


def test_many_players_from_a_list_and_repeated_coalitions():
    n = 70
    ids = torch.randint(4, 400, (150,), generator=torch.Generator().manual_seed(0)).tolist()
    inputs = CoalitionInputs(ids, [(2 * i + 1, 2 * i + 2) for i in range(n)], [77], special_ids={"unk": 3})
    rows = torch.rand(12, n, generator=torch.Generator().manual_seed(1)) < 0.5
    rows = torch.cat([rows, rows[:3]])
    values = coalition_values(causal(), inputs, coalitions=rows, engine="tree")
    flat = coalition_values(causal(), inputs, coalitions=rows, engine="flat")
    torch.testing.assert_close(values, flat, rtol=1e-4, atol=1e-4)
    assert torch.equal(values[:3], values[12:])


def test_memory_that_runs_out_is_halved_and_said(monkeypatch):
    model, whole = causal(), tree.TreeRuns.compute
    expected = coalition_values(model, INPUTS, engine="flat")
    coalition_values(model, INPUTS, engine="tree")

    def short_of_memory(runs, staged):
        if len(staged.places) > 30:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(runs, staged)

    monkeypatch.setattr(tree.TreeRuns, "compute", short_of_memory)
    with pytest.warns(UserWarning, match="Memory ran out at 2048 tokens per run; continuing with 16"):
        values = coalition_values(model, INPUTS, engine="tree")
    torch.testing.assert_close(values, expected, rtol=1e-4, atol=1e-4)


def test_the_model_attends_as_before_afterwards():
    model = causal()
    ids = torch.tensor([INPUTS.input_ids])
    before = model(input_ids=ids).logits
    coalition_values(model, INPUTS, engine="tree")
    assert model.config._attn_implementation == "sdpa" and torch.equal(model(input_ids=ids).logits, before)


def test_auto_keeps_to_the_flat_forward_where_the_tree_saves_nothing(monkeypatch):
    early = dataclasses.replace(INPUTS, spans=[(0, 1)])
    # The tree's runs are the faster ones on a CPU, whatever they save; elsewhere nobody has measured that.
    assert "auto takes tree: " in explain_engine(causal(), early)
    monkeypatch.setattr("interact.games.prompt_game.device_of", lambda model: torch.device("meta"))
    assert "auto takes flat: the tree saves too little" in explain_engine(causal(), early)
    assert "auto takes flat: there are no players" in explain_engine(causal(), dataclasses.replace(INPUTS, spans=[]))


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"masking": "text"}, "text masking moves the positions"),
        ({"spans": [(12, 14)]}, {}, "the token that answers belongs to a player"),
    ],
)
def test_the_tree_says_why_it_refuses(changes, options, message):
    inputs = dataclasses.replace(INPUTS, placeholder_ids=(3,), **changes)
    with pytest.raises(RuntimeError, match=message):
        coalition_values(causal(), inputs, engine="tree", **options)
    coalition_values(causal(), inputs, **options)


def test_length_dependent_positions_are_left_to_the_flat_forward():
    scaling = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    model = causal(rope_parameters=scaling, max_position_embeddings=64)
    with pytest.raises(RuntimeError, match="dynamic position encodings depend on the length of a call"):
        coalition_values(model, INPUTS, engine="tree")
    with pytest.raises(RuntimeError, match="only causal models"):
        coalition_values(classifier(), dataclasses.replace(INPUTS, target_ids=[0]), engine="tree")
