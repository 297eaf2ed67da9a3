"""The score of an answer: the log-odds of its tokens, or against other answers (docs/math.md, Score)."""

from __future__ import annotations

from dataclasses import dataclass

import torch


def log_odds(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Log-odds of the target tokens: ``z_y - logsumexp_{k != y} z_k``, computed in float32.

    The usual ``log(p / (1 - p + eps))`` saturates near 16 in float32; this form does not.

    Args:
        logits: Shape [..., vocabulary], any floating dtype.
        target: Token ids, int64, shape [...].

    Returns:
        float32, shape [...].

    Source: Zhang et al. 2026 (arXiv 2605.17967), the output score of an interaction.

    >>> log_odds(torch.tensor([2.0, 0.0]), torch.tensor(0))
    tensor(2.)
    """
    index = target.unsqueeze(-1)
    chosen = logits.gather(-1, index).squeeze(-1).float()
    others = logits.to(torch.float32, copy=True).scatter_(-1, index, -torch.inf)
    return chosen - others.logsumexp(-1)


@dataclass(frozen=True)
class Contrast:
    """Log-odds of an answer against others: ``z_y - logsumexp_{k in against} z_k``, in float32.

    With one other answer it is the difference of the two logits, ``log p(y) / p(k)``. All other tokens play no part.

    Attributes:
        against: First tokens of the other answers, or labels.

    >>> Contrast((1,))(torch.tensor([2.0, 0.5, 7.0]), torch.tensor(0))
    tensor(1.5000)
    """

    against: tuple[int, ...]

    def __call__(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Score logits [..., outputs] for targets [...]; float32, shape [...]."""
        chosen = logits.gather(-1, target.unsqueeze(-1)).squeeze(-1).float()
        return chosen - logits[..., list(self.against)].float().logsumexp(-1)
