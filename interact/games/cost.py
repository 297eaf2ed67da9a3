"""What the scores of a prompt will cost, known before any of them is computed."""

from __future__ import annotations

from dataclasses import dataclass

from interact.models.memory import size_in_words


@dataclass(frozen=True)
class Cost:
    """Tokens and memory of a run; its seconds are measured on its first batch and told then.

    Attributes:
        coalitions: How many coalitions are scored.
        tokens: Tokens that the model computes for them, in all; an estimate where the coalitions are sampled.
        flat_tokens: Tokens that one forward per coalition would compute.
        memory: Most bytes that a batch takes beside the model, as predicted from its shape.
        engine: What scores them.
    """

    coalitions: int
    tokens: int
    flat_tokens: int
    memory: int
    engine: str

    def __str__(self) -> str:
        ratio = self.flat_tokens / max(1, self.tokens)
        fewer = f" ({ratio:.1f} times fewer than one forward per coalition)" if ratio > 1.05 else ""
        return f"{self.tokens:,} tokens{fewer} and {size_in_words(self.memory)} of memory beside the model"
