"""Write docs/models.md: which engines are exact for each family of causal language models that transformers knows.

    python docs/models.py [--family NAME ...] [--fresh]

1. Every family gets a tiny random model of its own classes: small sizes under whatever names its configuration uses.
2. In a process of its own, with a time limit, every engine scores all coalitions of one prompt under both maskings.
3. What was found is kept in build/models, one file a family, so that a run that is stopped goes on; `--fresh` forgets
   it. The page is written from these files.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import re
import signal
import warnings
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from interact import CoalitionInputs, coalition_values, explain_engine

PAGE = Path(__file__).parent / "models.md"
KEPT = Path(__file__).parent.parent / "build" / "models"
SECONDS = 60
"""How long one family may take."""
MOST_PARAMETERS = 100_000_000
EXACT = 1e-4
"""Largest difference of log-odds to the flat forward, relative to scores above 1."""
INPUTS = CoalitionInputs(
    [5, 17, 33, 90, 14, 61, 100, 7, 9, 11, 50, 31, 8, 21, 44, 70, 12, 19, 93, 27],
    [(1, 2), (6, 8), (10, 11), (13, 14)],
    [77],
    special_ids={"unk": 3},
)
COLUMNS = (
    ("baseline", "flat"),
    ("baseline", "tree"),
    ("baseline", "reorder"),
    ("attention", "flat"),
    ("attention", "tree"),
)

_SIZES: dict[str, Any] = {
    **dict.fromkeys(
        (
            "hidden_size",
            "n_embd",
            "d_model",
            "word_embed_proj_dim",
            "embedding_size",
            "dim",
            "emb_dim",
            "hidden_size_global",
        ),
        32,
    ),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "encoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size", "decoder_ffn_dim", "d_inner"), 64),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "num_experts_per_tok", "encoder_attention_heads"), 2),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("moe_intermediate_size", "expert_ffn_hidden_size", "encoder_ffn_dim"), 32),
    **dict.fromkeys(("head_dim", "v_head_dim", "qk_nope_head_dim", "qk_rope_head_dim", "query_pre_attn_scalar"), 8),
    **dict.fromkeys(("sliding_window", "attention_chunk_size", "sliding_window_size"), 8),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len"), 256),
    **dict.fromkeys(("n_group", "topk_group", "n_shared_experts", "first_k_dense_replace"), 1),
    **dict.fromkeys(("kv_lora_rank", "q_lora_rank"), 16),
    **dict.fromkeys(("mamba_n_heads", "mamba_num_heads", "n_mamba_heads", "mamba_d_head", "mamba_head_dim"), 8),
    **dict.fromkeys(("mamba_d_state", "mamba_state_dim", "state_size", "ssm_state_size"), 16),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim"), 8),
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "lru_width": 32,
    "mamba_d_ssm": 64,
    "num_kv_shared_layers": 0,
    "vocab_size_per_layer_input": 120,
    "rotary_dim": 4,
    "is_decoder": True,
    "vocab_size": 120,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers")
_WITHOUT_DEFAULT = ("head_dim", "num_key_value_heads", "pad_token_id", "bos_token_id", "eos_token_id")
_KINDS = re.compile("(layer_types|block_types?)$")
_AWKWARD: dict[str, dict[str, Any]] = {
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 1},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention"]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "bamba": {"attn_layer_indices": [1]},
    "ernie4_5_moe": {"moe_k": 2},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "deepseek_v2": {"num_experts_per_tok": 2},
    "kimi_linear": {"num_experts_per_token": 2},
    "bailing_hybrid": {"n_group": 1, "topk_group": 1},
    "xmod": {"default_language": "en_XX"},
    "dots3_note": {"num_key_value_heads": 4},
    "dots3_note_text": {"num_key_value_heads": 4},
}
"""What sizes must fit each other in a family, or be given because they have no default."""


def configuration(family: str) -> Any:
    """Return a small configuration of a family."""
    kind = CONFIG_MAPPING[family]
    return kind(**{**_smaller(kind), **_AWKWARD.get(family, {})})


def _smaller(kind: Any) -> dict[str, Any]:
    """Return the sizes that a kind of configuration knows, made small; inner configurations as well."""
    default = kind()
    known = default.to_dict()
    sizes = {name: size for name, size in _SIZES.items() if _settable(kind, known, name)}
    if "qk_rope_head_dim" in sizes:
        # Latent attention has as many key heads as query heads.
        sizes["num_key_value_heads"] = 4
    before = next((known[name] for name in _LAYERS if known.get(name)), 0)
    # Every kind of layer is wanted once.
    kinds = {name: list(dict.fromkeys(value)) for name, value in known.items() if _KINDS.search(str(name)) and value}
    layers = max([2, *map(len, kinds.values())])
    sizes |= {name: layers for name in _LAYERS if name in sizes}
    sizes |= {name: (value * layers)[:layers] for name, value in kinds.items()}
    for name, value in known.items():
        if isinstance(value, list) and len(value) == before > layers and name not in kinds:
            sizes[name] = [sizes[name]] * layers if name in sizes else value[:layers]
    for name, inner in (getattr(kind, "sub_configs", None) or {}).items():
        if known.get(name) is not None and inner.__name__ != "AutoConfig":
            sizes[name] = _smaller(inner)
    return sizes


def _settable(kind: Any, known: dict[str, Any], name: str) -> bool:
    own = getattr(kind, name, None)
    if isinstance(own, property) and own.fset is None:
        return False
    if name in _WITHOUT_DEFAULT:
        return name in known or name.endswith("token_id")
    return known.get(name) is not None


def model_of(family: str) -> Any:
    """Return a tiny random model whose scores depend on every token."""
    torch.manual_seed(0)
    small = configuration(family)
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in AutoModelForCausalLM.from_config(small).parameters())
    if count > MOST_PARAMETERS:
        raise ValueError(f"{count} parameters")
    model = AutoModelForCausalLM.from_config(small).eval().float()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                parameter.mul_(4.0)
    return model


def examine(family: str) -> dict[str, str]:
    """Return the class of a family's model and, for each masking and engine, ``"yes"`` or why not in a few words."""
    try:
        model = model_of(family)
        with torch.no_grad():
            # Some families fail at making a cache.
            cache = {"use_cache": False} if "use_cache" in inspect.signature(model.forward).parameters else {}
            model(input_ids=torch.tensor([INPUTS.input_ids]), **cache)
    except Exception as error:
        return {"class": f"no tiny model ({brief(error)})"}
    found = {"class": type(model).__name__}
    for masking in ("baseline", "attention"):
        try:
            flat = coalition_values(model, INPUTS, masking=masking, engine="flat")
        except Exception as error:
            found[f"{masking} flat"] = brief(error)
            continue
        found[f"{masking} flat"] = "yes"
        for engine in [engine for other, engine in COLUMNS if other == masking and engine != "flat"]:
            try:
                values = coalition_values(model, INPUTS, masking=masking, engine=engine)
            except Exception as error:
                found[f"{masking} {engine}"] = brief(error)
                continue
            worst = float(((values - flat).abs() / flat.abs().clamp(min=1)).max())
            single = "by one token per call" in explain_engine(model, INPUTS, masking=masking, engine=engine)
            found[f"{masking} {engine}"] = "differs" if worst > EXACT else "by single tokens" if single else "yes"
    return found


