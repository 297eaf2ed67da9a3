"""Runs of the tree replayed as CUDA graphs, so that a small model does not wait for the host's launches.

1. Runs are padded to a few sizes (`interact.engines.padded_runs`). The first run of a size is computed as ever.
2. The second is computed as ever, too, and captured; its replay must equal it bit for bit. From then on runs of this
   size are replayed: their inputs are copied to where the graph reads them.
3. A graph reads weights where they lay. So it serves only while they lie there and the model's modules are set as they
   were; adapters, hooks, training mode and the precision of products are part of what is compared.
4. At most 4 graphs are held, in one pool of memory, as long as the context lasts.

Where a graph cannot be made, one warning says why, and the runs are computed as ever.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import torch

from interact.models.family import held_elsewhere, opened
from interact.models.memory import out_of_memory
from interact_kernels.attention.key_lists import make_room, refill

if TYPE_CHECKING:
    from interact.engines.tree import StagedRun, TreeRuns
    from interact.games.prompt_game import PromptGame

_MOST = 4
"""Graphs that are held."""
_ROOM = 1.5
"""How many times longer the lists of keys of a later run may be."""
_SWITCHES = ("training", "_disable_adapters", "_active_adapter", "merged_adapters", "scaling")
Kept = dict[int, tuple[torch.Tensor, torch.Tensor]]
"""The keys and values that the next run needs, by attention module."""


class Graph(Protocol):
    """A recording of launches."""

    def capture(self, call: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Record a call; its result holds numbers after a replay."""
        ...

    def replay(self) -> None:
        """Queue the recorded launches."""
        ...


