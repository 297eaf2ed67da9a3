"""Masked and packed attention against the reference in float64, and the identities that tie them together."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interact_kernels import _native, attention
from tests.kernels.test_attention import random_tree
from tests.kernels.test_attention import tensors as tree_tensors

SIZES = [(64, 64), (1, 1), (17, 33), (80, 96), (128, 64), (256, 256)]
HEADS = [(1, 1), (3, 3), (6, 2), (5, 1)]
TOKENS = [0, 1, 2, 15, 16, 17, 33, 65]


def draw_tensors(seed, entries, heads, tokens, sizes, dtype=torch.float64):
    """Random q, k, v of shape [entries, heads, tokens, size]."""
    draw = torch.Generator().manual_seed(seed)
    shapes = ((heads[0], sizes[0]), (heads[1], sizes[0]), (heads[1], sizes[1]))
    parts = [torch.randn(entries, h, tokens, s, generator=draw, dtype=torch.float64) for h, s in shapes]
    return [x.to(dtype) for x in parts]


def draw_coalitions(seed, rows, tokens, players=6):
    """Random coalitions, and players in runs of tokens with free tokens between them."""
    draw = torch.Generator().manual_seed(seed)
    names = torch.randint(-1, players, (tokens // 2 + 1,), generator=draw).repeat_interleave(2)[:tokens]
    bits = torch.randint(0, 2, (rows, players), generator=draw)
    # The highest players a mask holds.
    names = torch.where(names >= 0, names + 63 - players, names)
    return (bits << torch.arange(63 - players, 63)).sum(1), names


def draw_rows(seed, lengths):
    """Offsets of rows, and positions that grow with gaps inside each."""
    draw = torch.Generator().manual_seed(seed)
    position = [torch.randint(1, 4, (n,), generator=draw).cumsum(0) for n in lengths]
    return torch.tensor([0, *lengths]).cumsum(0), torch.cat([torch.zeros(0, dtype=torch.int64), *position])


@st.composite
def options(draw):
    return {
        "causal": draw(st.booleans()),
        "window": draw(st.sampled_from([None, 1, 7, 40, 2**70])),
        "softcap": draw(st.sampled_from([0.0, 5.0])),
        "scale": draw(st.sampled_from([None, 0.3])),
    }


def both(operation, inputs, kinds, sinks, heads, **more):
    """Return an implementation's result in float32 and the reference's in float64."""
    q, k, v, *who = inputs
    logits = torch.linspace(-1, 2, heads, dtype=torch.float64) if sinks else None
    truth = operation(q, k, v, *who, **kinds, sinks=logits, impl="reference", **more)
    single = logits.float() if sinks else None
    got = operation(q.float(), k.float(), v.float(), *who, **kinds, sinks=single, impl="native", **more)
    assert got.shape == truth.shape
    return got.double(), truth


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 999), st.sampled_from([0, 1, 3]), st.sampled_from(HEADS), st.sampled_from(TOKENS),
    st.sampled_from(SIZES), options(), st.booleans(), st.booleans(),
)  # fmt: skip
def test_native_masked_equals_the_reference(seed, batch, heads, tokens, sizes, kinds, sinks, hides):
    who = draw_coalitions(seed, batch, tokens) if hides else (None, None)
    got, truth = both(
        attention.masked_attention,
        (*draw_tensors(seed, batch, heads, tokens, sizes), *who),
        kinds,
        sinks,
        heads[0],
    )
    torch.testing.assert_close(got, truth, rtol=2e-5, atol=2e-5)
    assert got.shape == (batch, tokens, heads[0], sizes[1])


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 999), st.lists(st.sampled_from(TOKENS), max_size=4), st.sampled_from(HEADS),
    st.sampled_from(SIZES), options(), st.booleans(), st.booleans(),
)  # fmt: skip
def test_native_packed_equals_the_reference(seed, lengths, heads, sizes, kinds, sinks, placed):
    offsets, position = draw_rows(seed, lengths)
    q, k, v = (x[0] for x in draw_tensors(seed, 1, heads, len(position), sizes))
    place = position if placed else None
    got, truth = both(attention.packed_attention, (q, k, v, offsets), kinds, sinks, heads[0], position=place)
    torch.testing.assert_close(got, truth, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("causal", [True, False])
def test_the_reference_follows_the_rule_pair_by_pair(causal):
    coalitions, player = torch.tensor([0b00, 0b01, 0b10]), torch.tensor([-1, 0, 0, 1, -1, 1, -1])
    q, k, v = draw_tensors(0, 3, (2, 2), 7, (8, 8))
    got = attention.masked_attention(q, k, v, coalitions, player, causal=causal, window=4, impl="reference")
    for row, coalition in enumerate(coalitions.tolist()):
        for t in range(7):
            seen = []
            for s in range(7):
                absent = player[s] >= 0 and not coalition >> int(player[s]) & 1
                if (s == t or not absent) and abs(t - s) < 4 and (s <= t or not causal):
                    seen.append(s)
            scores = torch.einsum("hc,hsc->hs", q[row, :, t], k[row][:, seen]) * 8**-0.5
            expected = torch.einsum("hs,hsc->hc", scores.softmax(-1), v[row][:, seen])
            torch.testing.assert_close(got[row, t], expected)


def test_nothing_hidden_is_the_plain_attention_of_torch():
    q, k, v = draw_tensors(1, 2, (4, 4), 33, (64, 64), torch.float32)
    for causal in (True, False):
        plain = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2)
        torch.testing.assert_close(attention.masked_attention(q, k, v, causal=causal), plain, rtol=1e-5, atol=1e-5)


@given(st.integers(0, 999), st.booleans(), st.sampled_from([None, 9]))
@settings(max_examples=15, deadline=None)
def test_hiding_tokens_is_leaving_them_out(seed, causal, window):
    """What the present tokens of a masked batch get is what they get packed alone, at their old positions."""
    coalitions, player = draw_coalitions(seed, 4, 37)
    q, k, v = draw_tensors(seed, 4, (4, 2), 37, (16, 16), torch.float32)
    masked = attention.masked_attention(q, k, v, coalitions, player, causal=causal, window=window)
    present = (player < 0) | ((coalitions[:, None] >> player.clamp(min=0) & 1) == 1)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), present.sum(1).cumsum(0)])
    alone = [x.transpose(1, 2)[present].transpose(0, 1) for x in (q, k, v)]
    position = present.nonzero()[:, 1]
    packed = attention.packed_attention(*alone, offsets, position=position, causal=causal, window=window)
    torch.testing.assert_close(masked[present], packed, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("poison", [torch.nan, torch.inf, -1e30])
def test_what_hidden_tokens_and_other_rows_hold_cannot_matter(poison):
    coalitions, player = draw_coalitions(3, 3, 50)
    coalitions[1] = 0
    q, k, v = draw_tensors(3, 3, (2, 1), 50, (16, 16), torch.float32)
    before = attention.masked_attention(q, k, v, coalitions, player)
    hidden = (player >= 0) & ((coalitions[:, None] >> player.clamp(min=0) & 1) == 0)
    k, v = (torch.where(hidden[:, None, :, None], poison, x) for x in (k, v))
    after = attention.masked_attention(q, k, v, coalitions, player)
    assert hidden.any() and torch.equal(before[~hidden], after[~hidden])
    k[1], v[1] = poison, poison
    after = attention.masked_attention(q, k, v, coalitions, player)
    assert torch.equal(before[[0, 2]][~hidden[[0, 2]]], after[[0, 2]][~hidden[[0, 2]]])


@pytest.mark.parametrize("name", ["baseline", "avx2", "avx512"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_instruction_set_and_storage_equals_the_reference(name, dtype):
    """An implementation errs less than twice as much as plain torch in the same dtype."""
    if not _native.use_instruction_set(name):
        pytest.skip(f"this machine has no {name}")
    tree = random_tree(11, 30, window=20)
    try:
        # Rows of one tile, and of panels of several.
        for sizes, tokens, window in (
            ((64, 64), 50, 30),
            ((17, 33), 50, 30),
            ((64, 64), 420, 250),
            ((17, 33), 420, None),
        ):
            who, (offsets, position) = draw_coalitions(5, 3, tokens), draw_rows(5, [0, 20, 1, tokens - 21])
            q, k, v = draw_tensors(5, 3, (6, 2), tokens, sizes, dtype)
            row = [x[0] for x in (q, k, v)]
            for operation, inputs, more in (
                (attention.masked_attention, (q, k, v, *who), {"window": window}),
                (attention.packed_attention, (*row, offsets), {"position": position}),
                (attention.tree_attention, (*tree_tensors(tree, 6, 2, *sizes, dtype), tree), {}),
            ):
                doubled = [x.double() for x in inputs[:3]]
                truth = operation(*doubled, *inputs[3:], impl="reference", **more)
                plain = (operation(*inputs, impl="reference", **more).double() - truth).abs().max()
                got = operation(*inputs, impl="native", **more)
                assert got.dtype == dtype and (got.double() - truth).abs().max() <= 2 * plain + 1e-6
    finally:
        _native.use_instruction_set("auto")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_read_and_rounded_like_torch_for_every_bit_pattern(dtype):
    every = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int32).to(torch.int16).view(dtype).view(256, 1, 1, 256)
    ones = torch.ones(256, 1, 1, 16, dtype=dtype)
    alone = attention.masked_attention(ones, ones, every)
    torch.testing.assert_close(alone, every, rtol=0, atol=0, equal_nan=True)
    # Two tokens with equal weights: the mean of neighbours must be rounded to even, subnormals included.
    after = torch.stack([every.flatten(), every.flatten().roll(1)], 1).view(-1, 1, 2, 1)
    keep = after.isfinite().all(2).flatten()
    pairs = after[keep][::7]
    equal = torch.ones(len(pairs), 1, 2, 1, dtype=dtype)
    mean = attention.masked_attention(equal, equal, pairs)[:, 1, 0, 0]
    expected = ((pairs[:, 0, 0, 0].float() + pairs[:, 0, 1, 0].float()) * 0.5).to(dtype)
    assert torch.equal(mean, expected)


def test_threads_do_not_change_a_bit():
    who, (offsets, position) = draw_coalitions(7, 2, 420), draw_rows(7, [3, 370, 47])
    q, k, v = draw_tensors(7, 2, (9, 3), 420, (64, 64), torch.float32)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            masked = attention.masked_attention(q, k, v, *who, window=250)
            row = (q[0], k[0], v[0])
            packed = attention.packed_attention(*row, offsets, position=position, window=600)
            results.append(torch.cat([masked.flatten(), packed.flatten()]))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


def test_strided_views_are_read_in_place_and_every_output_is_written(monkeypatch):
    who = draw_coalitions(3, 2, 20)
    q, k, v = draw_tensors(3, 2, (4, 2), 20, (32, 32), torch.float32)
    plain = attention.masked_attention(q, k, v, *who)
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *shape, **kinds: empty(*shape, **kinds).fill_(torch.nan))
    turned = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k, v)]
    assert torch.equal(attention.masked_attention(*turned, *who), plain)
    offsets = torch.tensor([0, 20])
    one = attention.packed_attention(*(x[0] for x in turned), offsets, causal=True)
    assert torch.equal(one, attention.masked_attention(*turned)[0])
    doubled = [torch.stack([x, x], -1)[..., 0] for x in (q, k, v)]
    assert torch.equal(attention.masked_attention(*doubled, *who), plain)


def test_gradients_flow_through_the_reference():
    q, k, v = (x.requires_grad_() for x in draw_tensors(0, 1, (2, 1), 5, (4, 4)))
    attention.masked_attention(q, k, v, torch.tensor([0]), torch.tensor([-1, 0, 0, -1, -1])).sum().backward()
    assert k.grad is not None and k.grad.isfinite().all()
    with pytest.raises(RuntimeError, match="native: no, it computes in float32"):
        attention.masked_attention(q, k, v, impl="native")


MASKED = {
    "belong together": {"player": None},
    "there are 1 coalitions": {"coalitions": torch.tensor([1])},
    "one is negative": {"coalitions": torch.tensor([1, -2])},
    r"in \[0, 63\)": {"player": torch.tensor([0, 63, -1])},
    "player must be a one-dimensional int64": {"player": torch.tensor([0.0, 1.0, 2.0])},
    "window must be at least 1": {"window": 0},
    "must be a multiple": {"q": torch.ones(2, 3, 3, 8)},
    "Every token is a query and a key": {"q": torch.ones(2, 4, 2, 8)},
    "must share a floating dtype": {"q": torch.ones(2, 4, 3, 8, dtype=torch.float64)},
    "with k and v alike": {"k": torch.ones(2, 3, 8)},
    "one logit for each of 4 heads": {"sinks": torch.ones(3)},
    "softcap must be positive": {"softcap": -1.0},
    "no implementation 'fast'": {"impl": "fast"},
}


@pytest.mark.parametrize("message", MASKED)
def test_bad_masked_input_is_a_sentence(message):
    arguments = {"q": torch.ones(2, 4, 3, 8), "k": torch.ones(2, 2, 3, 8), "v": torch.ones(2, 2, 3, 8)}
    arguments |= {"coalitions": torch.tensor([1, 2]), "player": torch.tensor([0, 1, -1])}
    attention.masked_attention(**arguments)
    with pytest.raises(ValueError, match=message):
        attention.masked_attention(**(arguments | MASKED[message]))


PACKED = {
    "offsets must grow from 0 to the 5 tokens": {"offsets": torch.tensor([0, 4])},
    "but are \\[0, 3, 2, 5\\]": {"offsets": torch.tensor([0, 3, 2, 5])},
    "but are \\[\\]": {"offsets": torch.tensor([], dtype=torch.int64)},
    "one place for each of 5 tokens": {"position": torch.tensor([0, 1])},
    "must grow from token to token": {"position": torch.tensor([0, 1, 5, 5, 6])},
    "offsets must be a one-dimensional int64": {"offsets": torch.tensor([[0, 5]])},
}


@pytest.mark.parametrize("message", PACKED)
def test_bad_packed_input_is_a_sentence(message):
    q = torch.ones(2, 5, 8)
    arguments = {"offsets": torch.tensor([0, 2, 5]), "position": torch.tensor([3, 9, 0, 5, 6])}
    attention.packed_attention(q, q, q, **arguments)
    with pytest.raises(ValueError, match=message):
        attention.packed_attention(q, q, q, **(arguments | PACKED[message]))


def test_explain_names_the_operation():
    q = torch.ones(1, 1, 1, 8)
    assert attention.explain(q, "masked_attention").startswith("masked_attention: auto takes native")
    with pytest.raises(ValueError, match="no operation 'sparse_attention'"):
        attention.explain(q, "sparse_attention")
