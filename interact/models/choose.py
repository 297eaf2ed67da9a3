"""Which engine scores a prompt.

``auto`` takes the coalition tree where it is exact and computes fewer tokens, else the cache-reordering forward where
that is exact, else the flat forward; a named engine is taken or refused with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from interact.inputs import CoalitionInputs
from interact.masking import Baseline
from interact.models import reorder, tree
from interact.models.family import Family
from interact.models.memory import size_in_words
from interact.models.trust import distrust_reorder, distrust_tree

ENGINES = ("auto", "flat", "tree", "reorder")
# Below this ratio of tokens the small pieces cost more than they save.
_WORTH_IT = 1.15


@dataclass(frozen=True)
class Choice:
    """An engine, why it was taken, and the options that this model needs."""

    engine: str
    reason: str
    options: dict[str, Any] = field(default_factory=dict)


def check_engine(engine: str) -> None:
    """Raise ValueError unless `engine` names an engine."""
    if engine not in ENGINES:
        raise ValueError(f"engine={engine!r} is not known; choose one of {list(ENGINES)}.")


def choose_engine(
    model: Any,
    family: Family,
    inputs: CoalitionInputs,
    masks: torch.Tensor,
    *,
    masking: str,
    baseline: Baseline | None,
    engine: str,
    memory_budget: int | None,
) -> Choice:
    """Return the engine to use and the reason; `masks` are bool [M, n], `engine` one of `ENGINES`.

    Where a named engine cannot score the prompt, the answer is another one and the reason is why not.
    """
    if engine == "flat":
        return Choice("flat", "it was asked for")
    if not inputs.n or not len(masks):
        return Choice("flat", "there are no players or no coalitions")
    refusals = {
        "tree": tree.refusal(model, family, inputs, masking),
        "reorder": reorder.refusal(model, family, inputs, masking),
    }
    wanted = list(refusals) if engine == "auto" else [engine]
    reasons = list(dict.fromkeys(reason for name in wanted if (reason := refusals[name])))
    if all(refusals[name] for name in wanted):
        return Choice("flat", "; ".join(reasons))
    plan = tree.plan(inputs, masks.unique(dim=0).numpy(), masking)
    size = tree.run_size(model, family, inputs, memory_budget)
    memory = reorder.memory(model, family, inputs, len(masks), memory_budget)
    words = {
        "tree": plan.explain(*size, tree.costs(model, family, inputs)),
        "reorder": f"{plan.saving()}, in at most {size_in_words(memory)} of memory",
    }
    if engine == "auto" and plan.tokens * _WORTH_IT > plan.flat_tokens:
        return Choice("flat", f"the tree saves too little, {plan.saving()}")
    reasons = []
    for name in wanted:
        reason, options = refusals[name], {}
        if reason is None and name == "tree":
            reason, options = distrust_tree(model, family, inputs, masking, baseline)
        elif reason is None:
            reason, options = distrust_reorder(model, inputs, baseline)
        if reason is None:
            slowly = ["the cache goes on right by one token a call only"] if options.get("step") == 1 else []
            return Choice(name, "; ".join([*reasons, *slowly, words[name]]), options)
        reasons.append(reason)
    return Choice("flat", "; ".join(dict.fromkeys(reasons)))
