"""Data sets described by LLaMA-Factory's ``dataset_info.json``: the alpaca and sharegpt formats.

Defaults and names are those of https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md. A prompt template
holds one user message, so of a conversation the first exchange is taken, and rows with a history are left out; a
warning says how many.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interact.sft.rows import hub_rows, read_rows

_ALPACA = {"prompt": "instruction", "query": "input", "response": "output", "system": None, "history": None}
_SHAREGPT = {"messages": "conversations", "system": None}
_TAGS = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "human",
    "assistant_tag": "gpt",
    "system_tag": "system",
}


def described_rows(info: Path, entry: str | None) -> tuple[list[dict[str, Any]], str]:
    """Read the rows of one entry, with the columns ``instruction``, ``input``, ``output`` and ``system``.

    Args:
        info: The ``dataset_info.json``.
        entry: The entry's name; None where there is only one.

    Returns:
        The rows, and the entry's name.

    Raises:
        ValueError: The file or the entry is missing or damaged, the format is not known, or a column is missing.
        RuntimeError: The entry is on the hub, which cannot be reached.
    """
    name, described = _entry(info, entry)
    formatting = described.get("formatting", "alpaca")
    if formatting not in ("alpaca", "sharegpt"):
        raise ValueError(f"The entry {name!r} of {info} has the format {formatting!r}; choose alpaca or sharegpt.")
    rows = _raw(info, name, described)
    columns = described.get("columns") or {}
    if formatting == "alpaca":
        return _alpaca(rows, {**_ALPACA, **columns}, name), name
    return _sharegpt(rows, {**_SHAREGPT, **columns}, {**_TAGS, **(described.get("tags") or {})}, name), name


def _entry(info: Path, entry: str | None) -> tuple[str, dict[str, Any]]:
    try:
        entries = json.loads(info.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{info} cannot be read as JSON ({error}); pass LLaMA-Factory's dataset_info.json.") from error
    if not isinstance(entries, dict) or not entries or not all(isinstance(e, dict) for e in entries.values()):
        raise ValueError(f"{info} must hold one JSON object with an object for each data set.")
    if entry is None and len(entries) == 1:
        entry = next(iter(entries))
    if entry is None or entry not in entries:
        given = "no data set was named" if entry is None else f"{entry!r} is not in it"
        raise ValueError(
            f"{info} describes {sorted(entries)}, but {given}; name one (part= in Python, --part of a study)."
        )
    _check_entry(info, entry, entries[entry])
    return entry, entries[entry]


def _check_entry(info: Path, name: str, described: Mapping[str, Any]) -> None:
    for key in ("columns", "tags"):
        given = described.get(key) or {}
        if not isinstance(given, dict) or not all(value is None or isinstance(value, str) for value in given.values()):
            raise ValueError(f"{key} of the entry {name!r} of {info} must be an object of names, but is {given!r:.80}.")
    for key in ("formatting", "file_name", "hf_hub_url", "split", "subset"):
        if not isinstance(described.get(key) or "", str):
            raise ValueError(f"{key} of the entry {name!r} of {info} must be a text, but is {described[key]!r:.80}.")


def _raw(info: Path, name: str, described: Mapping[str, Any]) -> list[dict[str, Any]]:
    if described.get("ranking"):
        raise ValueError(f"The entry {name!r} is for preference training; supervised fine-tuning needs one response.")
    if described.get("hf_hub_url"):
        split, subset = described.get("split") or "train", described.get("subset")
        return hub_rows(described["hf_hub_url"], split=split, subset=subset)
    if not described.get("file_name"):
        raise ValueError(
            f"The entry {name!r} of {info} names neither file_name nor hf_hub_url; only these can be read."
        )
    path = info.parent / described["file_name"]
    if path.is_dir():
        return [row for file in sorted(path.iterdir()) if file.is_file() for row in read_rows(file)]
    return read_rows(path)


def _alpaca(rows: list[dict[str, Any]], columns: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found, skipped = [], 0
    for number, row in enumerate(rows, start=1):
        if columns["history"] and row.get(columns["history"]):
            skipped += 1
            continue
        for key in ("prompt", "response"):
            if columns[key] not in row:
                raise ValueError(
                    f"Row {number} of {name!r} has no column {columns[key]!r} ({key}); it has {sorted(map(str, row))}."
                )
        found.append(
            {
                "instruction": row[columns["prompt"]],
                "input": row.get(columns["query"]) if columns["query"] else None,
                "output": row[columns["response"]],
                "system": row.get(columns["system"]) if columns["system"] else None,
            }
        )
    if skipped:
        warnings.warn(f"{skipped} rows of {name!r} have a history, which a prompt cannot hold: left out.", stacklevel=4)
    return found


def _sharegpt(
    rows: list[dict[str, Any]], columns: Mapping[str, Any], tags: Mapping[str, str], name: str
) -> list[dict[str, Any]]:
    found, longer = [], 0
    for number, row in enumerate(rows, start=1):
        turns = row.get(columns["messages"])
        if not isinstance(turns, list) or not all(isinstance(t, dict) and tags["role_tag"] in t for t in turns):
            raise ValueError(
                f"Row {number} of {name!r} has no list of messages with {tags['role_tag']!r} in column "
                f"{columns['messages']!r}; it has {sorted(map(str, row))}."
            )
        system = row.get(columns["system"]) if columns["system"] else None
        if turns and turns[0][tags["role_tag"]] == tags["system_tag"]:
            system, turns = turns[0].get(tags["content_tag"]), turns[1:]
        roles = [turn[tags["role_tag"]] for turn in turns]
        if roles[:2] != [tags["user_tag"], tags["assistant_tag"]]:
            raise ValueError(
                f"Row {number} of {name!r} must start with {tags['user_tag']!r} and {tags['assistant_tag']!r}, but its "
                f"roles are {roles}; check the tags in dataset_info.json."
            )
        longer += len(turns) > 2
        asked, answered = (turn.get(tags["content_tag"]) for turn in turns[:2])
        found.append({"instruction": asked, "input": None, "output": answered, "system": system})
    if longer:
        warnings.warn(f"{longer} conversations of {name!r} go on; their first exchange is used.", stacklevel=4)
    return found
