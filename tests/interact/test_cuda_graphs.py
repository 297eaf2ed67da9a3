"""Padded runs, and their replay: a stand-in for CUDA graphs computes a recorded call again, on the same tensors."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from interact import CoalitionInputs, coalition_values
from interact.engines.coalition_tree import CoalitionTree
from interact.engines.cuda_graphs import cuda_graphs
from interact.engines.padded_runs import common_size, most_tokens, padded, rounded
from interact.engines.runner import score_by
from interact.engines.tree import Tree
from interact.games.coalitions import all_coalitions
from interact.games.prompt_game import game_of
from interact_kernels.attention import TREE, TreeRequest
from interact_kernels.attention.key_lists import key_lists
from interact_kernels.dispatch import Implementation
from tests.interact.conftest import causal

SPANS = [(3, 5), (8, 9), (14, 18), (20, 21)]
# The stand-in runs the model again, and with it the hooks of the last layer, which belong to one scoring.
OPTIONS = {"final_rows": False, "most_tokens": 64}


def inputs_of(seed: int, length: int = 30) -> CoalitionInputs:
    ids = torch.randint(4, 400, (length,), generator=torch.Generator().manual_seed(seed)).tolist()
    return CoalitionInputs(ids, SPANS, [77, 12], special_ids={"unk": 3})


def scores(model, inputs, **options) -> torch.Tensor:
    game = game_of(model, inputs)
    with torch.no_grad():
        return score_by(Tree(), game, all_coalitions(game.n).numpy(), **(OPTIONS | options))


class Recorded:
    """A graph on the CPU: a replay computes the call again and puts the result where the first one lay."""

    def __init__(self, fails: bool = False, wrong: bool = False) -> None:
        self.fails, self.wrong = fails, wrong

    def capture(self, call):
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing\nand more")
        self._call, self._result = call, call()
        # What was computed when it was recorded is not to be read: CUDA computes nothing then.
        return self._result.fill_(torch.nan)

    def replay(self):
        with Unbroken():
            self._result.copy_(self._call() + self.wrong)


class Unbroken(TorchDispatchMode):
    """No operation that waits for the device."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert function.overloadpacket.__name__ not in ("_local_scalar_dense", "item", "equal", "nonzero"), function
        return function(*args, **kwargs or {})


