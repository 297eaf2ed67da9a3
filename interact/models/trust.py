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
from interact.models.tree import tree_values
from interact.score import log_odds

_trusted: weakref.WeakKeyDictionary[Any, set[str]] = weakref.WeakKeyDictionary()
_tree_verdicts: weakref.WeakKeyDictionary[Any, dict[str, str | None]] = weakref.WeakKeyDictionary()


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
    logits = model(input_ids=torch.tensor([ids], device=device_of(model)), **keep).logits[0].float()
    return logits[-last:] if logits.dim() == 2 else logits[None]


def trust_masking(model: Any, family: Family, inputs: CoalitionInputs, masking: str, baseline: Baseline | None) -> None:
    """Hold the masked forward against plain ones, once a model and masking.

    1. The full coalition must equal a plain forward of the prompt.
    2. Under attention masking, what an absent token says must not matter.

    Raises:
        ValueError: It does not; the sentence says what to use instead.
    """
    if masking == "text" or masking in _trusted.setdefault(model, set()):
        return
    target = torch.tensor(inputs.target_ids)
    answer = list(inputs.target_ids or ())[:-1] if family.kind == "causal" else []
    logits = plain_logits(model, family, [*inputs.input_ids, *answer], len(target)).cpu()
    plain = logits[-1, 0] if logits.shape[-1] == 1 else log_odds(logits, target).sum()
    full = torch.ones(1, inputs.n, dtype=torch.bool)
    masked = flat_values(model, inputs, full, masking=masking, baseline=baseline)[0]
    slack = _slack(model)
    if not torch.isclose(plain, masked, rtol=slack, atol=slack) and bool(plain.isfinite()):
        raise ValueError(
            f"{type(model).__name__} scores the unmasked prompt {float(plain):.4f}, but {float(masked):.4f} when its "
            f"embeddings are passed in, so {masking} masking would be wrong; use masking='text'."
        )
    if masking == "attention" and inputs.n:
        _trust_attention(model, inputs, slack)
    _trusted[model].add(masking)


def distrust_tree(
    model: Any, family: Family, inputs: CoalitionInputs, masking: str, baseline: Baseline | None
) -> str | None:
    """Hold the tree against the flat forward, once a model and masking; return why it cannot be trusted, or None."""
    verdicts = _tree_verdicts.setdefault(model, {})
    if masking not in verdicts:
        verdicts[masking] = _tree_verdict(model, family, inputs, masking, baseline)
    return verdicts[masking]


def _tree_verdict(
    model: Any, family: Family, inputs: CoalitionInputs, masking: str, baseline: Baseline | None
) -> str | None:
    if _sees_later_tokens(model, family, inputs):
        return f"{type(model).__name__} lets a token see later ones"
    players = torch.arange(inputs.n)
    some = torch.stack([players >= 0, players < 0, players % 2 == 0, players % 3 == 1])
    options: dict[str, Any] = {"masking": masking, "baseline": baseline}
    flat = flat_values(model, inputs, some, **options)
    try:
        # Small runs, so that what one run hands to the next is held against the truth too.
        tree = tree_values(model, inputs, some, **options, most_tokens=max(8, len(inputs.input_ids) // 2))
    except (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, RuntimeError) and out_of_memory(error):
            raise
        return f"the tree fails on {type(model).__name__} ({error})"
    # Where the scores hardly move, a wrong tree is hardly wrong: the allowance follows their spread.
    slack = _slack(model) * min(1.0, 0.2 + float(flat.max() - flat.min()))
    if torch.allclose(flat, tree, rtol=0.0, atol=slack, equal_nan=True):
        return None
    worst = float((flat - tree).abs().max())
    return f"the tree's scores of {type(model).__name__} differ by {worst:.3g} from the flat forward's"


def _trust_attention(model: Any, inputs: CoalitionInputs, slack: float) -> None:
    middle = (torch.arange(inputs.n) % 2 == 0)[None] & (inputs.n > 1)
    ids = list(inputs.input_ids)
    for player, (low, high) in enumerate(inputs.spans):
        if not middle[0, player]:
            ids[low:high] = [ids[0] if ids[low] != ids[0] else ids[-1]] * (high - low)
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
