"""From a model and a text to a game."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch

from interact.engines.score import Contrast, OfLogits, Score, score_of
from interact.games.preparation import prepare_for
from interact.games.prompt_game import PromptGame, game_of
from interact.games.question import Question, Scoring
from interact.games.record import names_of, record
from interact.models.family import inspect_model, opened
from interact.prompt.inputs import CoalitionInputs, Template, is_number
from interact.prompt.masking import Baseline, check_masking, resolve_baseline
from interact.prompt.messages import Conversation, Messages, as_json, asked_text
from interact.prompt.players import LIMIT, Players


def game(
    model: Any,
    tokenizer: Any,
    text: str | None = None,
    *,
    messages: Messages | None = None,
    players: Players = None,
    target: str | int | Sequence[int] | None = None,
    template: Template | str | None = None,
    target_tokens: int | str | None = None,
    contrast: str | Sequence[str] | None = None,
    score: str | Callable[[torch.Tensor], torch.Tensor] | None = None,
    masking: str = "baseline",
    baseline: str | int | torch.Tensor | Baseline | None = None,
    engine: str = "auto",
    memory_budget: int | None = None,
    most_players: int = LIMIT,
) -> PromptGame:
    """Make the game of a text: its words are the players, and the model's log-odds for an answer are the scores.

    Args:
        model: A Hugging Face causal language model, or a sequence classifier.
        tokenizer: Its fast tokenizer.
        text: The user's text; its words are the players.
        messages: Instead of a text: a list of ``{"role": ..., "content": ...}``, with the players in the last
            message of the user unless they are listed or chosen otherwise, see `interact.prompt.message_players`.
        players: None for up to ten content words (all of them where more than 20 are allowed); see
            `interact.prompt.players.choose_spans`.
        target: The answer to explain: text (a label's name for a classifier), token ids, or None for what the
            model predicts.
        template: What surrounds the text, see `interact.Template`.
        target_tokens: How many tokens of a target text to score, or ``"all"``; None demands that it be one token.
        contrast: Another answer, or several: the score is then the log-odds of the target against them, by the first
            token of each, and not against all other tokens.
        score: ``"log-odds"`` (None), ``"log-probability"`` (of several tokens that of the whole answer), ``"logit"``,
            or a function of the final logits: float32 [rows, outputs] -> [rows].
        masking: ``"baseline"``, ``"attention"`` or ``"text"``.
        baseline: What absent tokens become under ``"baseline"``; None for <unk>, else pad, else eos.
        engine: See `interact.coalition_values`.
        memory_budget: Bytes one batch may take.
        most_players: Most players allowed; more than 20 only serve sampled coalitions.

    Returns:
        The game: ``game(masks)`` scores coalitions, ``game.explain()`` says how, ``game.interactions()`` splits it.

    Raises:
        ValueError: Something given is wrong; the sentence says what was expected and what to do.

    >>> game(model, tokenizer, "a gorgeous, witty movie", target="positive").interactions().top(5)  # doctest: +SKIP
    """
    question = Question(players, target, template, target_tokens, contrast, score, most_players)
    scoring = Scoring(masking, baseline, engine, memory_budget)
    return asked_game(model, tokenizer, asked_text(text, messages), question, scoring)


def asked_game(
    model: Any, tokenizer: Any, asked: str | Conversation, question: Question, scoring: Scoring
) -> PromptGame:
    """Make the game of a text or a conversation; errors as `game`."""
    check_masking(scoring.masking)
    model = opened(model)
    inputs = prepare_for(model, tokenizer, asked, question)
    against = asked_contrast(model, tokenizer, asked, question, inputs)
    score = asked_score(model, inputs, question.score, against)
    return prepared_game(model, tokenizer, inputs, question, scoring, score=score, asked=asked)


def asked_contrast(
    model: Any, tokenizer: Any, asked: str | Conversation, question: Question, inputs: CoalitionInputs
) -> Contrast | None:
    """Return the score that holds a prompt's target against the question's other answers, if it names any."""
    if question.contrast is None:
        return None
    alone = isinstance(question.contrast, str) or is_number(question.contrast)
    if not alone and not isinstance(question.contrast, Iterable):
        raise ValueError(f"The contrast is another answer or a list of answers, but is {question.contrast!r:.60}.")
    answers: list[Any] = [question.contrast] if alone else list(question.contrast)
    other = [replace(question, target=answer, target_tokens=1) for answer in answers]
    firsts = [(prepare_for(model, tokenizer, asked, one).target_ids or (0,))[0] for one in other]
    return contrast_of(model, inputs, answers, [int(first) for first in firsts])


def prepared_game(
    model: Any,
    tokenizer: Any,
    inputs: CoalitionInputs,
    question: Question,
    scoring: Scoring,
    *,
    score: Score | None = None,
    asked: str | Conversation = "",
) -> PromptGame:
    """Make the game of a prompt that is prepared already; its results record the question."""
    model, masking = opened(model), scoring.masking
    vector = resolve_baseline(model, scoring.baseline, inputs.special_ids) if masking == "baseline" else None
    told = record(model, tokenizer, inputs, question, masking=masking, baseline=vector)
    if isinstance(asked, Conversation):
        told["messages"] = as_json(asked)
    if isinstance(score, Contrast):
        told["contrast"] = {"ids": list(score.against), "texts": names_of(model, tokenizer, score.against)}
    return game_of(
        model,
        inputs,
        masking=masking,
        baseline=vector,
        engine=scoring.engine,
        memory_budget=scoring.memory_budget,
        record=told,
        score=score,
    )


def asked_score(model: Any, inputs: CoalitionInputs, given: Any, contrast: Contrast | None) -> Score:
    """Return the score that was asked for."""
    if contrast is not None:
        if given not in (None, "log-odds"):
            raise ValueError("A contrast is the log-odds of one answer against others; leave score out.")
        return contrast
    found = score_of(given, independent=inspect_model(model).independent)
    if isinstance(found, OfLogits) and len(inputs.target_ids or ()) > 1:
        raise ValueError(
            f"A function of the final logits scores the token behind the prompt, but the target has "
            f"{len(inputs.target_ids or ())}; pass target_tokens=1."
        )
    return found


def contrast_of(model: Any, inputs: CoalitionInputs, answers: Sequence[str], ids: Sequence[int]) -> Contrast:
    """Return the score of a prompt's target against other answers, whose first tokens are `ids`.

    Raises:
        ValueError: There is none, the target has several tokens, an answer begins like the target, or the labels of the
            classifier are independent of each other.
    """
    target = tuple(inputs.target_ids or ())
    if inspect_model(model).independent:
        raise ValueError("The labels of this classifier are judged apart, so there is no contrast; leave it out.")
    if not answers:
        raise ValueError("contrast is empty; name at least one other answer, or leave it out.")
    if len(target) != 1:
        raise ValueError(
            f"A contrast compares first tokens, but the target has {len(target)}; pass target_tokens=1, or leave "
            "contrast out."
        )
    for answer, other in zip(answers, ids, strict=True):
        if other == target[0]:
            raise ValueError(
                f"The target and the contrast {answer!r} begin with the same token, so their difference is always 0; "
                "choose answers that differ in their first token."
            )
    return Contrast(tuple(dict.fromkeys(ids)))
