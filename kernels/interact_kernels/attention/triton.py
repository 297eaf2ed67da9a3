# Triton turns numbers into tl.constexpr at the call, and kernels are not Python; its annotations do not say so.
# pyright: reportArgumentType=false, reportOperatorIssue=false, reportGeneralTypeIssues=false, reportCallIssue=false
"""Tree attention in Triton, for CUDA and ROCm devices; imported only when it runs.

1. A program owns a block of rows (tokens x query heads of one key head) of one segment.
2. It walks the segment and then its ancestors by the parent indices, a block of keys at a time: scores, the rule of who
   sees whom (an earlier token of the packing, not below the row's first position), online softmax.
3. No page table and no mask in memory: only keys on the path are ever loaded.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from interact_kernels.attention.tree import SegmentTree


def block_n(dtype: torch.dtype) -> int:
    """Return how many keys are met at a time; wide ones fill the registers sooner."""
    return 16 if dtype == torch.float32 else 32


# Three products of 19-bit parts: float32 to rounding on tensor cores, where plain float32 products spill registers.
PRECISION = "tf32x3"


def warps(block_m: int, channels: int) -> int:
    """Return how many warps share a block of rows, so that the sums of all channels stay in registers."""
    return min(16, max(4, block_m * channels // 1024))


@triton.jit
def tree_kernel(
    q,
    k,
    v,
    sinks,
    out,
    start,
    length,
    parent,
    position,
    first,
    block_segment,
    block_row,
    q_token_stride,
    q_head_stride,
    k_token_stride,
    k_head_stride,
    v_token_stride,
    v_head_stride,
    silent,
    heads,
    scale,
    softcap,
    group: tl.constexpr,
    size: tl.constexpr,
    value_size: tl.constexpr,
    size_block: tl.constexpr,
    value_block: tl.constexpr,
    block_m: tl.constexpr,
    key_block: tl.constexpr,
    has_sinks: tl.constexpr,
    has_softcap: tl.constexpr,
    precision: tl.constexpr,
):
    """Attend for one block of rows; `silent` is how many keys at the front ask nothing."""
    block = tl.program_id(0).to(tl.int64)
    kv_head = tl.program_id(1).to(tl.int64)
    segment = tl.load(block_segment + block)
    row = tl.arange(0, block_m)
    token = tl.load(start + segment) + tl.load(block_row + block) + row // group
    head = kv_head * group + row % group
    inside = (row < block_m // group * group) & (token < tl.load(start + segment) + tl.load(length + segment))
    channel = tl.arange(0, size_block)
    value_channel = tl.arange(0, value_block)
    query = token - silent
    q_at = q + query[:, None] * q_token_stride + head[:, None] * q_head_stride + channel[None, :]
    rows = tl.load(q_at, mask=inside[:, None] & (channel < size)[None, :], other=0.0)
    low = tl.load(first + token, mask=inside, other=0)
    # A finite start: a block in which a row sees nothing must not make -inf - (-inf).
    largest = tl.full((block_m,), -1e30, tl.float32)
    total = tl.zeros((block_m,), tl.float32)
    if has_sinks:
        sink = tl.load(sinks + head, mask=inside, other=0.0).to(tl.float32)
        largest = tl.maximum(largest, sink)
        total = tl.exp(sink - largest)
    summed = tl.zeros((block_m, value_block), tl.float32)
    while segment >= 0:
        begin = tl.load(start + segment)
        end = begin + tl.load(length + segment)
        while begin < end:
            key = begin + tl.arange(0, key_block)
            there = key < end
            k_at = k + key[None, :] * k_token_stride + kv_head * k_head_stride + channel[:, None]
            keys = tl.load(k_at, mask=there[None, :] & (channel < size)[:, None], other=0.0)
            scores = tl.dot(rows, keys, input_precision=precision) * scale
            if has_softcap:
                scores = softcap * (2.0 * tl.sigmoid(2.0 * scores / softcap) - 1.0)
            place = tl.load(position + key, mask=there, other=0)
            seen = there[None, :] & (key[None, :] <= token[:, None]) & (place[None, :] >= low[:, None])
            scores = tl.where(seen, scores, float("-inf"))
            higher = tl.maximum(largest, tl.max(scores, axis=1))
            weights = tl.exp(scores - higher[:, None])
            shrink = tl.exp(largest - higher)
            total = total * shrink + tl.sum(weights, axis=1)
            v_at = v + key[:, None] * v_token_stride + kv_head * v_head_stride + value_channel[None, :]
            values = tl.load(v_at, mask=there[:, None] & (value_channel < value_size)[None, :], other=0.0)
            summed = summed * shrink[:, None]
            summed += tl.dot(weights.to(values.dtype), values, input_precision=precision)
            largest = higher
            begin += key_block
        segment = tl.load(parent + segment)
    result = summed / tl.where(inside, total, 1.0)[:, None]
    out_at = out + (query[:, None] * heads + head[:, None]) * value_size + value_channel[None, :]
    tl.store(out_at, result.to(out.dtype.element_ty), mask=inside[:, None] & (value_channel < value_size)[None, :])


def tree_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    tree: SegmentTree,
    scale: float,
    softcap: float,
    sinks: torch.Tensor | None,
) -> torch.Tensor:
    """Attend on the device of `q`. Shapes as in `interact_kernels.attention.tree_attention`."""
    out = torch.empty(q.shape[1], q.shape[0], v.shape[2], dtype=q.dtype, device=q.device)
    q, k, v = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k, v))
    group = q.shape[0] // k.shape[0]
    most = 16 if q.dtype == torch.float32 else 32
    block_m = max(16, triton.next_power_of_2(min(most, group * int(tree.length.max())))) if tree.queries else 16
    block_m = max(block_m, triton.next_power_of_2(group))
    segments, rows = _blocks(tree, block_m // group)
    if not len(segments):
        return out
    size_block, value_block = (max(16, triton.next_power_of_2(x.shape[2])) for x in (q, v))
    fields = [f.to(q.device) for f in (tree.start, tree.length, tree.parent, tree.position, tree.first)]
    tree_kernel[(len(segments), k.shape[0])](
        q,
        k,
        v,
        q if sinks is None else sinks,
        out,
        *fields,
        segments.to(q.device),
        rows.to(q.device),
        q.stride(1),
        q.stride(0),
        k.stride(1),
        k.stride(0),
        v.stride(1),
        v.stride(0),
        tree.keys - tree.queries,
        q.shape[0],
        scale,
        softcap,
        group,
        q.shape[2],
        v.shape[2],
        size_block,
        value_block,
        block_m,
        block_n(q.dtype),
        sinks is not None,
        softcap != 0.0,
        "ieee" if torch.version.hip else PRECISION,
        num_warps=warps(block_m, max(size_block, value_block)),
    )
    return out


def _blocks(tree: SegmentTree, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut the asking tokens of each segment into blocks: the segment and the first token in it, for each block."""
    silent = tree.keys - tree.queries
    skipped = (silent - tree.start).clamp(min=0).minimum(tree.length)
    counts = -(-(tree.length - skipped) // tokens)
    segments = torch.repeat_interleave(torch.arange(len(counts)), counts)
    within = torch.arange(len(segments)) - torch.repeat_interleave(torch.cumsum(counts, 0) - counts, counts)
    return segments, skipped[segments] + within * tokens
