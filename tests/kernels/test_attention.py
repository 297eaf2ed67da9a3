"""Tree attention against the dense reference in float64: any tree, any head shape, windows, caps, sinks."""

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interact_kernels import _native, attention
from interact_kernels.attention import SegmentTree


def random_tree(seed: int, segments: int, longest: int = 20, window: int | None = None, silent: int = 0) -> SegmentTree:
    """A random tree in preorder with gaps in the positions; the first `silent` tokens ask nothing."""
    draw = torch.Generator().manual_seed(seed)

    def pick(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (1,), generator=draw))

    parents, lengths, positions, path = [], [], [], []
    ends: list[int] = []
    for segment in range(segments):
        path = path[: pick(0, len(path))] if pick(0, 2) == 0 else path
        parents.append(path[-1] if path else -1)
        lengths.append(pick(1, longest))
        begin = (ends[parents[-1]] if path else 0) + pick(0, 3)
        positions += range(begin, begin + lengths[-1])
        ends.append(begin + lengths[-1])
        path.append(segment)
    length, position = torch.tensor(lengths, dtype=torch.int64), torch.tensor(positions, dtype=torch.int64)
    first = torch.zeros_like(position) if window is None else position - window + 1
    queries = max(0, int(length.sum()) - silent)
    return SegmentTree(torch.cumsum(length, 0) - length, length, torch.tensor(parents), position, first, queries)


def tensors(tree, heads, kv_heads, size, value_size, dtype=torch.float64):
    draw = torch.Generator().manual_seed(1)
    shapes = ((heads, tree.queries, size), (kv_heads, tree.keys, size), (kv_heads, tree.keys, value_size))
    return [torch.randn(s, generator=draw, dtype=torch.float64).to(dtype) for s in shapes]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 999),
    segments=st.integers(1, 12),
    heads=st.sampled_from([(1, 1), (3, 3), (6, 2), (9, 3), (5, 1)]),
    sizes=st.sampled_from([(64, 64), (1, 1), (17, 33), (128, 64), (256, 256), (72, 80)]),
    window=st.sampled_from([None, 1, 7, 40]),
    softcap=st.sampled_from([0.0, 5.0]),
    sinks=st.booleans(),
    silent=st.integers(0, 30),
)
def test_native_equals_the_reference(seed, segments, heads, sizes, window, softcap, sinks, silent):
    tree = random_tree(seed, segments, window=window, silent=silent)
    q, k, v = tensors(tree, *heads, *sizes)
    options = {"softcap": softcap, "sinks": torch.linspace(-1, 2, heads[0], dtype=torch.float64) if sinks else None}
    truth = attention.tree_attention(q, k, v, tree, **options, impl="reference")
    options["sinks"] = options["sinks"].float() if sinks else None
    got = attention.tree_attention(q.float(), k.float(), v.float(), tree, **options, impl="native")
    torch.testing.assert_close(got.double(), truth, rtol=2e-5, atol=2e-5)
    assert got.shape == (tree.queries, heads[0], sizes[1])


@pytest.mark.parametrize("name", ["baseline", "avx2", "avx512"])
def test_every_instruction_set_equals_the_reference(name):
    if not _native.use_instruction_set(name):
        pytest.skip(f"this machine has no {name}")
    try:
        # Short paths, and such as fill panels of several tiles, with and without a window.
        trees = random_tree(11, 30, window=20), random_tree(4, 9, longest=150), random_tree(4, 9, 150, window=210)
        assert max(tree.position.max() for tree in trees) > 450
        for sizes, tree in product(((64, 64), (17, 33)), trees):
            q, k, v = tensors(tree, 6, 2, *sizes)
            truth = attention.tree_attention(q, k, v, tree, impl="reference")
            got = attention.tree_attention(q.float(), k.float(), v.float(), tree, impl="native")
            torch.testing.assert_close(got.double(), truth, rtol=2e-5, atol=2e-5)
    finally:
        _native.use_instruction_set("auto")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("impl", ["native", "torch"])
def test_error_stays_below_twice_that_of_plain_torch(impl, dtype):
    tree = random_tree(5, 20)
    q, k, v = tensors(tree, 6, 2, 64, 64, dtype)
    truth = attention.tree_attention(q.double(), k.double(), v.double(), tree, impl="reference")
    plain = (attention.tree_attention(q, k, v, tree, impl="reference").double() - truth).abs().max()
    error = (attention.tree_attention(q, k, v, tree, impl=impl).double() - truth).abs().max()
    assert error <= 2 * plain + 1e-6


