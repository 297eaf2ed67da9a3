"""The packed forward of encoders: its token counts, and its scores against the flat forward and a forward by hand."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForSequenceClassification
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from interact import CoalitionInputs, coalition_values, explain_engine
from interact.engines import packed
from interact.engines.score import log_odds
from interact.games.prompt_game import game_of
from tests.interact.conftest import causal, classifier

LENGTH = 24
INPUTS = CoalitionInputs(
    [2, 17, 33, 90, 14, 61, 100, 7, 9, 11, 50, 31, 8, 21, 44, 3],
    [(1, 4), (4, 6), (8, 11), (12, 15)],
    [1],
    special_ids={"unk": 4},
)
PACKED = {"masking": "attention", "engine": "packed"}
FLAT = {"masking": "attention", "engine": "flat"}
FAMILIES = "bert roberta distilbert electra modernbert nomic_bert albert deberta-v2 eurobert".split()
EXACT = set(FAMILIES[:6])


def tiny(family: str):
    """A random classifier of a family: small sizes under whatever names its configuration uses."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 4, "embedding_size": 32, "head_dim": 8}
    sizes |= {"num_key_value_heads": 4, "max_position_embeddings": 64, "local_attention": 6, "vocab_size": 120}
    known = CONFIG_MAPPING[family]()
    sizes = {k: v for k, v in sizes.items() if hasattr(known, k)}
    special = dict.fromkeys(("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id", "mask_token_id"), 2)
    config = CONFIG_MAPPING[family](**sizes, **special, pad_token_id=1, num_labels=3)
    model = AutoModelForSequenceClassification.from_config(config).eval().float()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                parameter.mul_(4.0)
    return model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_exact_or_falls_back_and_never_wrong(family):
    model = tiny(family)
    flat = coalition_values(model, INPUTS, **FLAT)
    torch.testing.assert_close(coalition_values(model, INPUTS, masking="attention"), flat, rtol=1e-4, atol=1e-4)
    # ModernBERT's attention can be replaced since transformers 5.17 at the latest.
    if family in EXACT and (family != "modernbert" or model._can_set_attn_implementation()):
        assert (coalition_values(model, INPUTS, **PACKED) - flat).abs().max() < 0.02 * flat.std()
        assert "auto takes packed" in explain_engine(model, INPUTS, masking="attention")
    else:
        with pytest.raises(RuntimeError, match="engine='packed' cannot score this"):
            coalition_values(model, INPUTS, **PACKED)


def test_scores_equal_a_forward_of_the_present_tokens_alone():
    model = classifier()
    values = coalition_values(model, INPUTS, **PACKED)
    for coalition in (0b0000, 0b0101, 0b1111):
        place = list(range(len(INPUTS.input_ids)))
        for player, (low, high) in enumerate(INPUTS.spans):
            if not coalition >> player & 1:
                place = [i for i in place if not low <= i < high]
        ids = torch.tensor(INPUTS.input_ids)[place]
        with torch.no_grad():
            logits = model(input_ids=ids[None], position_ids=torch.tensor(place)[None]).logits[0]
        torch.testing.assert_close(values[coalition], log_odds(logits, torch.tensor(1)), rtol=1e-4, atol=1e-4)
    assert values.std() > 0.005


@st.composite
def problems(draw):
    """Random disjoint spans behind the first token, some coalitions, and a cut."""
    n = draw(st.integers(1, 5))
    edges = sorted(draw(st.sets(st.integers(1, LENGTH), min_size=2 * n, max_size=2 * n)))
    rows = draw(st.lists(st.integers(0, (1 << n) - 1), min_size=1, max_size=12))
    return list(zip(edges[::2], edges[1::2], strict=True)), torch.tensor(rows), draw(st.integers(1, 40))


