"""The coalition-tree forward: every distinct (earlier players, token) is computed once.

1. A run of tree nodes becomes ONE packed sequence with its own position ids and one forward call; only attention
   knows the tree, through a function registered with transformers.
2. That function calls `interact_kernels.attention.tree_attention` and keeps, for each layer, the keys and values that
   the next run needs: one path.
3. The logits of the leaves become log-odds at once, so 2^n x vocabulary never exists.
"""

from __future__ import annotations

import warnings
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from tqdm import tqdm
from transformers import AttentionInterface

from interact.inputs import CoalitionInputs
from interact.masking import Baseline
from interact.models.attention_function import attending_by
from interact.models.family import Family, device_of, inspect_model, length_dependent_positions
from interact.models.final_rows import FinalRows, final_rows_only
from interact.models.memory import free_memory, out_of_memory
from interact.models.plan import CoalitionTree, Costs, Run
from interact.score import log_odds
from interact_kernels.attention import SegmentTree, tree_attention

_NAME = "interact_tree"
MOST_TOKENS = {"cpu": 2048}
"""Tokens of a run, by kind of device; on a CPU larger activations leave the cache between layers, 5-15 % slower."""
_current: ContextVar[_Attention | None] = ContextVar("interact_tree_run", default=None)


def refusal(model: Any, family: Family, inputs: CoalitionInputs, masking: str) -> str | None:
    """Say why the tree cannot score these inputs, or None; whether it scores them right is tested apart."""
    if family.kind != "causal":
        return "only causal models share beginnings"
    if masking == "text":
        return "text masking moves the positions"
    if inputs.spans and inputs.spans[-1][1] == len(inputs.input_ids):
        return "the token that answers belongs to a player"
    if not {"position_ids", "logits_to_keep", "inputs_embeds"} <= family.takes:
        return "the model takes no position_ids or no logits_to_keep"
    return length_dependent_positions(model)


def plan(inputs: CoalitionInputs, coalitions: np.ndarray, masking: str) -> CoalitionTree:
    """Plan the tree of a prompt; `coalitions` is bool [M, n] without duplicates."""
    length = len(inputs.input_ids) + len(inputs.target_ids or (0,)) - 1
    return CoalitionTree(length, inputs.spans, coalitions, drop_absent=masking == "attention")


def costs(model: Any, family: Family, inputs: CoalitionInputs) -> Costs:
    """Estimate what tokens and leaves of this model take in memory."""
    width = model.get_input_embeddings().weight.element_size()
    return Costs(
        token=(8 * family.width + 3 * family.inner) * width,
        kept=family.layers * family.cached * width,
        leaf=len(inputs.target_ids or (0,)) * family.outputs * 12,
    )


