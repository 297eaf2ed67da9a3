"""The packed forward of an encoder against flat batches with a padding mask, under attention masking.

The flat contender scores every 2^s-th coalition and is charged for all of them, as in `bench.tree`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from transformers import BertConfig, BertForSequenceClassification

from bench.registry import Case, Check, Entry, Timed
from interact import CoalitionInputs
from interact.engines.flat import Flat
from interact.engines.packed import Packed, Packing
from interact.engines.runner import score_by
from interact.games.coalition_values import all_coalitions
from interact.games.prompt_game import game_of

_SHARE = 64
"""Coalitions that the flat contender scores, of all 2^n."""


def minilm() -> Any:
    """Return a random BERT classifier with the sizes of MiniLM-L6 (6 layers, hidden size 384, 12 heads)."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12}
    return BertForSequenceClassification(BertConfig(intermediate_size=1536, **sizes)).eval()


def prompt(length: int, n: int) -> CoalitionInputs:
    """Return random ids of which n players of equal length cover 80 %, with what is always present between them."""
    ids = torch.randint(1000, 30000, (length,), generator=torch.Generator().manual_seed(0)).tolist()
    width, cell = 0.8 * length / n, (length - 2) / n
    starts = [1 + round(i * cell) for i in range(n)]
    return CoalitionInputs(ids, [(start, start + round(width)) for start in starts], [1])


def case(model: Any, inputs: CoalitionInputs, threads: int) -> Case:
    """Build one row."""
    coalitions = all_coalitions(inputs.n)
    # A step that shares no factor with the powers of two meets each player in half of the coalitions.
    some = coalitions[torch.arange(_SHARE) * (len(coalitions) // _SHARE + 1) % len(coalitions)]

    game = game_of(model, inputs, masking="attention")

    def timed(engine: Any, rows: torch.Tensor) -> Timed:
        def run() -> None:
            with torch.no_grad():
                score_by(engine, game, rows.numpy())

        return Timed(run, work=len(rows) / len(coalitions))

    plan = Packing(game, coalitions.numpy())
    covered = sum(high - low for low, high in inputs.spans) / len(inputs.input_ids)
    return Case(
        f"BERT 6x384, {len(inputs.input_ids)} tokens, n={inputs.n}, players over {covered:.0%}, "
        f"{plan.flat_tokens / plan.tokens:.2f}x fewer tokens",
        ours=timed(Packed(), coalitions),
        baselines={"flat batch": timed(Flat(), some)},
        at_least={"flat batch": 1.6},
        threads=threads,
        slow=True,
    )


def cases(quick: bool) -> Iterator[Case]:
    """Yield prompts of several lengths whose players cover 80 % of the text."""
    model = minilm()
    for length, n in ((40, 4),) if quick else ((80, 8), (160, 8), (240, 8)):
        yield case(model, prompt(length, n), 1)


def gate(quick: bool) -> Iterator[Check]:
    """Yield the largest difference of log-odds between packed and flat."""
    model, inputs = minilm(), prompt(40, 5)
    game, every = game_of(model, inputs, masking="attention"), all_coalitions(5).numpy()
    with torch.no_grad():
        flat, packed = score_by(Flat(), game, every), score_by(Packed(), game, every)
    yield Check("packed against flat", float((packed - flat).abs().max()), 1e-4)


ENTRY = Entry("packed", unit="s", cases=cases, gate=gate)
