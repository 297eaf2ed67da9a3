"""The flat forward: one row per coalition, in batches that fit a memory budget.

1. The prompt is embedded once; a batch of coalitions becomes a batch of embeddings (``baseline``), of key masks
   (``attention``) or of token ids grouped by length (``text``).
2. Only the logits of the last positions are asked for, and become log-odds in float32 at once.
3. A batch that does not fit in memory is halved and tried again.

Slow and simple on purpose: every faster engine must equal it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from interact.engines.engine import Batch, Engine, Plan, Verdict
from interact.engines.runner import score_by

if TYPE_CHECKING:
    from interact.games.prompt_game import PromptGame

_LARGEST_BATCH = {"cpu": 64, "cuda": 1024}
"""Coalitions of a batch, by kind of device."""


class Flat(Engine):
    """One masked forward per coalition."""

    name = "flat"
    summary = "one masked forward per coalition; every model and masking"
    kinds = ("causal", "classifier")

    def refusal(self, game: PromptGame) -> str | None:
        """Return None: this engine serves every game."""
        return None

    def plan(self, game: PromptGame, masks: np.ndarray, **options: Any) -> Plan:
        """Plan a batch size from the memory that a row takes: a layer's activations, and the logits."""
        length, takes = len(game.ids), game.family.takes
        scores = length * length * 32 * game.model.get_input_embeddings().weight.element_size()
        logits = game.bytes_of_scores
        if "logits_to_keep" not in takes and game.family.kind == "causal":
            logits *= max(1, length // max(1, len(game.target)))
        row = length * game.bytes_of_a_token + scores + logits
        fits = game.budget() // row
        size = max(1, min(_LARGEST_BATCH.get(game.device.type, 64), fits))
        tokens = length * len(masks)
        memory = min(size, len(masks)) * row
        return Plan(game, masks, size, "coalitions per batch", tokens, tokens, options=options, memory=memory)

    def run(self, plan: Plan, rows: np.ndarray, size: int) -> Generator[Batch, None, None]:
        """Score batches of coalitions that make prompts of one length."""
        for group in _groups(plan.game, plan.masks[rows]):
            for first in range(0, len(group), size):
                some = rows[group[first : first + size]]
                plan.largest = len(some)
                yield some, score_batch(plan.game, torch.from_numpy(plan.masks[some]))

    def check(self, game: PromptGame) -> Verdict:
        """Return a verdict without objection: the other engines are compared with this one."""
        return Verdict()


def flat_scores(game: PromptGame, masks: np.ndarray) -> torch.Tensor:
    """Score coalitions (bool [M, n]) by the flat forward: float32 on the CPU, shape [M]."""
    return score_by(Flat(), game, masks)


def present_tokens(game: PromptGame, coalitions: torch.Tensor) -> torch.Tensor:
    """Say which tokens are present: bool of shape [M, tokens] on the device of `coalitions` (bool, [M, n])."""
    present = torch.ones(len(coalitions), len(game.ids), dtype=torch.bool, device=coalitions.device)
    for player, (low, high) in enumerate(game.prompt.spans):
        present[:, low:high] = coalitions[:, player, None]
    return present


def _groups(game: PromptGame, masks: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the row numbers of coalitions that make prompts of one length."""
    if game.masking != "text":
        yield np.arange(len(masks))
        return
    widths = [high - low - len(game.prompt.placeholder_ids) for low, high in game.prompt.spans]
    lengths = masks.astype(np.int64) @ np.array(widths, dtype=np.int64)
    for length in np.unique(lengths):
        yield np.flatnonzero(lengths == length)


def score_batch(game: PromptGame, coalitions: torch.Tensor) -> torch.Tensor:
    """Score one batch of coalitions on the model's device: float32, shape [M] (or [M, columns]); keeps gradients."""
    model, family, device = game.model, game.family, game.device
    target, ids = torch.tensor(game.target, device=device), torch.tensor(game.ids, device=device)
    here, coalitions = coalitions, coalitions.to(device)
    length, rows = len(ids), len(coalitions)
    arguments: dict[str, Any] = {}
    if game.masking == "text":
        placeholder = torch.tensor(game.prompt.placeholder_ids, dtype=ids.dtype, device=device)
        replaced = torch.stack([_with_placeholders(game, ids, placeholder, c) for c in here.tolist()])
        arguments["input_ids"] = replaced
        length = replaced.shape[1]
    else:
        present = present_tokens(game, coalitions)
        embedded = model.get_input_embeddings()(ids).expand(rows, length, -1)
        if game.masking == "baseline":
            assert game.baseline is not None
            embedded = torch.where(present[..., None], embedded, game.baseline.vector.to(embedded))
        else:
            # Rows of their own, because some families scale them in place.
            embedded = embedded.contiguous()
            # An absent token need not see itself: nobody sees it, so its own state cannot matter.
            arguments["attention_mask"] = present.long()
        arguments["inputs_embeds"] = embedded
    if game.types is not None:
        types = torch.tensor(game.types, device=device)
        arguments["token_type_ids"] = (
            types.expand(rows, length)
            if game.masking != "text"
            else torch.stack([_with_placeholders(game, types, None, c) for c in here.tolist()])
        )
    if family.kind == "classifier":
        return game.rate(model(**arguments, return_dict=True).logits, target.expand(rows))
    if "position_ids" in family.takes:
        # Explicit, because some families count positions from the attention mask.
        arguments["position_ids"] = torch.arange(length, device=device).expand(rows, length)
    m = len(target)
    if "logits_to_keep" in family.takes:
        arguments["logits_to_keep"] = m
    logits = model(**arguments, use_cache=False, return_dict=True).logits[:, -m:]
    return game.rate(logits, target.expand(rows, m)).to(device)


def _with_placeholders(
    game: PromptGame, ids: torch.Tensor, placeholder: torch.Tensor | None, coalition: list[bool]
) -> torch.Tensor:
    """Put the placeholder in the place of absent players; None for as many of their first value."""
    pieces, last = [], 0
    for player, (low, high) in enumerate(game.prompt.spans):
        absent = placeholder if placeholder is not None else ids[low].expand(len(game.prompt.placeholder_ids))
        pieces += [ids[last:low], ids[low:high] if coalition[player] else absent]
        last = high
    return torch.cat([*pieces, ids[last:]])
