"""The lattice transforms in C++ and CUDA, through raw pointers."""

from __future__ import annotations

from functools import lru_cache

import torch

from interact_kernels import _native
from interact_kernels.lattice import reference
from interact_kernels.lattice.request import TransformRequest, in_single
from interact_kernels.lattice.transform import Transform

_SUFFIX = {torch.float32: "f32", torch.float64: "f64"}
_PLAIN = {torch.float32: _native.kronecker_f32, torch.float64: _native.kronecker_f64}
_FUSED = {torch.float32: _native.kronecker_fused_f32, torch.float64: _native.kronecker_fused_f64}
_AND_OR = {torch.float32: _native.and_or_moebius_f32, torch.float64: _native.and_or_moebius_f64}


def refusal(request: TransformRequest) -> str | None:
    """Say why the native transforms cannot run on the device of a request, or None."""
    device = request.x.device
    if device.type == "cpu":
        return None
    if device.type != "cuda":
        return f"it has no kernels for the device type {device.type!r}"
    if not _native.cuda_architectures():
        return "the package was built without CUDA (see INTERACT_CUDA in the README)"
    count = _native.cuda_device_count()
    if not count:
        return "no usable CUDA device was found"
    number = torch.cuda.current_device() if device.index is None else device.index
    return loading_refusal(number) if number < count else f"there is no CUDA device {number} here, only {count}"


@lru_cache
def loading_refusal(number: int) -> str | None:
    """Say why the kernels cannot be loaded on a device, or None; the driver is queried once per device and process."""
    error = _native.cuda_loading_error(number)
    if not error:
        return None
    architectures, capability = _native.cuda_architectures(), _native.cuda_capability(number)
    return (
        f"its CUDA code, built for {architectures}, cannot be loaded on this GPU of compute capability {capability} "
        f"({error}); build it with INTERACT_CUDA_ARCHS={capability}"
    )


@in_single
def run(request: TransformRequest) -> None:
    """Serve a request on the CPU or a CUDA device."""
    x, y, transform = request
    n = x.shape[-1].bit_length() - 1
    batch = x.numel() >> n
    if x.device.type == "cuda":
        with torch.cuda.device(x.device):
            stream = torch.cuda.current_stream().cuda_stream
            launch = getattr(_native, f"kronecker_cuda_{_SUFFIX[x.dtype]}")
            launch(x.data_ptr(), y.data_ptr(), batch, n, *transform.matrix, transform.scale if n else 1.0, stream)
        if not n:
            # The kernels scale with their first level.
            y *= transform.scale
        reference.follow(y, transform)
    elif transform.plain:
        _PLAIN[x.dtype](x.data_ptr(), y.data_ptr(), batch, n, *transform.matrix, torch.get_num_threads())
    else:
        fused(x, y, transform)


def fused(
    x: torch.Tensor,
    y: torch.Tensor,
    transform: Transform,
    add: torch.Tensor | None = None,
    add_scale: float = 1.0,
    threshold: float = 0.0,
    orders: torch.Tensor | None = None,
) -> None:
    """Do the same on the CPU, and while the values are in cache add, soft-threshold and sum by order."""
    n = x.shape[-1].bit_length() - 1
    _FUSED[x.dtype](
        x.data_ptr(),
        y.data_ptr(),
        x.numel() >> n,
        n,
        transform.matrix,
        transform.scale,
        0 if add is None else add.data_ptr(),
        add_scale,
        threshold,
        transform.zero_first,
        transform.from_first,
        0 if orders is None else orders.data_ptr(),
        torch.get_num_threads(),
    )


def and_or_moebius(s: torch.Tensor, u: torch.Tensor, i_and: torch.Tensor, i_or: torch.Tensor) -> None:
    """Write the AND effects of `s` and the OR effects of `u`, row by row; contiguous CPU tensors of one dtype."""
    n = s.shape[-1].bit_length() - 1
    run_pair = _AND_OR[s.dtype]
    threads = torch.get_num_threads()
    run_pair(s.data_ptr(), u.data_ptr(), i_and.data_ptr(), i_or.data_ptr(), s.numel() >> n, n, threads)
