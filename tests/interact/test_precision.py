import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

import interact
from bench import half_precision
from interact.engines.flat import Flat
from interact.engines.half import widened
from interact.engines.precision import noise_floor, tf32_products
from interact.games.prompt_game import game_of
from tests.interact.conftest import causal

TEXT = "a gorgeous, witty, seductive movie"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_measured_against_float32(byte_level, dtype):
    model = causal("llama").to(dtype)
    before = copy.deepcopy(model.state_dict())
    result = interact.extract(model, byte_level, TEXT, target=7)
    found = result.provenance["precision"]
    assert found["dtype"] == str(dtype).removeprefix("torch.")
    # The truth: all coalitions in float32, from the same weights.
    wide = interact.extract(causal("llama").to(dtype).float(), byte_level, TEXT, target=7)
    assert wide.provenance["precision"] is None
    spread = float((result.values - wide.values).std())
    assert 0.4 * spread < found["sigma"] < 2.5 * spread
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert {t.dtype for t in model.parameters()} == {dtype}


@pytest.mark.parametrize("set_before", [None, "cuda", "mkldnn", "all by the older setting"])
def test_settings_of_products_are_left_as_they_were(byte_level, set_before):
    places = {name: getattr(torch.backends, name).matmul for name in ("cuda", "mkldnn")}
    unset = {name: place.fp32_precision for name, place in places.items()}
    older = torch.get_float32_matmul_precision()
    try:
        if set_before in places:
            # Torch refuses to read the older setting once these are set.
            places[set_before].fp32_precision = "tf32" if set_before == "cuda" else "bf16"
        elif set_before:
            torch.set_float32_matmul_precision("medium")
        before = {name: place.fp32_precision for name, place in places.items()}
        result = interact.extract(causal("llama").to(torch.bfloat16), byte_level, TEXT, target=7)
        assert result.provenance["precision"]["sigma"] > 0
        with pytest.raises(KeyError), tf32_products(True):
            assert places["cuda"].fp32_precision == "tf32"
            raise KeyError
        assert {name: place.fp32_precision for name, place in places.items()} == before
    finally:
        for name, place in places.items():
            place.fp32_precision = unset[name]
        torch.set_float32_matmul_precision(older)
        for name, place in places.items():
            place.fp32_precision = unset[name]
    assert torch.get_float32_matmul_precision() == older


def test_no_effect_below_its_floor_is_salient(byte_level):
    clean = interact.extract(causal("llama"), byte_level, TEXT, target=7)
    assert clean.noise_floor(3) == 0
    strengths = [abs(i.effect) for i in clean.salient(0.01)]
    sigma = float(np.median(strengths))
    noisy = replace(clean, provenance={**clean.provenance, "precision": {"dtype": "bfloat16", "sigma": sigma}})
    kept = noisy.salient(0.01)
    assert 0 < len(kept) < len(strengths)
    assert all(abs(i.effect) > sigma * 2 ** (i.order / 2) for i in kept)
    assert noisy.fidelity(0.01).terms == len(kept)


def test_weights_that_cannot_be_widened_are_said(byte_level):
    model = causal("llama").to(torch.bfloat16)
    model.register_parameter("packed", torch.nn.Parameter(torch.ones(2, dtype=torch.int8), requires_grad=False))
    inputs = interact.prepare(byte_level, TEXT, target=7)
    masks = torch.ones(4, inputs.n, dtype=torch.bool)
    found = noise_floor(game_of(model, inputs, masking="attention"), masks, torch.zeros(4), Flat())
    assert found is not None and found["sigma"] is None and "quantised" in found["reason"]


@pytest.mark.parametrize("kind", ["gptq", "torchao"])
def test_quantised_weights_that_look_like_half_precision_are_known(byte_level, kind):
    class Packed(torch.Tensor):
        pass

    model = causal("llama").to(torch.bfloat16)
    if kind == "gptq":
        # Its integers are buffers, and all parameters are bfloat16.
        model.config.quantization_config = {"quant_method": "gptq", "bits": 4}
    else:
        weight = model.lm_head.weight.detach().as_subclass(Packed)
        model.lm_head.weight = torch.nn.Parameter(weight, requires_grad=False)
    result = interact.extract(model, byte_level, "witty movie", players=1, target=7)
    assert result.provenance["precision"]["reason"] == "quantised weights cannot be widened"
    assert result.provenance["model"]["weights"] == "quantised"
    with pytest.raises(ValueError, match="The quantised weights of LlamaForCausalLM cannot be widened"), widened(model):
        pass


def test_an_error_gives_the_weights_back():
    model = causal("llama").to(torch.bfloat16)
    with pytest.raises(KeyError), widened(model):
        assert model.get_input_embeddings().weight.dtype == torch.float32
        raise KeyError
    assert {t.dtype for t in model.parameters()} == {torch.bfloat16}


def test_rounding_refuses_no_right_engine():
    for game in half_precision.random_games(half_precision.llama(), 10):
        assert game.explain().startswith("auto takes tree"), game.explain()
    # Of these two the scores hardly move, while their rounding is as large as ever.
    games = list(half_precision.random_games(half_precision.mistral(), 133))
    for game in (games[91], games[132]):
        assert game.explain().startswith("auto takes tree"), game.explain()


@pytest.mark.parametrize("name, model, wrong", [row for row in half_precision.ROWS if row[2]])
def test_a_wrong_engine_is_found_in_half_precision(name, model, wrong):
    with wrong():
        for game in half_precision.random_games(model(), 3):
            assert "tree's scores" in game.explain() and not half_precision.takes_tree(game), name
