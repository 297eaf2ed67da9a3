"""Models as people have them: folders, adapters, checkpoints, and where their weights go."""

import json
import shutil
import sys

import pytest
import torch
from accelerate import cpu_offload
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

import interact
from interact.engines.half import widened
from interact.models import placement
from interact.models.load import dtype_for, load_tokenizer, load_trainable
from interact.sft.checkpoints import swap_checkpoint
from tests.interact.conftest import causal
from tests.interact.test_cli import call

LORA = {"r": 2, "target_modules": ["q_proj", "up_proj"], "task_type": "CAUSAL_LM", "init_lora_weights": False}
TEXT = "a gorgeous, witty, seductive movie"


def adapter(base, folder, **changes):
    torch.manual_seed(5)
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(**LORA)).save_pretrained(folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, **changes}))
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory, byte_level):
    folder = tmp_path_factory.mktemp("models")
    causal().save_pretrained(folder / "base")
    byte_level.save_pretrained(folder / "base")
    adapter(folder / "base", folder / "run" / "checkpoint-3")
    return folder


def score(model, tokenizer):
    return float(interact.extract(model, tokenizer, TEXT, players=2, target=5).values[-1])


def test_an_adapter_finds_its_base_and_scores_as_peft_has_it(place, byte_level):
    model, tokenizer = interact.load_model(str(place / "run" / "checkpoint-3"))
    truth = causal()
    torch.manual_seed(5)
    truth = get_peft_model(truth, LoraConfig(**LORA)).eval()
    result = interact.extract(model, tokenizer, TEXT, players=2, target=5)
    expected = interact.extract(truth, byte_level, TEXT, players=2, target=5)
    assert result.values == pytest.approx(expected.values, abs=1e-5)
    assert result.values[-1] != pytest.approx(score(causal(), byte_level), abs=1e-3)
    assert result.provenance["model"]["adapter"] == str(place / "run" / "checkpoint-3")


def test_a_relative_base_is_found_where_it_lay(place, monkeypatch):
    moved = adapter(place / "base", place / "run" / "checkpoint-4", base_model_name_or_path="./base")
    monkeypatch.chdir(place.parent)
    assert score(*interact.load_model(str(moved))) == score(*interact.load_model(str(place / "run" / "checkpoint-3")))


def test_the_tokenizer_of_an_adapter_comes_first(place, byte_level, tmp_path):
    own = shutil.copytree(place / "run" / "checkpoint-3", tmp_path / "checkpoint-3")
    byte_level.save_pretrained(own)
    (own / "chat_template.jinja").write_text("own {{ messages[0]['content'] }}")
    for read in (load_tokenizer(str(own)), interact.load_model(str(own))[1]):
        assert read.chat_template.startswith("own")
    assert load_tokenizer(str(place / "run" / "checkpoint-3")).chat_template == byte_level.chat_template


def test_a_base_of_another_name_is_taken_when_it_is_given(place, byte_level, tmp_path):
    elsewhere = adapter(place / "base", tmp_path / "a", base_model_name_or_path="/gone/Other-Base")
    with pytest.raises(ValueError, match=r"was trained on '/gone/Other-Base', which is not here; name its base model"):
        interact.load_model(str(elsewhere))
    with pytest.warns(UserWarning, match=r"names '/gone/Other-Base' as its base model; it was put on '.*base'"):
        model, _ = interact.load_model(str(elsewhere), base=str(place / "base"))
    assert score(model, byte_level) == score(*interact.load_model(str(place / "run" / "checkpoint-3")))
    nameless = adapter(place / "base", tmp_path / "b", base_model_name_or_path=None)
    with pytest.raises(ValueError, match="does not say which model it was trained on"):
        interact.load_model(str(nameless))
    itself = adapter(place / "base", tmp_path / "c", base_model_name_or_path=str(tmp_path / "c"))
    with pytest.raises(ValueError, match="names itself as its base model"):
        interact.load_model(str(itself))
    with pytest.raises(ValueError, match="is a whole model, which needs none"):
        interact.load_model(str(place / "base"), base="smollm2")


