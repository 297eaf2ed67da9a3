"""The scores v(S) of all coalitions of a prompt: which engine computes them, and whether it may be trusted.

1. The target is fixed: given, or what the model predicts for the unmasked prompt.
2. On a model's first use the masked forward is held against plain forwards of the same model.
3. The engine scores every coalition; scores that are not finite are refused.
"""

from __future__ import annotations

import dataclasses
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from interact.inputs import CoalitionInputs
from interact.masking import Baseline, check_masking, resolve_baseline
from interact.models.family import Family, device_of, inspect_model
from interact.models.flat import flat_values
from interact.score import log_odds

ENGINES = ("auto", "flat")
_trusted: weakref.WeakKeyDictionary[Any, set[str]] = weakref.WeakKeyDictionary()


@torch.no_grad()
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
        coalitions: Bit masks to score (bit i = player i), int64, shape [M]; None for all 2**n in order.
        masking: ``"baseline"``, ``"attention"`` or ``"text"`` (docs/math.md).
        baseline: What absent tokens become, see `interact.masking.resolve_baseline`.
        engine: ``"auto"`` or ``"flat"``.
        memory_budget: Bytes that one batch may take; None for a quarter of the free memory.
        progress: Show a progress bar; None shows it on a terminal.

    Returns:
        float32 on the CPU, shape [2**n] or [M].

    Raises:
        ValueError: Unknown masking or engine, a prompt longer than the model's context, a target outside the
            vocabulary, a model that cannot be masked this way, or scores that are not finite.
        RuntimeError: Not even one coalition fits in memory.

    Source: Zhang et al. 2026 (arXiv 2605.17967), the score of a masked prompt.

    >>> coalition_values(model, CoalitionInputs(ids, spans, target_ids=[42]))  # doctest: +SKIP
    """
    check_masking(masking)
    if engine not in ENGINES:
        raise ValueError(f"engine={engine!r} is not known; choose one of {list(ENGINES)}.")
    if memory_budget is not None and memory_budget < 1:
        raise ValueError(f"memory_budget must be a positive number of bytes, but is {memory_budget}.")
    family = inspect_model(model)
    masks = _checked_coalitions(inputs, coalitions)
    with _quiet(model):
        fixed = with_target(model, inputs)
        _check_fits(family, fixed)
        _check_asker(family, fixed, masking)
        vector = resolve_baseline(model, baseline, inputs.special_ids) if masking == "baseline" else None
        _trust(model, family, fixed, masking, vector)
        bar = sys.stderr.isatty() if progress is None else progress
        options: dict[str, Any] = {"memory_budget": memory_budget, "progress": bar}
        values = flat_values(model, fixed, masks, masking=masking, baseline=vector, **options)
    bad = int((~values.isfinite()).sum())
    if bad:
        first = int(masks[~values.isfinite()][0])
        raise ValueError(
            f"The model gave NaN or infinite scores for {bad} of {len(masks)} coalitions (first: {first:#b}); "
            "try float32 or bfloat16 weights, or another baseline."
        )
    return values


@torch.no_grad()
def with_target(model: Any, inputs: CoalitionInputs) -> CoalitionInputs:
    """Return `inputs` with its target fixed: as given, or the argmax for the unmasked prompt."""
    if inputs.target_ids is not None:
        return inputs
    _check_fits(inspect_model(model), inputs)
    with _quiet(model):
        logits = _plain_logits(model, inputs, list(inputs.input_ids))
    if not logits.isfinite().any():
        raise ValueError(
            "The model's logits for the unmasked prompt are NaN, so it predicts nothing; check its weights."
        )
    return dataclasses.replace(inputs, target_ids=(int(logits[-1].argmax()),))


def _checked_coalitions(inputs: CoalitionInputs, coalitions: torch.Tensor | None) -> torch.Tensor:
    if coalitions is None:
        return torch.arange(1 << inputs.n)
    masks = torch.as_tensor(coalitions)
    if masks.dim() != 1 or masks.dtype.is_floating_point or masks.dtype == torch.bool:
        raise ValueError(
            f"coalitions must be a list of integer bit masks, but is a {masks.dim()}-dimensional {masks.dtype} tensor."
        )
    masks = masks.to("cpu", torch.int64)
    if len(masks) and not 0 <= int(masks.min()) <= int(masks.max()) < 1 << inputs.n:
        raise ValueError(f"coalitions must lie in [0, 2**{inputs.n}) for {inputs.n} players.")
    return masks


def _check_fits(family: Family, inputs: CoalitionInputs) -> None:
    length = len(inputs.input_ids) + len(inputs.target_ids or (0,)) - 1
    if family.context is not None and length > family.context:
        raise ValueError(
            f"The prompt is {length} tokens long, but the model's context holds {family.context}; shorten the text."
        )
    outside = [i for i in inputs.target_ids or () if not 0 <= i < max(family.outputs, 1)]
    if outside:
        raise ValueError(f"The target {outside} is outside the model's {family.outputs} outputs; choose another.")
    if family.kind == "classifier" and len(inputs.target_ids or ()) > 1:
        raise ValueError(f"A classifier scores one label, but {len(inputs.target_ids or ())} targets were given.")


def _check_asker(family: Family, inputs: CoalitionInputs, masking: str) -> None:
    """Refuse attention masking where the token that is asked for the answer may itself be absent."""
    asker = len(inputs.input_ids) - 1 if family.kind == "causal" else 0
    if masking == "attention" and any(low <= asker < high for low, high in inputs.spans):
        raise ValueError(
            f"Token {asker}, from which the answer is read, belongs to a player, and an absent token cannot answer "
            "under attention masking; put text after the last player (a template), or use masking='baseline'."
        )


@contextmanager
def _quiet(model: Any) -> Iterator[None]:
    """Score in eval mode and leave a model in training as it was."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _plain_logits(model: Any, inputs: CoalitionInputs, ids: list[int]) -> torch.Tensor:
    """Return the unmasked logits of every position (causal) or of the labels (classifier), float32."""
    logits = model(input_ids=torch.tensor([ids], device=device_of(model))).logits[0].float()
    return logits if logits.dim() == 2 else logits[None]


