"""Run by test_attention_triton.py in a process of its own: masked and packed attention in the checked interpreter."""

import triton_interpreter

triton_interpreter.install()

import torch
from test_attention_rows import draw_coalitions, draw_rows, draw_tensors

from interact_kernels import attention

# The kernels must write every output.
empty = torch.empty
torch.empty = lambda *shape, **kinds: empty(*shape, **kinds).fill_(torch.nan)


def check(operation, inputs, dtype, heads, tolerance, sinks=False, **options):
    q, k, v, *who = inputs
    logits = torch.linspace(-1, 2, heads, dtype=dtype) if sinks else None
    got = operation(q, k, v, *who, sinks=logits, impl="triton", **options)
    wide = None if logits is None else logits.double()
    truth = operation(q.double(), k.double(), v.double(), *who, sinks=wide, impl="reference", **options)
    torch.testing.assert_close(got.double(), truth, rtol=tolerance, atol=tolerance)


def masked(dtype, heads, tokens, sizes, tolerance, hides=True, **options):
    who = draw_coalitions(tokens, 2, tokens) if hides else ()
    inputs = (*draw_tensors(1, 2, heads, tokens, sizes, dtype), *who)
    check(attention.masked_attention, inputs, dtype, heads[0], tolerance, **options)


def packed(dtype, heads, lengths, sizes, tolerance, placed=True, **options):
    offsets, position = draw_rows(1, lengths)
    inputs = (*(x[0] for x in draw_tensors(1, 1, heads, sum(lengths), sizes, dtype)), offsets)
    place = position if placed else None
    check(attention.packed_attention, inputs, dtype, heads[0], tolerance, position=place, **options)


if __name__ == "__main__":
    # Blocks hold 16 queries and 16 keys in float32.
    for tokens in (0, 1, 15, 16, 17):
        masked(torch.float32, (1, 1), tokens, (16, 16), 2e-5, causal=tokens % 2 == 0)
    masked(torch.float32, (3, 1), 20, (64, 64), 2e-5)
    masked(torch.float32, (3, 1), 17, (17, 33), 2e-5, sinks=True, softcap=5.0, window=7)
    masked(torch.float32, (2, 1), 33, (80, 96), 2e-5, causal=False, window=9)
    masked(torch.float32, (20, 1), 3, (16, 16), 2e-5, hides=False)
    packed(torch.float32, (1, 1), [0, 1, 15, 16, 17, 0], (16, 16), 2e-5, placed=False)
    packed(torch.float32, (3, 1), [17, 5], (17, 33), 2e-5, sinks=True, softcap=5.0, window=7, causal=True)
    packed(torch.float32, (2, 1), [33, 3], (80, 96), 2e-5, window=9)
    packed(torch.float32, (2, 1), [], (16, 16), 2e-5)
    # A player over whole blocks of keys: blocks without a visible key are skipped.
    q, k, v = draw_tensors(2, 1, (1, 1), 80, (16, 16), torch.float32)
    player = torch.arange(80) // 40 - 1  # the first half is always present
    check(attention.masked_attention, (q, k, v, torch.tensor([0]), player), torch.float32, 1, 2e-5, causal=False)
    # ... and what hidden keys hold is not read, except by the block of their own queries.
    before = attention.masked_attention(q, k, v, torch.tensor([0]), player, causal=False, impl="triton")
    k[:, :, 48:], v[:, :, 48:] = torch.nan, torch.inf
    after = attention.masked_attention(q, k, v, torch.tensor([0]), player, causal=False, impl="triton")
    assert torch.equal(before[:, :48], after[:, :48])
    # In half precision blocks hold 64 queries and 32 keys (heads of 256: 16 queries).
    for dtype, tolerance in ((torch.bfloat16, 3e-2), (torch.float16, 3e-3)):
        masked(dtype, (2, 1), 33, (64, 64), tolerance, window=30)
        packed(dtype, (2, 1), [31, 33], (64, 64), tolerance)
    masked(torch.bfloat16, (2, 1), 9, (256, 256), 3e-2)
    print("all equal")