_REASONS = {
    "lets a token see later ones": "sees later tokens",
    "takes no position_ids or no logits_to_keep": "takes no positions",
    "does not use the attention function|attends in a way": "attention of its own",
    "scores of .* differ by": "differs",
    "no cache that can be reordered|embeddings together with a cache": "no such cache",
    "lets absent tokens influence": "mask ignored",
    "would be wrong": "embeddings changed",
    "not with its embeddings passed in": "takes no embeddings",
    "position encodings depend": "positions follow the call",
    "the (tree|reordered cache) fails on": "fails",
    "TimmWrapperModel": "needs timm",
    r"^\d+ parameters$": "too large",
}


def brief(error: Exception) -> str:
    """Say in a few words, the same on every machine, what an error says."""
    words = str(error)
    return next((short for pattern, short in _REASONS.items() if re.search(pattern, words)), type(error).__name__)


def examine_apart(family: str) -> dict[str, str]:
    """Examine a family in a process of its own, for at most `SECONDS`."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        signal.alarm(SECONDS)
        with os.fdopen(writer, "w") as file:
            warnings.simplefilter("ignore")
            json.dump(examine(family), file)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        answer = file.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == -signal.SIGALRM:
        return {"class": f"no answer within {SECONDS} seconds"}
    return (
        json.loads(answer) if not status and answer else {"class": f"no tiny model (the process ended with {status})"}
    )


def page(found: dict[str, dict[str, str]]) -> str:
    """Return the text of docs/models.md from what was found for each family."""
    counts = {column: sum(row.get(" ".join(column)) in _EXACT for row in found.values()) for column in COLUMNS}
    some = sum(any(row.get(f"baseline {engine}") in _EXACT for engine in ("tree", "reorder")) for row in found.values())
    lines = [
        _HEAD.format(
            versions=versions(),
            families=len(found),
            tiny=sum(not row["class"].startswith("no ") for row in found.values()),
            some=some,
            **{"_".join(column): count for column, count in counts.items()},
        ),
        "| family | class | " + " | ".join(f"{masking}: {engine}" for masking, engine in COLUMNS) + " |",
        "|---" * (2 + len(COLUMNS)) + "|",
    ]
    for family, row in sorted(found.items()):
        cells = [family, row["class"], *(row.get(" ".join(column), "") for column in COLUMNS)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def versions() -> str:
    """Return the line of the page that says what it was made with."""
    return f"Made by `python docs/models.py` with transformers {transformers.__version__}."


_EXACT = ("yes", "by single tokens")
_HEAD = """# Which models, by which engine