def test_threads_do_not_change_a_bit():
    before = torch.get_num_threads()
    for tree in (random_tree(7, 200, longest=8), random_tree(4, 12, longest=150)):
        q, k, v = tensors(tree, 9, 3, 64, 64, torch.float32)
        results = []
        try:
            for threads in (1, 2, 5):
                torch.set_num_threads(threads)
                results.append(attention.tree_attention(q, k, v, tree, impl="native"))
        finally:
            torch.set_num_threads(before)
        assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


def test_strided_views_are_read_in_place():
    tree = random_tree(3, 5)
    q, k, v = tensors(tree, 4, 2, 32, 32, torch.float32)
    turned = [x.transpose(0, 1).contiguous().transpose(0, 1) for x in (q, k, v)]
    assert torch.equal(attention.tree_attention(q, k, v, tree), attention.tree_attention(*turned, tree))
    doubled = [torch.stack([x, x], -1)[..., 0] for x in (q, k, v)]
    assert torch.equal(attention.tree_attention(q, k, v, tree), attention.tree_attention(*doubled, tree))


def test_huge_scores_do_not_overflow():
    tree = random_tree(2, 6)
    q, k, v = (100 * x for x in tensors(tree, 2, 1, 64, 64, torch.float32))
    got = attention.tree_attention(q, k, v, tree, scale=1.0)
    truth = attention.tree_attention(q.double(), k.double(), v.double(), tree, scale=1.0, impl="reference")
    assert got.isfinite().all()
    torch.testing.assert_close(got.double(), truth, rtol=1e-3, atol=0.5)


def test_no_queries_and_no_tokens():
    empty = torch.tensor([], dtype=torch.int64)
    nothing = SegmentTree(empty, empty, empty, empty, empty, 0)
    q, k, v = tensors(nothing, 2, 1, 8, 8, torch.float32)
    assert attention.tree_attention(q, k, v, nothing).shape == (0, 2, 8)
    seen_only = random_tree(1, 3, silent=10**6)
    q, k, v = tensors(seen_only, 2, 1, 8, 8, torch.float32)
    assert attention.tree_attention(q, k, v, seen_only).shape == (0, 2, 8)


def test_bad_trees_are_sentences():
    def tree(start, length, parent, position, queries=1, first=None):
        fields = [torch.tensor(f, dtype=torch.int64) for f in (start, length, parent, position)]
        return SegmentTree(*fields, torch.tensor(first or [0] * len(position), dtype=torch.int64), queries)

    with pytest.raises(ValueError, match="preorder"):
        tree([0, 1, 2, 3], [1, 1, 1, 1], [-1, 0, -1, 0], [0, 1, 0, 1])
    with pytest.raises(ValueError, match="preorder"):
        tree([0], [1], [0], [0])
    with pytest.raises(ValueError, match="without a gap"):
        tree([0, 2], [1, 1], [-1, 0], [0, 1])
    with pytest.raises(ValueError, match="without a gap"):
        tree([0], [0], [-1], [])
    with pytest.raises(ValueError, match="queries must lie in"):
        tree([0], [1], [-1], [0], queries=2)
    with pytest.raises(ValueError, match="one start, length and parent"):
        tree([0], [1], [-1, 0], [0])


def test_bad_tensors_are_sentences():
    tree = random_tree(1, 3)
    q, k, v = tensors(tree, 4, 2, 8, 8, torch.float32)
    for arguments, message in [
        ((q[:3], k, v), "must be a multiple"),
        ((q[:, 1:], k, v), "The tree has"),
        ((q, k[..., 1:], v), "with k and v alike"),
        ((q.double(), k, v), "must share a floating dtype"),
    ]:
        with pytest.raises(ValueError, match=message):
            attention.tree_attention(*arguments, tree)
    with pytest.raises(ValueError, match="one logit for each of 4 heads"):
        attention.tree_attention(q, k, v, tree, sinks=torch.zeros(3))
    with pytest.raises(RuntimeError, match="it computes in float32"):
        attention.tree_attention(q.double(), k.double(), v.double(), tree, impl="native")
    assert "auto takes native" in attention.explain(q)
