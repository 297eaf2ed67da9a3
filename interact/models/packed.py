"""The packed forward of an encoder: under attention masking, only the tokens that are present are computed.

1. The present tokens of many coalitions lie end to end in ONE sequence, each with its position in the prompt; linear
   layers see one large product, and a function registered with transformers keeps attention inside each row.
2. Behind the last layer only the first token of each row goes on, as a batch of rows of one token: there a sequence
   classifier reads its answer.
3. A run holds at most so many tokens, so memory does not grow with the number of coalitions.
"""

from __future__ import annotations

import warnings
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from tqdm import tqdm
from transformers import AttentionInterface

from interact.inputs import CoalitionInputs
from interact.masking import Baseline
from interact.models.attention_function import attending_by
from interact.models.family import Family, device_of, inspect_model, length_dependent_positions, unwrapped
from interact.models.flat import present_tokens
from interact.models.memory import free_memory, out_of_memory
from interact.score import log_odds
from interact_kernels.attention import packed_attention

_NAME = "interact_packed"
MOST_TOKENS = 4096


@dataclass
class _Rows:
    """Where each row of the run in work begins, the positions of all tokens, and whether attention asked."""

    offsets: torch.Tensor
    position: torch.Tensor
    asked: bool = False


_current: ContextVar[_Rows | None] = ContextVar("interact_packed_rows", default=None)


def refusal(model: Any, family: Family, inputs: CoalitionInputs, masking: str) -> str | None:
    """Say why packing cannot score these inputs, or None; whether it scores them right is tested apart."""
    if family.kind != "classifier" or family.reads_last:
        return "only encoders that read their answer at the first token can be packed"
    if masking != "attention":
        return f"{masking} masking keeps absent tokens in the prompt"
    if inputs.spans and inputs.spans[0][0] == 0:
        return "the token that answers belongs to a player"
    if not {"position_ids", "inputs_embeds"} <= family.takes:
        return "the model takes no position_ids"
    if not unwrapped(model)._can_set_attn_implementation():
        return f"{type(unwrapped(model)).__name__} does not let its attention be replaced"
    return length_dependent_positions(model)


class Packing:
    """How many tokens packing computes.

    Args:
        inputs: The prompt.
        coalitions: Which players are present, bool, shape [M, n], without duplicates.

    Attributes:
        lengths: Present tokens of each coalition, int64, shape [M].
        tokens: Tokens that are computed in all.
        flat_tokens: Tokens that one forward a coalition would compute.
    """

    def __init__(self, inputs: CoalitionInputs, coalitions: torch.Tensor) -> None:
        widths = torch.tensor([high - low for low, high in inputs.spans], dtype=torch.int64)
        length = len(inputs.input_ids)
        self.lengths = length - int(widths.sum()) + (coalitions.long() * widths).sum(1)
        self.tokens = int(self.lengths.sum())
        self.flat_tokens = length * len(coalitions)

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


def run_size(model: Any, family: Family, memory_budget: int | None) -> int:
    """Return the most tokens of a run that fits the budget (bytes)."""
    budget = memory_budget if memory_budget is not None else free_memory(device_of(model)) // 4
    token = (8 * family.width + 3 * family.inner) * model.get_input_embeddings().weight.element_size()
    return max(1, min(MOST_TOKENS, budget // token))


def packed_values(
    model: Any,
    inputs: CoalitionInputs,
    coalitions: torch.Tensor,
    *,
    masking: str,
    baseline: Baseline | None,
    memory_budget: int | None = None,
    most_tokens: int = MOST_TOKENS,
    progress: bool = False,
) -> torch.Tensor:
    """Score coalitions by their present tokens; arguments, result and errors as `flat_values`.

    `most_tokens` bounds a run beside the memory budget.
    """
    assert masking == "attention" and baseline is None
    family = inspect_model(model)
    distinct, inverse = coalitions.unique(dim=0, return_inverse=True)
    packing = Packing(inputs, distinct)
    values = torch.empty(len(distinct), dtype=torch.float32)
    tokens = min(run_size(model, family, memory_budget), most_tokens)
    first_tokens = tokens
    done = 0
    with (
        attending_by(model, _NAME),
        tqdm(total=len(distinct), unit="coalition", disable=not progress, leave=False) as bar,
    ):
        while done < len(distinct):
            rest = Packing(inputs, distinct[done:]) if done else packing
            try:
                start = done
                for first, last in rest.runs(tokens):
                    part = distinct[start + first : start + last]
                    values[start + first : start + last] = _forward(model, family, inputs, part)
                    done = start + last
                    bar.update(last - first)
            except RuntimeError as error:
                if not out_of_memory(error) or tokens == 1:
                    raise
                tokens = max(1, tokens // 2)
    if tokens < first_tokens:
        warnings.warn(f"Memory ran out at {first_tokens} tokens a run; went on with {tokens}.", stacklevel=2)
    return values[inverse]


def _forward(model: Any, family: Family, inputs: CoalitionInputs, coalitions: torch.Tensor) -> torch.Tensor:
    """Score the coalitions of one run: float32 on the CPU, shape [rows]."""
    assert inputs.target_ids is not None
    device = device_of(model)
    present = present_tokens(inputs, coalitions, len(inputs.input_ids))
    position = present.nonzero()[:, 1]
    offsets = torch.zeros(len(present) + 1, dtype=torch.int64)
    offsets[1:] = present.sum(1).cumsum(0)
    place = position.to(device)
    ids = torch.tensor(inputs.input_ids, device=device)[place]
    rows = _Rows(offsets, position)
    token = _current.set(rows)
    hook = _last_layer(model, family).register_forward_hook(_first_tokens)
    try:
        arguments: dict[str, Any] = {"inputs_embeds": model.get_input_embeddings()(ids)[None]}
        arguments["position_ids"] = (place + family.first_position)[None]
        logits = model(**arguments, return_dict=True).logits.float()
    finally:
        hook.remove()
        _current.reset(token)
    if not rows.asked:
        raise NotImplementedError(f"{type(model).__name__} does not use the attention function it was given.")
    if len(logits) != len(present):
        raise NotImplementedError(f"{type(model).__name__} does not read its answer at the first token.")
    target = inputs.target_ids[0]
    odds = logits[:, target] if family.independent else log_odds(logits, torch.full((len(logits),), target).to(device))
    return odds.cpu()


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
        raise NotImplementedError(f"{type(module).__name__} attends in a way that packing does not know.")
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
