"""Putting PEFT adapters on their base model, and refusing those of another model.

1. An adapter of ours names a hash of its base's weights; that of another trainer names its base.
2. PEFT loads what fits by name and leaves out the rest; here each weight of the model's adapter must be in the file,
   and each weight of the file in the model.
"""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from interact.formats.extras import require
from interact.formats.files import broken_seal
from interact.formats.quoting import gist
from interact.models.family import unwrapped
from interact.models.fingerprint import fingerprint, kept_otherwise
from interact.models.sources import BASE_FILE, adapter_config, adapter_folder, kind_of
from interact.models.untouched import changed_weight, remember
from interact.models.vocabulary import fit_vocabulary


def put_adapter(model: Any, checkpoint: str | Path, *, any_name: bool = False) -> Any:
    """Put an adapter on a loaded base model.

    Args:
        model: The base model; it is changed in place (its linear layers are wrapped).
        checkpoint: The adapter's folder.
        any_name: Take a base of another name than the adapter's configuration gives, with a warning.

    Returns:
        The PEFT model in eval mode.

    Raises:
        ValueError: The adapter was trained on another model.
    """
    checkpoint = adapter_folder(Path(checkpoint).expanduser())
    check_seal(checkpoint)
    _check_base(model, checkpoint, any_name)
    if not (checkpoint / BASE_FILE).is_file():
        _check_untouched(model, checkpoint)
        fit_vocabulary(model, checkpoint)

    require("study", f"{checkpoint}, an adapter,", "peft", "accelerate")
    from peft import PeftModel

    def load() -> tuple[Any, Any]:
        wrapped = PeftModel.from_pretrained(model, str(checkpoint))
        # Once more, since from_pretrained keeps to itself what did not fit.
        return wrapped, wrapped.load_adapter(str(checkpoint), str(wrapped.active_adapter))

    return _named(_fitting(load, model, checkpoint), checkpoint)


def swap_checkpoint(model: Any, checkpoint: str | Path) -> Any:
    """Put another checkpoint's adapter instead of the one a model has; the base model is not loaded again.

    Args:
        model: From `interact.sft.checkpoints.load_checkpoint`, `put_adapter` or an earlier swap; changed in place.
        checkpoint: The folder of the other adapter.

    Returns:
        The same model, in eval mode.

    Raises:
        ValueError: The model has no adapter, the folder holds none, or it was trained on another base model.

    >>> model = swap_checkpoint(model, "checkpoints/step-200")  # doctest: +SKIP
    """
    checkpoint = adapter_folder(Path(checkpoint).expanduser())
    # Without PEFT no model carries an adapter.
    if not hasattr(model, "peft_config"):
        raise ValueError(f"{type(model).__name__} has no adapter; load the first checkpoint with load_checkpoint.")
    if kind_of(checkpoint) != "adapter":
        raise ValueError(f"{checkpoint} holds no adapter (adapter_config.json); a whole model must be loaded anew.")
    check_seal(checkpoint)
    _check_base(model, checkpoint, any_name=False)
    old = str(model.active_adapter)
    new = "swapped" if old != "swapped" else "default"
    try:
        _fitting(lambda: (model, model.load_adapter(str(checkpoint), new)), model, checkpoint)
    except ValueError:
        if new in model.peft_config:
            model.delete_adapter(new)
        raise
    model.set_adapter(new)
    model.delete_adapter(old)
    return _named(model, checkpoint)


def merged(model: Any) -> Any:
    """Add an adapter to the weights of its base model, and return that."""
    base = model.merge_and_unload()
    # PEFT 0.18 leaves its configuration there, and then warns of the next adapter.
    base.__dict__.pop("peft_config", None)
    return base


def record_base(model: Any, checkpoint: Path) -> None:
    """Write beside an adapter which weights it was trained on."""
    content = {"name": getattr(model.config, "_name_or_path", ""), "fingerprint": fingerprint(model)}
    (checkpoint / BASE_FILE).write_text(json.dumps(content), "utf-8")


def recorded_base(checkpoint: Path) -> str | None:
    """Return the name of the model that an adapter was trained on, if it says one."""
    name = adapter_config(checkpoint).get("base_model_name_or_path")
    return name if isinstance(name, str) and name else None


