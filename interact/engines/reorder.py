"""The cache-reordering forward: the coalition tree walked with the model's own cache.

Baseline masking hides nothing from attention, so a model that can go on from its cache can walk the tree by itself,
whatever the cache holds (keys and values, recurrent or convolutional states):

1. a batch is a set of prefixes, choices of presence for the first k players; one call computes the next player's
   tokens and the text behind it for each of them;
2. at each player a prefix branches: its row of the cache is repeated, once for each choice that the list goes on with;
3. branches that no two coalitions share are finished in one call;
4. batches are taken depth first and cut to a budget, so at most one batch a depth is kept.

It computes as many tokens as the tree, in more and smaller calls, and serves families that the tree cannot. Whether a
model really can go on from its cache is tested apart (`interact.engines.trust`).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from interact.engines.cache import branch, cache_argument, cache_of, held_bytes
from interact.engines.engine import Batch, Engine, Plan, Verdict
from interact.engines.flat import present_tokens
from interact.engines.tree import coalition_tree
from interact.engines.trust import disagreement, reach
from interact.models.family import length_dependent_positions
from interact.models.memory import size_in_words
from interact.prompt.inputs import CoalitionInputs

if TYPE_CHECKING:
    from interact.games.prompt_game import PromptGame

MOST_TOKENS = 4096


class Reorder(Engine):
    """The coalition tree walked with the model's own cache."""

    name = "reorder"
    summary = "shared beginnings computed once, with the model's own cache; baseline masking"
    kinds = ("causal",)
    saver = "the tree"

    def refusal(self, game: PromptGame) -> str | None:
        """Say why the cache cannot be walked for a game, or None."""
        if game.family.kind != "causal":
            return "only causal models share beginnings"
        if game.masking == "text":
            return "text masking moves the positions"
        if game.types is not None:
            return "the prompt has token types"
        if game.masking == "attention":
            return "a model's own cache does not hide absent tokens"
        if "inputs_embeds" not in game.family.takes or cache_argument(game.family.takes) is None:
            return "the model does not take embeddings together with a cache"
        return length_dependent_positions(game.model)

    def plan(self, game: PromptGame, masks: np.ndarray, **options: Any) -> Plan:
        """Plan the walk; options: `step`, the most tokens by which a cache is continued in one call (some models go
        on right by one token only), `most_rows`, and `finish`: whether branches that nobody shares end in one call.
        """
        tree = coalition_tree(game, masks)
        kept = len(game.ids) * game.bytes_kept_of_a_token
        memory = len(masks) * (2 * kept + game.bytes_of_scores) + MOST_TOKENS * game.bytes_of_a_token
        memory = min(game.budget(), memory)
        words = f"{tree.saving()}, in at most {size_in_words(memory)} of memory"
        told = {"saving": tree.saving(), "words": words, "options": options, "memory": memory}
        size = options.get("most_rows", MOST_TOKENS)
        return Plan(game, masks, size, "prefixes per batch", tree.tokens, tree.flat_tokens, **told)

    def run(self, plan: Plan, rows: np.ndarray, size: int) -> Generator[Batch, None, None]:
        """Walk the tree of some coalitions, batch by batch."""
        step, finish = plan.options.get("step", MOST_TOKENS), plan.options.get("finish", True)
        walk = _Walk(plan, plan.masks[rows], _Limits(plan.game.budget(), size, step, finish))
        for found, scores in walk.scores():
            yield rows[found], scores

    def check(self, game: PromptGame) -> Verdict:
        """Compare the walk with the flat forward, for each number of tokens by which it continues a cache."""
        length = len(game.prompt.input_ids)
        # The numbers of tokens that the model starts with and goes on by.
        steps = continuations(game.prompt)
        slowly = "the cache continues correctly only by one token per call"
        for step in (MOST_TOKENS, 1):
            if all(length <= game.passed.get(("reorder", step, *kind), 0) for kind in steps):
                return Verdict(options={"step": step}, remark=slowly * (step == 1))
        found: dict[int, Verdict] = {}
        for step in (MOST_TOKENS, 1):

            def plans(game: PromptGame, some: np.ndarray, step: int = step) -> list[Plan]:
                # Small batches, so that a cache that serves several of them is compared with the truth too.
                return [self.plan(game, some, step=step, most_rows=2, finish=finish) for finish in (False, True)]

            found[step] = disagreement(game, self, "reordered cache", plans)
            if found[step].reason is None:
                for kind in steps:
                    case = "reorder", step, *kind
                    game.passed[case] = max(game.passed.get(case, 0), reach(game))
                return Verdict(options={"step": step}, remark=slowly * (step == 1))
        return found[MOST_TOKENS]


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


