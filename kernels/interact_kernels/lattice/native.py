"""The lattice transforms in C++ and CUDA, through raw pointers."""

from __future__ import annotations

import torch

from interact_kernels import _native


def refusal(x: torch.Tensor) -> str | None:
    """Say why the native transforms cannot run on `x`, or None."""
    if x.device.type == "cpu":
        return None
    if x.device.type != "cuda":
        return f"it has no kernels for the device type {x.device.type!r}"
    if not _native.cuda_architectures():
        return "the package was built without CUDA (see INTERACT_CUDA in the README)"
    return None if _native.cuda_device_count() else "no usable CUDA device was found"


def kronecker_(x: torch.Tensor, matrix: tuple[float, float, float, float]) -> None:
    """Apply the n-fold Kronecker power of a 2x2 matrix (row-major) to the last axis of contiguous `x`, in place."""
    n = x.shape[-1].bit_length() - 1
    batch = x.numel() >> n
    suffix = "f32" if x.dtype == torch.float32 else "f64"
    if x.device.type == "cuda":
        with torch.cuda.device(x.device):
            stream = torch.cuda.current_stream().cuda_stream
            getattr(_native, f"kronecker_cuda_{suffix}")(x.data_ptr(), batch, n, *matrix, stream)
    else:
        getattr(_native, f"kronecker_{suffix}")(x.data_ptr(), batch, n, *matrix, torch.get_num_threads())