def _trust(model: Any, family: Family, inputs: CoalitionInputs, masking: str, baseline: Baseline | None) -> None:
    """Hold the masked forward against plain ones, once a model and masking.

    1. The full coalition must equal a plain forward of the prompt.
    2. Under attention masking, what an absent token says must not matter.
    """
    if masking == "text" or masking in _trusted.setdefault(model, set()):
        return
    target = torch.tensor(inputs.target_ids)
    answer = list(inputs.target_ids or ())[:-1] if family.kind == "causal" else []
    logits = _plain_logits(model, inputs, [*inputs.input_ids, *answer]).cpu()
    plain = logits[-1, 0] if logits.shape[-1] == 1 else log_odds(logits[-len(target) :], target).sum()
    full = torch.tensor([(1 << inputs.n) - 1])
    masked = flat_values(model, inputs, full, masking=masking, baseline=baseline)[0]
    slack = 1e-3 if model.get_input_embeddings().weight.dtype == torch.float32 else 0.25
    if not torch.isclose(plain, masked, rtol=slack, atol=slack) and bool(plain.isfinite()):
        raise ValueError(
            f"{type(model).__name__} scores the unmasked prompt {float(plain):.4f}, but {float(masked):.4f} when its "
            f"embeddings are passed in, so {masking} masking would be wrong; use masking='text'."
        )
    if masking == "attention" and inputs.n:
        _trust_attention(model, inputs, slack)
    _trusted[model].add(masking)


def _trust_attention(model: Any, inputs: CoalitionInputs, slack: float) -> None:
    middle = torch.tensor([0x55555555 & ((1 << inputs.n) - 1) if inputs.n > 1 else 0])
    ids = list(inputs.input_ids)
    for player, (low, high) in enumerate(inputs.spans):
        if not int(middle) >> player & 1:
            ids[low:high] = [ids[0] if ids[low] != ids[0] else ids[-1]] * (high - low)
    other = dataclasses.replace(inputs, input_ids=ids)
    one, two = (flat_values(model, i, middle, masking="attention", baseline=None)[0] for i in (inputs, other))
    if not torch.isclose(one, two, rtol=slack, atol=slack) and bool(one.isfinite()):
        raise ValueError(
            f"{type(model).__name__} lets absent tokens speak under attention masking (the score moves from "
            f"{float(one):.4f} to {float(two):.4f} with their content); use masking='baseline'."
        )
