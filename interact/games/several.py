"""Several answers, or several tokens of one, from one scoring: each gets a result of its own.

The logits behind a masked prompt hold the scores of all answers, so each coalition is computed once. All results are
split together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

import torch

from interact.engines.score import EachTarget, EachToken
from interact.games.build import asked_game
from interact.games.game import Scores, split_together
from interact.games.prompt_game import PromptGame
from interact.games.question import Question, Scoring
from interact.games.record import names_of
from interact.prompt.inputs import Template
from interact.prompt.masking import Baseline
from interact.prompt.messages import Messages, asked_text
from interact.prompt.players import Players
from interact.results import ExactInteractions
from interact_kernels.sparsify import NoiseForm


def extract_targets(
    model: Any,
    tokenizer: Any,
    text: str | None = None,
    *,
    targets: Sequence[str | int],
    messages: Messages | None = None,
    players: Players = None,
    template: Template | str | None = None,
    target_tokens: int | None = None,
    score: str | None = None,
    masking: str = "baseline",
    baseline: str | int | torch.Tensor | Baseline | None = None,
    noise: str | None = None,
    kappa: float | None = None,
    engine: str = "auto",
    memory_budget: int | None = None,
    progress: bool | None = None,
) -> dict[str | int, ExactInteractions]:
    """Extract the interactions of one text for several answers, each coalition computed once.

    Args:
        model: A Hugging Face causal language model, or a sequence classifier.
        tokenizer: Its fast tokenizer.
        text: The user's text; its words are the players.
        targets: The answers: texts of one token each (see target_tokens), token ids, or labels.
        messages: As in `interact.extract`, like all that follow but target_tokens.
        players: The players.
        template: What surrounds the text.
        target_tokens: 1 takes the first token of each answer; None demands that each be one token.
        score: ``"log-odds"`` (None), ``"log-probability"`` or ``"logit"``.
        masking: ``"baseline"``, ``"attention"`` or ``"text"``.
        baseline: What absent tokens become under ``"baseline"``.
        noise: How noise of the scores is treated.
        kappa: Its price or bound.
        engine: How coalitions are scored.
        memory_budget: Bytes one batch may take.
        progress: Show a progress bar; None shows it on a terminal.

    Returns:
        The result of each answer, by its name as it was given; the same as `interact.extract` gives.

    Raises:
        ValueError: Something given is wrong, or two answers begin with the same token.
        RuntimeError: The machine lacks something (memory).

    >>> both = extract_targets(model, tokenizer, text, targets=["positive", "negative"])  # doctest: +SKIP
    """
    listed = isinstance(targets, Sequence) and not isinstance(targets, str) and len(targets) > 0
    known = listed and all(isinstance(target, (str, Integral)) for target in targets)
    if not known or len(set(targets)) < len(targets):
        raise ValueError(f"targets must be a list of different answers (texts or numbers), but is {targets!r:.80}.")
    if target_tokens not in (None, 1):
        raise ValueError(
            f"Several answers share the logits behind the prompt, so each is scored by its first token, but "
            f"target_tokens={target_tokens}; pass 1, or call interact.extract for each."
        )
    if score is not None and not isinstance(score, str):
        raise ValueError(
            "A function of the final logits is the same for every answer; name a score, or call interact.extract."
        )
    asked, scoring = asked_text(text, messages), Scoring(masking, baseline, engine, memory_budget)
    question = Question(players, template=template, target_tokens=target_tokens, score=score)
    games = [asked_game(model, tokenizer, asked, replace(question, target=target), scoring) for target in targets]
    firsts = [first for one in games for first in one.target[:1]]
    for target, one in zip(targets, games, strict=True):
        if len(one.target) != 1:
            raise ValueError(f"The target {target!r} has {len(one.target)} tokens; pass one token each.")
        if firsts.count(one.target[0]) > 1:
            raise ValueError(
                f"The target {target!r} begins with the same token as another, so their results would be the same; "
                "choose answers that differ in their first token."
            )
    together = replace(games[0], score=EachTarget(games[0].score, tuple(firsts)))
    results = _split(together, games, noise=noise, kappa=kappa, progress=progress)
    return dict(zip(targets, results, strict=True))


def extract_tokens(
    model: Any,
    tokenizer: Any,
    text: str | None = None,
    *,
    target: str | Sequence[int],
    messages: Messages | None = None,
    players: Players = None,
    template: Template | str | None = None,
    target_tokens: int | None = None,
    score: str | None = None,
    masking: str = "baseline",
    baseline: str | int | torch.Tensor | Baseline | None = None,
    noise: str | None = None,
    kappa: float | None = None,
    engine: str = "auto",
    memory_budget: int | None = None,
    progress: bool | None = None,
) -> list[ExactInteractions]:
    """Extract the interactions for each token of an answer, given the tokens before it, each coalition computed once.

    Their scores add up to that of the whole answer: a matrix of players' interactions by tokens.

    Args:
        model: A Hugging Face causal language model.
        tokenizer: Its fast tokenizer.
        text: The user's text; its words are the players.
        target: The answer, or its token ids.
        messages: As in `interact.extract`, like all that follow but target_tokens.
        players: The players.
        template: What surrounds the text.
        target_tokens: How many tokens of the answer; None for all.
        score: ``"log-odds"`` (None), ``"log-probability"`` or ``"logit"``.
        masking: ``"baseline"``, ``"attention"`` or ``"text"``.
        baseline: What absent tokens become under ``"baseline"``.
        noise: How noise of the scores is treated.
        kappa: Its price or bound.
        engine: How coalitions are scored.
        memory_budget: Bytes one batch may take.
        progress: Show a progress bar; None shows it on a terminal.

    Returns:
        One result for each token, in order; ``provenance["token"]`` names it.

    Raises:
        ValueError: Something given is wrong.
        RuntimeError: The machine lacks something (memory).

    >>> [r.total for r in extract_tokens(model, tokenizer, text, target="very good")]  # doctest: +SKIP
    """
    tokens = "all" if target_tokens is None else target_tokens
    question = Question(players, target, template, tokens, score=score)
    scoring = Scoring(masking, baseline, engine, memory_budget)
    whole = asked_game(model, tokenizer, asked_text(text, messages), question, scoring)
    if whole.family.kind != "causal":
        raise ValueError("A classifier's answer is one label and has no tokens; call interact.extract.")
    together = replace(whole, score=EachToken(whole.score, len(whole.target)))
    words = names_of(model, tokenizer, whole.target)
    games = [replace(whole, record={**whole.record, "token": {"index": i, "text": w}}) for i, w in enumerate(words)]
    return _split(together, games, noise=noise, kappa=kappa, progress=progress)


def _split(
    together: PromptGame, games: Sequence[PromptGame], *, noise: str | None, kappa: float | None, progress: bool | None
) -> list[ExactInteractions]:
    """Score all coalitions once, and split the scores of each column as those of its own game."""
    NoiseForm.of(noise, kappa)  # What is wrong with it is said before the scores are computed.
    scores = together.all_scores(progress=progress)
    parts = [
        (one, Scores(scores.values[:, column], _of_column(scores.found_out, column)))
        for column, one in enumerate(games)
    ]
    return split_together(parts, noise=noise, kappa=kappa)


def _of_column(found: Mapping[str, Any], column: int) -> dict[str, Any]:
    """Return what scoring found out, with the noise of one column."""
    precision = found.get("precision")
    if precision is None or precision["sigma"] is None:
        return dict(found)
    return {**found, "precision": {**precision, "sigma": precision["sigma"][column]}}
