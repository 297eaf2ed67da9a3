# Triton turns numbers into tl.constexpr at the call, and kernels are not Python; its annotations do not say so.
# pyright: reportArgumentType=false, reportOperatorIssue=false, reportGeneralTypeIssues=false, reportCallIssue=false
# pyright: reportAssignmentType=false
"""Tree attention in Triton, for CUDA and ROCm devices; imported only when it runs.

1. A program owns a block of query tokens, consecutive in the preorder, and the query heads of one key head.
2. It meets the block's list of keys (`key_lists`) a tile at a time: scores, online softmax, and, behind the keys that
   all its tokens see, one bit for each token and key that says who sees whom.
3. No page table and no mask in memory: only keys that a token of the block sees are ever loaded, each once a block.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from interact_kernels import triton_guard
from interact_kernels.attention.key_lists import MOST_TOKENS, key_lists
from interact_kernels.attention.request import TreeRequest

# Three products of 19-bit parts: float32 to rounding on tensor cores, where plain float32 products spill registers.
PRECISION = "tf32x3"


@dataclass(frozen=True)
class Tiling:
    """How the work is cut.

    Attributes:
        rows: Rows of a block, query tokens x query heads of one key head.
        keys: Keys that a block meets at a time.
        warps: Warps of a program.
        stages: Tiles of keys and values that are on their way at a time.
        registers: Most registers of a thread; None for as many as the compiler takes.
    """

    rows: int
    keys: int
    warps: int
    stages: int
    registers: int | None = None


def tiling(dtype: torch.dtype, channels: int, group: int, capability: int) -> Tiling:
    """Return the tiling for heads of so many channels (a power of 2), `group` query heads to a key head.

    `capability` is the device's: 8 for sm_80, 9 for sm_90, and so on.
    """
    least, registers = max(16, triton.next_power_of_2(group)), None
    if dtype == torch.float32:
        rows, keys, warps, stages = (64, 32, 8, 2) if channels <= 64 else (32, 16, 4, 2)
    elif torch.version.hip:
        rows, keys, warps, stages = 64, 32, 4, 1
    elif channels == 128 and capability < 9:
        # Larger tiles spill registers there.
        rows, keys, warps, stages = 64, 32, 4, 2
    elif channels == 128:
        # Measured on an H200: 4 blocks share a multiprocessor. Tiles of 64 keys, of which 2 do, take 1.1 to 1.7 times
        # as long, 112 registers 1.0 to 1.1, 96 registers 1.2 to 1.6 times. The limit of 128 costs 40 bytes of spills.
        rows, keys, warps, stages, registers = 64, 32, 4, 3, 128
    elif channels <= 128:
        rows, keys, warps, stages = 64, 64, 4, 2
    else:
        rows, keys, warps, stages = 64, 32, 8, 2
    return Tiling(max(least, min(rows, triton.next_power_of_2(group * MOST_TOKENS))), keys, warps, stages, registers)


@triton.jit
def _meet(
    at,
    asked,
    largest,
    total,
    summed,
    k_at,
    v_at,
    key_list,
    seen_list,
    word_stride,
    k_token_stride,
    v_token_stride,
    within,
    there,
    value_there,
    scale,
    softcap,
    tokens: tl.constexpr,
    tile: tl.constexpr,
    all_channels: tl.constexpr,
    all_values: tl.constexpr,
    has_softcap: tl.constexpr,
    precision: tl.constexpr,
    masked: tl.constexpr,
):
    """Meet one tile of keys; where not `masked`, every token of the block sees all of them."""
    entry = at * tile + tl.arange(0, tile)
    key = tl.load(key_list + entry).to(tl.int64)[:, None]
    # Padding repeats the first key: no row is read that does not exist, and no mask is needed for it.
    at_keys, at_values = k_at + key * k_token_stride, v_at + key * v_token_stride
    keys = tl.load(at_keys) if all_channels else tl.load(at_keys, mask=there, other=0.0)
    values = tl.load(at_values) if all_values else tl.load(at_values, mask=value_there, other=0.0)
    scores = tl.dot(asked, tl.trans(keys), input_precision=precision)
    # Exponentials to base 2 are one instruction: scores are taken times log2(e).
    log2_e: tl.constexpr = 1.4426950408889634
    factor = log2_e if has_softcap else scale * log2_e
    if has_softcap:
        scores = softcap * (2.0 * tl.sigmoid(2.0 * scores * scale / softcap) - 1.0)
    if masked:
        bits = tl.load(seen_list + entry)[None, :]
        if tokens > 32:
            bits = tl.where((within >= 32)[:, None], tl.load(seen_list + word_stride + entry)[None, :], bits)
        seen = ((bits >> (within % 32)[:, None]) & 1) != 0
        scores = tl.where(seen, scores * factor, float("-inf"))
        higher = tl.maximum(largest, tl.max(scores, axis=1))
        weights = tl.exp2(scores - higher[:, None])
    else:
        # The factor is not negative, so the largest product is that of the largest score; the rest is one fma.
        higher = tl.maximum(largest, tl.max(scores, axis=1) * factor)
        weights = tl.exp2(scores * factor - higher[:, None])
    shrink = tl.exp2(largest - higher)
    total = total * shrink + tl.sum(weights, axis=1)
    summed = tl.dot(weights.to(values.dtype), values, summed * shrink[:, None], input_precision=precision)
    return higher, total, summed


# The number of queries changes from run to run; specialized for it, the kernel would be compiled in the middle.
@triton.jit(do_not_specialize=["queries"])
def tree_kernel(
    q,
    k,
    v,
    sinks,
    out,
    key_list,
    seen_list,
    offset,
    full,
    q_token_stride,
    q_head_stride,
    k_token_stride,
    k_head_stride,
    v_token_stride,
    v_head_stride,
    word_stride,
    queries,
    heads,
    scale,
    softcap,
    group: tl.constexpr,
    size: tl.constexpr,
    value_size: tl.constexpr,
    size_block: tl.constexpr,
    value_block: tl.constexpr,
    tokens: tl.constexpr,
    rows: tl.constexpr,
    tile: tl.constexpr,
    has_sinks: tl.constexpr,
    has_softcap: tl.constexpr,
    precision: tl.constexpr,
):
    """Attend for `tokens` query tokens and the query heads of one key head."""
    block = tl.program_id(0)
    kv_head = tl.program_id(1).to(tl.int64)
    row = tl.arange(0, rows)
    channel = tl.arange(0, size_block)
    value_channel = tl.arange(0, value_block)
    within = row // group
    query = block.to(tl.int64) * tokens + within
    head = kv_head * group + row % group
    inside = (within < tokens) & (query < queries)
    there = (channel < size)[None, :]
    value_there = (value_channel < value_size)[None, :]
    q_at = q + query[:, None] * q_token_stride + head[:, None] * q_head_stride + channel[None, :]
    asked = tl.load(q_at, mask=inside[:, None] & there, other=0.0)
    k_at = k + kv_head * k_head_stride + channel[None, :]
    v_at = v + kv_head * v_head_stride + value_channel[None, :]
    # A finite start: a tile of which a row sees nothing must not make -inf - (-inf).
    largest = tl.full((rows,), -1e30, tl.float32)
    total = tl.zeros((rows,), tl.float32)
    summed = tl.zeros((rows, value_block), tl.float32)
    if has_sinks:
        largest = tl.load(sinks + head, mask=inside, other=0.0).to(tl.float32) * 1.4426950408889634
        total += 1.0
    begin, middle, end = tl.load(offset + block), tl.load(full + block), tl.load(offset + block + 1)
    for masked in tl.static_range(2):
        for at in range(middle if masked else begin, end if masked else middle):
            largest, total, summed = _meet(
                at,
                asked,
                largest,
                total,
                summed,
                k_at,
                v_at,
                key_list,
                seen_list,
                word_stride,
                k_token_stride,
                v_token_stride,
                within,
                there,
                value_there,
                scale,
                softcap,
                tokens,
                tile,
                size == size_block,
                value_size == value_block,
                has_softcap,
                precision,
                masked == 1,
            )
    result = summed / tl.where(inside, total, 1.0)[:, None]
    out_at = out + (query[:, None] * heads + head[:, None]) * value_size + value_channel[None, :]
    tl.store(out_at, result.to(out.dtype.element_ty), mask=inside[:, None] & value_there)


def tree_attention(request: TreeRequest, cut: Tiling | None = None) -> torch.Tensor:
    """Attend on the device of `q`."""
    q, k, v, tree, scale, softcap, sinks = request
    out = torch.empty(q.shape[1], q.shape[0], v.shape[2], dtype=q.dtype, device=q.device)
    if not out.numel():
        return out
    q, k, v = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k, v))
    if scale < 0:
        q, scale = -q, -scale
    group = q.shape[0] // k.shape[0]
    size_block, value_block = (max(16, triton.next_power_of_2(x.shape[2])) for x in (q, v))
    if cut is None:
        capability = torch.cuda.get_device_capability(q.device)[0] if q.device.type == "cuda" else 9
        cut = tiling(q.dtype, max(size_block, value_block), group, capability)
    tokens = min(MOST_TOKENS, cut.rows // group)
    lists = key_lists(tree, tokens, cut.keys, q.device)
    # ROCm's compiler does not know this option: even None is refused.
    limit = {} if cut.registers is None else {"maxnreg": cut.registers}
    with triton_guard.current_device(q.device):
        tree_kernel[(lists.blocks, k.shape[0])](
            q,
            k,
            v,
            q if sinks is None else sinks,
            out,
            lists.key,
            lists.seen,
            lists.offset,
            lists.full,
            *(x.stride(axis) for x in (q, k, v) for axis in (1, 0)),
            lists.seen.stride(0),
            tree.queries,
            q.shape[0],
            scale,
            softcap,
            group,
            q.shape[2],
            v.shape[2],
            size_block,
            value_block,
            tokens,
            cut.rows,
            cut.keys,
            sinks is not None,
            softcap != 0.0,
            "ieee" if torch.version.hip else PRECISION,
            num_warps=cut.warps,
            num_stages=cut.stages,
            **limit,
        )
    return out