def run_size(model: Any, family: Family, inputs: CoalitionInputs, memory_budget: int | None) -> tuple[int, int]:
    """Return the most tokens and the most leaves of a run that fits the budget (bytes)."""
    device = device_of(model)
    budget = memory_budget if memory_budget is not None else free_memory(device) // 4
    one = costs(model, family, inputs)
    return max(1, min(MOST_TOKENS.get(device.type, 4096), budget // 2 // one.token)), max(1, budget // 2 // one.leaf)


def tree_values(
    model: Any,
    inputs: CoalitionInputs,
    coalitions: torch.Tensor,
    *,
    masking: str,
    baseline: Baseline | None,
    memory_budget: int | None = None,
    most_tokens: int | None = None,
    final_rows: bool = True,
    progress: bool = False,
) -> torch.Tensor:
    """Score coalitions through their tree; arguments, result and errors as `flat_values`.

    `most_tokens` bounds a run beside the memory budget; with `final_rows` the last layer computes only what is read.
    """
    family = inspect_model(model)
    distinct, inverse = np.unique(coalitions.numpy(), axis=0, return_inverse=True)
    values = torch.empty(len(distinct), dtype=torch.float32)
    left = np.arange(len(distinct))
    tokens, leaves = run_size(model, family, inputs, memory_budget)
    tokens = min(tokens, most_tokens or tokens)
    first_tokens = tokens
    bar = tqdm(total=len(distinct), unit="coalition", disable=not progress, leave=False)
    with bar, attending_by(model, _NAME), final_rows_only(model, final_rows) as final:
        while len(left):
            done = np.zeros(len(left), dtype=bool)
            attention = _Attention(final)
            try:
                for run in plan(inputs, distinct[left], masking).runs(tokens, leaves):
                    values[left[run.rows]] = _forward(model, inputs, run, attention, baseline)
                    done[run.rows] = True
                    bar.update(len(run.rows))
            except RuntimeError as error:
                if not out_of_memory(error) or tokens == leaves == 1:
                    raise
                tokens, leaves = max(1, tokens // 2), max(1, leaves // 2)
            left = left[~done]
    if tokens < first_tokens:
        warnings.warn(f"Memory ran out at {first_tokens} tokens a run; went on with {tokens}.", stacklevel=2)
    return values[torch.from_numpy(inverse.reshape(-1))]


def _forward(
    model: Any, inputs: CoalitionInputs, run: Run, attention: _Attention, baseline: Baseline | None
) -> torch.Tensor:
    assert inputs.target_ids is not None
    device = device_of(model)
    position = torch.from_numpy(run.position[run.kept :]).to(device)
    if not len(position):
        return torch.empty(0)
    ids = torch.tensor([*inputs.input_ids, *inputs.target_ids[:-1]], device=device)[position]
    embedded = model.get_input_embeddings()(ids)
    if baseline is not None:
        absent = torch.from_numpy(run.absent[run.kept :]).to(device)
        embedded = torch.where(absent[:, None], baseline.vector.to(embedded), embedded)
    m = len(inputs.target_ids)
    keep = torch.from_numpy(run.leaves).to(device)[:, None] + torch.arange(1 - m, 1, device=device)
    # A run that only leads to leaves needs no logits; one row of them is the least that can be asked for.
    rows = keep.reshape(-1) if len(run.leaves) else torch.zeros(1, dtype=torch.int64, device=device)
    attention.begin(run)
    attention.final.begin(rows, len(position))
    token = _current.set(attention)
    try:
        arguments: dict[str, Any] = {"inputs_embeds": embedded[None], "position_ids": position[None]}
        logits = model(**arguments, use_cache=False, logits_to_keep=rows, return_dict=True).logits[0]
    finally:
        _current.reset(token)
    if not attention.layers_seen:
        raise NotImplementedError(f"{type(model).__name__} does not use the attention function it was given.")
    if not len(run.leaves):
        return torch.empty(0)
    target = torch.tensor(inputs.target_ids, device=device).expand(len(run.leaves), m)
    return log_odds(logits.reshape(len(run.leaves), m, -1), target).sum(-1).float().cpu()


class _Attention:
    """What attention must know of the run in work, and each layer's keys and values on the path to it."""

    def __init__(self, final: FinalRows) -> None:
        self.final = final
        self._kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._trees: dict[int | None, SegmentTree] = {}
        self.layers_seen = 0

    def begin(self, run: Run) -> None:
        """Turn to the next run."""
        self._run = run
        self._trees = {}
        self.layers_seen = 0

    def attend(
        self,
        layer: int,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        scale: float | None,
        window: int | None,
        softcap: float | None,
        sinks: torch.Tensor | None,
    ) -> torch.Tensor:
        """Attend for one layer: q, k and v are [heads, new tokens, size]; returns [new tokens, heads, size]."""
        self.layers_seen += 1
        if self._run.kept:
            before_k, before_v = self._kept[layer]
            k, v = torch.cat([before_k, k], dim=1), torch.cat([before_v, v], dim=1)
        carry = torch.from_numpy(self._run.carry).to(k.device)
        self._kept[layer] = (k.index_select(1, carry), v.index_select(1, carry))
        return tree_attention(q, k, v, self._tree(window), scale=scale, softcap=softcap or 0.0, sinks=sinks)

    def _tree(self, window: int | None) -> SegmentTree:
        if window not in self._trees:
            run = self._run
            start, length, parent, position = map(torch.from_numpy, (run.start, run.length, run.parent, run.position))
            first = position - (window - 1) if window is not None else torch.zeros_like(position)
            queries = len(position) - run.kept
            self._trees[window] = SegmentTree(start, length, parent, position, first, queries)
        return self._trees[window]


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
    attention = _current.get()
    if attention is None or attention_mask is not None or others.get("position_bias") is not None:
        raise NotImplementedError(f"{type(module).__name__} attends in a way that the coalition tree does not know.")
    parts = (query[0], key[0], value[0])
    seen = attention.attend(id(module), *parts, scaling, sliding_window, softcap, s_aux)
    attention.final.attended(module)
    return seen[None], None


AttentionInterface.register(_NAME, _attend)
