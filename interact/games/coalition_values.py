"""The scores v(S) of the coalitions of a prompt, for users who need nothing else."""

from __future__ import annotations

from typing import Any

import torch

from interact.games.coalitions import all_coalitions
from interact.games.prompt_game import game_of, with_target
from interact.prompt.inputs import CoalitionInputs
from interact.prompt.masking import Baseline

__all__ = ["all_coalitions", "coalition_values", "explain_engine", "with_target"]


def coalition_values(
    model: Any,
    inputs: CoalitionInputs,
    *,
    coalitions: torch.Tensor | None = None,
    masking: str = "baseline",
    baseline: str | int | torch.Tensor | Baseline | None = None,
    engine: str = "auto",
    memory_budget: int | None = None,
    progress: bool | None = None,
) -> torch.Tensor:
    """Score coalitions: ``v(S) = sum over target tokens of log p/(1-p)`` with the players outside S masked.

    Args:
        model: A Hugging Face causal language model or sequence classifier, on any device, in any floating dtype.
        inputs: From `interact.prepare`, or made from raw ids.
        coalitions: What to score: bit masks (bit i = player i), int64, shape [M], or which players are present,
            bool, shape [M, n]; None for all 2**n in order.
        masking: ``"baseline"``, ``"attention"`` or ``"text"`` (docs/math.md).
        baseline: What absent tokens become, see `interact.prompt.masking.resolve_baseline`.
        engine: ``"flat"`` (one masked forward per coalition), ``"tree"`` (shared beginnings computed once; causal
            models), ``"reorder"`` (the same with the model's own cache; baseline masking), ``"packed"`` (present
            tokens only; encoders under attention masking) or ``"auto"``; see
            `explain_engine`.
        memory_budget: Bytes that one batch may take; None for a quarter of the free memory.
        progress: Show a progress bar; None shows it on a terminal.

    Returns:
        float32 on the CPU, shape [2**n] or [M].

    Raises:
        ValueError: Unknown masking or engine, a prompt longer than the model's context, a target outside the
            vocabulary, a model that cannot be masked this way, or scores that are not finite.
        RuntimeError: Not even one coalition fits in memory, or the named engine cannot score this model.

    Source: Zhang et al. 2026 (arXiv 2605.17967), the score of a masked prompt.

    >>> coalition_values(model, CoalitionInputs(ids, spans, target_ids=[42]))  # doctest: +SKIP
    """
    game = game_of(model, inputs, masking=masking, baseline=baseline, engine=engine, memory_budget=memory_budget)
    return game.scored(coalitions, progress=progress).values


def explain_engine(
    model: Any,
    inputs: CoalitionInputs,
    *,
    coalitions: torch.Tensor | None = None,
    masking: str = "baseline",
    baseline: str | int | torch.Tensor | Baseline | None = None,
    engine: str = "auto",
    memory_budget: int | None = None,
) -> str:
    """Say which engine scores these inputs, and why; arguments and errors as `coalition_values`."""
    game = game_of(model, inputs, masking=masking, baseline=baseline, engine=engine, memory_budget=memory_budget)
    return game.explain(coalitions)
