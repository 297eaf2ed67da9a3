"""A text made ready for one model: its prompt and players, its target fixed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from interact.games.prompt_game import with_target
from interact.models.family import inspect_model, label_index, opened
from interact.prompt.inputs import CoalitionInputs, Template, prepare
from interact.prompt.messages import Conversation
from interact.prompt.players import LIMIT, Players
from interact.prompt.template import Rendered


def prepare_for(
    model: Any,
    tokenizer: Any,
    text: str | Conversation,
    *,
    players: Players,
    target: str | int | Sequence[int] | None,
    template: Template | str | None,
    target_tokens: int | str | None,
    most_players: int = LIMIT,
    fixed: Callable[[Rendered], Rendered] | None = None,
) -> CoalitionInputs:
    """Return the inputs of a prompt with its target fixed: a label for a classifier, else tokens.

    Args and errors as `interact.extract` and `interact.prepare`.
    """
    wording: dict[str, Any] = {
        "players": players,
        "template": template,
        "most_players": most_players,
        "fixed": fixed,
    }
    if inspect_model(model).kind == "classifier":
        inputs = prepare(tokenizer, text, **wording)
        return with_target(model, replace(inputs, target_ids=_label_ids(model, target)))
    inputs = prepare(tokenizer, text, target=target, target_tokens=target_tokens, **wording)
    return with_target(model, inputs)


def _label_ids(model: Any, target: str | int | Sequence[int] | None) -> tuple[int, ...] | None:
    if target is None:
        return None
    return (label_index(opened(model), target),) if isinstance(target, (str, int)) else tuple(int(i) for i in target)
