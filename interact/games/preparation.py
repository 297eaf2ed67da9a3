"""A text made ready for one model: its prompt and players, its target fixed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from interact.games.prompt_game import with_target
from interact.games.question import Question
from interact.models.family import inspect_model, label_index, opened
from interact.prompt.inputs import CoalitionInputs, prepare, token_ids
from interact.prompt.messages import Conversation
from interact.prompt.template import Rendered


def prepare_for(
    model: Any,
    tokenizer: Any,
    text: str | Conversation,
    question: Question,
    *,
    fixed: Callable[[Rendered], Rendered] | None = None,
) -> CoalitionInputs:
    """Return the inputs of a prompt with its target fixed: a label for a classifier, else tokens.

    Args and errors as `interact.extract` and `interact.prepare`.
    """
    label = inspect_model(model).kind == "classifier"
    inputs = prepare(
        tokenizer,
        text,
        players=question.players,
        template=question.template,
        most_players=question.most_players,
        target=None if label else question.target,
        target_tokens=None if label else question.target_tokens,
        fixed=fixed,
    )
    return with_target(model, replace(inputs, target_ids=_label_ids(model, question.target)) if label else inputs)


def _label_ids(model: Any, target: str | int | Sequence[int] | None) -> tuple[int, ...] | None:
    """Return the number of a label, given by its name or number; of several numbers, these."""
    if target is None:
        return None
    if isinstance(target, str):
        return (label_index(opened(model), target),)
    numbers = token_ids(target)
    return (label_index(opened(model), numbers[0]),) if len(numbers) == 1 else numbers