class CudaGraph:
    """A CUDA graph on a device, with its memory in a pool that others share."""

    def __init__(self, device: torch.device, pool: Any) -> None:
        self._device, self._pool, self._graph = device, pool, torch.cuda.CUDAGraph()

    def capture(self, call: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Record a call; its result holds numbers after a replay."""
        # Other threads may go on with their own work.
        with (
            torch.cuda.device(self._device),
            torch.cuda.graph(self._graph, pool=self._pool, capture_error_mode="thread_local"),
        ):
            return call()

    def replay(self) -> None:
        """Queue the recorded launches."""
        self._graph.replay()


class CudaGraphs:
    """The graphs of one model.

    Args:
        model: The model.
        new: Makes a graph.
        impl: The tree attention that is recorded. It must take all that it knows of a tree from its lists of keys.

    Attributes:
        captured: How many graphs were made.
        replayed: How many runs were replayed.
        refusal: Why no graphs are used, or None.
    """

    def __init__(self, model: Any, new: Callable[[], Graph], impl: str = "triton") -> None:
        self.model, self._new, self._impl = model, new, impl
        self.captured = self.replayed = 0
        self.refusal: str | None = None
        self._graphs: dict[Hashable, _Captured] = {}
        self._seen: dict[Hashable, StagedRun] = {}

    def logits(self, runs: TreeRuns, state: Hashable, staged: StagedRun, embedded: torch.Tensor) -> torch.Tensor:
        """Return the logits of a padded run: of a replay, or computed as ever."""
        key = (state, len(staged.places), len(staged.rows), staged.run.kept, embedded.dtype)
        graph = self._graphs.pop(key, None)
        if graph is not None and graph.take(runs, staged, embedded):
            # The last used is the last to go.
            self._graphs[key] = graph
            self.replayed += 1
            return graph.replay(runs)
        try:
            if earlier := self._seen.pop(key, None):
                return self._capture(key, runs, earlier, staged, embedded)
            logits = runs.forward(staged, embedded)
            if self.refusal is None:
                self._seen[key] = staged
                _shorten(self._seen)
            return logits
        except RuntimeError as error:
            if out_of_memory(error):
                self.refuse("memory ran out")
            raise

    def refuse(self, reason: str) -> None:
        """Give up all graphs, and say so once."""
        self._graphs.clear()
        self._seen.clear()
        if self.refusal is None:
            self.refusal = reason
            warnings.warn(f"CUDA graphs are not used: {reason}.", stacklevel=2)

    def _capture(
        self, key: Hashable, runs: TreeRuns, earlier: StagedRun, staged: StagedRun, embedded: torch.Tensor
    ) -> torch.Tensor:
        """Compute a run as ever, and capture one on the inputs of an earlier one, so that no number may be recorded."""
        before = runs.attention.kept
        runs.attention.kept = dict(before)
        logits, read = runs.forward(staged, embedded), len(staged.run.leaves) * staged.answer
        after = runs.attention.kept
        try:
            graph = _Captured(self._new(), runs, earlier, torch.empty_like(embedded), self._impl)
            runs.attention.kept = before
            right = graph.take(runs, staged, embedded)
            if right:
                right = torch.equal(graph.replay(runs)[:read], logits[:read]) and graph.keeps(after)
        except Exception as error:
            runs.attention.kept = after
            self.refuse(f"capture failed ({type(error).__name__}: {next(iter(str(error).splitlines()), '')})")
            return logits
        if right:
            self.captured += 1
            self._graphs[key] = graph
            _shorten(self._graphs)
        else:
            runs.attention.kept = after
            self.refuse("a replay gave other numbers than the run itself")
        return logits


class _Captured:
    """A graph and the tensors that it reads."""

    def __init__(self, graph: Graph, runs: TreeRuns, staged: StagedRun, embedded: torch.Tensor, impl: str) -> None:
        self._graph, self._staged, self._embedded = graph, staged, embedded
        self._kept: Kept = {}
        if staged.run.kept:
            self._kept = {at: (torch.zeros_like(k), torch.zeros_like(v)) for at, (k, v) in runs.attention.kept.items()}
        if not all(make_room(tree, _ROOM) for tree in staged.trees.values()):
            raise RuntimeError("the attention of the runs reads no lists of keys")
        usual, runs.attention.impl = runs.attention.impl, impl
        try:
            self._logits = graph.capture(lambda: self._call(runs))
        finally:
            runs.attention.impl = usual

    def _call(self, runs: TreeRuns) -> torch.Tensor:
        runs.attention.kept = dict(self._kept)
        logits = runs.forward(self._staged, self._embedded)
        if self._kept:
            _copy(_flat(self._kept), _flat(runs.attention.kept))
        return logits

    def take(self, runs: TreeRuns, staged: StagedRun, embedded: torch.Tensor) -> bool:
        """Bring a run's inputs to where the graph reads them; False where its lists of keys are too long."""
        mine = self._staged
        if not all(refill(tree, staged.tree(window)) for window, tree in mine.trees.items()):
            return False
        _copy([mine.places, mine.rows, self._embedded], [staged.places, staged.rows, embedded])
        mine.carry.copy_(staged.carry)
        if self._kept and not runs.attention.kept:
            # The first run of a prompt.
            _zero(_flat(self._kept))
        elif self._kept and runs.attention.kept is not self._kept:
            _copy(_flat(self._kept), _flat(runs.attention.kept))
        return True

    def replay(self, runs: TreeRuns) -> torch.Tensor:
        """Queue the graph; the logits hold until the next replay."""
        self._graph.replay()
        runs.attention.kept = self._kept
        return self._logits

    def keeps(self, kept: Kept) -> bool:
        """Say whether the next run gets the same from the graph as from `kept`; waits for the device."""
        return all(map(torch.equal, _flat(self._kept), _flat(kept) if self._kept else []))


# One launch for all tensors.
_copy: Any = torch._foreach_copy_  # pyright: ignore[reportPrivateImportUsage]
_zero: Any = torch._foreach_zero_  # pyright: ignore[reportPrivateImportUsage]
_active: ContextVar[CudaGraphs | None] = ContextVar("interact_cuda_graphs", default=None)


@contextmanager
def cuda_graphs(model: Any, new: Callable[[], Graph] | None = None, impl: str = "triton") -> Iterator[CudaGraphs]:
    """Replay runs of the tree as CUDA graphs, for all scorings of a model inside; not measured in the product.

    It pays where many prompts, or many rounds of one, have runs of similar size, and the model is small. Graphs hold
    about as much memory as the largest run; it is given back at the end.

    Args:
        model: A causal language model on one CUDA device.
        new: Makes a graph; None for CUDA's.
        impl: See `CudaGraphs`.

    Yields:
        The graphs: ``captured`` and ``replayed`` count, ``refusal`` says why none are used.

    >>> with cuda_graphs(model):  # doctest: +SKIP
    ...     results = [interact.extract(model, tokenizer, text) for text in texts]
    """
    model = opened(model)
    reason = None if new else _refusal(model)
    if new is None and reason is None:
        device = model.get_input_embeddings().weight.device
        new = partial(CudaGraph, device, torch.cuda.graph_pool_handle())
    graphs = CudaGraphs(model, new or _none, impl)
    if reason is not None:
        graphs.refuse(reason)
    token = _active.set(graphs)
    try:
        yield graphs
    finally:
        _active.reset(token)
        graphs._graphs.clear()
        graphs._seen.clear()


def graphs_of(game: PromptGame) -> CudaGraphs | None:
    """Return the graphs that are asked for a game's model, None where none are, or none can be."""
    graphs = _active.get()
    serves = graphs is not None and graphs.refusal is None and graphs.model is game.model
    return graphs if serves and not torch.is_grad_enabled() else None


def state_of(model: Any, options: Mapping[str, Any]) -> Hashable:
    """Return what a graph of a model takes for granted: where weights lie, and how modules and products are set."""
    weights = tuple(
        (tensor.data_ptr(), tensor.dtype) for held in (model.parameters(), model.buffers()) for tensor in held
    )
    modules = tuple(
        (
            *(str(vars(module).get(name)) for name in _SWITCHES),
            # Themselves and not their ids, which others get when they are gone.
            *(vars(module).get("forward"), type(module).forward),
            *(tuple(hooks.values()) for hooks in (module._forward_hooks, module._forward_pre_hooks)),
        )
        for module in model.modules()
    )
    precision = str(torch.backends.cuda.matmul.fp32_precision)
    return weights, modules, precision, torch.is_autocast_enabled("cuda"), str(sorted(options.items()))


def _refusal(model: Any) -> str | None:
    if held_elsewhere(model) == "offloaded":
        return "weights of the model are offloaded"
    devices = {weight.device for weight in model.parameters()}
    if len(devices) > 1:
        return f"the model lies on {len(devices)} devices"
    [device] = devices
    return None if device.type == "cuda" else f"the model is on {device.type!r}, not on a CUDA device"


def _none() -> Graph:
    raise RuntimeError("CUDA graphs were refused.")


def _flat(kept: Kept) -> list[torch.Tensor]:
    return [part for pair in kept.values() for part in pair]


def _shorten(held: dict[Hashable, Any]) -> None:
    """Leave out the oldest entry of too many."""
    if len(held) > _MOST:
        del held[next(iter(held))]
