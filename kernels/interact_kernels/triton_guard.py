"""Whether and where the Triton kernels can run, found out without importing triton."""

from __future__ import annotations

import functools
import importlib.util
import os
from contextlib import AbstractContextManager, nullcontext

import torch


def refusal(device: torch.device) -> str | None:
    """Say why Triton kernels cannot run on `device`, or None."""
    if not _installed():
        return "triton is not installed (pip install 'interact-llm[triton]')"
    if device.type == "cuda" and torch.cuda.is_available():
        return None
    if device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1":
        return None
    if device.type == "cuda":
        return "no usable CUDA or ROCm device was found"
    return "it needs a CUDA or ROCm device (TRITON_INTERPRET=1 interprets it on the CPU, for tests)"


def current_device(device: torch.device) -> AbstractContextManager[object]:
    """Make a tensor's device the current one: Triton launches on that, wherever the tensors lie."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


@functools.cache
def _installed() -> bool:
    # A look-up takes 30 microseconds, as long as a launch.
    return importlib.util.find_spec("triton") is not None
