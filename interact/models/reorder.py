"""The cache-reordering forward: the coalition tree walked with the model's own cache.

Baseline masking hides nothing from attention, so a model that can go on from its cache can walk the tree by itself,
whatever the cache holds (keys and values, recurrent or convolutional states):

1. a batch is a set of prefixes, choices of presence for the first k players; one call computes the next player's
   tokens and the text behind it for each of them;
2. at each player a prefix branches: its row of the cache is repeated, once for each choice that the list goes on with;
3. branches that no two coalitions share are finished in one call;
4. batches are taken depth first and cut to a budget, so at most one batch a depth is kept.

It computes as many tokens as the tree, in more and smaller calls, and serves families that the tree cannot. Whether a
model really can go on from its cache is tested apart (`interact.models.trust`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from interact.inputs import CoalitionInputs
from interact.masking import Baseline
from interact.models.cache import branch, cache_argument, cache_of, held_bytes
from interact.models.family import Family, device_of, inspect_model, length_dependent_positions
from interact.models.flat import present_tokens
from interact.models.memory import free_memory, out_of_memory
from interact.score import log_odds

MOST_TOKENS = 4096


def refusal(model: Any, family: Family, inputs: CoalitionInputs, masking: str) -> str | None:
    """Say why the cache cannot be walked for these inputs, or None; whether the scores are right is tested apart."""
    if family.kind != "causal":
        return "only causal models share beginnings"
    if masking == "text":
        return "text masking moves the positions"
    if masking == "attention":
        return "a model's own cache does not hide absent tokens"
    if "inputs_embeds" not in family.takes or cache_argument(family.takes) is None:
        return "the model does not take embeddings together with a cache"
    return length_dependent_positions(model)


def memory(model: Any, family: Family, inputs: CoalitionInputs, coalitions: int, memory_budget: int | None) -> int:
    """Predict the bytes that scoring takes beside the model: all prefixes at once, or the budget."""
    width = model.get_input_embeddings().weight.element_size()
    length = len(inputs.input_ids) + len(inputs.target_ids or (0,)) - 1
    kept = length * family.layers * family.cached * width
    work = MOST_TOKENS * (8 * family.width + 3 * family.inner) * width
    budget = memory_budget if memory_budget is not None else free_memory(device_of(model)) // 4
    return min(budget, coalitions * (2 * kept + len(inputs.target_ids or (0,)) * family.outputs * 12) + work)


def continuations(inputs: CoalitionInputs) -> frozenset[tuple[str, int]]:
    """Return the lengths, up to 8, that a model must start with and go on by.

    A cache may be right for one length and wrong for another (a single token, or fewer than a convolution holds).
    """
    length = len(inputs.input_ids) + len(inputs.target_ids or (0,)) - 1
    edges = [0, *(low for low, _ in inputs.spans), length]
    steps = np.diff([edge for i, edge in enumerate(edges) if not i or edge])
    # From any player on, the rest may be finished at once.
    rests = length - np.array(edges[1:-1], dtype=np.int64)
    return frozenset({("first", min(8, int(steps[0])))} | {("next", min(8, int(s))) for s in (*steps[1:], *rests)})


def reorder_values(
    model: Any,
    inputs: CoalitionInputs,
    coalitions: torch.Tensor,
    *,
    masking: str,
    baseline: Baseline | None,
    memory_budget: int | None = None,
    most_rows: int = MOST_TOKENS,
    step: int = MOST_TOKENS,
    finish: bool = True,
    progress: bool = False,
) -> torch.Tensor:
    """Score coalitions by going on from the model's own cache; arguments, result and errors as `flat_values`.

    `most_rows` bounds the prefixes of a batch beside the memory budget; `step` the tokens by which a cache is
    continued in one call (some models go on right by one token only); without `finish` no branch is finished at once.
    """
    assert masking == "baseline" and baseline is not None
    distinct, inverse = np.unique(coalitions.numpy(), axis=0, return_inverse=True)
    values = torch.full((len(distinct),), torch.nan)
    left = np.arange(len(distinct))
    budget = memory_budget if memory_budget is not None else free_memory(device_of(model)) // 4
    first_rows = None
    with tqdm(total=len(distinct), unit="coalition", disable=not progress, leave=False) as bar:
        while len(left):
            walk = _Walk(model, inputs, distinct[left], baseline, _Limits(budget, most_rows, step, finish))
            done = np.zeros(len(left), dtype=bool)
            try:
                for rows, scores in walk.scores():
                    values[left[rows]] = scores
                    done[rows] = True
                    bar.update(len(rows))
            except RuntimeError as error:
                if not out_of_memory(error) or walk.largest == 1:
                    raise
                first_rows = first_rows or walk.largest
                most_rows = walk.largest // 2
            left = left[~done]
    if first_rows:
        warnings.warn(f"Memory ran out at {first_rows} prefixes a batch; went on with {most_rows}.", stacklevel=2)
    return values[torch.from_numpy(inverse.reshape(-1))]


@dataclass(frozen=True)
class _Limits:
    """What bounds a call: bytes, prefixes, tokens behind a cache; and whether branches are finished at once."""

    budget: int
    most_rows: int
    step: int
    finish: bool


@dataclass
class _Cache:
    """A model's cache after some tokens, one row a prefix."""

    held: Any
    bytes: int


