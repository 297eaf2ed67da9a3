"""What makes a game another one: all that a model computes with; and what is set around a call makes it no other."""

import logging
import types

import numpy as np
import peft
import pytest
import torch

import interact
from interact import CoalitionInputs, coalition_values
from interact.engines import trust
from interact.engines.patches import patches
from interact.models.fingerprint import state_fingerprint
from tests.interact.conftest import causal
from tests.interact.test_tree import tiny
from tests.sft.conftest import THIRD_PARTY

_OF_PEFT = ("ignore:Position ids are not supported for parameter", "ignore:`past_key_values` is deprecated")
pytestmark = [pytest.mark.filterwarnings(warning) for warning in (*THIRD_PARTY, *_OF_PEFT)]

INPUTS = CoalitionInputs(list(range(5, 25)), [(1, 2), (6, 8), (10, 11), (13, 14)], [77], special_ids={"unk": 3})
ASK = {"template": "{text}\nThis review is", "target": " positive", "target_tokens": 1, "progress": False}
TEXT = ["not a boring film but a quiet, moving one"]


def lora():
    config = peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"], init_lora_weights=False)
    model = peft.get_peft_model(causal(), config)
    model.add_adapter("b", config)
    return model.eval()


def prompted(kind):
    config = {"prompt": peft.PromptTuningConfig, "prefix": peft.PrefixTuningConfig}[kind]
    return peft.get_peft_model(causal(), config(task_type="CAUSAL_LM", num_virtual_tokens=4)).eval()


def moved(model):
    with torch.no_grad():
        for weight in model.prompt_encoder.parameters():
            weight.add_(2 * torch.randn_like(weight))


def quantised(model):
    model.get_base_model().is_quantized = True
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.mul_(2 if "lora_B" in name else 1)


def scaled(model):
    for module in model.modules():
        if isinstance(getattr(module, "scaling", None), dict):
            module.scaling = {name: 3 * value for name, value in module.scaling.items()}


def steered(model):
    model.model.layers[0].register_forward_hook(lambda *args: args[2] + 1 if torch.is_tensor(args[2]) else args[2])


def one_number(model):
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[5, 7] += 3


def steered_by(module, given, output):
    return (output[0] + 1, *output[1:]) if isinstance(output, tuple) else output + 1


class Steering(torch.nn.Module):
    def forward(self, *args):
        return steered_by(*args)


def of_a_library(function):
    """Return a function as if an installed package had it."""
    code = function.__code__.replace(co_filename=np.__file__)
    return types.FunctionType(code, {**globals(), "__name__": "steering"}, "steered_by")


LINEAR = [torch.nn.Linear(32, 32) for _ in range(2)]


def through(layer):
    def hook(module, given, output):
        return (layer(output[0]), *output[1:]) if isinstance(output, tuple) else layer(output)

    return hook


def probed(number):
    def change(model):
        model.model.layers[0]._forward_hooks.clear()
        model.model.layers[0].register_forward_hook(through(LINEAR[number]))
        return model

    return change


def of_a_patched_class(model):
    class Patched(type(model.model.layers[0].mlp)):
        def forward(self, x):
            return 2 * super().forward(x)

    model.model.layers[0].mlp.__class__ = Patched


def in_inference_mode(seed):
    with torch.inference_mode():
        model = causal()
        model.lm_head.weight.mul_(seed)
    return model


CHANGES = {
    "no prompt": (lambda: prompted("prompt"), lambda m: m.disable_adapter().__enter__()),
    "a hook of a library": (causal, lambda m: m.model.layers[0].register_forward_hook(of_a_library(steered_by))),
    "a layer as a hook": (causal, lambda m: m.model.layers[0].register_forward_hook(Steering())),
    "what a hook calls": (lambda: probed(0)(causal()), probed(1)),
    "the forward of a class": (causal, of_a_patched_class),
    "prompt tuning": (lambda: prompted("prompt"), moved),
    "prefix tuning": (lambda: prompted("prefix"), moved),
    "another adapter": (lora, lambda m: m.set_adapter("b")),
    "no adapter": (lora, lambda m: m.base_model.disable_adapter_layers()),
    "a stronger adapter": (lora, scaled),
    "an adapter of a quantised model": (lora, quantised),
    "a hook": (causal, steered),
    "a buffer": (causal, lambda m: m.model.rotary_emb.inv_freq.mul_(0.25)),
    "a setting": (causal, lambda m: setattr(m.config, "final_logit_softcapping", 1.0)),
    "one number": (causal, one_number),
    "a head through .data": (causal, lambda m: m.model.layers[0].self_attn.o_proj.weight.data[:, 8:16].zero_()),
}


