"""What the command line reads of prompts: conversations from files, and arguments of a chat template."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def conversations(files: Sequence[Path]) -> list[list[Any]]:
    """Read conversations from files of JSON or JSON lines.

    A file holds a list of messages, an object that has them under ``messages``, or several of either.

    Raises:
        ValueError: A file is missing, is not JSON, or holds something else.
    """
    found = []
    for file in files:
        several = _read(file)
        if not several:
            raise ValueError(f"{file} holds no conversation; write a list of messages with role and content.")
        for number, one in enumerate(several):
            messages = one.get("messages") if isinstance(one, dict) else one
            if isinstance(one, dict) and (more := sorted(one.keys() - {"messages"})):
                raise ValueError(
                    f"{file} has {', '.join(more)} in addition to the messages of conversation {number}; what a chat "
                    "template is told is given as --template-arguments, so leave the rest out of the file."
                )
            if not isinstance(messages, list) or not messages:
                raise ValueError(
                    f'{file} must hold messages such as [{{"role": "user", "content": "words"}}], but '
                    f"conversation {number} is {one!r:.80}."
                )
            found.append(messages)
    return found


def template_arguments(given: str | None) -> dict[str, Any]:
    """Read the arguments of a chat template.

    Raises:
        ValueError: They are not a JSON object.
    """
    try:
        told = json.loads(given) if given is not None else {}
    except (ValueError, RecursionError) as error:
        raise ValueError(f"The template's arguments are not JSON ({error}): {given!r:.80}.") from error
    if not isinstance(told, dict):
        raise ValueError(
            f'The template\'s arguments must be an object such as {{"enable_thinking": false}}, not {told!r:.60}.'
        )
    return told


def _read(file: Path) -> list[Any]:
    try:
        text = file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from error
    except OSError as error:
        raise ValueError(f"The messages {file} cannot be read: {error.strerror or error}.") from error
    try:
        told = json.loads(text)
    except RecursionError as error:
        raise ValueError(f"{file} is nested too deeply; write a list of messages with role and content.") from error
    except ValueError as whole:
        try:
            return [json.loads(line) for line in text.split("\n") if line.strip()]
        except (ValueError, RecursionError):
            raise ValueError(f"{file} is not JSON: {whole}.") from whole
    if isinstance(told, dict):
        return [told]
    # A list of messages is one conversation; a list of lists, or of objects with messages, is several.
    one = isinstance(told, list) and told and all(isinstance(part, dict) and "role" in part for part in told)
    return [told] if one else told if isinstance(told, list) else [told]
