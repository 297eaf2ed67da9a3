"""From a name to a model and its tokenizer: a folder, an adapter, a checkpoint, an embedded model, or a hub id."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from interact.formats.quoting import gist
from interact.models import embedded
from interact.models.adapters import merged, put_adapter, recorded_base
from interact.models.memory import out_of_memory
from interact.models.placement import DTYPES, Placement, placed, settled_dtype
from interact.models.sources import Source, adapter_config, find_source, has_tokenizer, kind_of
from interact.models.untouched import remember


def load_model(
    name: str,
    *,
    base: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    device_map: str | None = None,
    bits: int | None = None,
) -> tuple[Any, Any]:
    """Load a model for scoring, with its tokenizer.

    Args:
        name: A model folder; the folder of a PEFT adapter, whose base model is found from its configuration; a
            checkpoint of Trainer, TRL, LLaMA-Factory or `interact.sft.training.train`, whole or an adapter; the name of
            an embedded model (fetched when missing); or a Hugging Face hub id of a model or an adapter.
        base: The base model of an adapter, named alike; None for the one that its configuration names.
        dtype: ``"float32"``, ``"bfloat16"``, ``"float16"``, or ``"auto"``: float32 on a CPU, where nothing else is
            faster, and the checkpoint's own on a GPU. Half precision has a noise floor, which every result states.
        device: A torch device such as ``"cpu"`` or ``"cuda:1"``, or ``"auto"``: a usable GPU, else the CPU.
        device_map: Passed on to transformers instead of a device; ``"auto"`` spreads a model that is too large for one.
        bits: 8 or 4 for weights that bitsandbytes quantises while they are loaded.

    Returns:
        The model in eval mode, weights on their device, and the tokenizer: the adapter's own if it has one.

    Raises:
        ValueError: An option is not known, the folder is no model, or an adapter belongs to another base model.
        RuntimeError: The device, bitsandbytes or the hub cannot be reached, memory ran out, or the files are damaged.

    >>> model, tokenizer = interact.load_model("saves/reviews/checkpoint-30", base="smollm2")  # doctest: +SKIP
    """
    place = placed(dtype, device, device_map, bits)
    source = find_source(name)
    if source.adapter:
        return _with_adapter(source, base, place, ())
    if base is not None:
        raise ValueError(f"base={base!r} was given, but {name!r} is a whole model, which needs none; leave base out.")
    return _whole(name, source, place)


def load_trainable(
    name: str,
    *,
    dtype: str = "float32",
    device: str = "auto",
    device_map: str | None = None,
    bits: int | None = None,
) -> tuple[Any, Any]:
    """Load a model as the base of further adapters: as `load_model`, but an adapter is added to its base's weights.

    The sum is taken in float32 whatever the precision, so that it is the same on each machine.
    """
    return _base_from(name, find_source(name), placed(dtype, device, device_map, bits), ())


def load_tokenizer(name: str, *, base: str | None = None) -> Any:
    """Load a model's tokenizer alone; arguments as `load_model`.

    Raises:
        ValueError: A folder that is not a model folder.
        RuntimeError: The hub cannot be reached, or the files are damaged.
    """
    source, seen = find_source(name, encoder=True), ()
    while source.adapter and not has_tokenizer(Path(source.place)):
        _, source, seen = _base_of(source, base, seen)
        base = None
    with _damage_explained(name):
        return AutoTokenizer.from_pretrained(source.place)


def dtype_for(name: str, dtype: str, device: str, *, base: str | None = None) -> str:
    """Return the precision in which `load_model` loads a model, given its device: a name in `DTYPES`."""
    if dtype != "auto" or device == "cpu":
        return settled_dtype(dtype, device, "")
    source, seen = find_source(name), ()
    while source.adapter:
        _, source, seen = _base_of(source, base, seen)
        base = None
    with _damage_explained(name):
        return settled_dtype(dtype, device, source.place)


def _whole(name: str, source: Source, place: Placement) -> tuple[Any, Any]:
    """Load a model that is not an adapter."""
    transformers.utils.logging.disable_progress_bar()
    with _damage_explained(name):
        config = AutoConfig.from_pretrained(source.place)
        dtype = settled_dtype(place.dtype, place.device, source.place)
        classifier = any(a.endswith("ForSequenceClassification") for a in config.architectures or ())
        loader: Any = AutoModelForSequenceClassification if classifier else AutoModelForCausalLM
        model, found = loader.from_pretrained(source.place, output_loading_info=True, **place.options(dtype))
        tokenizer = AutoTokenizer.from_pretrained(source.place)
    if missing := sorted(found["missing_keys"]):
        raise ValueError(
            f"The model {name!r} has no weights for {missing[0]} ({len(missing)} missing), so its scores would be "
            "random; pass a causal language model or a classifier with its head."
        )
    if place.dtype == "auto" and dtype != "float32":
        warnings.warn(
            f"{name} is in {dtype}, as its checkpoint is; rounding looks like weak interactions, up to the noise "
            "floor that each result states; dtype float32 avoids it.",
            stacklevel=4,
        )
    remember(model)
    return model.eval(), tokenizer


def _with_adapter(source: Source, base: str | None, place: Placement, seen: tuple[str, ...]) -> tuple[Any, Any]:
    folder = Path(source.place)
    name, below, seen = _base_of(source, base, seen)
    try:
        model, tokenizer = _base_from(name, below, place, seen)
    except (ValueError, RuntimeError) as error:
        if adapter_config(folder).get("task_type") == "SEQ_CLS":
            raise ValueError(
                f"The adapter {folder} is of a classifier, and its base model {name!r} has no head: {error} Load that "
                "with interact.sft.checkpoints.fresh_classifier, and put the adapter on it with put_adapter."
            ) from error
        raise type(error)(
            f"The base model of the adapter {folder} could not be loaded; another can be named (base= in Python, "
            f"--base on the command line). {error}"
        ) from error
    model = put_adapter(model, folder, any_name=base is not None)
    if has_tokenizer(folder):
        with _damage_explained(str(folder)):
            tokenizer = AutoTokenizer.from_pretrained(folder)
    return model, tokenizer


def _base_from(name: str, source: Source, place: Placement, seen: tuple[str, ...]) -> tuple[Any, Any]:
    if not source.adapter:
        return _whole(name, source, place)
    if place.bits is not None or place.device_map is not None:
        raise ValueError(
            f"{name} is an adapter, which is added to its base model in float32; leave out bits and device_map."
        )
    dtype = dtype_for(name, place.dtype, place.device)
    model, tokenizer = _with_adapter(source, None, Placement(place.device, "float32"), seen)
    model = merged(model).to(DTYPES[dtype]).eval()
    remember(model)
    return model, tokenizer


def _base_of(source: Source, base: str | None, seen: tuple[str, ...]) -> tuple[str, Source, tuple[str, ...]]:
    """Return the name of an adapter's base model, where it lies, and the adapters above it."""
    folder = Path(source.place)
    name = base or recorded_base(folder)
    seen = (*seen, str(folder.resolve()))
    if name is None:
        raise ValueError(
            f"The adapter {folder} does not say which model it was trained on (base_model_name_or_path in its "
            "adapter_config.json is empty); name it (base= in Python, --base on the command line)."
        )
    try:
        found = find_source(name if base else near(name, folder))
    except ValueError as error:
        if base is not None:
            raise
        raise ValueError(
            f"The adapter {folder} was trained on {name!r}, which is not here; name its base model (base= in Python, "
            "--base on the command line), as a folder, a hub id or an embedded model."
        ) from error
    if found.adapter and str(Path(found.place).resolve()) in seen:
        raise ValueError(f"The adapter {folder} names itself as its base model; name another by base= or --base.")
    return name, found, seen


def near(name: str, folder: Path) -> str:
    """Return where a relative base lies, looked for below each folder that the adapter is in."""
    if name in embedded.NAMES or Path(name).expanduser().exists() or Path(name).expanduser().is_absolute():
        return name
    places = (above / name for above in folder.resolve().parents)
    return next((str(place) for place in places if kind_of(place)), name)


@contextmanager
def _damage_explained(name: str) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, RuntimeError) and out_of_memory(error):
            raise RuntimeError(
                f"The model {name!r} does not fit into the memory of its device; spread it (device_map='auto'), "
                "quantise it (bits=4 or 8), or take device='cpu'."
            ) from error
        # Damaged files raise whatever the code that meets them raises; tokenizers raises plain `Exception`.
        raise RuntimeError(
            f"The model {name!r} could not be loaded: {gist(error)}. Check the folder or the hub id, and the network."
        ) from error