@pytest.mark.parametrize("what", CHANGES)
def test_results_of_another_state_of_the_model_are_not_taken_for_its_own(what, byte_level, tmp_path):
    made, change = CHANGES[what]
    model = made()
    first = interact.extract_many(model, byte_level, TEXT, folder=tmp_path, **ASK)[0]
    again = interact.extract_many(model, byte_level, TEXT, folder=tmp_path, **ASK)[0]
    assert np.array_equal(first.values, again.values) and len(list(tmp_path.glob("*.interactions"))) == 1
    change(model)
    interact.extract_many(model, byte_level, TEXT, folder=tmp_path, **ASK)
    assert len(list(tmp_path.glob("*.interactions"))) == 2


def test_the_state_of_a_model_is_the_same_in_another_copy_and_reads_every_number():
    one, other = causal(), causal()
    assert state_fingerprint(one) == state_fingerprint(other)
    weight = other.model.layers[0].mlp.up_proj.weight
    for place in [(0, 0), (3, 5), tuple(k - 1 for k in weight.shape)]:
        before = state_fingerprint(other)
        with torch.no_grad():
            weight[place] += 1e-3
        assert state_fingerprint(other) != before
    swapped = causal()
    with torch.no_grad():
        rows = swapped.model.layers[0].mlp.up_proj.weight
        rows[[0, 1]] = rows[[1, 0]].clone()
    assert state_fingerprint(swapped) != state_fingerprint(one)


def test_weights_made_in_inference_mode_are_read_too():
    assert state_fingerprint(in_inference_mode(1)) == state_fingerprint(in_inference_mode(1))
    assert state_fingerprint(in_inference_mode(1)) != state_fingerprint(in_inference_mode(2))


def test_what_a_library_or_a_recorder_hooks_up_is_no_other_game(byte_level, tmp_path):
    model, file, seen = causal(), tmp_path / "x.scores", []
    first = interact.extract(model, byte_level, TEXT[0], cache=file, **ASK)
    model(torch.tensor([[5, 6]]), output_hidden_states=True)  # May leave hooks of transformers.
    again = interact.extract(model, byte_level, TEXT[0], cache=file, **ASK)
    assert np.array_equal(first.values, again.values)
    model.model.layers[0].register_forward_hook(lambda *args: seen.append(args[2]))
    for _ in range(3):
        interact.extract(model, byte_level, TEXT[0], **ASK)
    assert len(trust._passed_alone[model]) == 1


def test_a_hook_that_holds_what_cannot_be_read_stops_nothing(byte_level):
    deep = []
    for _ in range(5000):
        deep = [deep]
    held = [torch.eye(3).to_sparse(), torch.empty(2, device="meta"), logging.getLogger("x"), deep]

    def hook(*_):
        assert held and later

    model = causal()
    model.model.layers[0].register_forward_hook(hook)
    told = patches(model)
    later = True
    assert told
    interact.extract(model, byte_level, TEXT[0], **ASK)


def at(position, vector):
    def hook(module, given, output):
        hidden = (output[0] if isinstance(output, tuple) else output).clone()
        hidden[:, position] += vector
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    return hook


def test_an_engine_that_was_right_with_one_hook_is_checked_with_another():
    model, vector = causal(), 3 * torch.randn(32, generator=torch.Generator().manual_seed(0))
    layer = model.model.layers[0]
    handle = layer.register_forward_hook(at(slice(None), vector))
    coalition_values(model, INPUTS)
    handle.remove()
    layer.register_forward_hook(at(-1, vector))
    flat = coalition_values(model, INPUTS, engine="flat")
    assert (coalition_values(model, INPUTS) - flat).abs().max() < 1e-4


def test_autocast_and_outputs_without_names_change_no_score(byte_level):
    model = causal()
    plain = interact.extract(model, byte_level, TEXT[0], **ASK)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = interact.extract(model, byte_level, TEXT[0], **ASK)
    model.config.return_dict = False
    nameless = interact.extract(model, byte_level, TEXT[0], **ASK)
    assert np.array_equal(plain.values, inside.values) and np.array_equal(plain.values, nameless.values)
    assert model.config.return_dict is False


def test_alibi_of_what_is_seen_is_said():
    with pytest.warns(UserWarning, match="counts positions by the attention mask"):
        coalition_values(tiny("bloom"), INPUTS, masking="attention")


def test_one_pass_over_texts_is_enough(byte_level):
    talks = [[{"role": "user", "content": text}] for text in TEXT]
    ask = {"target": 5, "progress": False, "template": interact.Template(chat=False)}
    of_list = interact.extract_many(causal(), byte_level, ["good film", "a bad one"], contrast=[7, 8], **ask)
    once = interact.extract_many(causal(), byte_level, iter(["good film", "a bad one"]), contrast=iter([7, 8]), **ask)
    assert [r.total for r in once] == [r.total for r in of_list]
    assert len(interact.extract_many(causal(), byte_level, messages=iter(talks), target=5, progress=False)) == 1


