"""Models of the Hugging Face hub: into its cache, all files before the first is loaded."""

from __future__ import annotations

from collections.abc import Callable

_SMALL = ("*.json", "*.txt", "*.model", "*.jinja", "*.py")


def is_cached(name: str) -> bool:
    """Whether a model of the hub has been fetched before."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(name, "config.json"), str)


def fetch_model(name: str, say: Callable[[str], None]) -> None:
    """Get a model into the hub's cache, with the hub's bars; say its licence first.

    Args:
        name: Its hub id.
        say: Where to print.

    Raises:
        RuntimeError: The hub cannot be reached, or has no such model for this user.
    """
    from huggingface_hub import model_info, snapshot_download

    try:
        info = model_info(name)
        licence = info.card_data.get("license") if info.card_data else None
        say(f"{name}: downloading from the Hugging Face hub (licence: {licence or 'none stated'}).")
        sound = any(file.rfilename.endswith(".safetensors") for file in info.siblings or ())
        snapshot_download(name, allow_patterns=[*_SMALL, "*.safetensors" if sound else "*.bin"])
    except Exception as error:
        # The hub's client raises a dozen kinds of error, its own and its network library's.
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RuntimeError(f"The model {name!r} could not be fetched from the hub: {first}") from error
