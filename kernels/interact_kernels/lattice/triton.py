# Triton turns numbers into tl.constexpr at the call, and kernels are not Python; its annotations do not say so.
# pyright: reportArgumentType=false, reportOperatorIssue=false, reportGeneralTypeIssues=false
"""The lattice transforms in Triton, for CUDA and ROCm devices; imported only when they run.

1. `tile`: a program loads a tile of neighbouring values; each level reshapes it to [above, 2, below] and combines
   the halves; then the factor, then one store.
2. `columns`: the same for levels of a large stride: a program loads 2^r rows of neighbouring columns.
3. The matrix is a compile-time constant: no product by 0, 1 or -1 remains. Arithmetic is float32 for narrower
   inputs, float64 for float64; above one tile a float32 copy carries narrow values between launches.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from interact_kernels import triton_guard
from interact_kernels.lattice import reference
from interact_kernels.lattice.request import TransformRequest

TILE_BITS = 11
COLUMN_LEVELS = 5


@triton.jit
def _level(
    x, a: tl.constexpr, b: tl.constexpr, c: tl.constexpr, d: tl.constexpr, above: tl.constexpr, below: tl.constexpr
):
    """Combine the halves of each run of 2 `below` values; x is flat."""
    pairs = tl.permute(tl.reshape(x, (above, 2, below)), (0, 2, 1))
    lo, hi = tl.split(pairs)
    mixed = tl.join(_mix(a, lo, b, hi), _mix(c, lo, d, hi))
    return tl.reshape(tl.permute(mixed, (0, 2, 1)), (2 * above * below,))


@triton.jit
def _mix(a: tl.constexpr, lo, b: tl.constexpr, hi):
    """Return a lo + b hi, without the products by 0 and 1 (an infinity times 0 is not a number)."""
    if b == 0:
        y = lo if a == 1 else a * lo
    elif a == 0:
        y = hi if b == 1 else b * hi
    elif a == -1:
        y = hi - lo if b == 1 else b * hi - lo
    elif a == 1:
        y = lo + hi if b == 1 else (lo - hi if b == -1 else lo + b * hi)
    else:
        y = a * lo + b * hi
    return y


@triton.jit
def tile_kernel(
    src,
    dst,
    count,
    a: tl.constexpr,
    b: tl.constexpr,
    c: tl.constexpr,
    d: tl.constexpr,
    scale: tl.constexpr,
    levels: tl.constexpr,
    bits: tl.constexpr,
    double: tl.constexpr,
):
    """Do the `levels` lowest levels of 2^bits neighbouring values, and scale them."""
    size: tl.constexpr = 1 << bits
    at = tl.program_id(0).to(tl.int64) * size + tl.arange(0, size)
    mask = at < count
    x = tl.load(src + at, mask=mask, other=0.0)
    x = x.to(tl.float64) if double else x.to(tl.float32)
    for level in tl.static_range(levels):
        x = _level(x, a, b, c, d, 1 << (bits - 1 - level), 1 << level)
    if scale != 1:
        x = x * scale
    tl.store(dst + at, x.to(dst.dtype.element_ty), mask=mask)


@triton.jit
def columns_kernel(
    src,
    dst,
    stride,
    a: tl.constexpr,
    b: tl.constexpr,
    c: tl.constexpr,
    d: tl.constexpr,
    levels: tl.constexpr,
    width: tl.constexpr,
    double: tl.constexpr,
):
    """Do `levels` levels of strides `stride`, 2 `stride`, ... for `width` neighbouring columns; no tail."""
    rows: tl.constexpr = 1 << levels
    aside = stride // width
    program = tl.program_id(0).to(tl.int64)
    base = (program // aside) * stride * rows + (program % aside) * width
    flat = tl.arange(0, rows * width)
    at = base + (flat // width) * stride + flat % width
    x = tl.load(src + at)
    x = x.to(tl.float64) if double else x.to(tl.float32)
    for level in tl.static_range(levels):
        x = _level(x, a, b, c, d, 1 << (levels - 1 - level), width << level)
    tl.store(dst + at, x.to(dst.dtype.element_ty))


def run(request: TransformRequest) -> None:
    """Serve a request; high levels first, so that the last launch scales and rounds."""
    x, y, transform = request
    n = x.shape[-1].bit_length() - 1
    double = x.dtype == torch.float64
    numbers = transform.matrix
    bits = min(TILE_BITS, max((x.numel() - 1).bit_length(), 0))
    source, done = x, n
    with triton_guard.current_device(x.device):
        while done > bits:
            levels = min(COLUMN_LEVELS, done - bits)
            done -= levels
            width = 1 << (TILE_BITS - levels)
            target = y if y.dtype in (torch.float32, torch.float64) else torch.empty_like(y, dtype=torch.float32)
            target = source if source is not x and source.dtype == torch.float32 and target is not y else target
            grid = (x.numel() >> TILE_BITS,)
            columns_kernel[grid](source, target, 1 << done, *numbers, levels, width, double)
            source = target
        tile_kernel[(triton.cdiv(x.numel(), 1 << bits),)](
            source,
            y,
            x.numel(),
            *numbers,
            transform.scale,
            min(done, bits),
            bits,
            double,
        )
    reference.follow(y, transform)