@settings(max_examples=12, deadline=None)
@given(problems(), st.sampled_from([1, 3]))
def test_packed_equals_flat_for_any_players_and_cut(problem, labels):
    spans, rows, most_tokens = problem
    model = classifier(labels)
    ids = torch.randint(5, 150, (LENGTH,), generator=torch.Generator().manual_seed(len(spans))).tolist()
    inputs = CoalitionInputs(ids, spans, [0])
    flat = coalition_values(model, inputs, coalitions=rows, **FLAT)
    budget = most_tokens * (8 * 32 + 3 * 64) * 4
    cut = coalition_values(model, inputs, coalitions=rows, memory_budget=budget, **PACKED)
    torch.testing.assert_close(cut, flat, rtol=1e-4, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(problems())
def test_token_counts_and_cuts(problem):
    spans, rows, most_tokens = problem
    present = (rows[:, None] >> torch.arange(len(spans)) & 1).bool()
    plan = packed.Packing(game_of(classifier(), CoalitionInputs(range(LENGTH), spans, [1])), present.numpy())
    expected = [LENGTH - sum(b - a for (a, b), p in zip(spans, row, strict=True) if not p) for row in present.tolist()]
    assert plan.lengths.tolist() == expected and plan.tokens == sum(expected)
    runs = plan.runs(most_tokens)
    assert [row for first, last in runs for row in range(first, last)] == list(range(len(rows)))
    assert all(last - first == 1 or sum(expected[first:last]) <= most_tokens for first, last in runs)


def test_players_over_four_fifths_of_the_text_save_two_fifths_of_the_tokens():
    """Half the coalitions hold each player: 0.2 + 0.8 / 2 of the tokens remain, whatever the prompt."""
    inputs = CoalitionInputs(range(20, 120), [(10 * i + 1, 10 * i + 11) for i in range(8)], [1])
    every = (torch.arange(256)[:, None] >> torch.arange(8) & 1).bool()
    plan = packed.Packing(game_of(classifier(), inputs), every.numpy())
    assert plan.flat_tokens / plan.tokens == pytest.approx(1 / 0.6)
    assert "(1.7x fewer), in 4 runs" in plan.explain(4096)


def test_many_players_from_a_list_and_repeated_coalitions():
    inputs = CoalitionInputs([2, *range(5, 145)], [(2 * i + 1, 2 * i + 2) for i in range(70)], [1])
    rows = torch.rand(6, 70, generator=torch.Generator().manual_seed(1)) < 0.5
    rows = torch.cat([rows, rows[:3]])
    values = coalition_values(classifier(), inputs, coalitions=rows, **PACKED)
    flat = coalition_values(classifier(), inputs, coalitions=rows, **FLAT)
    torch.testing.assert_close(values, flat, rtol=1e-4, atol=1e-4)
    assert torch.equal(values[:3], values[6:])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_no_further_from_float32_than_the_flat_forward(dtype):
    truth = coalition_values(classifier(), INPUTS, **FLAT)
    half = classifier().to(dtype)
    flat_error = (coalition_values(half, INPUTS, **FLAT) - truth).abs().mean()
    assert (coalition_values(half, INPUTS, **PACKED) - truth).abs().mean() <= 1.5 * flat_error + 1e-3


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
def test_lora_adapters_are_followed():
    config = LoraConfig(r=4, target_modules=["query", "value"], init_lora_weights=False)
    model = get_peft_model(classifier(), config).eval()
    flat = coalition_values(model, INPUTS, **FLAT)
    torch.testing.assert_close(coalition_values(model, INPUTS, **PACKED), flat, rtol=1e-4, atol=1e-4)
    with model.disable_adapter():
        assert (coalition_values(model, INPUTS, **PACKED) - flat).abs().max() > 1e-3


def test_memory_that_runs_out_is_halved_and_said(monkeypatch):
    model, whole = classifier(), packed._forward
    expected = coalition_values(model, INPUTS, **PACKED)

    def short_of_memory(game, coalitions):
        if len(coalitions) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(game, coalitions)

    monkeypatch.setattr(packed, "_forward", short_of_memory)
    with pytest.warns(UserWarning, match="Memory ran out at 4096 tokens per run; continuing with 16"):
        values = coalition_values(model, INPUTS, **PACKED)
    torch.testing.assert_close(values, expected, rtol=1e-4, atol=1e-4)


def test_the_model_is_as_before_afterwards_even_after_a_failure(monkeypatch):
    model = classifier()
    ids = torch.tensor([INPUTS.input_ids])
    before = model(input_ids=ids).logits
    coalition_values(model, INPUTS, **PACKED)

    def fail(*arguments, **options):
        raise KeyError("lost")

    monkeypatch.setattr(packed, "packed_attention", fail)
    with pytest.raises(KeyError):
        coalition_values(model, INPUTS, **PACKED)
    monkeypatch.undo()
    assert model.config._attn_implementation == "sdpa" and torch.equal(model(input_ids=ids).logits, before)
    assert not any(module._forward_hooks for module in model.modules())


def test_an_encoder_that_reads_its_answer_elsewhere_is_caught():
    model = tiny("modernbert")
    model.config.classifier_pooling = "mean"
    flat = coalition_values(model, INPUTS, **FLAT)
    assert "auto takes flat" in explain_engine(model, INPUTS, masking="attention")
    torch.testing.assert_close(coalition_values(model, INPUTS, masking="attention"), flat)


def test_auto_keeps_to_the_flat_forward_where_packing_saves_nothing():
    short = dataclasses.replace(INPUTS, spans=[(4, 5)])
    assert "auto takes flat: packing saves too little" in explain_engine(classifier(), short, masking="attention")


@pytest.mark.parametrize(
    ("model", "changes", "masking", "message"),
    [
        (classifier, {}, "baseline", "baseline masking keeps absent tokens"),
        (causal, {}, "attention", "only encoders that read their answer at the first token"),
        (lambda: tiny("deberta-v2"), {}, "attention", "DebertaV2ForSequenceClassification does not let its attention"),
    ],
)
def test_packing_says_why_it_refuses(model, changes, masking, message):
    with pytest.raises(RuntimeError, match=message):
        coalition_values(model(), dataclasses.replace(INPUTS, **changes), masking=masking, engine="packed")
