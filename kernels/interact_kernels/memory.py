"""How the end of memory looks."""

from __future__ import annotations

import torch

# How torch's CPU allocator, cuBLAS, cuDNN, the CUDA runtime and its driver say it, in lower case.
_EXHAUSTED = (
    "not enough memory",
    "can't allocate memory",
    "status_alloc_failed",
    "out of memory",
    "cuda_error_out_of_memory",
    "cudaerrormemoryallocation",
)


def out_of_memory(error: Exception) -> bool:
    """Say whether an error means that memory ran out, on any device."""
    words = str(error).lower()
    known = isinstance(error, (MemoryError, torch.OutOfMemoryError))
    return known or any(sign in words for sign in _EXHAUSTED)
