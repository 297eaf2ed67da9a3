"""A learned baseline: the vector for absent words that makes the players interact least.

1. Draw disjoint groups A and B of one to three players and a context C among the rest.
2. Minimise |v(A+B+C) - v(A+C) - v(B+C) + v(C)| over one vector, shared by all samples, by SGD.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from typing import Any

import torch
from tqdm import tqdm

from interact.engines.flat import score_batch
from interact.engines.trust import quiet
from interact.games.prompt_game import game_of
from interact.prompt.inputs import CoalitionInputs
from interact.prompt.masking import Baseline, resolve_baseline


def learn_baseline(
    model: Any,
    samples: Sequence[CoalitionInputs],
    *,
    steps: int = 200,
    lr: float = 1e-3,
    momentum: float = 0.9,
    seed: int = 0,
    progress: bool | None = None,
) -> torch.Tensor:
    """Learn a baseline vector from prompts; pass it on as ``baseline=`` of `coalition_values` or `extract`.

    Args:
        model: The model; its weights and their gradients are not touched.
        samples: Prompts of at least two players each, from `interact.prepare`.
        steps: Steps of SGD, one sample each.
        lr: Learning rate.
        momentum: Momentum.
        seed: Seed of the draws.
        progress: Show a progress bar; None shows it on a terminal.

    Returns:
        The vector, shape [hidden], in the model's dtype and device.

    Raises:
        ValueError: No samples, or one with fewer than two players.

    Source: Ren et al. 2023 (CVPR, optimal baseline values), with the loss of docs/math.md.
    """
    if not samples or any(sample.n < 2 for sample in samples):
        raise ValueError("learn_baseline needs samples of at least two players each; pass more, or longer texts.")
    start = resolve_baseline(model, None, samples[0].special_ids).vector
    # Learned in float32: a step of 1e-3 is below the resolution of bfloat16.
    vector = start.float().requires_grad_()
    games = [game_of(model, sample, baseline=Baseline("learned", vector)) for sample in samples]
    optimizer = torch.optim.SGD([vector], lr=lr, momentum=momentum)
    draw = random.Random(seed)
    shown = sys.stderr.isatty() if progress is None else progress
    with quiet(model):
        for _ in tqdm(range(steps), unit="step", disable=not shown, leave=False):
            game = draw.choice(games)
            signs, masks = _quadruple(game.n, draw)
            with torch.enable_grad():
                values = score_batch(game, masks)
                loss = (values * signs.to(values)).sum().abs()
                (vector.grad,) = torch.autograd.grad(loss, [vector])
            optimizer.step()
    return vector.detach().to(start)


def _quadruple(n: int, draw: random.Random) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw A, B, C and return the signs and the players of A+B+C, A+C, B+C, C."""
    players = list(range(n))
    draw.shuffle(players)
    first = draw.randint(1, min(3, n - 1))
    second = draw.randint(1, min(3, n - first))
    a, b, rest = players[:first], players[first : first + second], players[first + second :]
    masks = torch.zeros(4, n, dtype=torch.bool)
    masks[:, [p for p in rest if draw.random() < 0.5]] = True
    masks[:2, a] = True
    masks[::2, b] = True
    return torch.tensor([1.0, -1.0, -1.0, 1.0]), masks
