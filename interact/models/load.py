"""From a name to a model and its tokenizer: a folder, an embedded model, or a hub id."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from interact import embedded

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_model(name: str, *, dtype: str = "float32", device: str = "cpu") -> tuple[Any, Any]:
    """Load a model for scoring, with its tokenizer.

    Args:
        name: A model folder, the name of an embedded model (fetched when missing), or a Hugging Face hub id.
        dtype: ``"float32"``, ``"bfloat16"`` or ``"float16"``.
        device: A torch device such as ``"cpu"`` or ``"cuda"``.

    Returns:
        The model in eval mode and the tokenizer.

    Raises:
        ValueError: Unknown dtype, or a folder that is not a model folder.
        RuntimeError: The device or the hub cannot be reached, or the files are damaged.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype={dtype!r} is not known; choose one of {list(DTYPES)}.")
    if device.split(":")[0] not in ("cpu", "cuda", "mps", "xpu"):
        raise ValueError(f"device={device!r} is not known; choose cpu or cuda.")
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("device='cuda' was asked for, but torch finds no usable CUDA device; use device='cpu'.")
    if name in ("minilm", "reviews"):
        raise ValueError(f"{name} has no answers to score; the embedded language models are smollm2 and gemma3-270m.")
    folder = model_folder(name)
    transformers.utils.logging.disable_progress_bar()
    with _damage_explained(name):
        config = AutoConfig.from_pretrained(folder)
        classifier = any(a.endswith("ForSequenceClassification") for a in config.architectures or ())
        loader: Any = AutoModelForSequenceClassification if classifier else AutoModelForCausalLM
        model, found = loader.from_pretrained(folder, dtype=DTYPES[dtype], output_loading_info=True)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    if missing := sorted(found["missing_keys"]):
        raise ValueError(
            f"The model {name!r} has no weights for {missing[0]} ({len(missing)} missing), so its scores would be "
            "random; pass a causal language model or a classifier with its head."
        )
    return model.to(device).eval(), tokenizer


def load_tokenizer(name: str) -> Any:
    """Load a model's tokenizer alone.

    Raises:
        ValueError: A folder that is not a model folder.
        RuntimeError: The hub cannot be reached, or the files are damaged.
    """
    folder = model_folder(name)
    with _damage_explained(name):
        return AutoTokenizer.from_pretrained(folder)


@contextmanager
def _damage_explained(name: str) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        # Damaged files raise whatever the code that meets them raises; tokenizers raises plain `Exception`.
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RuntimeError(
            f"The model {name!r} could not be loaded: {first} Check the folder or the hub id, and the network."
        ) from error


def model_folder(name: str) -> str:
    """Return where a model lies, or its hub id: an embedded model is fetched when missing.

    Raises:
        ValueError: A folder that does not exist or is not a model folder.
    """
    if name in embedded.NAMES:
        return str(embedded.fetch(name))
    path = Path(name).expanduser()
    if path.exists():
        if not (path / "config.json").is_file():
            raise ValueError(f"{name} is not a model folder: it has no config.json. Pass a folder of save_pretrained.")
        return str(path)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ValueError(f"The model folder {name} does not exist; check the path.")
    return name