def test_a_kill_loses_no_score_of_a_text(byte_level, tmp_path, monkeypatch):
    from interact.games import extract_many as room

    texts, model, finish = ["good film", "bad film", "old jokes"], causal(), room._Batch._finish
    monkeypatch.setattr(room._Batch, "_finish", lambda self: None)
    with pytest.raises(KeyError):
        interact.extract_many(model, byte_level, texts, folder=tmp_path, target=5, progress=False)
    monkeypatch.setattr(room._Batch, "_finish", finish)
    assert len(list(tmp_path.glob(".*.scores"))) == 3
    asked = []
    monkeypatch.setattr("interact.engines.flat.score_batch", lambda *_: asked.append(1))
    results = interact.extract_many(model, byte_level, texts, folder=tmp_path, target=5, progress=False)
    assert len(results) == 3 and not asked and not list(tmp_path.glob(".*.scores"))
    # A kill may leave a file of scores without its beginning, and one beside a result that is whole.
    monkeypatch.undo()
    files = sorted(tmp_path.glob("*.interactions"))
    for file in files[:2]:
        file.with_name(f".{file.name}.scores").write_text("{")
    files[0].unlink()
    again = interact.extract_many(model, byte_level, texts, folder=tmp_path, target=5, progress=False)
    assert [r.total for r in again] == [r.total for r in results] and not list(tmp_path.glob(".*.scores"))


def test_what_belongs_to_a_sample_is_not_ignored(byte_level):
    for asked in ({"max_order": 1}, {"seed": 0}):
        with pytest.raises(ValueError, match="max_order, seed, sparse and known belong to sampled coalitions"):
            interact.extract(causal(), byte_level, TEXT[0], target=5, **asked)


def test_arrays_of_numpy_are_taken_as_numbers_and_spans(byte_level):
    model = causal()
    spans = np.array([(0, 3), (6, 12)])
    r = interact.extract(model, byte_level, TEXT[0], players=spans, baseline=np.int64(7), target=np.int64(5))
    same = interact.extract(model, byte_level, TEXT[0], players=[(0, 3), (6, 12)], baseline=7, target=5)
    assert np.array_equal(r.values, same.values)
    rows = interact.extract(model, byte_level, TEXT[0], players=list(spans), baseline=7, target=5)
    assert np.array_equal(rows.values, same.values)
    vector = np.zeros(model.config.hidden_size, dtype=np.float32)
    of_torch = interact.extract(model, byte_level, TEXT[0], baseline=torch.from_numpy(vector), target=5)
    assert np.array_equal(
        interact.extract(model, byte_level, TEXT[0], baseline=vector, target=5).values, of_torch.values
    )
    for marked in ("[[ ]] x [[y]]", "[[]] x [[y]]"):
        with pytest.raises(ValueError, match="between the double brackets in"):
            interact.extract(model, byte_level, marked, players="marked", target=5)
    two = interact.extract(model, byte_level, TEXT[0], players=np.int64(2), baseline=np.array(7), target=5)
    assert two.n == 2 and two.provenance["baseline"] == same.provenance["baseline"]
    for baseline in (np.array(["a"]), np.array([None])):
        with pytest.raises(ValueError, match="must be a name, a token id or a torch vector"):
            interact.extract(model, byte_level, TEXT[0], baseline=baseline, target=5)


def test_a_sampled_result_tells_the_scored_ends():
    n = 40
    weights = np.abs(np.random.default_rng(3).normal(size=n))
    value = lambda masks: 6 * np.tanh(masks @ weights / 4) - 5  # noqa: E731
    options = interact.sparse.SparseOptions(estimator="gaussian", bootstraps=0)
    r = interact.game_from(value, [f"w{i}" for i in range(n)]).interactions("sparse", budget=400, sparse=options)
    assert r.empty == -5 and "v(none) = -5.000" in str(r) and abs(r.bias + 5) > 0.01


def test_masked_scores_are_no_scores():
    def value(masks):
        return np.ma.masked_array(masks @ np.arange(8.0), mask=masks[:, 0])

    with pytest.warns(UserWarning, match="failed for"):
        r = interact.sparse.explain(value, 8, budget=100)
    assert not r.coalitions[:, 0].any()


def test_what_comes_after_a_torn_record_is_read(tmp_path):
    from interact.sparse import ScoreCache

    file = tmp_path / "scores"
    masks = (np.arange(200)[:, None] >> np.arange(10) & 1).astype(bool)
    cache = ScoreCache(file)
    cache.open(10)
    cache.put(masks[:100], np.arange(100.0))
    with file.open("ab") as stream:
        stream.write(b"torn")
    cache.put(masks[100:], np.arange(100.0, 200))
    again = ScoreCache(file)
    again.open(10)
    np.testing.assert_array_equal(again.get(masks), np.arange(200.0))