def by_lists(request: TreeRequest) -> torch.Tensor:
    """Tree attention that knows the tree from the lists of keys alone, as on a card."""
    q, k, v, tree, scale, *_ = request
    lists, blocks = key_lists(tree, 16, 8, q.device), -(-tree.queries // 16)
    out = v.new_zeros(tree.queries, q.shape[0], v.shape[2])
    k, v = (x.repeat_interleave(q.shape[0] // k.shape[0], dim=0) for x in (k, v))
    offset = lists.offset.numpy() * 8
    for block in range(blocks):
        asked, listed = slice(16 * block, 16 * block + 16), slice(offset[block], offset[block + 1])
        at, bits = lists.key[listed].long(), lists.seen[0, listed]
        visible = (bits >> torch.arange(16)[:, None] & 1).bool()[: q[:, asked].shape[1]]
        weights = (scale * q[:, asked] @ k[:, at].mT).masked_fill(~visible, -torch.inf).softmax(-1)
        out[asked] = (weights @ v[:, at]).transpose(0, 1)
    return out


@pytest.fixture(autouse=True)
def lists():
    """Make `by_lists` the attention of eager runs, too, so that a replay gives the same bits."""
    TREE.register(Implementation("lists", by_lists), before="native")
    yield
    TREE.unregister("lists")


def test_all_runs_of_a_prompt_have_one_size():
    tree = CoalitionTree(30, SPANS, all_coalitions(4).numpy(), drop_absent=False)
    for size in (20, 64, 100, 4096):
        runs = list(tree.runs(tree.even(most_tokens(size)), 1000))
        common = common_size(runs, 2)
        assert common.tokens <= max(size, rounded(31))
        for run in runs:
            wide = padded(run, common)
            assert (len(wide.position) - wide.kept, wide.kept, len(wide.carry)) == (common.tokens, *[common.kept] * 2)
            assert np.array_equal(wide.position[wide.carry][common.kept - len(run.carry) :], run.position[run.carry])
            # No token of the run has padding on its path.
            front = common.kept - run.kept
            real = np.flatnonzero((wide.start >= front) & (wide.start < front + len(run.position)))
            assert np.array_equal(np.unique(wide.parent[real])[0:1], [-1]) or run.kept
            assert all(parent < 0 or parent in real for parent in wide.parent[real])


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_padding_changes_nothing(family):
    """Bit for bit where the linear layers get at least 4 rows: fewer are multiplied by another kernel in float32."""
    TREE.unregister("lists")
    try:
        model = causal(family)
        whole = [scores(model, inputs_of(0), most_tokens=2048, padded=wide) for wide in (False, True)]
        assert torch.equal(*whole)
        cut = [scores(model, inputs_of(0), padded=wide) for wide in (False, True)]
        torch.testing.assert_close(*cut, rtol=1e-5, atol=1e-5)
    finally:
        TREE.register(Implementation("lists", by_lists), before="native")


def test_replays_give_the_numbers_of_the_runs():
    model = causal()
    prompts = [inputs_of(seed, length) for seed, length in enumerate((30, 30, 31, 30))]
    expected = [scores(model, one, padded=True) for one in prompts]
    with cuda_graphs(model, Recorded, "lists") as graphs:
        found = [scores(model, one) for one in prompts]
        assert graphs.captured == 1 and graphs.replayed >= 4 and graphs.refusal is None
        assert all(map(torch.equal, found, expected))
        with torch.no_grad():
            # In place: the graph reads them where they lie.
            model.model.layers[0].mlp.up_proj.weight.mul_(2)
        assert not torch.equal(scores(model, prompts[0]), expected[0]) and graphs.captured == 1
        changed = scores(model, prompts[1])
    assert torch.equal(changed, scores(model, prompts[1], padded=True))


def test_a_model_that_is_set_otherwise_is_not_replayed():
    model = causal()
    with cuda_graphs(model, Recorded, "lists") as graphs:
        scores(model, inputs_of(0))
        before = graphs.replayed
        assert before
        handle = model.model.layers[1].register_forward_hook(lambda module, inputs, output: 2 * output)
        hooked = scores(model, inputs_of(1))
        # The first run is computed as ever, the second captured anew.
        assert graphs.captured == 2
        handle.remove()
        plain = scores(model, inputs_of(1))
    assert torch.equal(plain, scores(model, inputs_of(1), padded=True)) and not torch.equal(plain, hooked)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ({"fails": True}, r"capture failed \(RuntimeError: operation not permitted when stream is capturing\)"),
        ({"wrong": True}, "a replay gave other numbers than the run itself"),
    ],
)
def test_a_graph_that_fails_or_is_wrong_is_said_once_and_not_used(made, reason):
    model = causal()
    expected = [scores(model, inputs_of(seed), padded=True) for seed in (0, 1)]
    with (
        pytest.warns(UserWarning, match=f"CUDA graphs are not used: {reason}") as said,
        cuda_graphs(model, lambda: Recorded(**made), "lists") as graphs,
    ):
        found = [scores(model, inputs_of(seed), padded=True) for seed in (0, 1)]
    assert len(said) == 1 and graphs.captured == graphs.replayed == 0
    assert all(map(torch.equal, found, expected))


def test_the_engine_is_checked_with_padded_runs():
    model = causal()
    flat = coalition_values(model, inputs_of(0), engine="flat")
    with cuda_graphs(model, Recorded, "lists") as graphs:
        torch.testing.assert_close(coalition_values(model, inputs_of(0), engine="tree"), flat, rtol=1e-4, atol=1e-4)
    assert graphs.refusal is None


def test_a_model_on_the_cpu_is_refused_in_a_sentence():
    with (
        pytest.warns(UserWarning, match="CUDA graphs are not used: the model is on 'cpu', not on a CUDA device"),
        cuda_graphs(causal()) as graphs,
    ):
        scores(causal(), inputs_of(0))
    assert graphs.captured == 0