@dataclass
class _Batch:
    """Prefixes to compute next.

    Attributes:
        depth: Players that are decided.
        stop: Players that will be decided after the call: `depth`, or all where nothing is shared any more.
        low: First coalition of each prefix, in sorted order.
        high: Behind the last coalition of each prefix.
        parent: Row of each prefix's parent in `above`.
        above: The parents' cache, None where there are no tokens yet.
        last: Whether nobody else needs `above`.
    """

    depth: int
    stop: int
    low: np.ndarray
    high: np.ndarray
    parent: np.ndarray
    above: _Cache | None
    last: bool


class _Walk:
    """One depth-first walk; `coalitions` are bool [M, n], sorted, without duplicates."""

    def __init__(
        self,
        model: Any,
        inputs: CoalitionInputs,
        coalitions: np.ndarray,
        baseline: Baseline,
        limits: _Limits,
    ) -> None:
        assert inputs.target_ids is not None
        self._model, self._family, self._inputs, self._coalitions = model, inspect_model(model), inputs, coalitions
        self._limits = limits
        device = device_of(model)
        ids = torch.tensor([*inputs.input_ids, *inputs.target_ids[:-1]], device=device)
        self._embedded = model.get_input_embeddings()(ids)
        self._absent = baseline.vector.to(self._embedded)
        self._target = torch.tensor(inputs.target_ids, device=device)
        # Tokens between two edges are a segment: a player's own and the text behind it.
        self._edges = [0, *(low for low, _ in inputs.spans), len(ids)]
        self.largest = 1

    def scores(self) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        """Yield rows of coalitions and their scores."""
        n, count = self._coalitions.shape[1], len(self._coalitions)
        zero = np.zeros(1, dtype=np.int64)
        alone = n if count == 1 and self._limits.finish else 0
        stack = [_Batch(0, alone, zero, zero + count, zero, None, True)]
        while stack:
            batch = stack.pop()
            held = None if batch.above is None else branch(batch.above.held, batch.parent, keep=not batch.last)
            logits, held = self._forward(batch, held)
            if batch.stop == n:
                target = self._target.expand(len(batch.low), -1)
                yield batch.low, log_odds(logits, target).sum(-1).float().cpu()
                continue
            above = None if held is None else _Cache(held, held_bytes(held))
            kept = {id(b.above): b.above.bytes for b in stack if b.above is not None}
            stack.extend(reversed(self._children(batch, above, sum(kept.values()))))

    def _forward(self, batch: _Batch, held: Any) -> tuple[torch.Tensor, Any]:
        """Compute the batch's tokens: the last positions' logits [rows, targets, vocabulary] and the cache."""
        begin, end = self._edges[batch.depth], self._edges[batch.stop + 1]
        logits: list[torch.Tensor] = []
        m = len(self._target) if batch.stop == len(self._inputs.spans) else 1
        self.largest = max(self.largest, len(batch.low))
        coalitions = torch.from_numpy(self._coalitions[batch.low]).to(self._embedded.device)
        present = present_tokens(self._inputs, coalitions, len(self._embedded))[..., None]
        while begin < end:
            middle = end if held is None else min(end, begin + self._limits.step)
            part = torch.where(present[:, begin:middle], self._embedded[begin:middle], self._absent)
            some, held = self._call(part, begin, held, m)
            logits.append(some)
            begin = middle
        return torch.cat(logits[-m:], dim=1)[:, -m:] if logits else self._embedded, held

    def _call(self, embedded: torch.Tensor, begin: int, held: Any, m: int) -> tuple[torch.Tensor, Any]:
        """Go on from a cache by tokens of shape [rows, tokens, hidden]; return up to m last logits and the cache."""
        takes, (rows, tokens, _) = self._family.takes, embedded.shape
        name = cache_argument(takes)
        assert name is not None
        arguments: dict[str, Any] = {"inputs_embeds": embedded, "use_cache": True, "return_dict": True}
        if held is not None:
            arguments[name] = held
        if "position_ids" in takes:
            place = torch.arange(begin, begin + tokens, device=embedded.device)
            arguments["position_ids"] = place.expand(rows, -1)
        if "logits_to_keep" in takes:
            arguments["logits_to_keep"] = min(m, tokens)
        output = self._model(**arguments)
        held = cache_of(output)
        if held is None or not hasattr(held, "reorder_cache"):
            raise NotImplementedError(f"{type(self._model).__name__} gives back no cache that can be reordered")
        return output.logits[:, -m:], held

    def _children(self, batch: _Batch, above: _Cache | None, kept: int) -> list[_Batch]:
        """Branch at the next player: the batches below, in the order in which they are to be taken."""
        depth, n = batch.depth + 1, len(self._inputs.spans)
        ones = np.concatenate([[0], np.cumsum(self._coalitions[:, batch.depth])])
        middle = batch.high - (ones[batch.high] - ones[batch.low])
        low = np.stack([batch.low, middle], axis=1).reshape(-1)
        high = np.stack([middle, batch.high], axis=1).reshape(-1)
        parent = np.arange(len(batch.low)).repeat(2)
        alone = (high - low == 1) & self._limits.finish
        batches = []
        for chosen, stop in (((high > low) & ~alone, depth), (alone, n)):
            rows = chosen.nonzero()[0]
            size = self._most(batch, above, kept, stop)
            for start in range(0, len(rows), size):
                part = rows[start : start + size]
                batches.append(_Batch(depth, stop, low[part], high[part], parent[part], above, False))
        batches[-1].last = True
        return batches

    def _most(self, batch: _Batch, above: _Cache | None, kept: int, stop: int) -> int:
        """Return how many prefixes below a batch one call may take: half the budget is for caches."""
        begin, end = self._edges[batch.depth + 1], self._edges[stop + 1]
        family, width = self._family, self._embedded.element_size()
        one = family.layers * family.cached * width * end
        if above is not None:
            one = above.bytes // len(batch.low) * end // begin
        logits = len(self._target) if "logits_to_keep" in family.takes else end - begin
        call = (end - begin) * (8 * family.width + 3 * family.inner + 32 * end) * width + logits * family.outputs * 12
        # Each depth below may have to keep one batch.
        share = max(0, self._limits.budget // 2 - kept) // (len(self._inputs.spans) - stop + 1)
        fits = min(share // max(1, one), self._limits.budget // 2 // call, MOST_TOKENS // (end - begin))
        return max(1, min(self._limits.most_rows, fits))