@pytest.mark.parametrize(
    ("layers", "width", "reason"), [(1, 32, "the model has no place"), (3, 32, "it lacks"), (2, 16, "size mismatch")]
)
def test_an_adapter_of_another_model_is_refused(place, byte_level, tmp_path, layers, width, reason):
    causal(num_hidden_layers=layers, hidden_size=width).save_pretrained(tmp_path / "base")
    byte_level.save_pretrained(tmp_path / "base")
    with pytest.raises(ValueError, match=f"does not fit LlamaForCausalLM: .*{reason}.*Pass the base model"):
        interact.load_model(str(place / "run" / "checkpoint-3"), base=str(tmp_path / "base"))


def test_an_adapter_with_a_weight_too_few_is_refused_when_swapped_too(place, tmp_path):
    torn = shutil.copytree(place / "run" / "checkpoint-3", tmp_path / "checkpoint-9")
    weights = load_file(torn / "adapter_model.safetensors")
    weights.pop(next(iter(weights)))
    save_file(weights, torn / "adapter_model.safetensors")
    model, tokenizer = interact.load_model(str(place / "run" / "checkpoint-3"))
    before = score(model, tokenizer)
    with pytest.raises(ValueError, match=r"does not fit LlamaForCausalLM: it lacks .*lora_A.*\(1 such weights\)"):
        swap_checkpoint(model, torn)
    assert score(model, tokenizer) == before


def test_the_folder_of_a_training_says_its_checkpoints(place, tmp_path):
    run = shutil.copytree(place / "run", tmp_path / "run")
    shutil.copytree(run / "checkpoint-3", run / "checkpoint-20")
    with pytest.raises(ValueError, match=r"with the checkpoints checkpoint-3, .*checkpoint-20; pass one of them"):
        interact.load_model(str(run))
    for file in (run / "checkpoint-20").iterdir():
        shutil.copy(file, run)
    assert score(*interact.load_model(str(run))) == score(*interact.load_model(str(run / "checkpoint-20")))
    (run / "adapter_model.safetensors").unlink()
    with pytest.raises(ValueError, match="has the configuration of an adapter, but not its weights"):
        interact.load_model(str(run))
    with pytest.raises(ValueError, match="is a file; pass the folder"):
        interact.load_model(str(run / "README.md"))


def test_an_adapter_below_another_is_added_to_its_base(place, tmp_path):
    first = place / "run" / "checkpoint-3"
    model, tokenizer = load_trainable(str(first))
    assert type(model).__name__ == "LlamaForCausalLM"
    assert score(model, tokenizer) == pytest.approx(score(*interact.load_model(str(first))), abs=1e-4)
    model.save_pretrained(tmp_path / "merged")
    tokenizer.save_pretrained(tmp_path / "merged")
    second = adapter(tmp_path / "merged", tmp_path / "second", base_model_name_or_path=str(first))
    with pytest.warns(UserWarning, match="as its base model; it was put on"):
        stacked = interact.load_model(str(second), base=str(first))
    with pytest.warns(UserWarning, match="as its base model; it was put on"):
        whole = interact.load_model(str(second), base=str(tmp_path / "merged"))
    assert score(*stacked) == pytest.approx(score(*whole), abs=1e-5) != score(model, tokenizer)


