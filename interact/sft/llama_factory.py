"""Data sets described by LLaMA-Factory's ``dataset_info.json``: the formats alpaca, sharegpt and openai.

Defaults and names are those of https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md. A prompt template
holds one user message, so of a conversation the first exchange is taken, and rows with a history are left out; a
warning says how many.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from interact.sft.conversations import first_exchanges
from interact.sft.rows import hub_rows, read_rows

_ALPACA = {"prompt": "instruction", "query": "input", "response": "output", "system": None, "history": None}
_SHAREGPT = {"messages": "conversations", "system": None, "tools": None}
_TAGS = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "human",
    "assistant_tag": "gpt",
    "system_tag": "system",
}
_OPENAI_TAGS = {**_TAGS, "role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
_FORMATTINGS = ("alpaca", "sharegpt", "openai")
_MEDIA = ("images", "videos", "audios")
# What LLaMA-Factory reads of an entry, of its columns and of its tags.
_KEYS = (
    "file_name hf_hub_url ms_hub_url om_hub_url script_url cloud_file_name formatting ranking subset split folder "
    "num_samples columns tags file_sha1 load_from".split()
)
_COLUMNS = "prompt query response history messages system tools chosen rejected kto_tag images videos audios".split()
_TAG_NAMES = "role_tag content_tag user_tag assistant_tag observation_tag function_tag system_tag".split()


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
    formatting = described.get("formatting") or "alpaca"
    if formatting not in _FORMATTINGS:
        raise ValueError(
            f"The entry {name!r} of {info} has the format {formatting!r}; choose alpaca, sharegpt or openai."
        )
    rows = _raw(info, name, described)
    columns, tags = described.get("columns") or {}, described.get("tags") or {}
    _refuse_media(rows, columns, name)
    rows = _wanted(rows, columns.get("kto_tag"), name)
    if formatting == "alpaca":
        _refuse_conversations(info, rows, {**_ALPACA, **columns}, name)
        return _alpaca(rows, {**_ALPACA, **columns}, name), name
    usual = _OPENAI_TAGS if formatting == "openai" else _TAGS
    messages = "messages" if formatting == "openai" else "conversations"
    return first_exchanges(rows, {**_SHAREGPT, "messages": messages, **columns}, {**usual, **tags}, name), name


def _entry(info: Path, entry: str | None) -> tuple[str, dict[str, Any]]:
    try:
        entries = json.loads(info.read_text("utf-8-sig"))
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
    for key in set(described) - set(_KEYS):
        # What resembles no key is a remark.
        if near := get_close_matches(str(key).lower(), _KEYS, 1, 0.7):
            raise ValueError(
                f"The entry {name!r} of {info} has the key {key!r}, which LLaMA-Factory does not read; write "
                f"{near[0]!r}."
            )
    for key in ("columns", "tags"):
        given = described.get(key) or {}
        if not isinstance(given, dict) or not all(value is None or isinstance(value, str) for value in given.values()):
            raise ValueError(f"{key} of the entry {name!r} of {info} must be an object of names, but is {given!r:.80}.")
        for one in set(given) - set(_COLUMNS if key == "columns" else _TAG_NAMES):
            known = _COLUMNS if key == "columns" else _TAG_NAMES
            near = get_close_matches(one.lower(), known, 1, 0.6)
            raise ValueError(
                f"{key} of the entry {name!r} of {info} names {one!r}, which LLaMA-Factory does not read; "
                + (f"write {near[0]!r}." if near else f"it reads {', '.join(known)}.")
            )
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


def _refuse_media(rows: list[dict[str, Any]], columns: Mapping[str, Any], name: str) -> None:
    for kind in _MEDIA:
        if columns.get(kind) and any(row.get(columns[kind]) for row in rows):
            raise ValueError(
                f"The data set {name!r} has {kind} (column {columns[kind]!r}), and interact explains text only; take a "
                "set without."
            )


def _wanted(rows: list[dict[str, Any]], tag: str | None, name: str) -> list[dict[str, Any]]:
    """Leave out the answers that a set of preferences calls bad."""
    if not tag:
        return rows
    good = [row for row in rows if row.get(tag) is True]
    if not good:
        raise ValueError(f"No row of {name!r} has true in its column {tag!r} (kto_tag), so it has no answer to learn.")
    if len(good) < len(rows):
        warnings.warn(
            f"{len(rows) - len(good)} rows of {name!r} are answers that are not desired (kto_tag): left out.",
            stacklevel=4,
        )
    return good


def _refuse_conversations(info: Path, rows: list[dict[str, Any]], columns: Mapping[str, Any], name: str) -> None:
    talk = next((c for c in ("messages", "conversations") if rows and isinstance(rows[0].get(c), list)), None)
    if talk is not None and columns["prompt"] not in rows[0]:
        raise ValueError(
            f"The rows of {name!r} hold conversations (column {talk!r}), but its entry in {info} does not say so; add "
            f'"formatting": "{"openai" if talk == "messages" else "sharegpt"}".'
        )


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
