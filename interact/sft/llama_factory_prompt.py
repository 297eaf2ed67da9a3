"""Whether LLaMA-Factory trained on the prompts that are explained.

It writes prompts by its own `template`, interact by the tokenizer's chat template. Where a template brings a system
message of its own, the two may differ in it: SmolLM2's ends with a full stop there and without one in the chat
template. Two ways to notice: the log of the run, which shows the tokens of its first example, and the chat template.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from interact.prompt.inputs import encode_answer
from interact.sft.data import Example

_KNOWN = {
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face": (
        "You are a helpful AI assistant named SmolLM, trained by Hugging Face."
    )
}
"""What LLaMA-Factory 0.9.5 says where a chat template says something else."""
_LOGGED = re.compile(r"^(input_ids|label_ids):\s*\n(\[[-\d, ]+\])", re.MULTILINE)
_MARK = "\u241fsystem\u241f"


def logged_prompt(log: str | Path) -> tuple[int, ...]:
    """Read from the log of a LLaMA-Factory run the prompt of its first example, in tokens, without the answer.

    Args:
        log: What ``llamafactory-cli train`` printed.

    Raises:
        ValueError: It cannot be read, or shows no example.

    >>> logged_prompt("train.log")  # doctest: +SKIP
    """
    try:
        text = Path(log).read_text("utf-8-sig", errors="replace")
    except OSError as error:
        raise ValueError(f"The log {log} cannot be read: {error.strerror or error}.") from error
    found = {name: json.loads(ids) for name, ids in _LOGGED.findall(text)}
    if set(found) != {"input_ids", "label_ids"}:
        raise ValueError(
            f"{log} shows no training example (input_ids and label_ids); keep all that llamafactory-cli train prints."
        )
    # What is not learned from has the label -100.
    return tuple(i for i, label in zip(found["input_ids"], found["label_ids"], strict=False) if label == -100)


def prompt_difference(tokenizer: Any, example: Example, trained: tuple[int, ...]) -> str | None:
    """Say how the prompt that is explained differs from the one that was trained on, or None if no token does.

    Args:
        tokenizer: The model's tokenizer.
        example: The example, as `interact.sft.data.read_examples` reads it.
        trained: The tokens of the trained prompt, as `logged_prompt` returns them.

    >>> prompt_difference(tokenizer, read_examples("data")[0], logged_prompt("train.log"))  # doctest: +SKIP
    """
    ours = encode_answer(tokenizer, example.text, example.response, example.template)[0]
    if ours == tuple(trained):
        return None
    both = zip(ours, trained, strict=False)
    first = next((i for i, (a, b) in enumerate(both) if a != b), min(len(ours), len(trained)))
    here, there = (tokenizer.decode(list(ids[max(0, first - 4) : first + 4])) for ids in (ours, trained))
    return (
        f"The prompts differ from token {first} on: explained is ...{here!r}, trained was ...{there!r} "
        f"({len(ours)} and {len(trained)} tokens)."
    )


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
