"""Models in half precision held in float32 for a while, so that what is wrong can be told from what is rounded.

bfloat16 moves a score by a tenth and more in all engines alike. In float32 an engine that is right agrees to 1e-3, and
one that is wrong does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from interact.models.family import held_elsewhere
from interact.models.memory import free_memory, out_of_memory

if TYPE_CHECKING:
    from interact.games.prompt_game import PromptGame

HALF = (torch.bfloat16, torch.float16)


def is_half(model: Any) -> bool:
    """Say whether a model computes in half precision."""
    return model.get_input_embeddings().weight.dtype in HALF


@contextmanager
def widened(model: Any) -> Iterator[None]:
    """Hold the half-precision weights and buffers of a model in float32 for a while, then exactly as before.

    Raises:
        ValueError: The weights are offloaded or quantised, so they are not here to be widened.
    """
    if kind := held_elsewhere(model):
        raise ValueError(f"The {kind} weights of {type(model).__name__} cannot be widened to float32.")
    held = [*model.parameters(), *model.buffers()]
    before = [(tensor, tensor.dtype) for tensor in held if tensor.dtype in HALF]
    # Where memory holds both, the weights go back to where they lay: a CUDA graph reads them there.
    devices = {tensor.device for tensor, _ in before}
    cuda = [device.type for device in devices] == ["cuda"]
    room = cuda and free_memory(*devices) > 3 * sum(tensor.nbytes for tensor, _ in before)
    narrow = [tensor.data for tensor, _ in before if room]
    try:
        for tensor, _ in before:
            tensor.data = tensor.data.float()
        yield
    finally:
        for at, (tensor, dtype) in enumerate(before):
            tensor.data = narrow[at] if room else tensor.data.to(dtype)


@contextmanager
def in_float32(game: PromptGame) -> Iterator[PromptGame | None]:
    """Hold a game's model in float32 for a while, and yield the game as it is then; None where that is impossible."""
    with ExitStack() as stack:
        try:
            stack.enter_context(widened(game.model))
        except (ValueError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not out_of_memory(error):
                raise
            yield None
            return
        if game.baseline is None:
            yield game
        else:
            yield replace(game, baseline=replace(game.baseline, vector=game.baseline.vector.float()))
