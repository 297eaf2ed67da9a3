"""The system message that a chat template writes by itself, and whether a model was trained on another.

LLaMA-Factory writes prompts by its own `template`, interact by the tokenizer's chat template. Where both bring a system
message of their own, the two may differ: SmolLM2's ends with a full stop there and without one in the chat template.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import TemplateError

_KNOWN = {
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face": (
        "You are a helpful AI assistant named SmolLM, trained by Hugging Face."
    )
}
"""What LLaMA-Factory 0.9.5 says where a chat template says something else."""
_MARK = "\u241fsystem\u241f"


def system_note(folder: str | Path, tokenizer: Any) -> str | None:
    """Say what to look at before a LLaMA-Factory checkpoint is explained without a system message, or None.

    Args:
        folder: A checkpoint, or the folder of the run.
        tokenizer: Its tokenizer.
    """
    folder = Path(folder)
    # Trainer and TRL write no such file.
    if not any((place / "trainer_log.jsonl").is_file() for place in (folder, folder.parent)):
        return None
    own = default_system(tokenizer)
    if not own:
        return None
    if own in _KNOWN:
        return (
            f"LLaMA-Factory trained {folder} with the system message {_KNOWN[own]!r}, unless it was given another, but "
            f"the chat template says {own!r}; pass the first as system."
        )
    return (
        f"The chat template begins with the system message {own!r}, and LLaMA-Factory's template of {folder} may have "
        "another; compare the two (docs/howto/llama-factory.md), and pass the one trained on as system."
    )


def default_system(tokenizer: Any) -> str:
    """Return the system message that a chat template writes when it is given none; empty if it writes none."""
    if not getattr(tokenizer, "chat_template", None):
        return ""
    user = {"role": "user", "content": "x"}
    try:
        with_one = tokenizer.apply_chat_template([{"role": "system", "content": _MARK}, user], tokenize=False)
        without = tokenizer.apply_chat_template([user], tokenize=False)
    except TemplateError:
        # A template that takes no system message writes none of its own.
        return ""
    before, mark, behind = with_one.partition(_MARK)
    if not mark or not without.startswith(before) or not without.endswith(behind):
        return ""
    return without[len(before) : len(without) - len(behind)]
