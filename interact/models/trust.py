"""Whether a model may be scored by an engine: each is held against a slower truth on first use.

A wrong number is worse than a slow one: families differ in how they treat masks, positions and embeddings passed in,
and most mistakes raise no error.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from interact.inputs import CoalitionInputs
from interact.masking import Baseline
from interact.models.family import Family, device_of
from interact.models.flat import flat_values
from interact.models.memory import out_of_memory
from interact.models.packed import packed_values
from interact.models.tree import tree_values
from interact.score import log_odds

# The longest prompt that was checked, by masking: windows and chunks only show in prompts that are long enough.
_trusted: weakref.WeakKeyDictionary[Any, dict[str, int]] = weakref.WeakKeyDictionary()
_engine_trusted: weakref.WeakKeyDictionary[Any, dict[tuple[str, str], int]] = weakref.WeakKeyDictionary()
_ENGINES = {"tree": (tree_values, "the tree"), "packed": (packed_values, "the packed forward")}


@contextmanager
def quiet(model: Any) -> Iterator[None]:
    """Score in eval mode and leave a model in training as it was."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def plain_logits(model: Any, family: Family, ids: list[int], last: int) -> torch.Tensor:
    """Return unmasked logits in float32: of the last positions, shape [last, vocabulary], or of the labels, [1, C]."""
    keep = {"logits_to_keep": last} if "logits_to_keep" in family.takes else {}
    logits = model(input_ids=torch.tensor([ids], device=device_of(model)), return_dict=True, **keep).logits[0].float()
    return logits[-last:] if logits.dim() == 2 else logits[None]


def trust_masking(model: Any, family: Family, inputs: CoalitionInputs, masking: str, baseline: Baseline | None) -> None:
    """Hold the masked forward against plain ones, on a model's first prompt and on each longer one.

    1. A causal model must not see later tokens.
    2. The full coalition must equal a plain forward of the prompt.
    3. Under attention masking, what an absent token says must not matter.

    Raises:
        ValueError: It does not; the sentence says what to use instead.
    """
    checked = _trusted.setdefault(model, {})
    if masking == "text" or not inputs.n or len(inputs.input_ids) <= checked.get(masking, 0):
        return
    name = type(model).__name__
    if family.kind == "causal" and _sees_later_tokens(model, family, inputs):
        raise ValueError(f"{name} lets a token see later ones, so it predicts no next token; load a causal model.")
    target = torch.tensor(inputs.target_ids)
    answer = list(inputs.target_ids or ())[:-1] if family.kind == "causal" else []
    logits = plain_logits(model, family, [*inputs.input_ids, *answer], len(target)).cpu()
    plain = logits[0, target[0]] if family.independent else log_odds(logits, target).sum()
    full = torch.ones(1, inputs.n, dtype=torch.bool)
    masked = flat_values(model, inputs, full, masking=masking, baseline=baseline)[0]
    if not (bool(plain.isfinite()) and bool(masked.isfinite())):
        # Scores that are not finite are refused later, by coalition; they prove nothing here.
        return
    slack = _slack(model)
    if not torch.isclose(plain, masked, rtol=slack, atol=slack):
        raise ValueError(
            f"{name} scores the unmasked prompt {float(plain):.4f}, but {float(masked):.4f} when its "
            f"embeddings are passed in, so {masking} masking would be wrong; use masking='text'."
        )
    if masking == "attention":
        _trust_attention(model, inputs, slack)
    checked[masking] = len(inputs.input_ids)


def distrust(
    engine: str, model: Any, family: Family, inputs: CoalitionInputs, masking: str, baseline: Baseline | None
) -> str | None:
    """Hold an engine against the flat forward, on a model's first prompt and on each longer one.

    Returns:
        Why the engine cannot be trusted, or None.
    """
    checked = _engine_trusted.setdefault(model, {})
    if len(inputs.input_ids) <= checked.get((engine, masking), 0):
        return None
    players = torch.arange(inputs.n)
    some = torch.stack([players >= 0, players < 0, players % 2 == 0, players % 3 == 1])
    options: dict[str, Any] = {"masking": masking, "baseline": baseline}
    flat = flat_values(model, inputs, some, **options)
    name = type(model).__name__
    run, words = _ENGINES[engine]
    try:
        # Small runs, so that what one run hands to the next is held against the truth too.
        fast = run(model, inputs, some, **options, most_tokens=max(8, len(inputs.input_ids) // 2))
    except Exception as error:
        # Whatever a family's code does not expect of the engine is a reason for the flat forward, said to the user.
        if isinstance(error, RuntimeError) and out_of_memory(error):
            raise
        return f"{words} fails on {name} ({type(error).__name__}: {error})"
    if not flat.isfinite().all():
        return f"{name} gives scores that are not finite"
    # Where the scores hardly move, a wrong engine is hardly wrong: the allowance follows their spread.
    slack = _slack(model) * min(1.0, 0.2 + float(flat.max() - flat.min()))
    worst = float((flat - fast).abs().max())
    if not worst <= slack:
        return f"{words}'s scores of {name} differ by {worst:.3g} from the flat forward's"
    checked[engine, masking] = len(inputs.input_ids)
    return None


def _trust_attention(model: Any, inputs: CoalitionInputs, slack: float) -> None:
    middle = (torch.arange(inputs.n) % 2 == 0)[None] & (inputs.n > 1)
    ids = list(inputs.input_ids)
    for player, (low, high) in enumerate(inputs.spans):
        if not middle[0, player]:
            # Any other token that the model knows, so that something really changes.
            ids[low:high] = [next(i for i in range(3, 6) if i != token) for token in ids[low:high]]
    other = dataclasses.replace(inputs, input_ids=ids)
    one, two = (flat_values(model, i, middle, masking="attention", baseline=None)[0] for i in (inputs, other))
    if not torch.isclose(one, two, rtol=slack, atol=slack) and bool(one.isfinite()):
        raise ValueError(
            f"{type(model).__name__} lets absent tokens speak under attention masking (the score moves from "
            f"{float(one):.4f} to {float(two):.4f} with their content); use masking='baseline'."
        )


def _sees_later_tokens(model: Any, family: Family, inputs: CoalitionInputs) -> bool:
    ids = list(inputs.input_ids[:16])
    other = [*ids[:-1], ids[0] if ids[-1] != ids[0] else (ids[0] + 1) % family.outputs]
    one, two = (plain_logits(model, family, i, len(i))[:-1] for i in (ids, other))
    return bool((one - two).abs().max() > 1e-4 * one.abs().max()) if len(ids) > 1 else False


def _slack(model: Any) -> float:
    return 1e-3 if model.get_input_embeddings().weight.dtype == torch.float32 else 0.25
