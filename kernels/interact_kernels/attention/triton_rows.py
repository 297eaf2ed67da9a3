# Triton turns numbers into tl.constexpr at the call, and kernels are not Python; its annotations do not say so.
# pyright: reportArgumentType=false, reportOperatorIssue=false, reportGeneralTypeIssues=false, reportCallIssue=false
"""Masked and packed attention in Triton, for CUDA and ROCm devices; imported only when it runs.

1. A program owns a block of queries (tokens x query heads of one key head) of one row.
2. Causality and the window bound the keys that any of them may see; it meets those a block at a time: scores, the rule
   of who sees whom, online softmax.
3. Where a coalition hides tokens, the rule is evaluated first, from one bit mask and the players of the block's tokens;
   a block without a visible key is skipped, and in the others hidden keys and values are not read.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from interact_kernels import triton_guard
from interact_kernels.attention.request import RowRequest
from interact_kernels.attention.triton import PRECISION


def blocks(dtype: torch.dtype, group: int, longest: int, channels: int) -> tuple[int, int]:
    """Return how many queries (tokens x query heads) and keys a block holds, so that they stay in registers."""
    if dtype == torch.float32:
        most, keys = 16, 16
    else:
        most, keys = 4096 // max(64, channels), 32
    rows = max(16, int(triton.next_power_of_2(min(most, group * longest))))
    return max(rows, int(triton.next_power_of_2(group))), keys


def warps(block_m: int, channels: int) -> int:
    """Return how many warps share a block of rows, so that the sums of all channels stay in registers."""
    return min(16, max(4, block_m * channels // 1024))


@triton.jit
def _meet(
    rows,
    k_base,
    v_base,
    key,
    there,
    seen,
    k_token_stride,
    v_token_stride,
    scale,
    softcap,
    largest,
    total,
    summed,
    size: tl.constexpr,
    value_size: tl.constexpr,
    size_block: tl.constexpr,
    value_block: tl.constexpr,
    has_softcap: tl.constexpr,
    precision: tl.constexpr,
):
    """Let queries meet one block of keys: the new maximum, sum of weights and weighted sum of values."""
    channel = tl.arange(0, size_block)
    value_channel = tl.arange(0, value_block)
    k_at = k_base + key[None, :] * k_token_stride + channel[:, None]
    keys = tl.load(k_at, mask=there[None, :] & (channel < size)[:, None], other=0.0)
    scores = tl.dot(rows, keys, input_precision=precision) * scale
    if has_softcap:
        scores = softcap * (2.0 * tl.sigmoid(2.0 * scores / softcap) - 1.0)
    scores = tl.where(seen, scores, float("-inf"))
    higher = tl.maximum(largest, tl.max(scores, axis=1))
    weights = tl.exp(scores - higher[:, None])
    shrink = tl.exp(largest - higher)
    total = total * shrink + tl.sum(weights, axis=1)
    v_at = v_base + key[:, None] * v_token_stride + value_channel[None, :]
    values = tl.load(v_at, mask=there[:, None] & (value_channel < value_size)[None, :], other=0.0)
    summed = summed * shrink[:, None]
    summed += tl.dot(weights.to(values.dtype), values, input_precision=precision)
    return higher, total, summed


@triton.jit
def rows_kernel(
    q,
    k,
    v,
    sinks,
    out,
    block_row,
    block_first,
    offsets,
    position,
    coalitions,
    player,
    length,
    blocks_of_a_row,
    q_row_stride,
    q_token_stride,
    q_head_stride,
    k_row_stride,
    k_token_stride,
    k_head_stride,
    v_row_stride,
    v_token_stride,
    v_head_stride,
    heads,
    window,
    scale,
    softcap,
    group: tl.constexpr,
    size: tl.constexpr,
    value_size: tl.constexpr,
    size_block: tl.constexpr,
    value_block: tl.constexpr,
    block_m: tl.constexpr,
    key_block: tl.constexpr,
    packed: tl.constexpr,
    has_position: tl.constexpr,
    hides: tl.constexpr,
    causal: tl.constexpr,
    has_window: tl.constexpr,
    has_sinks: tl.constexpr,
    has_softcap: tl.constexpr,
    precision: tl.constexpr,
):
    """Attend for one block of queries; rows are entries of `length` tokens, or lie between the offsets if `packed`."""
    block = tl.program_id(0).to(tl.int64)
    kv_head = tl.program_id(1).to(tl.int64)
    each: tl.constexpr = block_m // group
    if packed:
        row = tl.load(block_row + block)
        first = tl.load(block_first + block)
        begin = tl.load(offsets + row)
        tokens = tl.load(offsets + row + 1) - begin
        entry = begin * 0
    else:
        row = block // blocks_of_a_row
        first = (block % blocks_of_a_row) * each
        begin = block * 0
        tokens = begin + length
        entry = row
    index = tl.arange(0, block_m)
    token = first + index // group
    head = kv_head * group + index % group
    inside = (index < each * group) & (token < tokens)
    channel = tl.arange(0, size_block)
    value_channel = tl.arange(0, value_block)
    q_at = q + entry * q_row_stride + (begin + token)[:, None] * q_token_stride + head[:, None] * q_head_stride
    rows = tl.load(q_at + channel[None, :], mask=inside[:, None] & (channel < size)[None, :], other=0.0)
    k_base = k + entry * k_row_stride + begin * k_token_stride + kv_head * k_head_stride
    v_base = v + entry * v_row_stride + begin * v_token_stride + kv_head * v_head_stride
    place = token
    if has_position:
        place = tl.load(position + begin + token, mask=inside, other=0)
    coalition = begin
    if hides:
        coalition = tl.load(coalitions + row)
    # Positions grow at least as fast as indices, so these bounds hold for them too.
    low = begin * 0
    high = tokens
    if causal:
        high = tl.minimum(tokens, first + each)
    if has_window:
        low = tl.maximum(low, first - window + 1)
        if not causal:
            high = tl.minimum(tokens, first + each - 1 + window)
    # A finite start: a block in which a query sees nothing must not make -inf - (-inf).
    largest = tl.full((block_m,), -1e30, tl.float32)
    total = tl.zeros((block_m,), tl.float32)
    if has_sinks:
        sink = tl.load(sinks + head, mask=inside, other=0.0).to(tl.float32)
        largest = tl.maximum(largest, sink)
        total = tl.exp(sink - largest)
    summed = tl.zeros((block_m, value_block), tl.float32)
    for at in range(low, high, key_block):
        key = at + tl.arange(0, key_block)
        there = key < high
        seen = there[None, :] & inside[:, None]
        if causal:
            seen = seen & (key[None, :] <= token[:, None])
        if has_window:
            key_place = key
            if has_position:
                key_place = tl.load(position + begin + key, mask=there, other=0)
            seen = seen & (tl.abs(key_place[None, :] - place[:, None]) < window)
        if hides:
            owner = tl.load(player + key, mask=there, other=-1)
            present = (owner < 0) | (((coalition >> tl.maximum(owner, 0)) & 1) == 1)
            seen = seen & (present[None, :] | (key[None, :] == token[:, None]))
            # Of hidden keys only those are read that this block's own tokens may need.
            there = there & (present | ((key >= first) & (key < first + each)))
            if tl.max(tl.max(seen.to(tl.int32), axis=1), axis=0) > 0:
                largest, total, summed = _meet(
                    rows, k_base, v_base, key, there, seen, k_token_stride, v_token_stride, scale, softcap,
                    largest, total, summed, size, value_size, size_block, value_block, has_softcap, precision,
                )  # fmt: skip
        else:
            largest, total, summed = _meet(
                rows, k_base, v_base, key, there, seen, k_token_stride, v_token_stride, scale, softcap,
                largest, total, summed, size, value_size, size_block, value_block, has_softcap, precision,
            )  # fmt: skip
    result = summed / tl.where(inside, total, 1.0)[:, None]
    place_out = (entry * length + begin + token)[:, None] * heads + head[:, None]
    out_at = out + place_out * value_size + value_channel[None, :]
    tl.store(out_at, result.to(out.dtype.element_ty), mask=inside[:, None] & (value_channel < value_size)[None, :])


def row_attention(request: RowRequest) -> torch.Tensor:
    """Attend on the device of `q`."""
    q, k, v, rows, scale, softcap, sinks = request
    entries, heads, tokens, size = q.shape
    value_size = v.shape[3]
    out = torch.empty(entries, tokens, heads, value_size, dtype=q.dtype, device=q.device)
    if not out.numel():
        return out
    q, k, v = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k, v))
    group = heads // k.shape[1]
    size_block, value_block = (max(16, triton.next_power_of_2(x)) for x in (size, value_size))
    lengths = torch.tensor([tokens]) if rows.offsets is None else rows.offsets.diff()
    block_m, key_block = blocks(q.dtype, group, int(lengths.max()), max(size_block, value_block))
    counts = -(-lengths // (block_m // group))
    block_row = block_first = None
    if rows.offsets is not None:
        block_row = torch.repeat_interleave(torch.arange(len(counts)), counts)
        block_first = torch.arange(len(block_row)) - torch.repeat_interleave(torch.cumsum(counts, 0) - counts, counts)
        block_first *= block_m // group
    programs = int(counts.sum()) * (entries if rows.offsets is None else 1)
    fields = (block_row, block_first, rows.offsets, rows.position, rows.coalitions, rows.player)
    with triton_guard.current_device(q.device):
        rows_kernel[(programs, k.shape[1])](
            q,
            k,
            v,
            q if sinks is None else sinks,
            out,
            # What is not there is not read; any pointer stands for it.
            *(q if field is None else field.contiguous().to(q.device) for field in fields),
            tokens,
            int(counts[0]),
            *(x.stride(axis) for x in (q, k, v) for axis in (0, 2, 1)),
            heads,
            rows.window or 0,
            scale,
            softcap,
            group,
            size,
            value_size,
            size_block,
            value_block,
            block_m,
            key_block,
            rows.offsets is not None,
            rows.position is not None,
            rows.coalitions is not None,
            rows.causal,
            rows.window is not None,
            sinks is not None,
            softcap != 0.0,
            "ieee" if torch.version.hip else PRECISION,
            num_warps=warps(block_m, max(size_block, value_block)),
        )
    return out
