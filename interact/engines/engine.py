"""What an engine is: a way to compute the scores of coalitions of a prompt, and when it may be used.

An engine is one class in one file:

1. `refusal` says why it cannot serve a game, from what is known without running the model;
2. `check` holds it against a slower truth on the model's first use, since a wrong number is worse than a slow one;
3. `plan` says what it will compute for some coalitions, and how many tokens that saves;
4. `run` computes the plan batch by batch. Memory, halving, progress and interruption are the runner's
   (`interact.engines.runner`).

`interact.engines.ENGINES` lists them, best first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from interact.games.prompt_game import PromptGame

_BITS = 62
Batch = tuple[np.ndarray, torch.Tensor]
"""Which rows of a plan were scored, int64 [rows], and their scores, float32 [rows], on any device."""


def distinct(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the different coalitions, sorted, and which of them each coalition is.

    Args:
        masks: Which players are present, bool, shape [M, n].

    Returns:
        bool, shape [D, n], and int64, shape [M].
    """
    n = masks.shape[1]
    if n > _BITS:
        rows, inverse = np.unique(masks, axis=0, return_inverse=True)
        return rows, inverse.reshape(-1)
    # One number a coalition, the first player its highest bit: 20 times faster than to compare rows.
    codes = np.zeros(len(masks), dtype=np.int64)
    for player in range(n):
        codes = 2 * codes + masks[:, player]
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    return masks[first], inverse.reshape(-1)


@dataclass
class Plan:
    """What an engine will compute for some coalitions of a game.

    Attributes:
        game: The game.
        masks: Which players are present, bool, shape [M, n], sorted, without duplicates.
        size: Most units of a batch, to begin with.
        unit: What a batch is made of, such as ``"tokens per run"``.
        tokens: Tokens that are computed in all.
        flat_tokens: Tokens that one forward per coalition would compute.
        saving: What is saved, in words.
        words: The same with how it is cut and the memory it takes.
        options: What this model needs of the engine.
        memory: Most bytes that a batch takes beside the model, as predicted; 0 where nothing is known.
        largest: The largest batch that was begun, in units; an engine that takes less than `size` says so here.
    """

    game: PromptGame
    masks: np.ndarray
    size: int
    unit: str
    tokens: int = 1
    flat_tokens: int = 1
    saving: str = ""
    words: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    memory: int = 0
    largest: int = 0

    @property
    def ratio(self) -> float:
        """How many times fewer tokens than flat."""
        return self.flat_tokens / max(1, self.tokens)


@dataclass(frozen=True)
class Verdict:
    """Whether an engine may be trusted with a model.

    Attributes:
        reason: Why not, None when it may.
        options: What the model needs of the engine.
        failed: Whether it broke down, rather than gave other scores.
        remark: What to tell beside the reason why it was taken.
    """

    reason: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    failed: bool = False
    remark: str = ""


class Engine(ABC):
    """A way to compute the scores of coalitions.

    Attributes:
        name: What users call it.
        summary: What it does, for the command line and the documentation.
        kinds: Kinds of models that it is made for, see `interact.models.family.Family`.
        saver: What saves the tokens, for sentences.
        always_on_cpu: Whether it is faster on a CPU even where it saves no tokens.
    """

    name: str
    summary: str
    kinds: tuple[str, ...]
    saver: str = "it"
    always_on_cpu = False

    @abstractmethod
    def refusal(self, game: PromptGame) -> str | None:
        """Say why this engine cannot score a game, or None; nothing is computed."""

    @abstractmethod
    def plan(self, game: PromptGame, masks: np.ndarray, **options: Any) -> Plan:
        """Plan coalitions (bool [M, n], sorted, distinct); nothing is computed."""

    @abstractmethod
    def run(self, plan: Plan, rows: np.ndarray, size: int) -> Generator[Batch, None, None]:
        """Score the rows (int64) of a plan in batches of at most `size` units; they count into `plan.masks`."""

    @abstractmethod
    def check(self, game: PromptGame) -> Verdict:
        """Compare the engine with the flat forward on a model's first prompt, and again on longer ones."""
