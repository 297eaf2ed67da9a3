"""The coalition-tree forward: every distinct (earlier players, token) is computed once.

1. A run of tree nodes becomes ONE packed sequence with its own position ids and one forward call; only attention
   knows the tree, through a function registered with transformers.
2. That function calls `interact_kernels.attention.tree_attention` and keeps, for each layer, the keys and values that
   the next run needs: one path.
3. The logits of the leaves become log-odds at once, so 2^n x vocabulary never exists.
4. A device gets all that it must know of a run in one copy, at its start.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import AttentionInterface

from interact.engines.attention_function import attending_by
from interact.engines.coalition_tree import CoalitionTree, Costs, Run
from interact.engines.cuda_graphs import CudaGraphs, Kept, graphs_of, state_of
from interact.engines.engine import Batch, Engine, Plan, Verdict
from interact.engines.final_rows import FinalRows, final_rows_only, head_rows
from interact.engines.padded_runs import Size, common_size, most_tokens, padded
from interact.engines.trust import disagreement, reach
from interact.models.family import length_dependent_positions
from interact.models.memory import size_in_words
from interact_kernels.attention import SegmentTree, tree_attention
from interact_kernels.transfer import to_device

if TYPE_CHECKING:
    from interact.games.prompt_game import PromptGame

_NAME = "interact_tree"
MOST_TOKENS = {"cpu": 2048, "cuda": 32768}
"""Tokens of a run, by kind of device; on a CPU larger activations leave the cache between layers, 5-15 % slower."""
_current: ContextVar[_Attention | None] = ContextVar("interact_tree_run", default=None)


@dataclass
class TreePlan(Plan):
    """The plan of a tree.

    Attributes:
        leaves: How many leaves a run of `size` tokens may have.
        tree: The tree of all rows, until it is run.
    """

    leaves: int = 1
    tree: CoalitionTree | None = None


class Tree(Engine):
    """The coalition tree: what prompts share is computed once."""

    name = "tree"
    summary = "shared beginnings computed once; causal models"
    kinds = ("causal",)
    saver = "the tree"
    always_on_cpu = True

    def refusal(self, game: PromptGame) -> str | None:
        """Say why the tree cannot score a game, or None."""
        if game.family.kind != "causal":
            return "only causal models share beginnings"
        if game.masking == "text":
            return "text masking moves the positions"
        if game.types is not None:
            return "the prompt has token types"
        if game.prompt.spans and game.prompt.spans[-1][1] == len(game.prompt.input_ids):
            return "the token that answers belongs to a player"
        if not {"position_ids", "logits_to_keep", "inputs_embeds"} <= game.family.takes:
            return "the model takes no position_ids or no logits_to_keep"
        return length_dependent_positions(game.model)

    def plan(self, game: PromptGame, masks: np.ndarray, **options: Any) -> TreePlan:
        """Plan the tree of a prompt; options: `final_rows`, `most_tokens` of a run, `padded` runs."""
        tree = coalition_tree(game, masks)
        one = Costs(game.bytes_of_a_token, game.bytes_kept_of_a_token, game.bytes_of_scores)
        budget = game.budget()
        most = min(MOST_TOKENS.get(game.device.type, 4096), options.get("most_tokens") or 1 << 60)
        tokens, leaves = max(1, min(most, budget // 2 // one.token)), max(1, budget // 2 // one.leaf)
        memory = tree.memory(tokens, leaves, one)
        words = f"{tree.explain(tokens, leaves)}, {size_in_words(memory)} of memory"
        told = {"saving": tree.saving(), "words": words, "options": options, "memory": memory}
        told |= {"leaves": leaves, "tree": tree}
        return TreePlan(game, masks, tokens, "tokens per run", tree.tokens, tree.flat_tokens, **told)

    def run(self, plan: Plan, rows: np.ndarray, size: int) -> Generator[Batch, None, None]:
        """Compute the tree of some coalitions, run by run."""
        assert isinstance(plan, TreePlan)
        tree = plan.tree if len(rows) == len(plan.masks) else None
        # A plan may be kept for long, and the tree of many players is large.
        plan.tree = None
        tree = tree or coalition_tree(plan.game, plan.masks[rows])
        most_leaves = max(1, plan.leaves * size // plan.size)
        with tree_runs(plan) as runs:
            cut, common = tree.runs(size, most_leaves), None
            if runs.padded and tree.tokens:
                cut = list(tree.runs(tree.even(most_tokens(size)), most_leaves))
                common = common_size(cut, len(plan.game.target))
            for run in cut:
                yield rows[run.rows], runs.compute(runs.stage(run, common))

    def check(self, game: PromptGame) -> Verdict:
        """Compare the tree with the flat forward; in some models the last layer needs all rows."""
        length, verdict = len(game.prompt.input_ids), Verdict()
        # Padded runs are held against the flat forward, too, where they will be used.
        cuts: list[dict[str, Any]] = [{"padded": True}, {"padded": False}] if graphs_of(game) else [{}]
        for few in (True, False):
            if length <= game.passed.get(("tree", game.masking, few, len(cuts)), 0):
                return Verdict(options={} if few else {"final_rows": False})
        for few in (True, False):
            # Small runs, so that what one run hands to the next is compared with the truth too.
            options: dict[str, Any] = {"most_tokens": max(8, length // 2), "final_rows": few}
            verdict = disagreement(
                game, self, "tree", lambda g, some, o=options: [self.plan(g, some, **o, **cut) for cut in cuts]
            )
            if verdict.reason is None:
                game.passed["tree", game.masking, few, len(cuts)] = reach(game)
                return Verdict(options={} if few else {"final_rows": False})
        return verdict


def coalition_tree(game: PromptGame, masks: np.ndarray) -> CoalitionTree:
    """Return the tree of a game's coalitions, bool [M, n] without duplicates."""
    return CoalitionTree(len(game.ids), game.prompt.spans, masks, drop_absent=game.masking == "attention")


