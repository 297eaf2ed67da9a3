"""Models as people have them: merged, offloaded, compiled, wrapped, resized, named, and renamed."""

import json
import shutil

import pytest
import torch
from accelerate import cpu_offload, disk_offload
from transformers import BertConfig, BertForSequenceClassification, LlamaForSequenceClassification

from interact import extract, load_model
from interact.models.load import load_trainable
from interact.sft.checkpoints import find_checkpoints, load_checkpoint, put_adapter, swap_checkpoint

from .ground import TURN, home, letters, lora, tiny, told, words


@pytest.fixture(scope="module")
def adapters(tmp_path_factory):
    base = home(tmp_path_factory.mktemp("home"))
    for step in (2, 4):
        lora(base.parent / f"checkpoint-{step}", step)
    return base, base.parent / "checkpoint-2", base.parent / "checkpoint-4"


def score(model, target=70):
    return extract(model, letters(), "a witty movie", players=2, target=target).total


def test_an_adapter_is_not_put_on_weights_that_are_not_its_base(adapters):
    base, two, four = adapters
    load = lambda step: load_checkpoint(str(base), step)[0]  # noqa: E731
    right = score(load(four))

    def merged():
        return load(two).merge_and_unload()

    def merged_in_place():
        model = load(two)
        model.merge_adapter()
        return model.unload()

    def merged_by_peft_alone():
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(two)).merge_and_unload()

    def merged_twice():
        return put_adapter(load_model(str(base))[0], two).merge_and_unload()

    def changed():
        model = load_model(str(base))[0]
        with torch.no_grad():
            model.lm_head.weight.mul_(1.5)
        return model

    for wrong in (merged, merged_in_place, merged_by_peft_alone, merged_twice, changed):
        with pytest.raises(ValueError, match=r"weights are no longer those that were loaded") as error:
            put_adapter(wrong(), four)
        assert "load the base model again" in str(error.value)
    for usable in (
        lambda: load(two).unload(),
        lambda: load_model(str(base))[0],
    ):
        assert score(put_adapter(usable(), four)) == pytest.approx(right, abs=1e-4)
    model = load(two)
    model.merge_adapter()
    model.unmerge_adapter()
    assert score(put_adapter(model.unload(), four)) == pytest.approx(right, abs=1e-3)
    assert score(swap_checkpoint(load(two), four)) == pytest.approx(right, abs=1e-4)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("scale", [64, 0.5])
def test_a_small_change_in_half_precision_is_seen(dtype, scale, tmp_path):
    base = home(tmp_path)
    lora(base.parent / "checkpoint-2", 2, lora_alpha=scale)
    with told():
        merged = load_checkpoint(str(base), base.parent / "checkpoint-2", dtype=dtype)[0].merge_and_unload()
        plain = load_checkpoint(str(base), base.parent / "checkpoint-2", dtype=dtype)[0].unload()
    with pytest.raises(ValueError, match=r"no longer those that were loaded"):
        put_adapter(merged, base.parent / "checkpoint-2")
    put_adapter(plain, base.parent / "checkpoint-2")


def test_an_adapter_on_an_adapter_added_to_its_base_is_its_own_base(adapters, tmp_path):
    base, two, four = adapters
    named = _renamed(two, tmp_path, str(base))
    model = put_adapter(load_trainable(str(named))[0], four)
    merged = load_checkpoint(str(base), two)[0].merge_and_unload()
    assert torch.allclose(model.get_base_model().lm_head.weight, merged.lm_head.weight, atol=1e-5)


def _renamed(folder, place, recorded):
    copy = place / folder.name
    shutil.copytree(folder, copy)
    path = copy / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": recorded}))
    return copy


@pytest.mark.parametrize("offload", [cpu_offload, "disk"])
@pytest.mark.parametrize("kind", ["causal", "classifier", "encoder"])
def test_offloaded_weights_give_the_same_values(offload, kind, tmp_path):
    tokenizer, target = letters(), 70

    def fresh():
        if kind == "causal":
            return tiny(letters())
        if kind == "classifier":
            return tiny(letters(), LlamaForSequenceClassification, num_labels=3)
        return tiny(letters(), BertForSequenceClassification, BertConfig, num_labels=3)

    target = 70 if kind == "causal" else 1
    model = fresh()
    if offload == "disk":
        disk_offload(model, str(tmp_path), execution_device=torch.device("cpu"))
    else:
        cpu_offload(model, execution_device=torch.device("cpu"))
    for masking in ("baseline", "attention", "text"):
        asked = {"players": ["witty"], "target": target, "masking": masking}
        there = extract(model, tokenizer, "a witty movie", **asked)
        assert there.values == pytest.approx(extract(fresh(), tokenizer, "a witty movie", **asked).values, abs=1e-5)
    mean = extract(model, tokenizer, "a witty movie", players=2, target=target, baseline="mean")
    assert mean.values == pytest.approx(
        extract(fresh(), tokenizer, "a witty movie", players=2, target=target, baseline="mean").values, abs=1e-5
    )


