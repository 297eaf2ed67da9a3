"""The packed forward of an encoder: under attention masking, only the tokens that are present are computed.

1. The present tokens of many coalitions lie end to end in ONE sequence, each with its position in the prompt; linear
   layers see one large product, and a function registered with transformers keeps attention inside each row.
2. Behind the last layer only the first token of each row goes on, as a batch of rows of one token: there a sequence
   classifier reads its answer.
3. A run holds at most so many tokens, so memory does not grow with the number of coalitions.
"""

from __future__ import annotations

from collections.abc import Generator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import AttentionInterface

from interact.engines.attention_function import attending_by
from interact.engines.engine import Batch, Engine, Plan, Verdict
from interact.engines.flat import present_tokens
from interact.engines.trust import disagreement, reach
from interact.models.family import Family, length_dependent_positions, unwrapped
from interact_kernels.attention import packed_attention

if TYPE_CHECKING:
    from interact.games.prompt_game import PromptGame

_NAME = "interact_packed"
MOST_TOKENS = 4096


@dataclass
class _Rows:
    """Where each row of the run in work begins, the positions of all tokens, and whether attention asked."""

    offsets: torch.Tensor
    position: torch.Tensor
    asked: bool = False


_current: ContextVar[_Rows | None] = ContextVar("interact_packed_rows", default=None)


class Packing:
    """How many tokens packing computes.

    Args:
        game: The game of a prompt.
        masks: Which players are present, bool, shape [M, n], without duplicates.

    Attributes:
        lengths: Present tokens of each coalition, int64 array, shape [M].
        tokens: Tokens that are computed in all.
        flat_tokens: Tokens that one forward per coalition would compute.
    """

    def __init__(self, game: PromptGame, masks: np.ndarray) -> None:
        widths = np.array([high - low for low, high in game.prompt.spans], dtype=np.int64)
        length = len(game.ids)
        self.lengths = length - int(widths.sum()) + masks.astype(np.int64) @ widths
        self.tokens = int(self.lengths.sum())
        self.flat_tokens = length * len(masks)

    def runs(self, most_tokens: int) -> list[tuple[int, int]]:
        """Cut the coalitions into (first, last) runs of at most so many tokens, but at least one coalition."""
        runs, first, tokens = [], 0, 0
        for row, length in enumerate(self.lengths.tolist()):
            if row > first and tokens + length > most_tokens:
                runs.append((first, row))
                first, tokens = row, 0
            tokens += length
        return [*runs, (first, len(self.lengths))] if len(self.lengths) else []

    def explain(self, most_tokens: int) -> str:
        """Say what packing saves and how it is cut."""
        ratio = self.flat_tokens / max(1, self.tokens)
        return (
            f"{len(self.lengths)} coalitions: {self.tokens} tokens instead of {self.flat_tokens} ({ratio:.1f}x fewer), "
            f"in {len(self.runs(most_tokens))} runs of at most {most_tokens} tokens"
        )