def test_what_auto_takes(place, monkeypatch):
    monkeypatch.setenv("INTERACT_DEVICE", "auto")
    monkeypatch.setattr(placement, "gpu", lambda: (False, ""))
    assert placement.placed("auto", "auto").device == "cpu"
    monkeypatch.setattr(placement, "gpu", lambda: (True, ""))
    assert placement.placed("auto", "auto").device == "cuda"
    assert placement.placed("auto", "auto").options("bfloat16") == {
        "dtype": torch.bfloat16,
        "device_map": {"": "cuda"},
    }
    monkeypatch.setattr(placement, "gpu", lambda: (False, "the driver is too old (found version 11040)"))
    with pytest.warns(UserWarning, match=r"because the GPU of this machine cannot be: the driver is too old"):
        assert placement.placed("auto", "auto").device == "cpu"
    with pytest.raises(RuntimeError, match=r"no usable CUDA device \(the driver is too old .*; use device='cpu'"):
        placement.placed("auto", "cuda")
    monkeypatch.setenv("INTERACT_DEVICE", "abacus")
    with pytest.raises(ValueError, match="INTERACT_DEVICE is 'abacus'"):
        placement.placed("auto", "auto")
    half = place / "half"
    causal().to(torch.bfloat16).save_pretrained(half)
    assert dtype_for(str(half), "auto", "cuda") == "bfloat16" and dtype_for(str(half), "auto", "cpu") == "float32"
    assert dtype_for(str(place / "run" / "checkpoint-3"), "auto", "cuda") == "float32"


def test_a_gpu_that_cannot_compute_is_said(monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nmore")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", fails)
    assert placement.gpu.__wrapped__() == (
        False,
        "CUDA error: no kernel image is available for execution on the device",
    )


def test_options_that_cannot_be_had_are_sentences(place, monkeypatch):
    name = str(place / "base")
    with pytest.raises(ValueError, match="both say where weights go"):
        interact.load_model(name, device="cpu", device_map="auto")
    with pytest.raises(ValueError, match="bits=3 is not known"):
        interact.load_model(name, bits=3)
    with pytest.raises(ValueError, match="dtype='int8' is not known"):
        interact.load_model(name, dtype="int8")
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(
        RuntimeError, match=r"bitsandbytes, which is not installed; run: pip install \"interact-llm\[qu"
    ):
        interact.load_model(name, bits=4)
    monkeypatch.setattr(placement, "require", lambda *_: None)
    with pytest.raises(RuntimeError, match="needs a usable GPU, but the device is cpu"):
        interact.load_model(name, bits=4)


def test_a_device_map_is_passed_on(place):
    model, tokenizer = interact.load_model(str(place / "base"), device_map="auto")
    assert score(model, tokenizer) == score(*interact.load_model(str(place / "base")))


def test_an_offloaded_model_is_scored_and_its_noise_is_not_made_up(byte_level):
    plain, offloaded = causal().to(torch.bfloat16), causal().to(torch.bfloat16)
    cpu_offload(offloaded, execution_device=torch.device("cpu"))
    assert offloaded.get_input_embeddings().weight.is_meta
    for baseline in ("unk", "mean"):
        expected = interact.extract(plain, byte_level, TEXT, target=7, baseline=baseline)
        result = interact.extract(offloaded, byte_level, TEXT, target=7, baseline=baseline)
        assert result.values == pytest.approx(expected.values, abs=0.05)
    found = result.provenance
    assert found["precision"]["sigma"] is None and found["precision"]["reason"] == "offloaded weights cannot be widened"
    assert found["model"]["device"] == "cpu" and found["model"]["weights"] == "offloaded"
    with (
        pytest.raises(ValueError, match="The offloaded weights of LlamaForCausalLM cannot be widened"),
        widened(offloaded),
    ):
        pass


def test_the_command_line_takes_an_adapter(capsys, place, tmp_path):
    checkpoint = place / "run" / "checkpoint-3"
    code, out, _ = call(capsys, "extract", "--model", checkpoint, "--text", TEXT, "--json")
    assert code == 0 and json.loads(out)["provenance"]["model"]["adapter"] == str(checkpoint)
    code, _, err = call(capsys, "extract", "--model", checkpoint, "--base", tmp_path / "none", "--text", TEXT)
    assert code == 2 and "does not exist; check the path" in err
