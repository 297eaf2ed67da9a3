"""What a score is: from the logits behind a prompt to a number, or to several (docs/math.md, Score).

A score of tokens takes logits [..., outputs] and target ids [...] and gives [...]; those of an answer's tokens are
added up. A score with `columns` gives several numbers for each coalition in one pass, [..., columns]; nothing is added.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from interact.engines.function_hash import function_hash

Score = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From logits [..., outputs] and target ids [...] to scores [...]."""


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


def log_probability(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Log-probability of the target tokens, ``z_y - logsumexp z``, in float32; their sum is that of the whole answer.

    >>> log_probability(torch.tensor([0.0, 0.0]), torch.tensor(0))
    tensor(-0.6931)
    """
    return logit(logits, target) - logits.float().logsumexp(-1)


def logit(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the target tokens' logits in float32.

    >>> logit(torch.tensor([2.0, 0.5]), torch.tensor(1))
    tensor(0.5000)
    """
    return logits.gather(-1, target.unsqueeze(-1)).squeeze(-1).float()


SCORES: dict[str, Score] = {"log-odds": log_odds, "log-probability": log_probability, "logit": logit}
"""The scores that have a name."""


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
        return logit(logits, target) - logits[..., list(self.against)].float().logsumexp(-1)


@dataclass(frozen=True)
class OfLogits:
    """Any function of the final logits, such as their entropy.

    Attributes:
        function: From logits, float32, shape [rows, outputs], to one number per row.

    >>> entropy = OfLogits(lambda z: -(z.softmax(-1) * z.log_softmax(-1)).sum(-1))
    >>> entropy(torch.zeros(1, 2), torch.tensor([0]))
    tensor([0.6931])
    """

    function: Callable[[torch.Tensor], torch.Tensor]

    def __call__(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Score logits [..., outputs]; the targets only give the shape.

        Raises:
            ValueError: The function does not return one number per row.
        """
        rows = logits.reshape(-1, logits.shape[-1]).float()
        values = self.function(rows)
        if not isinstance(values, torch.Tensor) or values.shape != rows.shape[:1]:
            shape = tuple(values.shape) if isinstance(values, torch.Tensor) else type(values).__name__
            raise ValueError(
                f"A score takes logits of shape {tuple(rows.shape)} and returns one number per row, a tensor of shape "
                f"{tuple(rows.shape[:1])}, but returned {shape}."
            )
        return values.float().reshape(target.shape)

    def name(self) -> dict[str, str]:
        """Name the function for the record, by what it is called and a hash of its code and of all it uses."""
        name = getattr(self.function, "__qualname__", type(self.function).__name__)
        return {"name": name, "code": function_hash(self.function)}


@dataclass(frozen=True)
class EachToken:
    """The scores of an answer's tokens, each given those before it, in one pass.

    Attributes:
        score: The score of one token.
        columns: How many tokens the answer has.
    """

    score: Score
    columns: int

    def __call__(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Score logits [rows, columns, outputs] for targets [rows, columns]; float32, shape [rows, columns]."""
        return self.score(logits, target)


@dataclass(frozen=True)
class EachTarget:
    """The scores of several answers, by the first token of each or by labels, in one pass.

    Attributes:
        score: The score of one of them.
        targets: First tokens, or labels.
    """

    score: Score
    targets: tuple[int, ...]

    @property
    def columns(self) -> int:
        """How many answers there are."""
        return len(self.targets)

    def __call__(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Score logits [rows, (1,) outputs]; the targets only give the shape; float32, shape [rows, columns]."""
        rows = logits.reshape(len(target), logits.shape[-1])
        return torch.stack([self.score(rows, torch.full_like(target.reshape(-1), one)) for one in self.targets], -1)


def rated(score: Score, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Score answers: one number per row, or one for each column of the score.

    Args:
        score: The score.
        logits: Shape [rows, tokens, outputs], or [rows, labels].
        target: Shape [rows, tokens], or [rows].

    Returns:
        float32, shape [rows] or [rows, columns].
    """
    values = score(logits, target).float()
    return values if target.dim() == 1 or hasattr(score, "columns") else values.sum(-1)


def usual(independent: bool) -> Score:
    """Return the score of a family: log-odds, which of a label that is judged apart is its logit."""
    return logit if independent else log_odds


def score_of(given: str | Callable[[torch.Tensor], torch.Tensor] | None, *, independent: bool) -> Score:
    """Return a score by its name, or of a function of the final logits.

    Raises:
        ValueError: There is no such score, or it means nothing for labels that are judged apart.
    """
    if given is None:
        return usual(independent)
    if isinstance(given, str):
        if given not in SCORES:
            raise ValueError(
                f"score={given!r} is not known; choose one of {list(SCORES)}, or pass a function of the final logits."
            )
        if independent and given == "log-probability":
            raise ValueError(
                "The labels of this classifier are judged apart, so there is no probability over them; leave score out."
            )
        return usual(independent) if given == "log-odds" else SCORES[given]
    if not callable(given):
        raise ValueError(
            f"score must be one of {list(SCORES)} or a function of the final logits, but is {given!r:.60}."
        )
    return OfLogits(given)


def name_of(score: Score) -> dict[str, Any] | None:
    """Name a score for the record; None for the usual one."""
    if isinstance(score, OfLogits):
        return score.name()
    return {"name": "log-probability"} if score is log_probability else {"name": "logit"} if score is logit else None
