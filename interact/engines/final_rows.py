"""The last decoder layer for the final rows only.

Nobody reads the last layer's states but the head, and the head reads the leaves' last tokens. So in the last layer

1. keys and values are computed for all tokens, since the leaves look at them;
2. queries, and everything behind the attention (output projection, feed-forward layers, experts), are computed for the
   rows that the head reads: a module's input is cut to them, and its output put back among zeros.

Modules are told apart by when they run, not by name (but for queries), so that adapters around them do not matter.
Whether this is right for a model is tested apart (`interact.engines.trust`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from interact.models.family import unwrapped

_QUERIES = ("q_proj", "q_a_proj", "q_b_proj")


class FinalRows:
    """What the hooks of the last layer must know of the call in work."""

    def __init__(self, layer: torch.nn.Module | None) -> None:
        self._inside = {id(module) for module in layer.modules()} if layer is not None else set()
        self._rows: torch.Tensor | None = None
        self._tokens = 0
        self._attended = False
        self._busy: torch.nn.Module | None = None

    def begin(self, rows: torch.Tensor, tokens: int) -> None:
        """Turn to a call of so many tokens, of which the head reads `rows` (int64, ascending)."""
        self._rows = rows if len(rows) < tokens else None
        self._tokens = tokens
        self._attended = False
        self._busy = None

    def attended(self, module: torch.nn.Module) -> None:
        """Note that an attention module has its keys and values: from now on only the final rows matter."""
        self._attended = self._attended or id(module) in self._inside

    def cut(
        self, module: torch.nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], *, early: bool
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Cut a module's inputs to the final rows, if all its tensors have one row per token."""
        if self._rows is None or self._busy is not None or not (self._attended or early):
            return None
        tensors = [part for part in (*inputs, *named.values()) if isinstance(part, torch.Tensor)]
        if not tensors or any(_axis(tensor, self._tokens) is None for tensor in tensors):
            return None
        self._busy = module
        return tuple(map(self._few, inputs)), {name: self._few(part) for name, part in named.items()}

    def put_back(self, module: torch.nn.Module, output: Any) -> Any:
        """Put the outputs of a module whose inputs were cut back among zeros; None for any other module."""
        if self._busy is not module:
            return None
        self._busy = None
        if isinstance(output, tuple):
            return tuple(map(self._all, output))
        return self._all(output)

    def _few(self, part: Any) -> Any:
        assert self._rows is not None
        if not isinstance(part, torch.Tensor):
            return part
        return part.index_select(_axis(part, self._tokens) or 0, self._rows.to(part.device))

    def _all(self, part: Any) -> Any:
        assert self._rows is not None
        axis = _axis(part, len(self._rows)) if isinstance(part, torch.Tensor) else None
        if axis is None:
            return part
        shape = list(part.shape)
        shape[axis] = self._tokens
        return part.new_zeros(shape).index_copy_(axis, self._rows.to(part.device), part)


def _axis(tensor: torch.Tensor, tokens: int) -> int | None:
    """Return the axis of a tensor that counts tokens: [1, tokens, ...] or [tokens, size]."""
    if tensor.dim() >= 3:
        return 1 if tensor.shape[:2] == (1, tokens) else None
    return 0 if tensor.dim() == 2 and tensor.shape[0] == tokens else None


@contextmanager
def final_rows_only(model: Any, wanted: bool) -> Iterator[FinalRows]:
    """Let the last layer of a model compute the final rows only, for a while; without `wanted`, all rows."""
    layer = last_layer(model) if wanted else None
    final = FinalRows(layer)
    handles = []
    try:
        for name, module in _parts(layer):

            def before(module: Any, inputs: Any, named: Any, early: bool = name in _QUERIES) -> Any:
                return final.cut(module, inputs, named, early=early)

            def behind(module: Any, inputs: Any, output: Any) -> Any:
                return final.put_back(module, output)

            handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(module.register_forward_hook(behind))
        yield final
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def head_rows(model: Any) -> Iterator[Callable[[torch.Tensor], int | torch.Tensor]]:
    """Yield what turns the rows that the head reads into the model's `logits_to_keep`, for a while.

    Where a model is spread over devices, accelerate moves its arguments to the first of them, but the states that the
    rows choose from lie on the last: there the head's own input is cut, on the device on which it lies.
    """
    places = getattr(unwrapped(model), "hf_device_map", None) or {}
    if len(set(places.values())) < 2:
        yield lambda rows: rows
        return
    chosen: list[torch.Tensor] = []

    def before(module: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        states, *others = inputs
        return (states.index_select(1, chosen[-1].to(states.device)), *others)

    def turn(rows: torch.Tensor) -> int:
        chosen[:] = [rows]
        return 0

    handle = model.get_output_embeddings().register_forward_pre_hook(before)
    try:
        yield turn
    finally:
        handle.remove()


def last_layer(model: Any) -> torch.nn.Module | None:
    """Return the last of a model's decoder layers: the end of its longest list of modules that is in no other list."""
    longest: torch.nn.ModuleList | None = None
    waiting: list[torch.nn.Module] = [unwrapped(model)]
    while waiting:
        module = waiting.pop()
        if not isinstance(module, torch.nn.ModuleList):
            waiting += reversed(list(module.children()))
        elif len(module) > len(longest or ()):
            longest = module
    return longest[-1] if longest else None


def _parts(layer: torch.nn.Module | None) -> Iterator[tuple[str, torch.nn.Module]]:
    """Yield the children and grandchildren that hold matrices; norms cost nothing."""
    if layer is None:
        return
    for name, child in layer.named_children():
        for inner_name, inner in [(name, child), *child.named_children()]:
            if any(parameter.dim() >= 2 for parameter in inner.parameters()):
                yield inner_name, inner
