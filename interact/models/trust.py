"""Whether a model may be scored by an engine: each is held against a slower truth on a configuration's first use.

A wrong number is worse than a slow one: families differ in how they treat masks, positions and embeddings passed in,
and most mistakes raise no error.
"""

from __future__ import annotations

import dataclasses
import json
import re
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import torch

from interact.inputs import CoalitionInputs
from interact.masking import Baseline
from interact.models.family import Family, device_of
from interact.models.flat import flat_values
from interact.models.memory import out_of_memory
from interact.models.packed import packed_values
from interact.models.reorder import MOST_TOKENS, continuations, reorder_values
from interact.models.tree import tree_values
from interact.score import log_odds

# How long a prompt may be by the checks that were passed, by the check and what it held for: windows and chunks only
# show in prompts that are long enough. Models of one configuration share it.
_passed: dict[str, dict[Any, int]] = {}
# The same of single models, in which something calls another forward than their class has.
_passed_alone: weakref.WeakKeyDictionary[Any, dict[Any, int]] = weakref.WeakKeyDictionary()


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
    # No cache: some models (BLT) fail at making one.
    options: dict[str, Any] = {"logits_to_keep": last, "use_cache": False, "return_dict": True}
    options = {name: value for name, value in options.items() if name == "return_dict" or name in family.takes}
    logits = model(input_ids=torch.tensor([ids], device=device_of(model)), **options).logits[0].float()
    return logits[-last:] if logits.dim() == 2 else logits[None]


def trust_masking(model: Any, family: Family, inputs: CoalitionInputs, masking: str, baseline: Baseline | None) -> None:
    """Hold the masked forward against plain ones, on a model's first prompt and on longer ones (`_reach`).

    1. A causal model must not see later tokens.
    2. The full coalition must equal a plain forward of the prompt.
    3. Under attention masking, what an absent token says must not matter.

    Raises:
        ValueError: It does not; the sentence says what to use instead.
    """
    checked = _checked(model)
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
    try:
        masked = flat_values(model, inputs, full, masking=masking, baseline=baseline)[0]
    except Exception as error:
        if isinstance(error, RuntimeError) and out_of_memory(error):
            raise
        raise ValueError(
            f"{name} runs from token ids but not with its embeddings passed in ({type(error).__name__}: {error}), so "
            f"{masking} masking is impossible; use masking='text'."
        ) from error
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
    checked[masking] = _reach(model, inputs)


