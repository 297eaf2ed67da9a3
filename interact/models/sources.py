"""What a name stands for: a model or an adapter, in a folder, among the embedded models, or on the hub."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from transformers.utils.hub import cached_file, extract_commit_hash
from transformers.utils.peft_utils import find_adapter_config_file

from interact.models import embedded

STEP = re.compile(r"(?:step|checkpoint)-(\d+)")
"""Name of a checkpoint's folder: ours, or of Trainer, TRL and LLaMA-Factory."""

BASE_FILE = "interact_base.json"
"""Beside our adapters: the name and the fingerprint of the model that they were trained on."""

_EDGE, _BLOCK, _BLOCKS = 1 << 20, 1 << 16, 64
_ADAPTER = ("adapter_model.safetensors", "adapter_model.bin")
_WHOLE = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_TOKENIZER = ("tokenizer_config.json", "tokenizer.json")


@dataclass(frozen=True)
class Source:
    """Where a model lies.

    Attributes:
        place: A folder, or the hub id of a whole model.
        adapter: Whether it is an adapter, in the folder `place`.
    """

    place: str
    adapter: bool = False


def find_source(name: str, *, encoder: bool = False) -> Source:
    """Find what a name stands for; an embedded model, and an adapter of the hub, is fetched when missing.

    Args:
        name: The name.
        encoder: It may be an encoder, which gets a new head or lends its tokenizer and so needs no answers.

    Raises:
        ValueError: It names a folder that does not exist or holds neither a model nor an adapter, or data.
    """
    if name == "reviews" or (name == "minilm" and not encoder):
        raise ValueError(f"{name} has no answers to score; the embedded language models are smollm2 and gemma3-270m.")
    if name in embedded.NAMES:
        return Source(str(embedded.fetch(name)))
    path = Path(name).expanduser()
    if path.exists():
        return _of_folder(path)
    if not name or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ValueError(f"The model folder {name or '(empty)'} does not exist; check the path.")
    return Source(*_of_hub(name))


def kind_of(folder: Path) -> str | None:
    """Return ``"adapter"``, ``"model"``, or None for a folder with the weights of neither."""
    if (folder / "adapter_config.json").is_file() and any((folder / name).is_file() for name in _ADAPTER):
        return "adapter"
    if (folder / "config.json").is_file() and any((folder / name).is_file() for name in _WHOLE):
        return "model"
    return None


def adapter_folder(folder: Path) -> Path:
    """Return where the adapter of a folder lies: in it or, as PEFT saves one that has a name, one folder below.

    Raises:
        ValueError: Several lie below, of which one must be named.
    """
    if kind_of(folder) is not None or not folder.is_dir():
        return folder
    below = sorted(path for path in folder.iterdir() if path.is_dir() and kind_of(path) == "adapter")
    below = [path for path in below if STEP.fullmatch(path.name) is None]
    if len(below) > 1:
        raise ValueError(
            f"{folder} holds several adapters, {', '.join(path.name for path in below)}; pass one of their folders, "
            f"such as {below[0]}."
        )
    return below[0] if below else folder


def weight_files(folder: Path, *, blocks: int = 0) -> list[list[Any]]:
    """Name the weights in a folder by the sizes and edges of their files, for whole models are too large to read.

    Args:
        folder: Where they are.
        blocks: Pieces of each file, of 64 KiB, that are read beside its edges.
    """
    found = []
    for path in sorted(folder.glob("*.safetensors")) + sorted(folder.glob("*.bin")):
        size = path.stat().st_size
        with path.open("rb") as file:
            digest = sha256(file.read(_EDGE))
            file.seek(max(0, size - _EDGE))
            digest.update(file.read(_EDGE))
            for place in range(blocks):
                file.seek(size * place // blocks)
                digest.update(file.read(_BLOCK))
        found.append([path.name, size, digest.hexdigest()])
    return found


def weights_of(name: str | None) -> list[Any]:
    """Name the weights that a model's name stands for now: the files of its folder, or the hub's commit.

    Of an adapter those of its base, too, where that is a folder. Nothing is known of those of an embedded model, which
    never change, and of names that nothing is found for.
    """
    if not name or name in embedded.NAMES:
        return []
    source = find_source(name)
    place = Path(source.place)
    if place.is_dir():
        found = weight_files(place, blocks=_BLOCKS)
        base = adapter_config(place).get("base_model_name_or_path") if source.adapter else None
        return [*found, *(weight_files(Path(base), blocks=_BLOCKS) if base and Path(base).is_dir() else [])]
    try:
        # Of a hub model the configuration is fetched first, so that its commit is known before its weights are.
        return [extract_commit_hash(cached_file(name, "config.json"), None)]
    except OSError:
        return []


def has_tokenizer(folder: Path) -> bool:
    """Tell whether a folder holds a tokenizer."""
    return any((folder / name).is_file() for name in _TOKENIZER)


def adapter_config(folder: Path) -> dict[str, Any]:
    """Read an adapter's configuration.

    Raises:
        ValueError: It is damaged.
    """
    try:
        found = json.loads((folder / "adapter_config.json").read_text("utf-8-sig"))
        if not isinstance(found, dict):
            raise ValueError("it holds no JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{folder}/adapter_config.json cannot be read ({error}); the checkpoint is damaged, so copy it again."
        ) from error
    return found


def _of_folder(path: Path) -> Source:
    if not path.is_dir():
        raise ValueError(f"{path} is a file; pass the folder of a model or of an adapter.")
    path = adapter_folder(path)
    if kind_of(path) == "adapter":
        return Source(str(path), adapter=True)
    if (path / "config.json").is_file():
        return Source(str(path))
    if (path / "adapter_config.json").is_file():
        raise ValueError(
            f"{path} has the configuration of an adapter, but not its weights ({_ADAPTER[0]}); copy them into the "
            "same folder."
        )
    inside = [p for p in path.iterdir() if STEP.fullmatch(p.name) and p.is_dir() and kind_of(p)]
    if inside:
        inside.sort(key=lambda p: int(p.name.rpartition("-")[2]))
        raise ValueError(
            f"{path} is the folder of a training, with the checkpoints {', '.join(p.name for p in inside)}; pass one "
            f"of them, such as {inside[-1]}."
        )
    raise ValueError(
        f"{path} is not a model folder: it has no config.json (a model) and no adapter_config.json (an adapter). Pass "
        "a folder of save_pretrained, or a checkpoint of a training."
    )


def _of_hub(name: str) -> tuple[str, bool]:
    try:
        if find_adapter_config_file(name) is None:
            return name, False
        wanted = ["adapter_*", "*token*", "*.jinja", "vocab*", "merges.txt", "special_tokens_map.json"]
        return snapshot_download(name, allow_patterns=wanted), True
    except (OSError, ValueError):
        # Whatever is wrong with the hub or the name is said when the model itself is loaded.
        return name, False
