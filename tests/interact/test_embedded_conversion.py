"""A GGUF file becomes an ordinary model folder, or a sentence says why not."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from interact.models.embedded import convert


def write_gguf(path: Path) -> dict[str, object]:
    """Write a one-layer llama with a byte-level tokenizer, and return its weights by GGUF name."""
    import gguf
    import numpy as np

    tokens = ["<s>", "</s>", "a", "b", "Ġ", "ab", "Ġab", "c"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    for add, value in [
        (writer.add_context_length, 64), (writer.add_embedding_length, 32), (writer.add_block_count, 1),
        (writer.add_feed_forward_length, 48), (writer.add_head_count, 2), (writer.add_head_count_kv, 1),
        (writer.add_vocab_size, len(tokens)), (writer.add_rope_dimension_count, 16),
        (writer.add_bos_token_id, 0), (writer.add_eos_token_id, 1), (writer.add_unk_token_id, 0),
    ]:  # fmt: skip
        add(value)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 1, 1, 1, 1, 1, 1])
    writer.add_token_merges(["a b", "Ġ ab"])
    shapes = {
        "token_embd": (8, 32), "output_norm": (32,), "blk.0.attn_norm": (32,), "blk.0.ffn_norm": (32,),
        "blk.0.attn_q": (32, 32), "blk.0.attn_k": (16, 32), "blk.0.attn_v": (16, 32), "blk.0.attn_output": (32, 32),
        "blk.0.ffn_gate": (48, 32), "blk.0.ffn_up": (48, 32), "blk.0.ffn_down": (32, 48),
    }  # fmt: skip
    random = np.random.default_rng(0)
    # Multiples of 1/8 survive float16 and bfloat16 unrounded.
    weights = {name: random.integers(-8, 9, shape).astype(np.float32) / 8 for name, shape in shapes.items()}
    for name, weight in weights.items():
        writer.add_tensor(f"{name}.weight", weight if weight.ndim == 1 else weight.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


def test_conversion_makes_an_ordinary_folder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for package in ("gguf", "accelerate"):
        pytest.importorskip(package, reason=f"{package} comes with the extra `embedded`")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    weights = write_gguf(tmp_path / "tiny.gguf")
    folder = tmp_path / "tiny"
    folder.mkdir()
    capfd.readouterr()
    versions = convert.gguf_to_folder(tmp_path / "tiny.gguf", folder, progress=False)
    assert capfd.readouterr() == ("", "")
    assert set(versions) == {"torch", "transformers", "gguf", "accelerate"}
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.bfloat16 and model.config.tie_word_embeddings
    state = model.state_dict()
    for ours, theirs in {
        "model.embed_tokens": "token_embd", "model.norm": "output_norm",
        "model.layers.0.self_attn.v_proj": "blk.0.attn_v", "model.layers.0.mlp.down_proj": "blk.0.ffn_down",
    }.items():  # fmt: skip
        assert torch.equal(state[f"{ours}.weight"].float(), torch.as_tensor(weights[theirs]))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.convert_ids_to_tokens(tokenizer("ab abc").input_ids) == ["ab", "Ġab", "c"]


def test_conversion_without_gguf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(RuntimeError, match=r'pip install --upgrade "interact-llm\[embedded\]"'):
        convert.gguf_to_folder(tmp_path / "x.gguf", tmp_path, progress=False)