@dataclass(frozen=True, eq=False)
class StagedRun:
    """A run of the tree whose inputs are on the model's device: int64 tensors, and lengths that the host knows.

    Attributes:
        run: The run.
        places: Position of each new token.
        ids: Id of each new token.
        absent: Whether the token belongs to an absent player, 0 or 1.
        rows: New tokens whose logits are read.
        carry: Keys that the next run needs.
        trees: What attention sees, by window.
        answer: Rows that are read of each leaf.
    """

    run: Run
    places: torch.Tensor
    ids: torch.Tensor
    absent: torch.Tensor
    rows: torch.Tensor
    carry: torch.Tensor
    trees: dict[int | None, SegmentTree]
    answer: int

    def tree(self, window: int | None) -> SegmentTree:
        """Return what attention sees of the run through a window (None: everything before)."""
        if window not in self.trees:
            run = self.run
            start, length, parent, position = map(torch.from_numpy, (run.start, run.length, run.parent, run.position))
            first = position - (window - 1) if window is not None else torch.zeros_like(position)
            queries = len(position) - run.kept
            self.trees[window] = SegmentTree(start, length, parent, position, first, queries)
        return self.trees[window]


class TreeRuns:
    """Computes the runs of one prompt, one after the other: `stage` copies to the device, `compute` does not.

    Args:
        plan: The plan of the prompt.
        final: The hooks that cut the last layer.
        head: What the model gets as `logits_to_keep`, from the rows that are read.
        graphs: What replays padded runs, and the state of the model that its graphs must have been made in.
    """

    def __init__(
        self,
        plan: Plan,
        final: FinalRows,
        head: Callable[[torch.Tensor], int | torch.Tensor],
        graphs: tuple[CudaGraphs, Hashable] | None = None,
    ) -> None:
        self._game, self._device, self._head, self._graphs = plan.game, plan.game.device, head, graphs
        self.padded = plan.options.get("padded", graphs is not None)
        self._ids = np.array(self._game.ids, dtype=np.int64)
        self._target = torch.tensor(self._game.target, device=self._device)
        self._embedding = self._game.model.get_input_embeddings()
        baseline = self._game.baseline
        self._vector = None if baseline is None else baseline.vector.to(self._embedding.weight)
        self.attention = _Attention(final)

    def stage(self, run: Run, size: Size | None = None) -> StagedRun:
        """Bring a run's inputs to the model's device, in one copy; padded to a size where one is given."""
        keep, m = (run.leaves[:, None] + np.arange(1 - len(self._target), 1)).reshape(-1), len(self._target)
        if size is not None:
            keep = np.pad(keep, (0, size.rows - len(keep)), constant_values=len(run.position) - run.kept)
            run = padded(run, size)
        # A run that only leads to leaves needs no logits; one row of them is the least that can be asked for.
        keep = keep if len(keep) else np.zeros(1, dtype=np.int64)
        position = run.position[run.kept :]
        fields = (position, self._ids[position], run.absent[run.kept :], keep, run.carry)
        packed = torch.from_numpy(np.concatenate([field.astype(np.int64, copy=False) for field in fields]))
        parts = to_device(packed, self._device).split([len(field) for field in fields])
        return StagedRun(run, *parts, trees={}, answer=m)

    def compute(self, staged: StagedRun) -> torch.Tensor:
        """Compute a run; returns the scores of its leaves, float32, on the model's device."""
        game, m, leaves = self._game, len(self._target), len(staged.run.leaves)
        if not len(staged.places):
            return self._target.new_empty((0, *game.columns), dtype=torch.float32)
        embedded = self._embedding(staged.ids)
        if self._vector is not None:
            embedded = torch.where(staged.absent.bool()[:, None], self._vector, embedded)
        if self._graphs is not None and self.padded:
            graphs, state = self._graphs
            logits = graphs.logits(self, state, staged, embedded)
        else:
            logits = self.forward(staged, embedded)
        return game.rate(logits[: leaves * m].view(leaves, m, logits.shape[-1]), self._target.expand(leaves, m))

    def forward(self, staged: StagedRun, embedded: torch.Tensor) -> torch.Tensor:
        """Return the logits of the rows that are read."""
        game = self._game
        self.attention.begin(staged)
        token = _current.set(self.attention)
        try:
            arguments: dict[str, Any] = {"inputs_embeds": embedded[None], "position_ids": staged.places[None]}
            arguments |= {"use_cache": False, "logits_to_keep": self._head(staged.rows), "return_dict": True}
            logits = game.model(**arguments).logits[0]
        finally:
            _current.reset(token)
        if not self.attention.layers_seen:
            raise NotImplementedError(f"{type(game.model).__name__} does not use the attention function it was given.")
        return logits


