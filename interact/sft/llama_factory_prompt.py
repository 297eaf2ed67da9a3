"""Whether LLaMA-Factory trained on the prompts that are explained.

It writes prompts by its own `template`, interact by the tokenizer's chat template. The log of a run shows the tokens of
its first example, so the two can be compared. `interact.prompt.system_message` notices a difference without a log.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from interact.prompt.inputs import encode_answer
from interact.sft.data import Example

_LOGGED = re.compile(r"^(input_ids|label_ids):\s*\n(\[[-\d, ]+\])", re.MULTILINE)


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
