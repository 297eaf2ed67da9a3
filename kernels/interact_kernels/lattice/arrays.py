"""What the transforms accept: shapes, dtypes, memory; NumPy arrays are seen as tensors without a copy."""

from __future__ import annotations

import numpy as np
import torch

HALVES = (torch.bfloat16, torch.float16)
DTYPES = (torch.float32, torch.float64, *HALVES)


def as_tensor(x: torch.Tensor | np.ndarray) -> torch.Tensor:
    """Return `x` as a tensor on the same memory where torch can view it, else a copy."""
    if isinstance(x, torch.Tensor):
        return x
    if not isinstance(x, np.ndarray):
        raise ValueError(f"Lattice transforms take a tensor or a NumPy array, but got {type(x).__name__}.")
    if not x.dtype.isnative:
        x = x.astype(x.dtype.newbyteorder("="))
    if not x.flags.writeable or any(stride < 0 for stride in x.strides):
        x = x.copy()
    try:
        return torch.from_numpy(x)
    except TypeError:
        raise ValueError(_wrong_dtype(str(x.dtype))) from None


def check(x: torch.Tensor) -> None:
    """Raise unless `x` has a supported dtype and 2**n values on its last axis."""
    if x.dtype not in DTYPES:
        raise ValueError(_wrong_dtype(str(x.dtype)))
    size = x.shape[-1] if x.dim() else 0
    if size < 1 or size & (size - 1):
        raise ValueError(f"The last axis must hold 2**n values (one per coalition), but the shape is {tuple(x.shape)}.")
    if size > 1 << 30:
        raise ValueError(f"At most 30 players are supported, but the last axis holds {size} values.")


def check_out(x: torch.Tensor, out: torch.Tensor | np.ndarray) -> torch.Tensor:
    """Return `out` as a tensor on its own memory, or raise why the result cannot go there."""
    if isinstance(out, np.ndarray):
        if not out.flags.writeable:
            raise ValueError("out is a read-only array; pass a writable one.")
        if not out.dtype.isnative or any(stride < 0 for stride in out.strides):
            raise ValueError("out has negative strides or a foreign byte order; pass a plain array.")
    target = as_tensor(out)
    if target.shape != x.shape or target.dtype != x.dtype or target.device != x.device:
        raise ValueError(
            f"out must be like the input ({tuple(x.shape)}, {x.dtype}, {x.device}), "
            f"but is ({tuple(target.shape)}, {target.dtype}, {target.device})."
        )
    if torch.is_grad_enabled() and (x.requires_grad or target.requires_grad):
        raise ValueError("out= is not differentiable; call without out= or under torch.no_grad().")
    if not torch.compiler.is_compiling():
        _check_memory(x, target)
    return target


def _check_memory(x: torch.Tensor, target: torch.Tensor) -> None:
    if not target.is_contiguous():
        reach = 1
        for stride, size in sorted((s, d) for s, d in zip(target.stride(), target.shape, strict=True) if d > 1):
            if stride < reach:
                raise ValueError(
                    "Several elements of out may share memory (an expanded or overlapping view); pass out.clone()."
                )
            reach = stride * (size - 1) + reach
    if target.device.type == "meta" or target.numel() == 0:
        return
    if target.data_ptr() == x.data_ptr() and target.stride() == x.stride():
        return
    (low, high), (first, last) = _extent(x), _extent(target)
    if low < last and first < high:
        raise ValueError("out overlaps the input's memory in part; pass out=x to work in place, or separate memory.")


def _extent(x: torch.Tensor) -> tuple[int, int]:
    last = sum(stride * (size - 1) for stride, size in zip(x.stride(), x.shape, strict=True))
    return x.data_ptr(), x.data_ptr() + (last + 1) * x.element_size()


def _wrong_dtype(given: str) -> str:
    return f"Lattice transforms take float32 or float64 values (or bfloat16, float16), but got {given}; convert first."
