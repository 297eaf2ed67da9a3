"""Finding checkpoints of any trainer, putting them on their base model, and refusing those of another."""

import json
import shutil

import pytest
import torch

import interact
from interact.formats.files import SEAL
from interact.models.load import load_model
from interact.sft.checkpoints import find_checkpoints, fresh_classifier, load_checkpoint, put_adapter, swap_checkpoint
from interact.sft.steps import log_spaced_steps
from interact.sft.training import TrainingOptions, train
from tests.interact.conftest import causal, classifier
from tests.sft.conftest import examples, tiny

OPTIONS = TrainingOptions(learning_rate=1e-2, batch_size=2)


@pytest.fixture(scope="module")
def trained(byte_level, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base-model")
    tiny().save_pretrained(folder / "base")
    byte_level.save_pretrained(folder / "base")
    model, tokenizer = load_model(str(folder / "base"))
    checkpoints = train(model, tokenizer, examples(8), [], folder / "run", steps=[1, 2], options=OPTIONS)
    return folder, checkpoints


def score(model, tokenizer):
    return float(interact.extract(model, tokenizer, "witty movie", players=1, target=5).values[-1])


def test_adapters_are_swapped_on_one_base(trained):
    folder, checkpoints = trained
    model, tokenizer = load_checkpoint(str(folder / "base"), checkpoints[0])
    base = load_model(str(folder / "base"))
    assert score(model, tokenizer) == pytest.approx(score(*base), abs=1e-6)
    seen = []
    for checkpoint in [checkpoints[1], checkpoints[2], checkpoints[0], checkpoints[1]]:
        model = swap_checkpoint(model, checkpoint)
        fresh = load_checkpoint(str(folder / "base"), checkpoint)
        assert score(model, tokenizer) == score(*fresh)
        seen.append(score(model, tokenizer))
    assert seen[0] == seen[3] and len(set(seen)) == 3 and not model.training
    result = interact.extract(model, tokenizer, "a witty movie", players=2, target=5)
    assert result.provenance["model"]["name"] == str(folder / "base")


def test_an_adapter_of_other_weights_is_refused(trained):
    _, checkpoints = trained
    torch.manual_seed(1)
    other = causal()
    with torch.no_grad():
        other.model.layers[1].mlp.up_proj.weight.mul_(1.5)
    with pytest.raises(ValueError, match="whose weights differ from those of 'LlamaForCausalLM'"):
        put_adapter(other, checkpoints[1])


def test_an_adapter_from_elsewhere_is_known_by_its_name_and_shapes(trained, tmp_path):
    folder, checkpoints = trained
    foreign = tmp_path / "checkpoint-7"
    shutil.copytree(checkpoints[1], foreign)
    for ours in ("interact_base.json", SEAL):
        (foreign / ours).unlink()
    load_checkpoint(str(folder / "base"), foreign)
    config = json.loads((foreign / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "Qwen/Qwen2.5-3B-Instruct"
    (foreign / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(
        ValueError, match=r"trained on 'Qwen/Qwen2.5-3B-Instruct', but the base model given is '.*base'"
    ):
        load_checkpoint(str(folder / "base"), foreign)
    model, _ = load_checkpoint(str(folder / "base"), checkpoints[0])
    with pytest.raises(ValueError, match=r"trained on 'Qwen/Qwen2.5-3B-Instruct'"):
        swap_checkpoint(model, foreign)
    with pytest.raises(ValueError, match="does not fit LlamaForCausalLM"):
        put_adapter(causal(hidden_size=16, intermediate_size=32), foreign)
    (foreign / "adapter_config.json").write_text("{")
    with pytest.raises(ValueError, match="the checkpoint is damaged"):
        load_checkpoint(str(folder / "base"), foreign)


def test_the_base_that_the_hub_cached_is_known_by_its_name(trained, tmp_path):
    folder, checkpoints = trained
    cached = tmp_path / "models--owner--Tiny-Base" / "snapshots" / "abc"
    shutil.copytree(folder / "base", cached)
    foreign = tmp_path / "checkpoint-1"
    shutil.copytree(checkpoints[1], foreign)
    for ours in ("interact_base.json", SEAL):
        (foreign / ours).unlink()
    config = json.loads((foreign / "adapter_config.json").read_text())
    (foreign / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "owner/tiny-base"}))
    model, _ = load_checkpoint(str(cached), foreign)
    assert type(model).__name__ == "PeftModelForCausalLM"


def test_folders_of_other_trainers_are_read(trained, tmp_path):
    folder, checkpoints = trained
    for step in (100, 20):
        shutil.copytree(checkpoints[1], tmp_path / f"checkpoint-{step}")
    shutil.copytree(folder / "base", tmp_path / "checkpoint-3")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(checkpoints[2] / name, tmp_path)
    (tmp_path / "trainer_state.json").write_text('{"global_step": 120}')
    (tmp_path / "runs").mkdir()
    found = find_checkpoints(tmp_path)
    assert list(found) == [3, 20, 100, 120] and found[120] == tmp_path
    whole, tokenizer = load_checkpoint("", found[3])
    assert score(whole, tokenizer) == score(*load_model(str(folder / "base")))
    (tmp_path / "checkpoint-20" / "adapter_model.safetensors").unlink()
    with pytest.warns(UserWarning, match="checkpoint-20 holds neither an adapter nor a model"):
        assert list(find_checkpoints(tmp_path)) == [3, 100, 120]


def test_bad_checkpoints_are_sentences(trained, tmp_path):
    folder, checkpoints = trained
    with pytest.raises(ValueError, match="does not exist; check the path"):
        find_checkpoints(tmp_path / "none")
    with pytest.raises(ValueError, match="holds no checkpoints; expected are folders step-N or checkpoint-N"):
        find_checkpoints(tmp_path)
    with pytest.raises(ValueError, match="holds neither an adapter"):
        load_checkpoint(str(folder / "base"), tmp_path)
    with pytest.raises(ValueError, match="has no adapter; load the first checkpoint"):
        swap_checkpoint(tiny(), checkpoints[0])
    model, _ = load_checkpoint(str(folder / "base"), checkpoints[0])
    with pytest.raises(ValueError, match="a whole model must be loaded anew"):
        swap_checkpoint(model, folder / "base")


def test_a_head_is_drawn_from_its_seed_and_trained_by_lora(wordpiece, tmp_path):
    classifier().bert.save_pretrained(tmp_path / "encoder")
    wordpiece.save_pretrained(tmp_path / "encoder")
    state = torch.get_rng_state()
    one, tokenizer = fresh_classifier(str(tmp_path / "encoder"), ["negative", "positive"], seed=3)
    two, _ = fresh_classifier(str(tmp_path / "encoder"), ["negative", "positive"], seed=3)
    three, _ = fresh_classifier(str(tmp_path / "encoder"), ["negative", "positive"], seed=4)
    assert torch.equal(one.classifier.weight, two.classifier.weight)
    assert not torch.equal(one.classifier.weight, three.classifier.weight)
    assert torch.equal(state, torch.get_rng_state())
    found = train(one, tokenizer, examples(8), [], tmp_path / "run", steps=[2], options=OPTIONS)
    assert torch.equal(one.classifier.weight, two.classifier.weight)
    first, last = (
        float(interact.extract(put_adapter(m, f), tokenizer, "witty movie", players=1, target="positive").values[-1])
        for m, f in zip((one, two), found, strict=True)
    )
    assert first != last
    with pytest.raises(ValueError, match="two or more different labels"):
        fresh_classifier(str(tmp_path / "encoder"), ["a", "a"])
    with pytest.raises(RuntimeError, match=r"The encoder '.*none' could not be loaded"):
        fresh_classifier(str(tmp_path / "none"), ["a", "b"])


def test_steps_are_log_spaced():
    assert log_spaced_steps(1000, 6) == (0, 1, 6, 32, 178, 1000)
    assert log_spaced_steps(3) == (0, 1, 2, 3) and log_spaced_steps(1) == (0, 1) and log_spaced_steps(9, 2) == (0, 9)
    with pytest.raises(ValueError, match="cannot be chosen"):
        log_spaced_steps(0)