class Packed(Engine):
    """Present tokens only, end to end in one sequence."""

    name = "packed"
    summary = "present tokens only; encoders under attention masking"
    kinds = ("classifier",)
    saver = "packing"

    def refusal(self, game: PromptGame) -> str | None:
        """Say why packing cannot score a game, or None."""
        family, spans = game.family, game.prompt.spans
        if family.kind != "classifier" or family.reads_last:
            return "only encoders that read their answer at the first token can be packed"
        if game.masking != "attention":
            return f"{game.masking} masking keeps absent tokens in the prompt"
        if spans and spans[0][0] == 0:
            return "the token that answers belongs to a player"
        if not {"position_ids", "inputs_embeds"} <= family.takes:
            return "the model takes no position_ids"
        plain = unwrapped(game.model)
        if not plain._can_set_attn_implementation():
            return f"{type(plain).__name__} does not let its attention be replaced"
        return length_dependent_positions(game.model)

    def plan(self, game: PromptGame, masks: np.ndarray, **options: Any) -> Plan:
        """Plan the packing of coalitions; option: `most_tokens` of a run."""
        packing = Packing(game, masks)
        most = min(MOST_TOKENS, options.get("most_tokens") or MOST_TOKENS)
        size = max(1, min(most, game.budget() // game.bytes_of_a_token))
        words = packing.explain(size)
        tokens = (packing.tokens, packing.flat_tokens)
        memory = min(size, packing.tokens) * game.bytes_of_a_token
        told = {"saving": words, "words": words, "options": options, "memory": memory}
        return Plan(game, masks, size, "tokens per run", *tokens, **told)

    def run(self, plan: Plan, rows: np.ndarray, size: int) -> Generator[Batch, None, None]:
        """Score the present tokens of some coalitions, run by run."""
        masks = plan.masks[rows]
        with attending_by(plan.game.model, _NAME):
            for first, last in Packing(plan.game, masks).runs(size):
                yield rows[first:last], _forward(plan.game, torch.from_numpy(masks[first:last]))

    def check(self, game: PromptGame) -> Verdict:
        """Compare packing with the flat forward."""
        length = len(game.prompt.input_ids)
        if length <= game.passed.get("packed", 0):
            return Verdict()
        # Small runs, so that rows are cut between runs here too.
        most = max(8, length // 2)
        verdict = disagreement(game, self, "packed forward", lambda g, some: [self.plan(g, some, most_tokens=most)])
        if verdict.reason is None:
            game.passed["packed"] = reach(game)
        return verdict


def _forward(game: PromptGame, coalitions: torch.Tensor) -> torch.Tensor:
    """Score the coalitions of one run: float32 on the model's device, shape [rows]."""
    model, family, device = game.model, game.family, game.device
    present = present_tokens(game, coalitions)
    position = present.nonzero()[:, 1]
    offsets = torch.zeros(len(present) + 1, dtype=torch.int64)
    offsets[1:] = present.sum(1).cumsum(0)
    place = position.to(device)
    ids = torch.tensor(game.ids, device=device)[place]
    rows = _Rows(offsets, position)
    token = _current.set(rows)
    hook = _last_layer(model, family).register_forward_hook(_first_tokens)
    try:
        arguments: dict[str, Any] = {"inputs_embeds": model.get_input_embeddings()(ids)[None]}
        arguments["position_ids"] = (place + family.first_position)[None]
        if game.types is not None:
            arguments["token_type_ids"] = torch.tensor(game.types, device=device)[place][None]
        logits = model(**arguments, return_dict=True).logits
    finally:
        hook.remove()
        _current.reset(token)
    if not rows.asked:
        raise NotImplementedError(f"{type(model).__name__} does not use the attention function it was given.")
    if len(logits) != len(present):
        raise NotImplementedError(f"{type(model).__name__} does not read its answer at the first token.")
    return game.rate(logits, torch.full((len(logits),), game.target[0], device=logits.device))


def _last_layer(model: Any, family: Family) -> torch.nn.Module:
    lists = [m for m in unwrapped(model).modules() if isinstance(m, torch.nn.ModuleList) and len(m) == family.layers]
    if not lists:
        raise NotImplementedError(f"{type(model).__name__} keeps no list of its {family.layers} layers.")
    return lists[0][-1]


def _first_tokens(module: Any, inputs: Any, output: Any) -> Any:
    """Turn the last layer's [1, tokens, width] into the rows' first tokens, [rows, 1, width]."""
    rows = _current.get()
    assert rows is not None
    hidden = output[0] if isinstance(output, tuple) else output
    first = hidden[0, rows.offsets[:-1].to(hidden.device)][:, None]
    return (first, *output[1:]) if isinstance(output, tuple) else first


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Any = None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Serve transformers' attention interface: query [1, heads, tokens, size] -> [1, tokens, heads, size]."""
    rows = _current.get()
    odd = attention_mask is not None or others.get("position_bias") is not None or query.shape[0] != 1
    if rows is None or odd:
        raise NotImplementedError(f"{type(module).__name__} attends in a way that packing does not support.")
    rows.asked = True
    out = packed_attention(
        query[0],
        key[0],
        value[0],
        rows.offsets,
        position=rows.position,
        window=sliding_window,
        scale=scaling,
        softcap=softcap or 0.0,
        sinks=s_aux,
    )
    return out[None], None


AttentionInterface.register(_NAME, _attend)
