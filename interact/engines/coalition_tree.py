"""The coalition tree: which tokens of masked prompts are the same, and in what order to compute them.

In a causal model the state of a token depends only on which EARLIER players are present. So

1. players in text order make a tree: a node at depth k is a choice of presence for the first k players, its tokens
   are those of player k-1 (if present, or as baseline tokens) and the text up to player k;
2. every node is computed once; a coalition is a path from the root to a leaf;
3. the nodes in preorder are cut into runs that fit a budget. Whatever a run needs from before lies on one path, so
   only that path's keys and values are kept between runs and nothing is computed twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from interact.models.memory import size_in_words
from interact.prompt.players import Span


@dataclass(frozen=True)
class Run:
    """One forward call.

    Attributes:
        position: Place of each token in the prompt, first the tokens kept from before, then the new ones.
        absent: Whether a token is a baseline token, like `position`.
        start: First token of each segment.
        length: Tokens of each segment.
        parent: Parent segment, -1 for the root.
        kept: How many tokens, at the front, were computed by earlier runs.
        carry: Which tokens the next run needs, as indices into `position`.
        leaves: Index of the last token of each leaf, into the new tokens.
        rows: Which coalitions these leaves are, as rows of the list given.
    """

    position: np.ndarray
    absent: np.ndarray
    start: np.ndarray
    length: np.ndarray
    parent: np.ndarray
    kept: int
    carry: np.ndarray
    leaves: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class Costs:
    """What a tree takes in memory.

    Attributes:
        token: Bytes in work for each new token of a run.
        kept: Bytes of keys and values, over all layers, for each token that is kept between runs.
        leaf: Bytes of logits for each leaf of a run.
    """

    token: int
    kept: int
    leaf: int


class CoalitionTree:
    """The tree of a list of coalitions.

    Args:
        length: Tokens of the prompt, the scored answer's known tokens included.
        spans: Token span of each player, in text order.
        coalitions: Which players are present, bool, shape [M, n], any order, without duplicates.
        drop_absent: Whether absent tokens vanish (attention masking) or become baseline tokens.

    Attributes:
        tokens: Tokens that are computed in all.
        flat_tokens: Tokens that one forward per coalition would compute.
    """

    def __init__(self, length: int, spans: Sequence[Span], coalitions: np.ndarray, *, drop_absent: bool) -> None:
        edges = [0, *(edge for span in spans for edge in span), length]
        texts = [np.arange(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True)]
        # Tokens of a node by depth and by the presence of its own player; the root has no player.
        kinds = [texts[0], texts[0]]
        absent = [0, 0]
        for (low, high), after in zip(spans, texts[1:], strict=True):
            whole = np.arange(low, high + len(after))
            kinds += [after if drop_absent else whole, whole]
            absent += [0 if drop_absent else high - low, 0]
        # Kind 2 k + 1 is a node at depth k whose player is present, kind 2 k one whose player is absent.
        self._places, self._sizes = np.concatenate(kinds), np.array([len(kind) for kind in kinds])
        self._absent = np.concatenate([np.arange(len(kind)) < count for kind, count in zip(kinds, absent, strict=True)])
        present = np.ascontiguousarray(coalitions, dtype=bool)
        self._rows = np.lexsort(present.T[::-1]) if len(spans) else np.arange(len(present))
        self._build(present[self._rows])
        self.flat_tokens = length * len(present)

    def _build(self, rows: np.ndarray) -> None:
        """List the nodes in preorder: depth, presence, parent, length, leaf; `rows` are sorted coalitions."""
        n = rows.shape[1]
        # A row opens new nodes below the first player in which it differs from the row before.
        differs = np.ones((len(rows), n + 1), dtype=bool)
        differs[1:, :n] = rows[1:] != rows[:-1]
        first_difference = differs.argmax(axis=1)
        first_difference[:1] = -1
        depths, firsts, present, parents = [], [], [], []
        above = np.zeros(len(rows), dtype=np.int64)
        count = 0
        for depth in range(n + 1):
            new = first_difference < depth
            first = new.nonzero()[0]
            firsts.append(first)
            depths.append(np.full(len(first), depth, dtype=np.int64))
            present.append(rows[first, depth - 1] if depth else np.zeros(len(first), dtype=bool))
            parents.append(above[first] if depth else np.full(len(first), -1, dtype=np.int64))
            above = count + np.cumsum(new) - 1
            count += len(first)
        depth, first, parent = (np.concatenate(part) for part in (depths, firsts, parents))
        order = np.lexsort((depth, first))
        renamed = np.empty(count, dtype=np.int64)
        renamed[order] = np.arange(count)
        depth, parent = depth[order], parent[order]
        self._kind = 2 * depth + np.concatenate(present)[order]
        self._length = self._sizes[self._kind]
        self._parent = np.where(parent >= 0, renamed[parent], -1)
        # Ancestors without tokens are left out, depth by depth.
        if not self._sizes[0]:
            self._parent[depth == 1] = -1
        for level in range(2, n + 1):
            at = np.flatnonzero(depth == level)
            above = self._parent[at]
            self._parent[at] = np.where(self._length[above] > 0, above, self._parent[above])
        self._leaf_row = np.where(depth == n, self._rows[first[order]], -1)
        self.tokens = int(self._length.sum())

    def runs(self, most_tokens: int, most_leaves: int) -> Iterator[Run]:
        """Yield the runs in order; one has at most so many new tokens and leaves, but at least one node."""
        ends = self._cut(most_tokens, most_leaves)
        begin, kept = 0, np.zeros(0, dtype=np.int64)
        for end in ends:
            following = self._path(end) if end < len(self._kind) else np.zeros(0, dtype=np.int64)
            yield self._run(kept, begin, end, following)
            begin, kept = end, following

    def even(self, most_tokens: int) -> int:
        """Return a size of runs, at most so many tokens, that makes about equally long runs and no more of them."""
        runs = -(-self.tokens // most_tokens)
        return min(most_tokens, self.tokens // max(1, runs) + int(self._length.max(initial=0)))

    def saving(self) -> str:
        """Say how many tokens the tree computes, and how many the flat forward."""
        ratio = self.flat_tokens / max(1, self.tokens)
        return f"{len(self._rows)} coalitions: {self.tokens} tokens instead of {self.flat_tokens} ({ratio:.1f}x fewer)"

    def explain(self, most_tokens: int, most_leaves: int, costs: Costs | None = None) -> str:
        """Say what the tree saves, how it is cut and, from `costs`, what memory it will take; nothing is computed."""
        runs = len(self._cut(most_tokens, most_leaves))
        words = f"{self.saving()}, in {runs} run{'s' if runs > 1 else ''} of at most {most_tokens} tokens"
        if costs is None:
            return words
        return f"{words}, {size_in_words(self.memory(most_tokens, most_leaves, costs))} of memory"

    def memory(self, most_tokens: int, most_leaves: int, costs: Costs) -> int:
        """Predict the bytes that the largest run takes beside the model: its work and the path kept for the next."""
        worst = begin = 0
        for end in self._cut(most_tokens, most_leaves):
            work = int(self._length[begin:end].sum()) * costs.token
            logits = int((self._leaf_row[begin:end] >= 0).sum()) * costs.leaf
            path = int(self._length[self._path(end)].sum()) if end < len(self._kind) else 0
            worst = max(worst, work + logits + path * costs.kept)
            begin = end
        return worst

    def _cut(self, most_tokens: int, most_leaves: int) -> list[int]:
        tokens, leaves = (np.append(0, np.cumsum(x)) for x in (self._length, self._leaf_row >= 0))
        ends, begin = [], 0
        while True:
            end = min(
                int(np.searchsorted(tokens, tokens[begin] + most_tokens, side="right")),
                int(np.searchsorted(leaves, leaves[begin] + most_leaves, side="right")),
            )
            # At least one node that has tokens.
            begin = max(end - 1, int(np.searchsorted(tokens, tokens[begin], side="right")))
            if begin >= len(self._length):
                return [*ends, len(self._length)]
            ends.append(begin)

    def _path(self, node: int) -> np.ndarray:
        """Return the ancestors of a node that have tokens, from the root down."""
        path = []
        above = int(self._parent[node])
        while above >= 0:
            path.append(above)
            above = int(self._parent[above])
        return np.array(path[::-1], dtype=np.int64)

    def _run(self, kept: np.ndarray, begin: int, end: int, following: np.ndarray) -> Run:
        new = begin + self._length[begin:end].nonzero()[0]
        nodes = np.concatenate([kept, new])
        length, kind = self._length[nodes], self._kind[nodes]
        start = np.cumsum(length) - length
        # The last entry stands for the parent -1 of a root.
        segment = np.full(len(self._length) + 1, -1, dtype=np.int64)
        segment[nodes] = np.arange(len(nodes))
        tokens = _ranges((np.cumsum(self._sizes) - self._sizes)[kind], length)
        leaves = new[self._leaf_row[new] >= 0]
        kept_tokens = int(self._length[kept].sum())
        return Run(
            position=self._places[tokens],
            absent=self._absent[tokens],
            start=start,
            length=length,
            parent=segment[self._parent[nodes]],
            kept=kept_tokens,
            carry=_ranges(start[segment[following]], self._length[following]),
            leaves=(start + length)[segment[leaves]] - 1 - kept_tokens,
            rows=self._leaf_row[leaves],
        )


def _ranges(start: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Return the numbers from each start on, `length` of them, end to end."""
    return np.arange(length.sum()) + np.repeat(start - (np.cumsum(length) - length), length)
