"""The scores v(S) of the coalitions of a prompt.

1. The target is fixed: given, or what the model predicts for the unmasked prompt.
2. An engine is chosen (`interact.models.choose`). On a model's first use each is held against a slower truth
   (`interact.models.trust`).
3. The engine scores every coalition; scores that are not finite are refused.
"""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from interact.inputs import CoalitionInputs
from interact.masking import Baseline, check_masking, resolve_baseline
from interact.models.choose import check_engine, choose_engine
from interact.models.family import Family, inspect_model
from interact.models.flat import flat_values
from interact.models.packed import packed_values
from interact.models.reorder import reorder_values
from interact.models.tree import tree_values
from interact.models.trust import plain_logits, quiet, trust_masking
from interact.players import LIMIT

_RUN = {"flat": flat_values, "tree": tree_values, "reorder": reorder_values, "packed": packed_values}


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
        baseline: What absent tokens become, see `interact.masking.resolve_baseline`.
        engine: ``"flat"`` (one masked forward a coalition), ``"tree"`` (shared beginnings computed once; causal
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
    return score_coalitions(
        model,
        inputs,
        coalitions=coalitions,
        masking=masking,
        baseline=baseline,
        engine=engine,
        memory_budget=memory_budget,
        progress=progress,
    ).values


@dataclass(frozen=True)
class Scores:
    """Scores and how they were computed.

    Attributes:
        values: As `coalition_values` returns them.
        engine: ``"flat"``, ``"tree"``, ``"reorder"`` or ``"packed"``.
        reason: Why this engine.
    """

    values: torch.Tensor
    engine: str
    reason: str


@torch.no_grad()
def score_coalitions(
    model: Any,
    inputs: CoalitionInputs,
    *,
    coalitions: torch.Tensor | None,
    masking: str,
    baseline: str | int | torch.Tensor | Baseline | None,
    engine: str,
    memory_budget: int | None,
    progress: bool | None,
) -> Scores:
    """Score coalitions and say how; arguments and errors as `coalition_values`."""
    check_masking(masking)
    check_engine(engine)
    if not isinstance(inputs, CoalitionInputs):
        raise ValueError(f"inputs must come from interact.prepare or CoalitionInputs, but are {inputs!r:.80}.")
    if memory_budget is not None and (not isinstance(memory_budget, (int, np.integer)) or memory_budget < 1):
        raise ValueError(f"memory_budget must be a positive number of bytes, but is {memory_budget!r}.")
    family = inspect_model(model)
    masks = _presence(inputs, coalitions)
    with quiet(model):
        fixed = with_target(model, inputs)
        _check_fits(model, family, fixed)
        _check_asker(family, fixed, masking)
        vector = resolve_baseline(model, baseline, inputs.special_ids) if masking == "baseline" else None
        trust_masking(model, family, fixed, masking, vector)
        options: dict[str, Any] = {"masking": masking, "baseline": vector, "memory_budget": memory_budget}
        choice = choose_engine(model, family, fixed, masks, engine=engine, **options)
        if choice.engine != engine != "auto":
            raise RuntimeError(f"engine={engine!r} cannot score this: {choice.reason}. Use engine='auto'.")
        bar = sys.stderr.isatty() if progress is None else progress
        values = _RUN[choice.engine](model, fixed, masks, progress=bar, **options, **choice.options)
    bad = ~values.isfinite()
    if bad.any():
        first = "".join("1" if here else "0" for here in masks[bad][0].tolist()[::-1])
        raise ValueError(
            f"The model gave NaN or infinite scores for {int(bad.sum())} of {len(masks)} coalitions "
            f"(first: 0b{first}); try float32 or bfloat16 weights, or another baseline."
        )
    return Scores(values, choice.engine, choice.reason)


@torch.no_grad()
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
    """Say which engine scores these inputs, and why; arguments as `coalition_values`."""
    check_masking(masking)
    check_engine(engine)
    family = inspect_model(model)
    masks = _presence(inputs, coalitions)
    with quiet(model):
        fixed = with_target(model, inputs)
        vector = resolve_baseline(model, baseline, inputs.special_ids) if masking == "baseline" else None
        options: dict[str, Any] = {"masking": masking, "baseline": vector, "memory_budget": memory_budget}
        choice = choose_engine(model, family, fixed, masks, engine=engine, **options)
    return f"{engine} takes {choice.engine}: {choice.reason}."


@torch.no_grad()
def with_target(model: Any, inputs: CoalitionInputs) -> CoalitionInputs:
    """Return `inputs` with its target fixed: as given, or the argmax for the unmasked prompt."""
    if inputs.target_ids is not None:
        return inputs
    family = inspect_model(model)
    _check_fits(model, family, inputs)
    with quiet(model):
        logits = plain_logits(model, family, list(inputs.input_ids), 1)
    if not logits.isfinite().any():
        raise ValueError(
            "The model's logits for the unmasked prompt are NaN, so it predicts nothing; check its weights."
        )
    return dataclasses.replace(inputs, target_ids=(int(logits[-1].argmax()),))


def all_coalitions(n: int) -> torch.Tensor:
    """Return which of n players are present in each of all 2**n coalitions, in order: bool, shape [2**n, n]."""
    return (torch.arange(1 << n)[:, None] >> torch.arange(n) & 1).bool()


def _presence(inputs: CoalitionInputs, coalitions: torch.Tensor | None) -> torch.Tensor:
    """Return which players are present in each coalition: bool, shape [M, n]."""
    if coalitions is None:
        if inputs.n > LIMIT:
            raise ValueError(
                f"{inputs.n} players make 2**{inputs.n} coalitions, but a full lattice holds at most {LIMIT} players; "
                "give fewer, or a list of coalitions."
            )
        return all_coalitions(inputs.n)
    try:
        masks = torch.as_tensor(coalitions).cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"coalitions must be a tensor, an array or a list of numbers, but are {coalitions!r:.80}."
        ) from error
    if masks.dtype == torch.bool and masks.dim() == 2 and masks.shape[1] == inputs.n:
        return masks
    if masks.dim() != 1 or masks.dtype.is_floating_point or masks.dtype == torch.bool or inputs.n > 62:
        raise ValueError(
            f"coalitions must be integer bit masks (up to 62 players) or booleans of shape [M, {inputs.n}], but are a "
            f"{masks.dtype} tensor of shape {tuple(masks.shape)}."
        )
    masks = masks.long()
    if len(masks) and not 0 <= int(masks.min()) <= int(masks.max()) < 1 << inputs.n:
        raise ValueError(f"coalitions must lie in [0, 2**{inputs.n}) for {inputs.n} players.")
    return (masks[:, None] >> torch.arange(inputs.n) & 1).bool()


