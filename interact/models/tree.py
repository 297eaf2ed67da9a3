"""The coalition-tree forward: every distinct (earlier players, token) is computed once.

1. A run of tree nodes becomes ONE packed sequence with its own position ids and one forward call; only attention
   knows the tree, through a function registered with transformers.
2. That function calls `interact_kernels.attention.tree_attention` and keeps, for each layer, the keys and values that
   the next run needs: one path.
3. The logits of the leaves become log-odds at once, so 2^n x vocabulary never exists.
4. A device gets all that it must know of a run in one copy, and nothing comes back before the last run: the host
   prepares the next run while the device works.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable
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
from interact_kernels.transfer import to_device

_NAME = "interact_tree"
MOST_TOKENS = {"cpu": 2048, "cuda": 32768}
"""Tokens of a run, by kind of device; on a CPU larger activations leave the cache between layers, 5-15 % slower."""
_AHEAD = 2
"""Runs that may be queued on a device: one that is in work, and the next."""
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
    scored = np.zeros(len(distinct), dtype=bool)
    tokens, leaves = run_size(model, family, inputs, memory_budget)
    tokens = min(tokens, most_tokens or tokens)
    first_tokens = tokens
    bar = tqdm(total=len(distinct), unit="coalition", disable=not progress, leave=False)
    with bar, attending_by(model, _NAME), final_rows_only(model, final_rows) as final:
        queue = _Queue(device_of(model), bar.update)
        prompt = _Prompt(model, inputs, baseline)
        while not scored.all():
            left = np.flatnonzero(~scored)
            attention = _Attention(final)
            try:
                for run in plan(inputs, distinct[left], masking).runs(tokens, leaves):
                    queue.add(left[run.rows], _forward(model, prompt, run, attention))
                    scored[left[run.rows]] = True
            except RuntimeError as error:
                if not out_of_memory(error) or tokens == leaves == 1:
                    raise
                tokens, leaves = max(1, tokens // 2), max(1, leaves // 2)
        values = queue.values(len(distinct))
    if tokens < first_tokens:
        warnings.warn(f"Memory ran out at {first_tokens} tokens a run; went on with {tokens}.", stacklevel=2)
    return values[torch.from_numpy(inverse.reshape(-1))]


class _Queue:
    """The scores of the runs that were handed to a device; a few runs may be in work there."""

    def __init__(self, device: torch.device, report: Callable[[int], Any]) -> None:
        self._device, self._report = device, report
        self._rows: list[np.ndarray] = []
        self._scores: list[torch.Tensor] = []
        self._working: deque[tuple[torch.cuda.Event | None, int]] = deque()

    def add(self, rows: np.ndarray, scores: torch.Tensor) -> None:
        """Take a run's scores, which are perhaps still to be computed; wait while too many runs are in work."""
        self._rows.append(rows)
        self._scores.append(scores)
        event = None
        if self._device.type == "cuda":
            event = torch.cuda.Event()
            event.record(torch.cuda.current_stream(self._device))
        self._working.append((event, len(rows)))
        self._finish(_AHEAD if event else 0)

    def values(self, count: int) -> torch.Tensor:
        """Return all scores on the CPU, float32, in one copy."""
        self._finish(0)
        values = torch.empty(count, dtype=torch.float32)
        if self._scores:
            values[torch.from_numpy(np.concatenate(self._rows))] = torch.cat(self._scores).cpu()
        return values

    def _finish(self, most: int) -> None:
        while len(self._working) > most:
            event, count = self._working.popleft()
            if event is not None:
                event.synchronize()
            self._report(count)


class _Prompt:
    """What all runs of a prompt share: its tokens, and on the model's device the baseline and the answer."""

    def __init__(self, model: Any, inputs: CoalitionInputs, baseline: Baseline | None) -> None:
        assert inputs.target_ids is not None
        self.device = device_of(model)
        self.ids = np.array([*inputs.input_ids, *inputs.target_ids[:-1]], dtype=np.int64)
        self.target = torch.tensor(inputs.target_ids, device=self.device)
        self.embedding = model.get_input_embeddings()
        self.vector = None if baseline is None else baseline.vector.to(self.embedding.weight)


def _forward(model: Any, prompt: _Prompt, run: Run, attention: _Attention) -> torch.Tensor:
    """Compute a run; returns the scores of its leaves, float32, on the model's device."""
    position = run.position[run.kept :]
    if not len(position):
        return prompt.target.new_empty(0, dtype=torch.float32)
    m = len(prompt.target)
    keep = (run.leaves[:, None] + np.arange(1 - m, 1)).reshape(-1)
    # A run that only leads to leaves needs no logits; one row of them is the least that can be asked for.
    keep = keep if len(keep) else np.zeros(1, dtype=np.int64)
    fields = (position, prompt.ids[position], run.absent[run.kept :], keep, run.carry)
    packed = torch.from_numpy(np.concatenate([field.astype(np.int64, copy=False) for field in fields]))
    places, ids, absent, rows, carry = to_device(packed, prompt.device).split([len(field) for field in fields])
    embedded = prompt.embedding(ids)
    if prompt.vector is not None:
        embedded = torch.where(absent.bool()[:, None], prompt.vector, embedded)
    attention.begin(run, carry)
    attention.final.begin(rows, len(position))
    token = _current.set(attention)
    try:
        arguments: dict[str, Any] = {"inputs_embeds": embedded[None], "position_ids": places[None]}
        logits = model(**arguments, use_cache=False, logits_to_keep=rows, return_dict=True).logits[0]
    finally:
        _current.reset(token)
    if not attention.layers_seen:
        raise NotImplementedError(f"{type(model).__name__} does not use the attention function it was given.")
    leaves = len(run.leaves)
    target = prompt.target.to(logits.device).expand(leaves, m)
    scores = log_odds(logits[: leaves * m].view(leaves, m, logits.shape[-1]), target).sum(-1).float()
    return scores.to(prompt.device)


class _Attention:
    """What attention must know of the run in work, and each layer's keys and values on the path to it."""

    def __init__(self, final: FinalRows) -> None:
        self.final = final
        self._kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._trees: dict[int | None, SegmentTree] = {}
        self.layers_seen = 0

    def begin(self, run: Run, carry: torch.Tensor) -> None:
        """Turn to the next run; `carry` is the run's, on the model's device."""
        self._run = run
        self._carry = carry
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
        # Layers of a model that is spread over devices lie elsewhere; elsewhere only one copy a device is made.
        carry = self._carry = self._carry.to(k.device)
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