def test_an_adapter_of_a_wider_vocabulary_brings_its_tokenizer(tmp_path):
    wider, base = letters(), home(tmp_path)
    wider.add_tokens(["<A>", "<B>"])
    for number, options in enumerate(
        (
            {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"]},
            {"target_modules": ["q_proj", "embed_tokens", "lm_head"]},
        )
    ):
        folder = base.parent / f"checkpoint-{number}"
        model = tiny(letters())
        model.resize_token_embeddings(len(wider))
        lora(folder, base=model, **options)
        wider.save_pretrained(folder)
        with told() as sentences:
            loaded, tokenizer = load_checkpoint(str(base), folder)
        assert len(tokenizer) == len(wider) == loaded.get_input_embeddings().weight.shape[0]
        result = extract(loaded, tokenizer, "a <A> movie", players=["<A>", "movie"], target=260)
        assert result.n == 2
        assert any("resized" in s for s in sentences)
        shutil.copytree(folder, base.parent / f"other-{number}")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(ValueError, match=r"261.*259|259.*261"):
        load_checkpoint(str(base), folder)


def test_a_misfit_quotes_what_matters(tmp_path):
    base = home(tmp_path)
    lora(base.parent / "checkpoint-1", base=tiny(letters(), hidden_size=64))
    with pytest.raises(ValueError, match=r"size mismatch") as error:
        load_checkpoint(str(base), base.parent / "checkpoint-1")
    assert ":." not in str(error.value)


def test_an_adapter_in_a_folder_of_its_name_is_found(tmp_path):
    base = home(tmp_path)
    runs = base.parent / "runs"
    lora(runs / "checkpoint-2", name="policy")
    lora(runs / "checkpoint-4")
    found = find_checkpoints(runs)
    assert list(found) == [2, 4] and found[2] == runs / "checkpoint-2" / "policy"
    right = score(load_checkpoint(str(base), runs / "checkpoint-2" / "policy")[0])
    assert score(load_checkpoint(str(base), runs / "checkpoint-2")[0]) == right
    assert score(load_model(str(runs / "checkpoint-2"), base=str(base))[0]) == right
    lora(runs / "checkpoint-2", 5, name="reference")
    with pytest.raises(ValueError, match=r"several adapters.*policy.*reference"):
        load_checkpoint(str(base), runs / "checkpoint-2")
    with told() as sentences:
        assert list(find_checkpoints(runs)) == [4]
    assert "policy" in sentences[0] and "reference" in sentences[0]
    assert score(load_checkpoint(str(base), runs / "checkpoint-2" / "policy")[0]) == right


@pytest.mark.parametrize(
    ("folder", "recorded"),
    [
        ("Qwen2.5-1.5B-Instruct", "/home/me/.cache/modelscope/hub/models/Qwen/Qwen2___5-1___5B-Instruct"),
        ("Qwen2___5-1___5B-Instruct", "Qwen/Qwen2.5-1.5B-Instruct"),
        ("base", "D:\\AI\\models\\base"),
        ("base", "D:\\AI\\models\\base\\"),
        ("base", "\\\\server\\share\\base"),
        ("base", "C:/models/Base/"),
        ("Llama-3.2-1B", "/x/models--meta-llama--Llama-3.2-1B/snapshots/0123abc"),
        ("Llama-3.2-1B", "C:\\hub\\models--meta-llama--Llama-3.2-1B\\snapshots\\0123abc"),
    ],
)
def test_one_name_spelt_otherwise_is_accepted(folder, recorded, tmp_path):
    base = home(tmp_path, folder)
    lora(base.parent / "plain")
    load_checkpoint(str(base), _renamed(base.parent / "plain", tmp_path / "copy", recorded))


@pytest.mark.parametrize("recorded", ["unsloth/base-bnb-4bit", "other", "D:\\AI\\base\\other", "Qwen2___5", "base2"])
def test_other_names_stay_refused(recorded, tmp_path):
    base = home(tmp_path)
    lora(base.parent / "plain")
    with pytest.raises(ValueError, match=r"was trained on .*pass the model it was trained on"):
        load_checkpoint(str(base), _renamed(base.parent / "plain", tmp_path / "copy", recorded))


def test_wrapped_models_are_run_through_what_is_inside():
    tokenizer, plain = letters(TURN), tiny(letters())
    right = extract(plain, tokenizer, "a witty movie", players=2, target=70)
    compiled = extract(torch.compile(plain, backend="eager"), tokenizer, "a witty movie", players=2, target=70)
    parallel = extract(torch.nn.DataParallel(plain), tokenizer, "a witty movie", players=2, target=70)
    for result in (compiled, parallel):
        assert result.values.tolist() == right.values.tolist()
        assert result.provenance["model"] == right.provenance["model"]
        assert result.provenance["model"]["class"] == "LlamaForCausalLM"

    class Mine(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.module = plain

    with pytest.raises(ValueError, match=r"Mine is not a Hugging Face model.*pass what it wraps \(\.module\)"):
        extract(Mine(), tokenizer, "a witty movie", players=2, target=70)
    encoder = tiny(words("a witty movie"), BertForSequenceClassification, BertConfig, num_labels=3)
    for model in (encoder, torch.nn.DataParallel(encoder), torch.compile(encoder, backend="eager")):
        assert extract(model, words("a witty movie"), "a witty movie", target=1).n == 2
