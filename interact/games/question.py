"""What is asked of a model about a text, and how its coalitions are scored: what every way to a game takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from interact.prompt.inputs import Template
from interact.prompt.masking import Baseline
from interact.prompt.players import LIMIT, Players


@dataclass(frozen=True)
class Question:
    """What is asked about a text; each attribute as the argument of `interact.game` of its name.

    Attributes:
        players: Who plays.
        target: The answer that is scored.
        template: What stands around the text.
        target_tokens: How many tokens of the answer are scored.
        contrast: Other answers that it is held against.
        score: What a score is.
        most_players: Most players allowed.
    """

    players: Players = None
    target: str | int | Sequence[int] | None = None
    template: Template | str | None = None
    target_tokens: int | str | None = None
    contrast: str | Sequence[str] | None = None
    score: str | Callable[[torch.Tensor], torch.Tensor] | None = None
    most_players: int = LIMIT

    def __post_init__(self) -> None:
        if isinstance(self.players, (np.ndarray, np.integer)):
            object.__setattr__(self, "players", self.players.tolist())


@dataclass(frozen=True)
class Scoring:
    """How coalitions are scored; each attribute as the argument of `interact.game` of its name.

    Attributes:
        masking: What becomes of absent players.
        baseline: What absent tokens become under ``"baseline"``.
        engine: How the model runs.
        memory_budget: Bytes one batch may take.
    """

    masking: str = "baseline"
    baseline: str | int | torch.Tensor | Baseline | None = None
    engine: str = "auto"
    memory_budget: int | None = None
