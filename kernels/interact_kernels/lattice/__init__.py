"""Transforms on the subset lattice: vectors of 2^n values indexed by coalitions.

Bit i of an index is set when player i is present; player 0 is the least significant bit (docs/math.md).
Every transform is the n-fold Kronecker power of one 2x2 matrix, applied as n passes of butterflies.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch

from interact_kernels import dispatch
from interact_kernels.lattice import native, reference

Array = TypeVar("Array", torch.Tensor, np.ndarray)
Matrix2 = tuple[float, float, float, float]

MOEBIUS: Matrix2 = (1.0, 0.0, -1.0, 1.0)
ZETA: Matrix2 = (1.0, 0.0, 1.0, 1.0)

_IMPLEMENTATIONS = {"native": native.kronecker_, "reference": reference.kronecker_}


def moebius(x: Array, *, adjoint: bool = False, out: Array | None = None, impl: str = "auto") -> Array:
    """Moebius transform: ``y[T] = sum_{L subset T} (-1)^(|T|-|L|) x[L]``.

    Args:
        x: float32 or float64 values, last axis 2**n, any leading batch axes; a tensor or a NumPy array.
        adjoint: Apply the transpose instead: ``y[L] = sum_{T superset L} (-1)^(|T|-|L|) x[T]``.
        out: Where to write; ``out=x`` works in place.
        impl: ``"auto"``, ``"native"`` or ``"reference"``.

    Returns:
        An array like `x` (or `out`).

    Raises:
        ValueError: The last axis is not a power of two, the dtype is not float32/float64, or `out` does
            not fit `x`.
        RuntimeError: The named implementation cannot run here.

    Source: Rota 1964; the Harsanyi dividends of Zhang et al. 2026 (arXiv 2605.17967).

    >>> moebius(torch.tensor([0.0, 1.0, 1.0, 3.0]))
    tensor([0., 1., 1., 1.])
    """
    return _apply(x, MOEBIUS, adjoint, out, impl)


def zeta(x: Array, *, adjoint: bool = False, out: Array | None = None, impl: str = "auto") -> Array:
    """Zeta transform, the inverse of `moebius`: ``y[S] = sum_{T subset S} x[T]``.

    Args and errors as in `moebius`; the adjoint is ``y[T] = sum_{S superset T} x[S]``.

    >>> zeta(torch.tensor([0.0, 1.0, 1.0, 1.0]))
    tensor([0., 1., 1., 3.])
    """
    return _apply(x, ZETA, adjoint, out, impl)


def explain(x: torch.Tensor | np.ndarray) -> str:
    """Say which implementation runs for arrays like `x`, and why the others do not."""
    return dispatch.explain("lattice", _candidates(torch.as_tensor(x)))


def _apply(x: Array, matrix: Matrix2, adjoint: bool, out: Array | None, impl: str) -> Any:
    source = torch.as_tensor(x)
    _check(source)
    result = source.clone(memory_format=torch.contiguous_format) if out is None else _checked_out(source, out)
    name = dispatch.choose("lattice", _candidates(source), impl)
    work = result if result.is_contiguous() else result.contiguous()
    if adjoint:
        matrix = (matrix[0], matrix[2], matrix[1], matrix[3])
    _IMPLEMENTATIONS[name](work, matrix)
    if work is not result:
        result.copy_(work)
    if out is not None:
        return out
    return result.numpy() if isinstance(x, np.ndarray) else result


def _candidates(x: torch.Tensor) -> list[dispatch.Candidate]:
    return [dispatch.Candidate("native", native.refusal(x)), dispatch.Candidate("reference")]


def _check(x: torch.Tensor) -> None:
    if x.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"Lattice transforms take float32 or float64 values, but got {x.dtype}; convert first.")
    size = x.shape[-1] if x.dim() else 0
    if size < 1 or size & (size - 1):
        raise ValueError(f"The last axis must hold 2**n values (one a coalition), but the shape is {tuple(x.shape)}.")


def _checked_out(source: torch.Tensor, out: torch.Tensor | np.ndarray) -> torch.Tensor:
    if isinstance(out, np.ndarray) and not out.flags.writeable:
        raise ValueError("out is a read-only array; pass a writable one.")
    target = torch.as_tensor(out)
    if target.shape != source.shape or target.dtype != source.dtype or target.device != source.device:
        raise ValueError(
            f"out must be like the input ({tuple(source.shape)}, {source.dtype}, {source.device}), "
            f"but is ({tuple(target.shape)}, {target.dtype}, {target.device})."
        )
    if target.data_ptr() != source.data_ptr():
        target.copy_(source)
    return target