def check_names(base: str, checkpoint: Path) -> None:
    """Compare names where no fingerprint was recorded, as in adapters that others trained.

    Raises:
        ValueError: They differ.
    """
    if (checkpoint / BASE_FILE).is_file():
        return
    recorded = recorded_base(checkpoint)
    if recorded and base and _plain_name(recorded) != _plain_name(base):
        raise ValueError(
            f"The adapter {checkpoint} was trained on {recorded!r}, but the base model given is {base!r}; pass the "
            "model it was trained on. If it is the same model under another name, change base_model_name_or_path in "
            "its adapter_config.json."
        )


def check_seal(checkpoint: Path) -> None:
    """Refuse a checkpoint of ours that is not what was written.

    Raises:
        ValueError: A file differs from its sum.
    """
    if broken := broken_seal(checkpoint):
        raise ValueError(
            f"The checkpoint {checkpoint} is damaged ({broken}); copy it again, or remove {checkpoint.parent} to train "
            "anew."
        )


def _named(model: Any, checkpoint: Path) -> Any:
    # For the record of a result: neither PEFT nor transformers keeps where an adapter came from.
    model.interact_adapter = str(checkpoint)
    return model.eval()


def _check_base(model: Any, checkpoint: Path, any_name: bool) -> None:
    given = getattr(unwrapped(model).config, "_name_or_path", "")
    try:
        check_names(given, checkpoint)
    except ValueError:
        if not any_name:
            raise
        warnings.warn(
            f"The adapter {checkpoint} names {recorded_base(checkpoint)!r} as its base model; it was put on {given!r}, "
            "as asked for.",
            stacklevel=3,
        )
    _check_fingerprint(model, checkpoint)


def _check_untouched(model: Any, checkpoint: Path) -> None:
    """Refuse a base whose weights something has changed since they were loaded."""
    if (name := changed_weight(model)) is not None:
        raise ValueError(
            f"The adapter {checkpoint} cannot be put on this {type(unwrapped(model)).__name__}: its weights are no "
            f"longer those that were loaded ({name} differs), since another adapter was merged into them or they were "
            "trained on; load the base model again."
        )
    if not hasattr(unwrapped(model), "interact_loaded"):
        remember(model)


def _plain_name(name: str) -> str:
    """Return what a model is called, whatever folder it lies in, on whatever system."""
    name = name.replace("\\", "/").rstrip("/")
    cached = re.search(r"models--(?:[^/]+--)?([^/]+)/snapshots/", name + "/")
    # ModelScope writes a point as three underscores.
    return (cached[1] if cached else name.rpartition("/")[2]).replace("___", ".").lower()


def _check_fingerprint(model: Any, checkpoint: Path) -> None:
    path = checkpoint / BASE_FILE
    if not path.is_file():
        return
    try:
        recorded = json.loads(path.read_text("utf-8-sig"))
        known, name = str(recorded["fingerprint"]), str(recorded["name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}); the checkpoint is damaged, so copy it again or train again."
        ) from error
    if kind := kept_otherwise(model):
        warnings.warn(
            f"Whether {checkpoint} was trained on this model cannot be checked, since its weights are {kind}.",
            stacklevel=4,
        )
    elif known != fingerprint(model):
        given = getattr(unwrapped(model).config, "_name_or_path", "") or type(unwrapped(model)).__name__
        raise ValueError(
            f"The adapter {checkpoint} was trained on the base model {name!r}, whose weights differ from "
            f"those of {given!r}; pass the model it was trained on."
        )


def _fitting(load: Any, model: Any, checkpoint: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # What is missing is said below, as an error.
            warnings.filterwarnings("ignore", message="Found missing adapter keys", category=UserWarning)
            wrapped, found = load()
    except SafetensorError as error:
        raise ValueError(f"The adapter {checkpoint} is damaged ({error}); copy it again, or train again.") from error
    except MemoryError:
        raise
    except Exception as error:
        # A configuration of any content raises any kind of error inside PEFT.
        raise _misfit(model, checkpoint, gist(error)) from error
    for kind, sentence in ((found.missing_keys, "it lacks"), (found.unexpected_keys, "the model has no place for its")):
        if kind:
            raise _misfit(model, checkpoint, f"{sentence} {kind[0]} ({len(kind)} such weights)")
    return wrapped


def _misfit(model: Any, checkpoint: Path, reason: str) -> ValueError:
    return ValueError(
        f"The adapter {checkpoint} does not fit {type(unwrapped(model)).__name__}: {reason}. Pass the base model it "
        "was trained on."
    )
