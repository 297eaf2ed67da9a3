"""The shape of a tree of token segments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(frozen=True)
class SegmentTree:
    """Token segments packed end to end, in preorder: a parent comes before its children, subtrees are contiguous.

    All fields are int64 tensors on the CPU.

    Attributes:
        start: First token of each segment, shape [segments]; segments follow each other without a gap.
        length: Tokens of each segment, shape [segments], at least 1.
        parent: Parent of each segment, -1 for a root, shape [segments].
        position: Place of each token in its prompt, shape [keys]; grows along every path.
        first: Lowest position that each token sees (0: all), shape [keys]; for sliding windows and chunks.
        queries: How many tokens, counted from the end, are queries; the others are only keys.
        prepared: What implementations made of this tree, under keys of their own, for all layers to share.
    """

    start: torch.Tensor
    length: torch.Tensor
    parent: torch.Tensor
    position: torch.Tensor
    first: torch.Tensor
    queries: int
    prepared: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def keys(self) -> int:
        """Number of tokens."""
        return len(self.position)

    def __post_init__(self) -> None:
        fields = (self.start, self.length, self.parent, self.position, self.first)
        if any(f.dtype != torch.int64 or f.dim() != 1 or f.device.type != "cpu" for f in fields):
            raise ValueError("The fields of a SegmentTree must be one-dimensional int64 tensors on the CPU.")
        segments = len(self.start)
        if not len(self.length) == len(self.parent) == segments or len(self.first) != self.keys:
            raise ValueError(
                "A SegmentTree needs one start, length and parent per segment and one position and first per token, "
                f"but has {segments}, {len(self.length)}, {len(self.parent)}, {self.keys} and {len(self.first)}."
            )
        ends = torch.cumsum(self.length, 0)
        packed = bool((self.length >= 1).all()) and torch.equal(ends - self.length, self.start)
        if not packed or (segments and int(ends[-1]) != self.keys) or (not segments and self.keys):
            raise ValueError("The segments must follow each other without a gap and cover all tokens.")
        if not 0 <= self.queries <= self.keys:
            raise ValueError(f"queries must lie in [0, {self.keys}], but is {self.queries}.")
        self._check_preorder()

    def _check_preorder(self) -> None:
        path: list[int] = []
        for segment, parent in enumerate(self.parent.tolist()):
            while path and path[-1] != parent:
                path.pop()
            if parent != (path[-1] if path else -1):
                raise ValueError(
                    f"Segment {segment} has the parent {parent}, which is not on the path before it; give segments in "
                    "preorder."
                )
            path.append(segment)