def distrust_tree(
    model: Any, family: Family, inputs: CoalitionInputs, masking: str, baseline: Baseline | None
) -> tuple[str | None, dict[str, bool]]:
    """Hold the tree against the flat forward, on a model's first prompt and on longer ones (`_reach`).

    Returns:
        Why the tree cannot be trusted, or None, and the options it needs: in some models the last layer needs all rows.
    """
    checked = _checked(model)
    reason = None
    for few in (True, False):
        if len(inputs.input_ids) <= checked.get(("tree", masking, few), 0):
            return None, {"final_rows": few}
    for few in (True, False):

        def tree(some: torch.Tensor, few: bool = few) -> torch.Tensor:
            # Small runs, so that what one run hands to the next is held against the truth too.
            options: dict[str, Any] = {"most_tokens": max(8, len(inputs.input_ids) // 2), "final_rows": few}
            return tree_values(model, inputs, some, masking=masking, baseline=baseline, **options)

        reason = _disagreement(model, inputs, masking, baseline, "tree", [tree])
        if reason is None:
            checked["tree", masking, few] = _reach(model, inputs)
            return None, {"final_rows": few}
    return reason, {}


def distrust_reorder(
    model: Any, inputs: CoalitionInputs, baseline: Baseline | None
) -> tuple[str | None, dict[str, int]]:
    """Hold the cache-reordering forward against the flat one, on a model's first prompt, on longer ones and on
    each that goes on from the cache by other numbers of tokens.

    Returns:
        Why it cannot be trusted, or None, and the options it needs: some models go on right by one token only.
    """
    checked = _checked(model)
    # The numbers of tokens that the model starts with and goes on by.
    steps = continuations(inputs)
    for step in (MOST_TOKENS, 1):
        if all(len(inputs.input_ids) <= checked.get(("reorder", step, *kind), 0) for kind in steps):
            return None, {"step": step}
    found: dict[int, str | None] = {}
    for step in (MOST_TOKENS, 1):

        def walk(finish: bool, step: int = step) -> Callable[[torch.Tensor], torch.Tensor]:
            # Small batches, so that a cache that serves several of them is held against the truth too.
            options: dict[str, Any] = {"masking": "baseline", "baseline": baseline, "most_rows": 2, "finish": finish}
            return lambda some: reorder_values(model, inputs, some, step=step, **options)

        found[step] = _disagreement(model, inputs, "baseline", baseline, "reordered cache", [walk(False), walk(True)])
        if found[step] is None:
            for kind in steps:
                case = "reorder", step, *kind
                checked[case] = max(checked.get(case, 0), _reach(model, inputs))
            return None, {"step": step}
    return found[MOST_TOKENS], {}


def distrust_packed(model: Any, inputs: CoalitionInputs) -> tuple[str | None, dict[str, Any]]:
    """Hold the packed forward against the flat one, on a model's first prompt and on longer ones (`_reach`).

    Returns:
        Why it cannot be trusted, or None, and no options.
    """
    checked = _checked(model)
    if len(inputs.input_ids) <= checked.get("packed", 0):
        return None, {}

    def packed(some: torch.Tensor) -> torch.Tensor:
        # Small runs, so that rows are cut between runs here too.
        options: dict[str, Any] = {"most_tokens": max(8, len(inputs.input_ids) // 2)}
        return packed_values(model, inputs, some, masking="attention", baseline=None, **options)

    reason = _disagreement(model, inputs, "attention", None, "packed forward", [packed])
    if reason is None:
        checked["packed"] = _reach(model, inputs)
    return reason, {}


def _checked(model: Any) -> dict[Any, int]:
    """Return how long a prompt may be by each check that was passed.

    What is checked is how a family's code treats masks and positions, not its weights, so models of the same classes
    and configuration share it: the next checkpoint of a training need not be checked again.
    """
    modules = dict(model.named_modules())
    if any("forward" in vars(m) or m._forward_hooks or m._forward_pre_hooks for m in modules.values()):
        return _passed_alone.setdefault(model, {})
    weight = model.get_input_embeddings().weight
    config = model.config.to_dict() | {"_name_or_path": None}
    kinds = {name: f"{type(m).__module__}.{type(m).__qualname__}" for name, m in modules.items()}
    attention = getattr(model.config, "_attn_implementation", None)
    content = [config, kinds, attention, str(weight.dtype), str(weight.device)]
    return _passed.setdefault(sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest(), {})


def _reach(model: Any, inputs: CoalitionInputs) -> int:
    """Return the longest prompt for which a check of this one speaks.

    Where a window or chunk ends, a longer prompt may be treated otherwise: that is at a number of the configuration,
    half of one, or a power of two. So prompts of about one length are checked once, and not each that is the longest.
    """
    numbers = [int(found) for found in re.findall(r"\b\d{1,9}\b", json.dumps(model.config.to_dict(), default=str))]
    edges = {*numbers, *(number // 2 for number in numbers), *(1 << k for k in range(30))}
    length = len(inputs.input_ids)
    return max(length, min((edge for edge in edges if edge >= length), default=length) - 1)


def _disagreement(
    model: Any,
    inputs: CoalitionInputs,
    masking: str,
    baseline: Baseline | None,
    engine: str,
    forwards: list[Callable[[torch.Tensor], torch.Tensor]],
) -> str | None:
    """Say how forwards of some coalitions differ from the flat one, or None."""
    players = torch.arange(inputs.n)
    some = torch.stack([players >= 0, players < 0, players % 2 == 0, players % 3 == 1])
    flat = flat_values(model, inputs, some, masking=masking, baseline=baseline)
    name = type(model).__name__
    # Where the scores hardly move, a wrong engine is hardly wrong: the allowance follows their spread.
    slack = _slack(model) * min(1.0, 0.2 + float(flat.max() - flat.min()))
    for forward in forwards:
        try:
            values = forward(some)
        except Exception as error:
            # Whatever a family's code does not expect is a reason for the flat forward, said to the user.
            if isinstance(error, RuntimeError) and out_of_memory(error):
                raise
            return f"the {engine} fails on {name} ({type(error).__name__}: {error})"
        if not flat.isfinite().all():
            return f"{name} gives scores that are not finite"
        worst = float((flat - values).abs().max())
        if not worst <= slack:
            return f"the {engine}'s scores of {name} differ by {worst:.3g} from the flat forward's"
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
