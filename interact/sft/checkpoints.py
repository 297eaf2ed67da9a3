"""Checkpoints of a fine-tuning: finding them, and putting one on its base model.

Read are PEFT adapters and whole models, in folders named ``step-N`` (ours) or ``checkpoint-N`` (transformers' Trainer,
TRL, LLaMA-Factory).
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import SafetensorError
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from interact import embedded
from interact.files import broken_seal
from interact.models.family import unwrapped
from interact.models.load import DTYPES, load_model
from interact.sft.undisturbed import kept_random_state

_STEP = re.compile(r"(?:step|checkpoint)-(\d+)")
_ADAPTER = ("adapter_model.safetensors", "adapter_model.bin")
_WHOLE = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_BASE_FILE = "interact_base.json"


def find_checkpoints(folder: str | Path) -> dict[int, Path]:
    """Find the checkpoints of a finished or killed training.

    Args:
        folder: Its output folder; its own adapter or model counts as the last step, if a trainer state says which.

    Returns:
        {step: checkpoint}, in the order of the steps.

    Raises:
        ValueError: The folder does not exist or holds no checkpoint.

    >>> find_checkpoints("saves/qwen/lora/sft")  # doctest: +SKIP
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise ValueError(f"The folder of checkpoints {folder} does not exist; check the path.")
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        match = _STEP.fullmatch(path.name)
        if match is None or not path.is_dir():
            continue
        if _kind(path) is None:
            warnings.warn(f"{path} holds neither an adapter nor a model: left out.", stacklevel=2)
        else:
            found[int(match[1])] = path
    last = _last_step(folder)
    if last is not None and last not in found and _kind(folder) is not None:
        found[last] = folder
    if not found:
        raise ValueError(
            f"{folder} holds no checkpoints; expected are folders step-N or checkpoint-N with an adapter "
            "(adapter_config.json) or a model (config.json) in each."
        )
    return dict(sorted(found.items()))


def load_checkpoint(
    base: str | Any, checkpoint: str | Path, *, dtype: str = "float32", device: str = "cpu"
) -> tuple[Any, Any]:
    """Load a checkpoint: an adapter on its base model, or a whole model.

    Args:
        base: The base model: a folder, an embedded name or a hub id. For whole models it is not needed ("").
        checkpoint: A folder as `find_checkpoints` returns.
        dtype: Precision of the weights.
        device: A torch device.

    Returns:
        The model in eval mode, and the tokenizer. `swap_checkpoint` puts another checkpoint's adapter on it.

    Raises:
        ValueError: No checkpoint, or the adapter of another base model.
        RuntimeError: The base model cannot be loaded.

    >>> load_checkpoint("smollm2", "checkpoints/step-100")  # doctest: +SKIP
    """
    checkpoint = Path(checkpoint).expanduser()
    kind = _kind(checkpoint)
    if kind is None:
        raise ValueError(f"{checkpoint} holds neither an adapter (adapter_config.json) nor a model; check the path.")
    _check_seal(checkpoint)
    if kind == "model":
        return load_model(str(checkpoint), dtype=dtype, device=device)
    _check_names(str(base), checkpoint)
    model, tokenizer = load_model(str(base), dtype=dtype, device=device)
    return put_adapter(model, checkpoint), tokenizer


def put_adapter(model: Any, checkpoint: str | Path) -> Any:
    """Put an adapter on a loaded base model.

    Args:
        model: The base model; it is changed in place (its linear layers are wrapped).
        checkpoint: The adapter's folder.

    Returns:
        The PEFT model in eval mode.

    Raises:
        ValueError: The adapter was trained on another model.
    """
    checkpoint = Path(checkpoint)
    _check_seal(checkpoint)
    _check_base(model, checkpoint)
    return _fitting(lambda: PeftModel.from_pretrained(model, str(checkpoint)), model, checkpoint).eval()


def swap_checkpoint(model: Any, checkpoint: str | Path) -> Any:
    """Put another checkpoint's adapter in the place of the one a model has; the base model is not loaded again.

    Args:
        model: From `load_checkpoint`, `put_adapter` or an earlier swap; changed in place.
        checkpoint: The folder of the other adapter.

    Returns:
        The same model, in eval mode.

    Raises:
        ValueError: The model has no adapter, the folder holds none, or it was trained on another base model.

    >>> model = swap_checkpoint(model, "checkpoints/step-200")  # doctest: +SKIP
    """
    checkpoint = Path(checkpoint).expanduser()
    if not isinstance(model, PeftModel):
        raise ValueError(f"{type(model).__name__} carries no adapter; load the first checkpoint with load_checkpoint.")
    if _kind(checkpoint) != "adapter":
        raise ValueError(f"{checkpoint} holds no adapter (adapter_config.json); a whole model must be loaded anew.")
    _check_seal(checkpoint)
    _check_base(model, checkpoint)
    old = str(model.active_adapter)
    new = "swapped" if old != "swapped" else "default"
    _fitting(lambda: model.load_adapter(str(checkpoint), new), model, checkpoint)
    model.set_adapter(new)
    model.delete_adapter(old)
    return model.eval()