def _check_fits(model: Any, family: Family, inputs: CoalitionInputs) -> None:
    length = len(inputs.input_ids) + len(inputs.target_ids or (0,)) - 1
    if family.context is not None and length > family.context:
        raise ValueError(
            f"The prompt is {length} tokens long, but the model's context holds {family.context}; shorten the text."
        )
    known = model.get_input_embeddings().weight.shape[0]
    if strange := [i for i in inputs.input_ids if not 0 <= i < known]:
        raise ValueError(
            f"The token {strange[0]} is not in the vocabulary of {known} tokens; prepare the text with the model's own "
            "tokenizer."
        )
    outside = [i for i in inputs.target_ids or () if not 0 <= i < max(family.outputs, 1)]
    if outside:
        raise ValueError(f"The target {outside} is outside the model's {family.outputs} outputs; choose another.")
    if family.kind == "classifier" and len(inputs.target_ids or ()) > 1:
        raise ValueError(f"A classifier scores one label, but {len(inputs.target_ids or ())} targets were given.")


def _check_asker(family: Family, inputs: CoalitionInputs, masking: str) -> None:
    """Refuse attention masking where the token that is asked for the answer may itself be absent."""
    asker = len(inputs.input_ids) - 1 if family.reads_last else 0
    if masking == "attention" and any(low <= asker < high for low, high in inputs.spans):
        raise ValueError(
            f"Token {asker}, from which the answer is read, belongs to a player, and an absent token cannot answer "
            "under attention masking; put text after the last player (a template), or use masking='baseline'."
        )