@contextmanager
def tree_runs(plan: Plan) -> Generator[TreeRuns, None, None]:
    """Let the model of a plan attend by the tree, and give what computes the plan's runs."""
    model, graphs = plan.game.model, graphs_of(plan.game)
    # What is ours is set below: the state is that of the model as it was given.
    known = None if graphs is None else (graphs, state_of(model, plan.options))
    with (
        attending_by(model, _NAME),
        final_rows_only(model, plan.options.get("final_rows", True)) as final,
        head_rows(model) as head,
    ):
        yield TreeRuns(plan, final, head, known)


class _Attention:
    """What attention must know of the run in work, and each layer's keys and values on the path to it."""

    def __init__(self, final: FinalRows) -> None:
        self.final = final
        self.kept: Kept = {}
        self.impl = "auto"
        self.layers_seen = 0

    def begin(self, staged: StagedRun) -> None:
        """Turn to the next run."""
        self._staged, self._carry = staged, staged.carry
        self.layers_seen = 0
        self.final.begin(staged.rows, len(staged.places))

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
        if before := self._staged.run.kept:
            # The first run of a prompt has no keys from before but padding.
            empty = [part.new_zeros(part.shape[0], before, part.shape[2]) for part in (k, v) if layer not in self.kept]
            before_k, before_v = empty or self.kept[layer]
            k, v = torch.cat([before_k, k], dim=1), torch.cat([before_v, v], dim=1)
        # Layers of a model that is spread over devices lie elsewhere; elsewhere only one copy per device is made.
        carry = self._carry = self._carry.to(k.device)
        self.kept[layer] = (k.index_select(1, carry), v.index_select(1, carry))
        options: dict[str, Any] = {"softcap": softcap or 0.0, "sinks": sinks, "impl": self.impl}
        return tree_attention(q, k, v, self._staged.tree(window), scale=scale, **options)


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
        raise NotImplementedError(f"{type(module).__name__} attends in a way that the coalition tree does not support.")
    parts = (query[0], key[0], value[0])
    seen = attention.attend(id(module), *parts, scaling, sliding_window, softcap, s_aux)
    attention.final.attended(module)
    return seen[None], None


AttentionInterface.register(_NAME, _attend)
