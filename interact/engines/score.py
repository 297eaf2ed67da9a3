"""The score of an answer: the log-odds of its tokens (docs/math.md, Score)."""

from __future__ import annotations

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