@dataclass(frozen=True)
class _Limits:
    """What bounds a call: bytes, prefixes, tokens behind a cache; and whether branches are finished at once."""

    budget: int
    most_rows: int
    step: int
    finish: bool


@dataclass
class _Cache:
    """A model's cache after some tokens, one row per prefix."""

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

    def __init__(self, plan: Plan, coalitions: np.ndarray, limits: _Limits) -> None:
        game = plan.game
        assert game.baseline is not None
        self._plan, self._game, self._coalitions, self._limits = plan, game, coalitions, limits
        ids = torch.tensor(game.ids, device=game.device)
        self._embedded = game.model.get_input_embeddings()(ids)
        self._absent = game.baseline.vector.to(self._embedded)
        self._target = torch.tensor(game.target, device=game.device)
        # Tokens between two edges are a segment: a player's own and the text behind it.
        self._edges = [0, *(low for low, _ in game.prompt.spans), len(ids)]

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
                yield batch.low, self._game.rate(logits, self._target.expand(len(batch.low), -1))
                continue
            above = None if held is None else _Cache(held, held_bytes(held))
            kept = {id(b.above): b.above.bytes for b in stack if b.above is not None}
            stack.extend(reversed(self._children(batch, above, sum(kept.values()))))

    def _forward(self, batch: _Batch, held: Any) -> tuple[torch.Tensor, Any]:
        """Compute the batch's tokens: the last positions' logits [rows, targets, vocabulary] and the cache."""
        begin, end = self._edges[batch.depth], self._edges[batch.stop + 1]
        logits: list[torch.Tensor] = []
        m = len(self._target) if batch.stop == len(self._game.prompt.spans) else 1
        self._plan.largest = max(self._plan.largest, len(batch.low))
        coalitions = torch.from_numpy(self._coalitions[batch.low]).to(self._embedded.device)
        present = present_tokens(self._game, coalitions)[..., None]
        while begin < end:
            middle = end if held is None else min(end, begin + self._limits.step)
            part = torch.where(present[:, begin:middle], self._embedded[begin:middle], self._absent)
            some, held = self._call(part, begin, held, m)
            logits.append(some)
            begin = middle
        return torch.cat(logits[-m:], dim=1)[:, -m:] if logits else self._embedded, held

    def _call(self, embedded: torch.Tensor, begin: int, held: Any, m: int) -> tuple[torch.Tensor, Any]:
        """Go on from a cache by tokens of shape [rows, tokens, hidden]; return up to m last logits and the cache."""
        takes, (rows, tokens, _) = self._game.family.takes, embedded.shape
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
        output = self._game.model(**arguments)
        held = cache_of(output)
        if held is None or not hasattr(held, "reorder_cache"):
            raise NotImplementedError(f"{type(self._game.model).__name__} gives back no cache that can be reordered")
        return output.logits[:, -m:], held

    def _children(self, batch: _Batch, above: _Cache | None, kept: int) -> list[_Batch]:
        """Branch at the next player: the batches below, in the order in which they are to be taken."""
        depth, n = batch.depth + 1, len(self._game.prompt.spans)
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
        game, width = self._game, self._embedded.element_size()
        one = game.bytes_kept_of_a_token * end
        if above is not None:
            one = above.bytes // len(batch.low) * end // begin
        logits = len(self._target) if "logits_to_keep" in game.family.takes else end - begin
        call = (end - begin) * (game.bytes_of_a_token + 32 * end * width) + logits * game.family.outputs * 12
        # Each depth below may have to keep one batch.
        share = max(0, self._limits.budget // 2 - kept) // (len(self._game.prompt.spans) - stop + 1)
        fits = min(share // max(1, one), self._limits.budget // 2 // call, MOST_TOKENS // (end - begin))
        return max(1, min(self._limits.most_rows, fits))
