"""The main verb: a model and a text in, the text's AND-OR interactions out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from interact.games.build import game
from interact.games.game import check_method
from interact.prompt.inputs import Template
from interact.prompt.masking import Baseline
from interact.prompt.messages import Messages
from interact.prompt.players import LIMIT, MOST_SAMPLED, Players
from interact.results import Interactions
from interact.sparse.scores import ScoreCache
from interact.sparse.search import SparseOptions


def extract(
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
    noise: str | None = None,
    kappa: float | None = None,
    method: str = "exact",
    budget: int | None = None,
    max_order: int | None = None,
    seed: int | None = None,
    sparse: SparseOptions | None = None,
    cache: ScoreCache | str | Path | None = None,
    known: tuple[np.ndarray, np.ndarray] | None = None,
    engine: str = "auto",
    memory_budget: int | None = None,
    progress: bool | None = None,
) -> Interactions:
    """Extract the AND-OR interactions between the words of a text.

    ``method="exact"`` scores all 2**n coalitions of up to 20 players and certifies the split; ``method="sparse"``
    samples coalitions of any number of players (`interact.sparse.explain`) and measures the fit on held-out ones.

    Args:
        model: A Hugging Face causal language model, or a sequence classifier.
        tokenizer: Its fast tokenizer.
        text: The user's text; its words are the players.
        messages: Instead of a text: a list of ``{"role": ..., "content": ...}``, with the players in the last
            message of the user unless they are listed or chosen otherwise, see `interact.prompt.message_players`.
        players: None for up to ten content words (sparse: all of them); see `interact.prompt.players.choose_spans`.
        target: The answer to explain: text (a label's name for a classifier), token ids, or None for what the
            model predicts.
        template: What surrounds the text, see `interact.Template`.
        target_tokens: How many tokens of a target text to score, or ``"all"``; None demands that it be one token.
        contrast: Another answer, or several: v(S) is then the log-odds of the target against them, by the first token
            of each, and not against all other tokens.
        score: ``"log-odds"`` (None), ``"log-probability"`` (of several tokens that of the whole answer), ``"logit"``,
            or a function of the final logits: float32 [rows, outputs] -> [rows].
        masking: ``"baseline"``, ``"attention"`` or ``"text"``.
        baseline: What absent tokens become under ``"baseline"``; None for <unk>, else pad, else eos.
        noise: How noise of the scores is treated: ``"soft"`` (it has a price; one optimum), ``"box"`` (up to kappa, as
            published) or ``"exact"`` (none); None for soft, or a box where a kappa is given; exact only.
        kappa: That price or bound, relative to |v(N) - v(empty)|; None for 0.01 (soft) or 0.04 (box); exact only.
        method: ``"exact"`` or ``"sparse"``.
        budget: Most coalitions to score, None for 8 n log2(n); sparse only, like the three that follow and `known`.
        max_order: Most players of an interaction; None for 4.
        seed: Seed of the sample; None for 0.
        sparse: How to sample and search, see `interact.sparse.SparseOptions`.
        cache: A file that keeps scores as they come, or the `scores` of an `interact.sparse.Interrupted`, so that an
            interrupted run continues where it stopped.
        known: Coalitions (bool [m, n]) and scores (float [m]) of this prompt, to be fitted in addition to the budget.
        engine: See `interact.coalition_values`.
        memory_budget: Bytes one batch may take.
        progress: Show a bar with the time left, and tell tokens, memory and time of a long run after its first batch;
            None shows them on a terminal.

    Returns:
        The interactions with their certificate (sparse: their held-out fit and error bars) and everything needed to
        repeat them.

    Raises:
        ValueError: Something given is wrong; the sentence says what was expected and what to do.
        RuntimeError: The machine lacks something (memory).
        Interrupted: Ctrl-C (`interact.sparse.Interrupted`, a `KeyboardInterrupt`); the scores so far are in it.

    Source: Zhang et al. 2026 (arXiv 2605.17967); Chen et al. 2024 (arXiv 2401.16318).

    >>> extract(model, tokenizer, "a gorgeous, witty, seductive movie", target="positive").top(5)  # doctest: +SKIP
    """
    check_method(method, budget, max_order, seed, sparse, known)
    asked = game(
        model,
        tokenizer,
        text,
        messages=messages,
        players=players,
        target=target,
        template=template,
        target_tokens=target_tokens,
        contrast=contrast,
        score=score,
        masking=masking,
        baseline=baseline,
        engine=engine,
        memory_budget=memory_budget,
        most_players=LIMIT if method == "exact" else MOST_SAMPLED,
    )
    return asked.interactions(
        method,
        noise=noise,
        kappa=kappa,
        budget=budget,
        max_order=max_order,
        seed=seed,
        sparse=sparse,
        cache=cache,
        known=known,
        progress=progress,
    )
