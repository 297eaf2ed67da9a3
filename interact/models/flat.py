"""The flat forward: one row a coalition, in batches that fit a memory budget.

1. The prompt is embedded once; a batch of coalitions becomes a batch of embeddings (``baseline``), of key masks
   (``attention``) or of token ids grouped by length (``text``).
2. Only the logits of the last positions are asked for, and become log-odds in float32 at once.
3. A batch that does not fit in memory is halved and tried again.

Slow and simple on purpose: every faster engine must equal it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from tqdm import tqdm

from interact.inputs import CoalitionInputs
from interact.masking import Baseline
from interact.models.family import Family, device_of, inspect_model
from interact.models.memory import free_memory, out_of_memory
from interact.score import log_odds

_LARGEST_BATCH = 64


def flat_values(
    model: Any,
    inputs: CoalitionInputs,
    coalitions: torch.Tensor,
    *,
    masking: str,
    baseline: Baseline | None,
    memory_budget: int | None = None,
    progress: bool = False,
) -> torch.Tensor:
    """Score coalitions by one masked forward each.

    Args:
        model: Causal language model or sequence classifier, in eval mode.
        inputs: The prompt; `target_ids` must be set.
        coalitions: Which players are present, bool, shape [M, n].
        masking: ``"baseline"``, ``"attention"`` or ``"text"``.
        baseline: The vector for absent tokens; needed by ``"baseline"`` only.
        memory_budget: Bytes that a batch may take, None for a quarter of what is free.
        progress: Whether to show a bar on standard error.

    Returns:
        Log-odds summed over the target tokens, float32 on the CPU, shape [M].

    Raises:
        RuntimeError: Not even one row fits in memory.
    """
    family = inspect_model(model)
    values = torch.empty(len(coalitions), dtype=torch.float32)
    size = _batch_size(model, family, inputs, memory_budget)
    first_size = size
    with tqdm(total=len(coalitions), unit="coalition", disable=not progress, leave=False) as bar:
        for rows in _groups(inputs, coalitions, masking):
            done = 0
            while done < len(rows):
                part = rows[done : done + size]
                try:
                    values[part] = score_batch(model, family, inputs, coalitions[part], masking, baseline).cpu()
                except RuntimeError as error:
                    if not out_of_memory(error) or size == 1:
                        raise
                    size = max(1, size // 2)
                    continue
                done += len(part)
                bar.update(len(part))
    if size < first_size:
        warnings.warn(f"Memory ran out at {first_size} coalitions a batch; went on with {size}.", stacklevel=2)
    return values


def present_tokens(inputs: CoalitionInputs, coalitions: torch.Tensor, length: int) -> torch.Tensor:
    """Say which tokens are present: bool of shape [M, length] on the device of `coalitions` (bool, [M, n])."""
    present = torch.ones(len(coalitions), length, dtype=torch.bool, device=coalitions.device)
    for player, (low, high) in enumerate(inputs.spans):
        present[:, low:high] = coalitions[:, player, None]
    return present


def _groups(inputs: CoalitionInputs, coalitions: torch.Tensor, masking: str) -> Iterator[torch.Tensor]:
    """Yield the row numbers of coalitions that make prompts of one length."""
    if masking != "text":
        yield torch.arange(len(coalitions))
        return
    lengths = torch.zeros(len(coalitions), dtype=torch.int64)
    for player, (low, high) in enumerate(inputs.spans):
        lengths += coalitions[:, player] * (high - low - len(inputs.placeholder_ids))
    for length in lengths.unique():
        yield (lengths == length).nonzero()[:, 0]


def score_batch(
    model: Any,
    family: Family,
    inputs: CoalitionInputs,
    coalitions: torch.Tensor,
    masking: str,
    baseline: Baseline | None,
) -> torch.Tensor:
    """Score one batch of coalitions on the model's device: float32, shape [M]; keeps gradients where they are on."""
    assert inputs.target_ids is not None
    device = device_of(model)
    target = torch.tensor(inputs.target_ids, device=device)
    answer = list(inputs.target_ids[:-1]) if family.kind == "causal" else []
    ids = torch.tensor([*inputs.input_ids, *answer], device=device)
    coalitions = coalitions.to(device)
    length, rows = len(ids), len(coalitions)
    arguments: dict[str, Any] = {}
    if masking == "text":
        replaced = torch.stack([_with_placeholders(inputs, ids, c) for c in coalitions.tolist()])
        arguments["input_ids"] = replaced
        length = replaced.shape[1]
    else:
        present = present_tokens(inputs, coalitions, length)
        embedded = model.get_input_embeddings()(ids).expand(rows, length, -1)
        if masking == "baseline":
            assert baseline is not None
            embedded = torch.where(present[..., None], embedded, baseline.vector.to(embedded))
        else:
            # Rows of their own, because some families scale them in place.
            embedded = embedded.contiguous()
            # An absent token need not see itself: nobody sees it, so its own state cannot matter.
            arguments["attention_mask"] = present.long()
        arguments["inputs_embeds"] = embedded
    if family.kind == "classifier":
        logits = model(**arguments, return_dict=True).logits.float()
        return logits[:, target[0]] if family.independent else log_odds(logits, target.expand(rows))
    if "position_ids" in family.takes:
        # Explicit, because some families count positions from the attention mask.
        arguments["position_ids"] = torch.arange(length, device=device).expand(rows, length)
    m = len(target)
    if "logits_to_keep" in family.takes:
        arguments["logits_to_keep"] = m
    logits = model(**arguments, use_cache=False, return_dict=True).logits[:, -m:]
    return log_odds(logits, target.expand(rows, m)).sum(-1)


def _with_placeholders(inputs: CoalitionInputs, ids: torch.Tensor, coalition: list[bool]) -> torch.Tensor:
    pieces, last = [], 0
    placeholder = torch.tensor(inputs.placeholder_ids, dtype=ids.dtype, device=ids.device)
    for player, (low, high) in enumerate(inputs.spans):
        pieces += [ids[last:low], ids[low:high] if coalition[player] else placeholder]
        last = high
    return torch.cat([*pieces, ids[last:]])


def _batch_size(model: Any, family: Family, inputs: CoalitionInputs, memory_budget: int | None) -> int:
    """Estimate how many rows fit: a layer's activations, and the logits with their float32 copies."""
    length = len(inputs.input_ids) + len(inputs.target_ids or ()) - 1
    width = model.get_input_embeddings().weight.element_size()
    activations = length * (8 * family.width + 3 * family.inner) * width
    scores = length * length * 32 * width
    logits = len(inputs.target_ids or (0,)) * family.outputs * 12
    if "logits_to_keep" not in family.takes and family.kind == "causal":
        logits *= max(1, length // len(inputs.target_ids or (0,)))
    budget = memory_budget if memory_budget is not None else free_memory(device_of(model)) // 4
    return max(1, min(_LARGEST_BATCH, budget // (activations + scores + logits)))
