"""How far half precision moves a score, and hence which effects it drowns.

1. A few coalitions are scored twice: as asked for, and with the same weights in float32. The weights are widened where
   they lie and narrowed again, which loses nothing. On a card the products for a bfloat16 model are of TF32: they round
   activations 8 times finer than bfloat16 does. Independent errors of that size add 1 % to sigma (measured on an H200,
   16 coalitions: 0.9 % and 2.3 %), and the products take a fraction of the time.
2. sigma is the standard deviation of the differences: a constant shift would only move the bias.
3. An AND effect of order k sums 2^k scores, so its noise is 2^(k/2) sigma: below that floor it may be rounding alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from interact.engines.engine import Engine
from interact.engines.flat import Flat
from interact.engines.half import HALF, in_float32
from interact.engines.runner import score_by
from interact.engines.tree import Tree
from interact.engines.trust import plainly
from interact.models.family import held_elsewhere
from interact.models.memory import out_of_memory

if TYPE_CHECKING:
    from interact.games.prompt_game import PromptGame

_REPEATED = 16


@torch.no_grad()
def noise_floor(
    game: PromptGame, masks: torch.Tensor, values: torch.Tensor, engine: Engine, seed: int = 0, **options: Any
) -> dict[str, Any] | None:
    """Measure the noise of half-precision scores.

    Args:
        game: The game that gave `values`.
        masks: What was scored, bool, shape [M, n].
        values: Their scores, float32, shape [M] or [M, columns].
        engine: What scored them; the repeated coalitions are scored by the tree if it was, else flat.
        seed: Seed of the draw of the repeated coalitions.
        options: What this model needs of the engine, see `interact.engines.engine.Verdict`.

    Returns:
        None for a model in float32 or float64. Else ``dtype``, ``sigma`` (units of v, of each column; None where it
        could not be measured, with the ``reason``) and ``coalitions``, how many were repeated.
    """
    dtype = game.model.get_input_embeddings().weight.dtype
    if dtype not in HALF:
        return None
    name = str(dtype).removeprefix("torch.")
    drawn = torch.randperm(len(masks), generator=torch.Generator().manual_seed(seed))[:_REPEATED]
    if len(drawn) < 2:
        return {"dtype": name, "sigma": None, "reason": "a single coalition has no spread", "coalitions": len(drawn)}
    if kind := held_elsewhere(game.model):
        return {"dtype": name, "sigma": None, "reason": f"{kind} weights cannot be widened", "coalitions": 0}
    exact = engine if isinstance(engine, Tree) else Flat()
    try:
        with in_float32(game) as wide, plainly(game.model):
            if wide is None:
                raise torch.OutOfMemoryError
            with tf32_products(dtype == torch.bfloat16 and game.device.type == "cuda"):
                truth = score_by(exact, wide, masks[drawn].numpy(), **(options if exact is engine else {}))
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        return {"dtype": name, "sigma": None, "reason": "float32 weights do not fit in memory", "coalitions": 0}
    sigma = (values[drawn] - truth).double().std(0).tolist()
    return {"dtype": name, "sigma": sigma, "coalitions": len(drawn)}


@contextmanager
def tf32_products(wanted: bool) -> Iterator[None]:
    """Let a card compute products of float32 matrices with 10 bits of a fraction instead of 23, for a while."""
    if not wanted:
        yield
        return
    cpu: Any = torch.backends.mkldnn
    places = (torch.backends.cuda.matmul, cpu.matmul)
    before = [place.fp32_precision for place in places]
    try:
        older = torch.get_float32_matmul_precision()
    except RuntimeError:
        # The newer settings are in use, and torch refuses to mix them with the older one.
        older = None
    try:
        if older is None:
            places[0].fp32_precision = "tf32"
        else:
            torch.set_float32_matmul_precision("high")
        yield
    finally:
        if older is not None:
            torch.set_float32_matmul_precision(older)
        # The older setting writes into the newer ones, too, and would leave "ieee" where nothing was set.
        for place, precision in zip(places, before, strict=True):
            place.fp32_precision = precision
