"""Rows of tokens, and which tokens of a row see each other."""

from __future__ import annotations

from dataclasses import dataclass

import torch

MOST_PLAYERS = 63


@dataclass(frozen=True)
class Rows:
    """Who sees whom inside the rows of a batch.

    Token t sees token s of its row when s is not hidden (or s = t), when s <= t if `causal`, and when
    ``|position[t] - position[s]| < window``. All tensors are int64 on the CPU.

    Attributes:
        offsets: Where each row begins and the last one ends, shape [rows + 1], for rows packed end to end into one
            batch entry; None: each batch entry is a row.
        position: Place of each token in its row, shape [tokens], growing inside each row; None: its index in the row.
        coalitions: Bit mask of the present players of each row, shape [rows]; None: nothing is hidden.
        player: Which player each token belongs to, -1 for none, shape [tokens of a row]; given with `coalitions`.
        causal: Whether a token sees earlier ones only.
        window: Smallest distance that a token does not see, None for no limit.
    """

    offsets: torch.Tensor | None = None
    position: torch.Tensor | None = None
    coalitions: torch.Tensor | None = None
    player: torch.Tensor | None = None
    causal: bool = False
    window: int | None = None

    def __post_init__(self) -> None:
        for name in ("offsets", "position", "coalitions", "player"):
            field = getattr(self, name)
            if field is not None and (field.dtype != torch.int64 or field.dim() != 1 or field.device.type != "cpu"):
                raise ValueError(
                    f"{name} must be a one-dimensional int64 tensor on the CPU, but is {tuple(field.shape)} of "
                    f"{field.dtype} on {field.device}."
                )
        if self.window is not None and self.window < 1:
            raise ValueError(f"window must be at least 1 (a token sees itself) or None, but is {self.window}.")
        if self.window is not None:
            # No two positions are further apart, and sums with it stay in 64 bits.
            object.__setattr__(self, "window", min(self.window, 1 << 62))

    def check_packing(self, tokens: int) -> None:
        """Raise ValueError unless the offsets cut `tokens` tokens into rows in which positions grow."""
        offsets, position = self.offsets, self.position
        assert offsets is not None
        ends = offsets.tolist()
        if not ends or ends[0] != 0 or ends[-1] != tokens or ends != sorted(ends):
            raise ValueError(f"offsets must grow from 0 to the {tokens} tokens of q, k and v, but are {ends!s:.80}.")
        if position is None:
            return
        if len(position) != tokens:
            raise ValueError(f"position must hold one place for each of {tokens} tokens, but has {len(position)}.")
        first = torch.zeros(tokens + 1, dtype=torch.bool)
        first[offsets] = True
        if bool(((position[1:] <= position[:-1]) & ~first[1:-1]).any()):
            raise ValueError("position must grow from token to token inside each row.")

    def check_coalitions(self, rows: int, length: int) -> None:
        """Raise ValueError unless there is a coalition for each row and a player for each of `length` tokens."""
        if self.coalitions is None and self.player is None:
            return
        if self.coalitions is None or self.player is None:
            raise ValueError("coalitions and player belong together; give both, or None for both (nothing hidden).")
        if len(self.coalitions) != rows or len(self.player) != length:
            raise ValueError(
                f"q has {rows} rows of {length} tokens, but there are {len(self.coalitions)} coalitions and "
                f"{len(self.player)} players of tokens."
            )
        if rows and int(self.coalitions.min()) < 0:
            raise ValueError(f"coalitions must be bit masks of at most {MOST_PLAYERS} players, but one is negative.")
        if length and not -1 <= int(self.player.min()) <= int(self.player.max()) < MOST_PLAYERS:
            raise ValueError(
                f"player must hold -1 or a player in [0, {MOST_PLAYERS}), but ranges from {int(self.player.min())} to "
                f"{int(self.player.max())}."
            )

    def hidden(self) -> torch.Tensor | None:
        """Say which tokens are hidden: bool, shape [rows, tokens of a row]; None: no token is."""
        if self.coalitions is None or self.player is None:
            return None
        bit = self.coalitions[:, None] >> self.player.clamp(min=0) & 1
        return (bit == 0) & (self.player >= 0)
