"""A prompt as a game of shapiq."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from interact.results.conversions import import_extra

if TYPE_CHECKING:
    import torch

    from interact.prompt.inputs import CoalitionInputs, Template
    from interact.prompt.masking import Baseline
    from interact.prompt.messages import Messages
    from interact.prompt.players import Players


def as_shapiq_game(
    model: Any,
    tokenizer: Any,
    text: str | CoalitionInputs | None = None,
    *,
    messages: Messages | None = None,
    players: Players = None,
    target: str | int | Sequence[int] | None = None,
    template: Template | str | None = None,
    target_tokens: int | str | None = None,
    score: str | Callable[[torch.Tensor], torch.Tensor] | None = None,
    masking: str = "baseline",
    baseline: str | int | torch.Tensor | Baseline | None = None,
    engine: str = "auto",
    memory_budget: int | None = None,
    normalize: bool = True,
) -> Any:
    """Return a prompt as a `shapiq.Game`, so that every approximator of shapiq runs on our values.

    Coalitions are scored a batch at a time by `interact.coalition_values`, each once; `game.scored` counts them.

    Args:
        model: As in `interact.extract`, like all that follow but text and normalize.
        tokenizer: Its fast tokenizer.
        text: The user's text; or `interact.CoalitionInputs`, of any number of players, which hold the tokenizer's part
            (pass None), players, target and template already.
        messages: A conversation in the place of a text.
        players: The players.
        target: The answer.
        template: What stands around the text.
        target_tokens: How many tokens of a target text to score.
        score: What a score is.
        masking: ``"baseline"``, ``"attention"`` or ``"text"``.
        baseline: What absent tokens become under ``"baseline"``.
        engine: How coalitions are scored.
        memory_budget: Bytes one batch may take.
        normalize: Subtract v(empty) from every value, as shapiq's approximators expect.

    Raises:
        ValueError: As `interact.extract`; the text has no players; or inputs came with what they hold already.
        RuntimeError: shapiq is missing; or as `interact.extract`.

    >>> game = as_shapiq_game(model, tokenizer, "a gorgeous, witty movie", target="positive")  # doctest: +SKIP
    >>> shapiq.KernelSHAPIQ(n=game.n_players, index="k-SII", max_order=2).approximate(512, game)  # doctest: +SKIP
    """
    import_extra("shapiq", "shapley")
    from interact.games.build import asked_game, asked_score
    from interact.games.prompt_game import game_of
    from interact.games.question import Question, Scoring
    from interact.games.shapiq_game import CoalitionGame
    from interact.prompt.inputs import CoalitionInputs
    from interact.prompt.messages import asked_text
    from interact.prompt.players import MOST_SAMPLED

    if isinstance(text, CoalitionInputs):
        wording = {"messages": messages, "players": players, "target": target, "template": template}
        wording |= {"target_tokens": target_tokens}
        if given := [name for name, value in wording.items() if value is not None]:
            raise ValueError(
                f"CoalitionInputs hold players, target and template already; leave out {', '.join(given)}."
            )
        how = None if score is None else asked_score(model, text, score, None)
        asked = game_of(
            model,
            text,
            masking=masking,
            baseline=baseline,
            engine=engine,
            memory_budget=memory_budget,
            score=how,
        )
    else:
        question = Question(players, target, template, target_tokens, None, score, MOST_SAMPLED)
        scoring = Scoring(masking, baseline, engine, memory_budget)
        asked = asked_game(model, tokenizer, asked_text(text, messages), question, scoring)
    return CoalitionGame(asked, [player.text for player in asked.players], normalize=normalize)
