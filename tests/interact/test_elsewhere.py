"""Engines on another device than the CPU, for which torch's meta device stands: it holds no numbers.

Whatever mixes tensors of two devices, or reads a number back while a run is under way, raises there. What transformers
itself reads back in the flat forward is left out: whether several prompts lie in one row, and all of an attention mask.
"""

import dataclasses

import numpy as np
import pytest
import torch
from transformers import masking_utils

from interact import CoalitionInputs
from interact.engines import ENGINES
from interact.games.prompt_game import game_of
from interact_kernels import attention
from interact_kernels.dispatch import Implementation
from tests.interact.conftest import causal, classifier

INPUTS = CoalitionInputs(list(range(5, 19)), [(1, 4), (5, 6), (8, 11)], [77, 12], special_ids={"unk": 1})
LABEL = CoalitionInputs([2, *range(5, 14), 3], [(1, 4), (5, 6), (8, 9)], [1], special_ids={"unk": 1, "mask": 4})
MASKS = np.unique(np.arange(8)[:, None] >> np.arange(3) & 1, axis=0).astype(bool)


CASES = [
    ("tree", "baseline", causal),
    ("tree", "attention", causal),
    ("flat", "baseline", causal),
    ("flat", "text", causal),
    ("reorder", "baseline", causal),
    ("packed", "attention", classifier),
    ("flat", "baseline", classifier),
]


@pytest.fixture
def no_numbers():
    """Let attention on the meta device give tensors of the right shape."""

    def tree(request: attention.TreeRequest) -> torch.Tensor:
        return request.v.new_empty(request.q.shape[1], request.q.shape[0], request.v.shape[-1])

    def rows(request: attention.RowRequest) -> torch.Tensor:
        entries, heads, tokens, _ = request.q.shape
        return request.v.new_empty(entries, tokens, heads, request.v.shape[-1])

    def refusal(request: attention.TreeRequest | attention.RowRequest) -> str | None:
        devices = {part.device for part in request[:3]}
        return None if devices == {torch.device("meta")} else "it has no numbers"

    shapes = {attention.TREE: tree, attention.MASKED: rows, attention.PACKED: rows}
    for operation, run in shapes.items():
        operation.register(Implementation("shapes", run, refusal))
    yield
    for operation in shapes:
        operation.unregister("shapes")


@pytest.mark.usefixtures("no_numbers")
@pytest.mark.parametrize(("engine", "masking", "build"), CASES)
def test_a_run_stays_on_its_device(engine, masking, build, monkeypatch):
    monkeypatch.setattr(masking_utils, "find_packed_sequence_indices", lambda positions: None)
    [chosen] = [one for one in ENGINES if one.name == engine]
    inputs = dataclasses.replace(INPUTS if build is causal else LABEL, placeholder_ids=(3,))
    game = game_of(build(), inputs, masking=masking, engine=engine)
    game.model.to("meta")
    if game.baseline is not None:
        game = dataclasses.replace(
            game, baseline=dataclasses.replace(game.baseline, vector=torch.empty(32, device="meta"))
        )
    else:
        game = dataclasses.replace(game)
    plan = chosen.plan(game, MASKS)
    batches = list(chosen.run(plan, np.arange(len(MASKS)), plan.size))
    assert sorted(row for rows, _ in batches for row in rows) == list(range(len(MASKS)))
    assert all(scores.device.type == "meta" and scores.shape == (len(rows),) for rows, scores in batches)