def fresh_classifier(
    name: str, labels: list[str], *, seed: int = 0, dtype: str = "float32", device: str = "cpu"
) -> tuple[Any, Any]:
    """Load an encoder with a new classification head, drawn from the seed.

    Args:
        name: A model folder, the embedded ``"minilm"``, or a hub id.
        labels: The labels' names, in order.
        seed: Seed of the head.
        dtype: Precision of the weights.
        device: A torch device.

    Raises:
        ValueError: Fewer than two labels, or one twice.
        RuntimeError: The model cannot be loaded.

    >>> fresh_classifier("minilm", ["negative", "positive"])  # doctest: +SKIP
    """
    if len(labels) < 2 or len(set(labels)) < len(labels):
        raise ValueError(f"A classifier needs two or more different labels, but got {labels}.")
    folder = str(embedded.fetch(name)) if name in embedded.NAMES else name
    names = dict(enumerate(labels))
    try:
        with kept_random_state():
            torch.manual_seed(seed)
            model = AutoModelForSequenceClassification.from_pretrained(
                folder, dtype=DTYPES[dtype], id2label=names, label2id={label: i for i, label in names.items()}
            )
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except MemoryError:
        raise
    except Exception as error:
        # Damaged files raise whatever the code that meets them raises.
        raise RuntimeError(
            f"The encoder {name!r} could not be loaded: {error} Check the folder or the hub id."
        ) from error
    return model.to(device).eval(), tokenizer


def record_base(model: Any, checkpoint: Path) -> None:
    """Write beside an adapter which weights it was trained on."""
    content = {"name": getattr(model.config, "_name_or_path", ""), "fingerprint": fingerprint(model)}
    (checkpoint / _BASE_FILE).write_text(json.dumps(content), "utf-8")


def fingerprint(model: Any) -> str:
    """Return a hash of a model's weights (64 values of each, in bfloat16), without what PEFT added."""
    digest = hashlib.sha256()
    for name, weight in unwrapped(model).named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            continue
        flat = weight.detach().flatten()
        sample = flat[:: max(1, flat.numel() // 64)][:64].to(torch.bfloat16).float().cpu()
        digest.update(str(tuple(weight.shape)).encode() + sample.numpy().tobytes())
    return digest.hexdigest()[:16]


def _kind(path: Path) -> str | None:
    if (path / "adapter_config.json").is_file() and any((path / name).is_file() for name in _ADAPTER):
        return "adapter"
    if (path / "config.json").is_file() and any((path / name).is_file() for name in _WHOLE):
        return "model"
    return None


def _last_step(folder: Path) -> int | None:
    try:
        return int(json.loads((folder / "trainer_state.json").read_text("utf-8"))["global_step"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _check_seal(checkpoint: Path) -> None:
    if broken := broken_seal(checkpoint):
        raise ValueError(
            f"The checkpoint {checkpoint} is damaged ({broken}); copy it again, or remove {checkpoint.parent} to train "
            "anew."
        )


def _check_base(model: Any, checkpoint: Path) -> None:
    _check_names(getattr(unwrapped(model).config, "_name_or_path", ""), checkpoint)
    _check_fingerprint(model, checkpoint)


def _check_names(base: str, checkpoint: Path) -> None:
    """Compare names where no fingerprint was recorded, as in adapters that others trained."""
    if (checkpoint / _BASE_FILE).is_file():
        return
    try:
        recorded = json.loads((checkpoint / "adapter_config.json").read_text("utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{checkpoint}/adapter_config.json cannot be read ({error}); the checkpoint is damaged."
        ) from error
    if recorded and base and _plain_name(recorded) != _plain_name(base):
        raise ValueError(
            f"The adapter {checkpoint} was trained on {recorded!r}, but the base model given is {base!r}; pass the "
            "model it was trained on. If it is the same model under another name, change base_model_name_or_path in "
            "its adapter_config.json."
        )


def _plain_name(name: str) -> str:
    """Return what a model is called, whatever folder it lies in."""
    cached = re.search(r"models--(?:[^/]+--)?([^/]+)/snapshots/", name.rstrip("/") + "/")
    return (cached[1] if cached else Path(name).name).lower()


def _check_fingerprint(model: Any, checkpoint: Path) -> None:
    path = checkpoint / _BASE_FILE
    if not path.is_file():
        return
    try:
        recorded = json.loads(path.read_text("utf-8"))
        known, name = str(recorded["fingerprint"]), str(recorded["name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} cannot be read ({error}); the checkpoint is damaged.") from error
    if known != fingerprint(model):
        given = getattr(unwrapped(model).config, "_name_or_path", "") or type(unwrapped(model)).__name__
        raise ValueError(
            f"The adapter {checkpoint} was trained on the base model {name!r}, whose weights differ from "
            f"those of {given!r}; pass the model it was trained on."
        )


def _fitting(load: Any, model: Any, checkpoint: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Found missing adapter keys", category=UserWarning)
            return load()
    except SafetensorError as error:
        raise ValueError(f"The adapter {checkpoint} is damaged ({error}); copy it again, or train again.") from error
    except MemoryError:
        raise
    except Exception as error:
        # A configuration of any content raises any kind of error inside PEFT.
        first = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise ValueError(
            f"The adapter {checkpoint} does not fit {type(unwrapped(model)).__name__}: {first}. Pass the base model it "
            "was trained on."
        ) from error
