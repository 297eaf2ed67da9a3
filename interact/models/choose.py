"""Which engine scores a prompt.

``auto`` takes the first of the coalition tree, the cache-reordering forward and (encoders) packing that serves the
prompt, computes enough fewer tokens and is exact, else the flat forward; a named engine is taken or refused with the
reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from interact.inputs import CoalitionInputs
from interact.masking import Baseline
from interact.models import packed, reorder, tree
from interact.models.family import Family, device_of
from interact.models.memory import size_in_words
from interact.models.trust import distrust_packed, distrust_reorder, distrust_tree

ENGINES = ("auto", "flat", "tree", "reorder", "packed")
# Below this ratio of tokens the small pieces cost more than they save. On a CPU the tree wins by a tenth even where no
# tokens are saved: its runs stay in the cache, and its last layer is computed for the final rows only.
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
        "packed": packed.refusal(model, family, inputs, masking),
    }
    # An encoder is not told what only causal models can do, nor the other way round.
    fitting = ["tree", "reorder"] if family.kind == "causal" else ["packed"]
    wanted = fitting if engine == "auto" else [engine]
    reasons = [reason for name in wanted if (reason := refusals[name])]
    if len(reasons) == len(wanted):
        return Choice("flat", "; ".join(dict.fromkeys(reasons)))
    saving = _causal_saving if family.kind == "causal" else _packed_saving
    ratio, too_little, words = saving(model, family, inputs, masks.unique(dim=0), masking, memory_budget)
    checks: dict[str, Callable[[], tuple[str | None, dict[str, Any]]]] = {
        "tree": lambda: distrust_tree(model, family, inputs, masking, baseline),
        "reorder": lambda: distrust_reorder(model, inputs, baseline),
        "packed": lambda: distrust_packed(model, inputs),
    }
    reasons, on_cpu = [], device_of(model).type == "cpu"
    for name in wanted:
        reason, options = refusals[name], {}
        if reason is None and engine == "auto" and ratio < _WORTH_IT and not (name == "tree" and on_cpu):
            reason = too_little
        if reason is None:
            reason, options = checks[name]()
        if reason is None:
            slowly = ["the cache goes on right by one token a call only"] if options.get("step") == 1 else []
            return Choice(name, "; ".join([*reasons, *slowly, words[name]]), options)
        reasons.append(reason)
    return Choice("flat", "; ".join(dict.fromkeys(reasons)))


def _causal_saving(
    model: Any, family: Family, inputs: CoalitionInputs, masks: torch.Tensor, masking: str, memory_budget: int | None
) -> tuple[float, str, dict[str, str]]:
    """Return how many times fewer tokens a tree computes, the words of a refusal, and those of each engine."""
    plan = tree.plan(inputs, masks.numpy(), masking)
    size = tree.run_size(model, family, inputs, memory_budget)
    memory = reorder.memory(model, family, inputs, len(masks), memory_budget)
    words = {
        "tree": plan.explain(*size, tree.costs(model, family, inputs)),
        "reorder": f"{plan.saving()}, in at most {size_in_words(memory)} of memory",
    }
    return plan.flat_tokens / max(1, plan.tokens), f"the tree saves too little, {plan.saving()}", words


def _packed_saving(
    model: Any, family: Family, inputs: CoalitionInputs, masks: torch.Tensor, masking: str, memory_budget: int | None
) -> tuple[float, str, dict[str, str]]:
    """Return the same of packing."""
    packing = packed.Packing(inputs, masks)
    words = packing.explain(packed.run_size(model, family, memory_budget))
    return packing.flat_tokens / max(1, packing.tokens), f"packing saves too little, {words}", {"packed": words}
