"""Coalitions in every form that users give them."""

from __future__ import annotations

from typing import Any

import torch

from interact.prompt.players import LIMIT


def all_coalitions(n: int) -> torch.Tensor:
    """Return which of n players are present in each of all 2**n coalitions, in order: bool, shape [2**n, n]."""
    return (torch.arange(1 << n)[:, None] >> torch.arange(n) & 1).bool()


def presence(n: int, coalitions: Any) -> torch.Tensor:
    """Return which of n players are present in each coalition: bool, shape [M, n].

    Args:
        n: Number of players.
        coalitions: Bit masks (bit i = player i), integers of shape [M]; booleans of shape [M, n]; None for all 2**n.

    Raises:
        ValueError: They are neither, lie outside [0, 2**n), or all are asked for and there are more than 20 players.
    """
    if coalitions is None:
        if n > LIMIT:
            raise ValueError(
                f"{n} players make 2**{n} coalitions, but a full lattice holds at most {LIMIT} players; give fewer, "
                "or a list of coalitions."
            )
        return all_coalitions(n)
    try:
        masks = torch.as_tensor(coalitions).cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"coalitions must be a tensor, an array or a list of numbers, but are {coalitions!r:.80}."
        ) from error
    if masks.dtype == torch.bool and masks.dim() == 2 and masks.shape[1] == n:
        return masks
    if masks.dim() != 1 or masks.dtype.is_floating_point or masks.dtype == torch.bool or n > 62:
        raise ValueError(
            f"coalitions must be integer bit masks (up to 62 players) or booleans of shape [M, {n}], but are a "
            f"{masks.dtype} tensor of shape {tuple(masks.shape)}."
        )
    masks = masks.long()
    if len(masks) and not 0 <= int(masks.min()) <= int(masks.max()) < 1 << n:
        raise ValueError(f"coalitions must lie in [0, 2**{n}) for {n} players.")
    return (masks[:, None] >> torch.arange(n) & 1).bool()
