"""What one would write without this project: transformers' own cache and attention masks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from interact import CoalitionInputs
from interact.engines.cache import branch, cache_argument, cache_of
from interact.engines.score import log_odds
from interact.models.family import inspect_model
from interact.prompt.masking import Baseline

GROUP = 64
"""Rows of a call."""


class Stock:
    """Scores of coalitions of one prompt by the stock cache, under either masking (`baseline` None: attention)."""

    def __init__(self, model: Any, inputs: CoalitionInputs, baseline: Baseline | None) -> None:
        self._model, self._inputs, self._baseline = model, inputs, baseline
        self._embedded = model.get_input_embeddings()(torch.tensor(inputs.input_ids))
        self._target = torch.tensor(inputs.target_ids)
        self._cache = str(cache_argument(inspect_model(model).takes))

    @torch.no_grad()
    def flat(self, coalitions: torch.Tensor) -> torch.Tensor:
        """Score a list of coalitions: bool [m, n] to [m]; the text before the first player is computed once."""
        first = self._inputs.spans[0][0]
        before = cache_of(self._step(torch.zeros(1, 0, dtype=torch.bool), DynamicCache(), 0, first))
        values = []
        for rows in coalitions.split(GROUP):
            held = branch(before, np.zeros(len(rows), dtype=np.int64), keep=True)
            values.append(self._odds(self._step(rows, held, first, len(self._embedded))))
        return torch.cat(values)

    @torch.no_grad()
    def tree(self) -> torch.Tensor:
        """Score all 2^n coalitions; a prefix branches at each player, depth first in groups."""
        return torch.cat(list(self._walk(torch.zeros(1, 0, dtype=torch.bool), DynamicCache())))[self._text_order()]

    def _walk(self, prefixes: torch.Tensor, cache: Any) -> Iterator[torch.Tensor]:
        depth, spans = prefixes.shape[1], self._inputs.spans
        begin = spans[depth - 1][0] if depth else 0
        if depth == self._inputs.n:
            yield self._odds(self._step(prefixes, cache, begin, len(self._embedded)))
            return
        out = self._step(prefixes, cache, begin, spans[depth][0])
        rows = torch.arange(len(prefixes)).repeat_interleave(2)
        below = torch.cat([prefixes[rows], (torch.arange(len(rows)) % 2).bool()[:, None]], dim=1)
        for some, chosen in zip(rows.split(GROUP), below.split(GROUP), strict=True):
            yield from self._walk(chosen, branch(cache_of(out), some.numpy(), keep=True))

    def _step(self, prefixes: torch.Tensor, cache: Any, begin: int, end: int) -> Any:
        """Go on to token `end` for each prefix: bool [rows, players decided]."""
        present = torch.ones(len(prefixes), end, dtype=torch.bool)
        for player, (low, high) in enumerate(self._inputs.spans[: prefixes.shape[1]]):
            present[:, low:high] = prefixes[:, player, None]
        part = self._embedded[begin:end].expand(len(prefixes), -1, -1)
        arguments: dict[str, Any] = {self._cache: cache, "use_cache": True, "logits_to_keep": 1}
        if self._baseline is None:
            arguments["attention_mask"] = present.long()
        else:
            part = torch.where(present[:, begin:, None], part, self._baseline.vector)
        place = torch.arange(begin, end).expand(len(prefixes), -1)
        return self._model(inputs_embeds=part, position_ids=place, **arguments)

    def _odds(self, out: Any) -> torch.Tensor:
        return log_odds(out.logits[:, -1], self._target.expand(len(out.logits)))

    def _text_order(self) -> torch.Tensor:
        """Return where the tree ends with each coalition: player 0 decides first there, but is the lowest bit here."""
        n = self._inputs.n
        bits = torch.arange(1 << n)[:, None] >> torch.arange(n) & 1
        return (bits << torch.arange(n - 1, -1, -1)).sum(-1)
