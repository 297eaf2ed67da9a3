"""A GGUF file to an ordinary Hugging Face folder in bfloat16.

1. transformers unpacks the quantised weights to float32.
2. The traces of the quantiser, which forbid saving, are dropped.
3. Model and tokenizer are saved; from then on the folder needs neither gguf nor accelerate.
"""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr
from importlib.metadata import version
from pathlib import Path
from typing import Any

from interact.formats.extras import require

_NEEDED = ("transformers", "gguf", "accelerate")


def require_converter(name: str) -> None:
    """Make sure that a GGUF file can be converted, before anything is downloaded.

    Args:
        name: what is being fetched, for the message.

    Raises:
        RuntimeError: a package is missing.
    """
    require("embedded", f"Fetching {name}, a GGUF file,", *_NEEDED)


def gguf_to_folder(gguf: Path, folder: Path, progress: bool) -> dict[str, str]:
    """Convert a GGUF file of a causal language model.

    Args:
        gguf: the file.
        folder: an existing folder that receives the model and the tokenizer.
        progress: whether transformers draws its bars on stderr.

    Returns:
        The versions of the packages that did it.

    Raises:
        RuntimeError: a package is missing or too old, or the file does not hold the whole model.
        OSError: the disk is full.
    """
    try:
        import gguf as reader
        import torch
        from safetensors import SafetensorError
        from transformers import AutoModelForCausalLM, AutoTokenizer

        # On Python 3.10 transformers before 5.17 finds the version of gguf nowhere else.
        reader.__dict__.setdefault("__version__", version("gguf"))
        with _quiet(progress):
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                gguf.parent, gguf_file=gguf.name, dtype=torch.float32, output_loading_info=True, **_unpacked()
            )
            model, report = loaded
            if missing := sorted(report["missing_keys"]):
                raise RuntimeError(
                    f"{gguf.name} lacks the weights {', '.join(missing[:3])} that its model expects: transformers "
                    f"{version('transformers')} reads the file differently; install the version that "
                    "interact-llm was tested with and fetch again."
                )
            _forget_quantiser(model)
            model.to(torch.bfloat16)
            model.config.dtype = torch.bfloat16
            try:
                model.save_pretrained(folder)
            except SafetensorError as error:
                # safetensors wraps the full disk in its own error.
                if "No space left" in str(error):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
                raise
            tokenizer.save_pretrained(folder)
    except ImportError as error:
        raise RuntimeError(
            f"Converting {gguf.name} needs a package that cannot be imported here ({error}): run "
            '`pip install --upgrade "interact-llm[embedded]"` and fetch again.'
        ) from error
    return {package: version(package) for package in ("torch", *_NEEDED)}


def _unpacked() -> dict[str, Any]:
    # Newer releases keep the weights in GGUF blocks unless told otherwise; older ones always unpack.
    import transformers

    config = getattr(transformers, "GgufConfig", None)
    return {} if config is None else {"quantization_config": config(dequantize=True)}


def _forget_quantiser(model: Any) -> None:
    for trace in ("hf_quantizer", "is_quantized", "quantization_method"):
        vars(model).pop(trace, None)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config


@contextmanager
def _quiet(progress: bool) -> Iterator[None]:
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings(), ExitStack() as stack:
            warnings.simplefilter("ignore")
            if not progress:
                # Not every bar listens to transformers' own switch.
                nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
                stack.enter_context(redirect_stderr(nowhere))
            yield
    finally:
        logging.set_verbosity(verbosity)
