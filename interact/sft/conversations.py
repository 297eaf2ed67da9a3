"""The first question and its answer of each conversation, as LLaMA-Factory's sharegpt and openai formats hold them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any


def first_exchanges(
    rows: list[dict[str, Any]], columns: Mapping[str, Any], tags: Mapping[str, str], name: str
) -> list[dict[str, Any]]:
    """Return a row with ``instruction``, ``input``, ``output`` and ``system`` for each conversation.

    Conversations that do not begin with a question and its answer in words, such as those that call a tool, are left
    out with a warning that counts them.

    Raises:
        ValueError: A row has no messages, one holds a picture, or no conversation is left.
    """
    found, longer, odd, roles = [], 0, 0, []
    for number, row in enumerate(rows, start=1):
        turns = _turns(row, number, columns["messages"], tags, name)
        system = row.get(columns["system"]) if columns["system"] else None
        if turns and turns[0][tags["role_tag"]] == tags["system_tag"]:
            system, turns = _words(turns[0].get(tags["content_tag"]), number, name), turns[1:]
        spoken = [turn[tags["role_tag"]] for turn in turns]
        told = [_words(turn.get(tags["content_tag"]), number, name) for turn in turns[:2]]
        tools = bool(columns.get("tools") and row.get(columns["tools"])) or any(t.get("tool_calls") for t in turns[:2])
        if spoken[:2] != [tags["user_tag"], tags["assistant_tag"]] or tools or _nothing(told[1]):
            odd, roles = odd + 1, roles or spoken
            continue
        longer += len(turns) > 2
        found.append({"instruction": told[0], "input": None, "output": told[1], "system": system})
    if odd and not found:
        raise ValueError(
            f"Each row of {name!r} must start with {tags['user_tag']!r} and {tags['assistant_tag']!r}, but its "
            f"roles are {roles}; check the tags in dataset_info.json."
        )
    if odd:
        warnings.warn(
            f"{odd} conversations of {name!r} do not begin with a question and an answer in words (tools, another "
            "first speaker, no answer): left out.",
            stacklevel=4,
        )
    if longer:
        warnings.warn(
            f"{longer} conversations of {name!r} have more turns; their first exchange is used.", stacklevel=4
        )
    return found


def _nothing(content: Any) -> bool:
    """Say whether a message is empty; a number is something, 0 too, but not-a-number is not."""
    return content is None or content != content or (isinstance(content, str) and not content.strip())


def _turns(
    row: Mapping[str, Any], number: int, column: str, tags: Mapping[str, str], name: str
) -> list[dict[str, Any]]:
    turns = row.get(column)
    if column in row and not turns:
        return []
    if not isinstance(turns, list) or not all(isinstance(t, dict) and tags["role_tag"] in t for t in turns):
        raise ValueError(
            f"Row {number} of {name!r} has no list of messages with {tags['role_tag']!r} in column "
            f"{column!r}; it has {sorted(map(str, row))}."
        )
    return turns


def _words(content: Any, number: int, name: str) -> Any:
    """Return a message's text; of a list of parts, the texts joined."""
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        text = part.get("text") if isinstance(part, dict) else part
        if not isinstance(text, str) or (
            isinstance(part, dict) and part.get("type", "text") not in ("text", "input_text")
        ):
            kind = part.get("type", "no type") if isinstance(part, dict) else type(part).__name__
            raise ValueError(
                f"Row {number} of {name!r} has a part of the kind {kind!r} in a message; interact explains text only, "
                "so leave out rows with pictures and sounds."
            )
        texts.append(text)
    return "".join(texts)
