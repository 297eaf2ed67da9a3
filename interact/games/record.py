"""What a result tells of the game it comes from: everything that is needed to repeat it."""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from interact.games.question import Question
from interact.models.family import device_of, held_elsewhere, inspect_model, unwrapped
from interact.prompt.inputs import CoalitionInputs, Template
from interact.prompt.masking import Baseline
from interact.prompt.players import PlayerChoice, Players


def record(
    model: Any,
    tokenizer: Any,
    inputs: CoalitionInputs,
    question: Question,
    *,
    masking: str,
    baseline: Baseline | None,
) -> dict[str, Any]:
    """Describe a game as JSON values: the model, the prompt, the masking, the versions and the date."""
    template = question.template
    return {
        "model": _model_identity(model),
        "target": _target_identity(model, tokenizer, inputs, given=question.target is not None),
        "players": _players_identity(question.players),
        "template": template.content() if isinstance(template, Template) else template,
        "masking": masking,
        "baseline": baseline.identity() if baseline else None,
        "placeholder_ids": list(inputs.placeholder_ids) if masking == "text" else None,
        "input_ids": list(inputs.input_ids),
        "type_ids": None if inputs.type_ids is None else list(inputs.type_ids),
        "notes": list(inputs.notes),
        "versions": _versions(),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def _model_identity(model: Any) -> dict[str, Any]:
    config = model.config
    return {
        "name": getattr(config, "_name_or_path", "") or type(model).__name__,
        "revision": getattr(config, "_commit_hash", None),
        "class": type(model).__name__,
        "dtype": str(model.get_input_embeddings().weight.dtype).removeprefix("torch."),
        "device": str(device_of(model)),
        **_loading(model),
    }


def _loading(model: Any) -> dict[str, Any]:
    """Name what else decides a model's scores, where there is such: an adapter, offloaded or quantised weights."""
    plain = unwrapped(model)
    found = {"adapter": getattr(model, "interact_adapter", None), "weights": held_elsewhere(model)}
    quantised = getattr(plain.config, "quantization_config", None)
    if quantised is not None:
        told = quantised if isinstance(quantised, dict) else quantised.to_dict()
        # What a library adds for itself need not be JSON.
        found["quantisation"] = json.loads(json.dumps(told, default=str))
    return {name: value for name, value in found.items() if value is not None}


def _target_identity(model: Any, tokenizer: Any, inputs: CoalitionInputs, *, given: bool) -> dict[str, Any]:
    ids = list(inputs.target_ids or ())
    labels = inspect_model(model).kind == "classifier"
    text = names_of(model, tokenizer, ids[:1])[0] if labels else tokenizer.decode(ids)
    return {"ids": ids, "text": text, "chosen": "label" if given else "predicted"}


def names_of(model: Any, tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """Return what labels of a classifier are called, or what tokens say."""
    if inspect_model(model).kind != "classifier":
        return [tokenizer.decode([i]) for i in ids]
    names = getattr(model.config, "id2label", None) or {}
    return [str(names.get(i, i)) for i in ids]


def _players_identity(players: Players) -> Any:
    if players is None or isinstance(players, (int, str)):
        return players
    return (
        players.content()
        if isinstance(players, PlayerChoice)
        else [p if isinstance(p, str) else list(p) for p in players]
    )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("interact-llm", "torch", "transformers", "numpy", "scipy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found
