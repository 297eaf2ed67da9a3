"""How well a model answers: the loss of the label's tokens, that of the end-of-text token, and the accuracy, apart.

A mean over all response tokens mixes two things: which label the model gives, and whether it knows that the answer is
over after it. Before a fine-tuning the second can be ten times the first, and it is learned within a few steps, so
a mean says nothing about the task. Stopping rules are chosen on one part of the held-out examples, the validation set,
and judged on the other, the test set.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from interact.engines.trust import quiet
from interact.models.family import device_of
from interact.sft.encoding import IGNORED, EncodedExamples

_Row = TypeVar("_Row")


@dataclass(frozen=True)
class AnswerLosses:
    """How well a model answers some examples.

    Attributes:
        response: Mean cross-entropy of all response tokens, the end-of-text token among them, in nats.
        label: Mean cross-entropy of the tokens of the label.
        end: Mean cross-entropy of the end-of-text tokens; NaN where no response has one.
        accuracy: Share of the examples in which every token of the label is the likeliest, given those before it.
    """

    response: float
    label: float
    end: float
    accuracy: float


@torch.no_grad()
def answer_losses(model: Any, encoded: EncodedExamples, *, batch_size: int = 8) -> AnswerLosses:
    """Measure how well a model answers, in eval mode.

    Args:
        model: The model; its mode is put back. A classifier's label is its one answer, without an end.
        encoded: The examples.
        batch_size: Rows a forward.

    >>> answer_losses(model, EncodedExamples(model, tokenizer, heldout, 512))  # doctest: +SKIP
    """
    label = end = right = 0.0
    labels = ends = 0
    with quiet(model):
        for start in range(0, len(encoded), batch_size):
            rows = [encoded[i] for i in range(start, min(start + batch_size, len(encoded)))]
            batch = {name: value.to(device_of(model)) for name, value in encoded.collate(rows).items()}
            truth = batch.pop("labels")
            logits = model(**batch).logits
            if truth.dim() == 1:
                truth, logits = truth[:, None], logits[:, None]
            else:
                truth, logits = truth[:, 1:], logits[:, :-1]
            loss, hit, is_end = _by_token(logits, truth, [encoded.ends(row) for row in rows])
            known = (truth != IGNORED) & ~is_end
            label += float(loss[known].sum())
            end += float(loss[is_end].sum())
            labels, ends = labels + int(known.sum()), ends + int(is_end.sum())
            right += int((hit | ~known).all(1).sum())
    mean = end / ends if ends else math.nan
    return AnswerLosses((label + end) / (labels + ends), label / labels, mean, right / len(encoded))


def _by_token(
    logits: torch.Tensor, truth: torch.Tensor, ended: list[bool]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return loss, hit, and whether it is the end, of each token; all [rows, tokens], 0 where no token is trained."""
    trained = truth != IGNORED
    # Only the few trained positions: all of them in float32 would need gigabytes.
    chosen, wanted = logits[trained].float(), truth[trained]
    loss = torch.zeros(truth.shape, device=truth.device)
    loss[trained] = torch.nn.functional.cross_entropy(chosen, wanted, reduction="none")
    hit = torch.zeros_like(trained)
    hit[trained] = chosen.argmax(-1) == wanted
    last = trained & (trained.cumsum(1) == trained.sum(1, keepdim=True))
    return loss, hit, last & torch.tensor(ended, device=truth.device)[:, None]


def halves(heldout: Sequence[_Row]) -> Iterator[tuple[str, Sequence[_Row]]]:
    """Part held-out examples into those a rule is chosen on and those it is judged on, by turns; no empty part."""
    for number, name in enumerate(("validation", "test")):
        if part := heldout[number::2]:
            yield name, part