{versions}

This page is for readers who want to know whether their model is supported, and by which engine
([math.md](math.md#engines)).

We tried every family that transformers registers for causal language modelling, each as a tiny random model in float32
(windows and chunks of 8 tokens, a prompt of 20 tokens, 4 players). `yes` means that all log-odds are within 1e-4 of
those of the flat forward, which runs one masked forward pass per coalition. For `flat` itself, `yes` means that the
full coalition equals a plain forward, that no token attends to later ones, and that absent tokens have no influence.
Other entries say why an engine cannot be used. `auto` never takes an engine that is not exact, and a named engine that
is not exact raises an error with the reason. This check also runs on your model, so other families can be used, too.

Of {families} families, {tiny} gave a tiny model. With baseline masking, flat is right for {baseline_flat} families, the
tree for {baseline_tree}, the reordered cache for {baseline_reorder}, and one of the latter two for {some}. With
attention masking, flat is right for {attention_flat} and the tree for {attention_tree}. *By single tokens*: the cache
can be continued by one token per call only. *Takes no positions*, *attention of its own*: the tree cannot be used.
*Differs*: the log-odds are not those of the flat forward. Encoders have `is_decoder=True`.
"""


def main() -> None:
    """Examine the families that were not examined before, and write the page."""
    parser = argparse.ArgumentParser(description="Write docs/models.md.")
    parser.add_argument("--family", nargs="*", help="examine only these, and write no page")
    parser.add_argument("--fresh", action="store_true", help="forget what was found before")
    options = parser.parse_args()
    transformers.logging.set_verbosity(60)
    torch.set_num_threads(1)
    kept = KEPT / transformers.__version__
    kept.mkdir(parents=True, exist_ok=True)
    found = {}
    for family in options.family or sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        file = kept / f"{family}.json"
        if options.fresh or not file.exists():
            file.write_text(json.dumps(examine_apart(family)))
        found[family] = json.loads(file.read_text())
        print(family, found[family], flush=True)
    if not options.family:
        PAGE.write_text(page(found))


if __name__ == "__main__":
    main()
