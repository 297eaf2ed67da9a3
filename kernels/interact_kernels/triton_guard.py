"""Whether the Triton kernels can run here, asked without importing triton."""

from __future__ import annotations

import importlib.util
import os

import torch


def refusal(device: torch.device) -> str | None:
    """Say why Triton kernels cannot run on `device`, or None."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed (pip install 'interact-llm[triton]')"
    if device.type == "cuda" and torch.cuda.is_available():
        return None
    if device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1":
        return None
    if device.type == "cuda":
        return "no usable CUDA or ROCm device was found"
    return "it needs a CUDA or ROCm device (TRITON_INTERPRET=1 interprets it on the CPU, for tests)"
