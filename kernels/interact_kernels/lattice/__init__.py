"""Transforms on the subset lattice: vectors of 2^n values indexed by coalitions.

Bit i of an index is set when player i is present; player 0 is the least significant bit (docs/math.md).
Every transform is the n-fold Kronecker power of one 2x2 matrix, applied as butterflies over pairs of values
that differ by one player, n 2^(n-1) of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch

from interact_kernels.lattice import native, reference, registration
from interact_kernels.lattice.arrays import HALVES, as_tensor, check, check_out
from interact_kernels.lattice.registration import TRANSFORMS
from interact_kernels.lattice.request import TransformRequest, in_single
from interact_kernels.lattice.transform import (
    MOEBIUS,
    OR_MOEBIUS,
    OR_ZETA,
    WALSH,
    ZETA,
    Matrix2,
    Transform,
    transposed,
)

__all__ = [
    "MOEBIUS",
    "OR_MOEBIUS",
    "OR_ZETA",
    "TRANSFORMS",
    "WALSH",
    "ZETA",
    "Epilogue",
    "TransformRequest",
    "and_or_moebius",
    "explain",
    "in_single",
    "kronecker",
    "moebius",
    "or_moebius",
    "or_zeta",
    "order_sums",
    "walsh_hadamard",
    "zeta",
]

Array = TypeVar("Array", torch.Tensor, np.ndarray)


@dataclass(frozen=True)
class Epilogue:
    """What `kronecker` does to y = K x in the same pass: ``soft(scale y + add_scale add, threshold)``.

    Args:
        scale: Factor on y.
        add: An array like x (contiguous), or None.
        add_scale: Factor on `add`.
        threshold: ``soft(y, t) = sign(y) max(|y| - t, 0)``, t >= 0.
    """

    scale: float = 1.0
    add: Any = None
    add_scale: float = 1.0
    threshold: float = 0.0


def moebius(x: Array, *, adjoint: bool = False, out: Array | None = None, impl: str = "auto") -> Array:
    """Moebius transform: ``y[T] = sum_{L subset T} (-1)^(|T|-|L|) x[L]``.

    Args:
        x: Values, last axis 2**n with n <= 30, any leading batch axes; a tensor or a NumPy array of float32 or
            float64, or a tensor of bfloat16 or float16 (computed in float32, rounded once at the end).
        adjoint: Apply the transpose instead: ``y[L] = sum_{T superset L} (-1)^(|T|-|L|) x[T]``.
        out: Where to write; ``out=x`` works in place. Not differentiable.
        impl: ``"auto"``, ``"native"``, ``"triton"`` or ``"reference"``.

    Returns:
        An array like `x`, contiguous (or `out`). Tensors are differentiable and work under vmap and compile.

    Raises:
        ValueError: The last axis is not a power of two, the dtype is not supported, or `out` does not fit `x`,
            is read-only, shares memory with itself or overlaps `x` in part.
        RuntimeError: The named implementation cannot run here.

    Source: Rota 1964; the Harsanyi dividends of Zhang et al. 2026 (arXiv 2605.17967).

    >>> moebius(torch.tensor([0.0, 1.0, 1.0, 3.0]))
    tensor([0., 1., 1., 1.])
    """
    return _apply(x, Transform(transposed(MOEBIUS) if adjoint else MOEBIUS), out, impl)


def zeta(x: Array, *, adjoint: bool = False, out: Array | None = None, impl: str = "auto") -> Array:
    """Zeta transform, the inverse of `moebius`: ``y[S] = sum_{T subset S} x[T]``.

    Args and errors as in `moebius`; the adjoint is ``y[T] = sum_{S superset T} x[S]``.

    >>> zeta(torch.tensor([0.0, 1.0, 1.0, 1.0]))
    tensor([0., 1., 1., 3.])
    """
    return _apply(x, Transform(transposed(ZETA) if adjoint else ZETA), out, impl)


def or_moebius(x: Array, *, out: Array | None = None, impl: str = "auto") -> Array:
    """OR effects of values: ``y[T] = -sum_{L subset T} (-1)^(|T|-|L|) x[N minus L]`` for T != empty, y[empty] = 0.

    The complement is folded into the butterfly, so this costs what `moebius` costs. Args and errors as there.

    Source: Zhou et al. 2024 (AAAI); Zhang et al. 2026 (arXiv 2605.17967).

    >>> or_moebius(torch.tensor([0.0, 1.0, 1.0, 1.0]))
    tensor([0., 0., 0., 1.])
    """
    return _apply(x, Transform(OR_MOEBIUS, scale=-1.0, zero_first=True), out, impl)


def or_zeta(x: Array, *, out: Array | None = None, impl: str = "auto") -> Array:
    """Values of OR effects, the inverse of `or_moebius` where x[empty] = 0: ``y[S] = sum_{T meets S} x[T]``.

    Args and errors as in `moebius`.

    >>> or_zeta(torch.tensor([0.0, 0.0, 0.0, 1.0]))
    tensor([0., 1., 1., 1.])
    """
    return _apply(x, Transform(OR_ZETA, from_first=True), out, impl)


def walsh_hadamard(x: Array, *, out: Array | None = None, impl: str = "auto") -> Array:
    """Walsh-Hadamard transform, unnormalised: ``y[T] = sum_S (-1)^|S and T| x[S]``; twice is 2**n x.

    Args and errors as in `moebius`.

    >>> walsh_hadamard(torch.tensor([1.0, 0.0, 0.0, 0.0]))
    tensor([1., 1., 1., 1.])
    """
    return _apply(x, Transform(WALSH), out, impl)


def kronecker(
    x: Array,
    matrix: Matrix2,
    *,
    epilogue: Epilogue | None = None,
    out: Array | None = None,
    impl: str = "auto",
) -> Array:
    """Kronecker power of any 2x2 matrix: ``y = (A kron ... kron A) x``, n factors, then the epilogue.

    Args:
        x, out, impl: As in `moebius`.
        matrix: A row by row, (a, b, c, d): a pair (lo, hi) becomes (a lo + b hi, c lo + d hi).
        epilogue: What to do in the same pass over memory.

    Raises:
        ValueError: As `moebius`; `matrix` has not four numbers, or `epilogue.add` is not like `x`.

    >>> kronecker(torch.tensor([1.0, 2.0]), (0.0, 1.0, 1.0, 0.0), epilogue=Epilogue(scale=10.0))
    tensor([20., 10.])
    """
    if len(matrix) != 4:
        raise ValueError(f"matrix must be (a, b, c, d), four numbers row by row, but has {len(matrix)}.")
    a, b, c, d = (float(entry) for entry in matrix)
    transform = Transform((a, b, c, d), 1.0 if epilogue is None else float(epilogue.scale))
    if epilogue is None or (epilogue.add is None and epilogue.threshold == 0.0):
        return _apply(x, transform, out, impl)
    return _apply_epilogue(x, transform, epilogue, out, impl)


def and_or_moebius(s: Array, u: Array, *, impl: str = "auto") -> tuple[Array, Array]:
    """AND effects of `s` and OR effects of `u` together: ``moebius(s), or_moebius(u)``.

    Row by row on the CPU, so that ``and_or_moebius(v, v)`` reads v from memory once.

    Args:
        s, u: Arrays of one shape and dtype, as in `moebius`.
        impl: As in `moebius`.

    Raises:
        ValueError: As `moebius`, or `u` is not like `s`.

    >>> and_or_moebius(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 2.0]))
    (tensor([0., 1.]), tensor([0., 2.]))
    """
    first, second = as_tensor(s), as_tensor(u)
    check(first)
    if first.shape != second.shape or first.dtype != second.dtype or first.device != second.device:
        raise ValueError(
            f"s and u must be alike, but are {tuple(first.shape)} {first.dtype} {first.device} and "
            f"{tuple(second.shape)} {second.dtype} {second.device}."
        )
    raw = isinstance(s, np.ndarray) and isinstance(u, np.ndarray)
    if not raw or _chosen(first, impl) != "native":
        return moebius(s, impl=impl), or_moebius(u, impl=impl)
    first, second = first.contiguous(), second.contiguous()
    i_and, i_or = torch.empty_like(first), torch.empty_like(first)
    native.and_or_moebius(first, second, i_and, i_or)
    results: Any = (i_and.numpy(), i_or.numpy())
    return results


def order_sums(x: Array, matrix: Matrix2 = MOEBIUS, *, impl: str = "auto") -> Array:
    """Sums of y = K x by order |T|, in the pass that computes y: positive values first, negative ones second.

    Args:
        x, impl: As in `moebius`.
        matrix: K's 2x2 matrix; `MOEBIUS` by default, (1, 0, 0, 1) for x itself.

    Returns:
        float64 of shape [..., 2, n + 1]; ``[..., 0, k]`` is the sum of the positive y[T] with |T| = k,
        ``[..., 1, k]`` that of the negative ones. Not differentiable.

    Raises:
        ValueError, RuntimeError: As `moebius`.

    >>> order_sums(torch.tensor([0.0, 1.0, -2.0, 0.0]))
    tensor([[ 0.,  1.,  1.],
            [ 0., -2.,  0.]], dtype=torch.float64)
    """
    source = as_tensor(x)
    check(source)
    source = source.detach().contiguous()
    source = source.float() if source.dtype in HALVES else source
    name = _chosen(source, impl)
    y = torch.empty_like(source)
    if name == "native" and source.device.type == "cpu":
        n = source.shape[-1].bit_length() - 1
        sums = torch.zeros(*source.shape[:-1], 2, n + 1, dtype=torch.float64)
        native.fused(source, y, Transform(matrix), orders=sums)
    else:
        registration.run(source, y, Transform(matrix), impl)
        sums = reference.order_sums(y)
    result: Any = sums.numpy() if isinstance(x, np.ndarray) else sums
    return result


def explain(x: torch.Tensor | np.ndarray) -> str:
    """Say which implementation runs for arrays like `x`, and why the others do not."""
    source = as_tensor(x)
    return TRANSFORMS.explain(TransformRequest(source, source, Transform(MOEBIUS)))


def _chosen(x: torch.Tensor, impl: str) -> str:
    return TRANSFORMS.choose(TransformRequest(x, x, Transform(MOEBIUS)), impl).name


def _apply(x: Any, transform: Transform, out: Any, impl: str) -> Any:
    source = as_tensor(x)
    check(source)
    if out is None and isinstance(x, torch.Tensor):
        return registration.apply(source, transform, impl)
    if out is None:
        result = torch.empty(source.shape, dtype=source.dtype)
        registration.run(source.contiguous(), result, transform, impl)
        return result.numpy()
    target = check_out(source, out)
    if torch.compiler.is_compiling():
        target.copy_(registration.apply(source, transform, impl))
    elif target.is_contiguous():
        registration.run(source.contiguous(), target, transform, impl)
    else:
        target.copy_(registration.apply(source, transform, impl))
    return out


def _apply_epilogue(x: Any, transform: Transform, epilogue: Epilogue, out: Any, impl: str) -> Any:
    source = as_tensor(x)
    check(source)
    add = None if epilogue.add is None else as_tensor(epilogue.add)
    if add is not None and (add.shape != source.shape or add.dtype != source.dtype or add.device != source.device):
        raise ValueError(f"epilogue.add must be like x ({tuple(source.shape)}, {source.dtype}, {source.device}).")
    if epilogue.threshold < 0:
        raise ValueError(f"epilogue.threshold must be at least 0, but is {epilogue.threshold}.")
    target = None if out is None else check_out(source, out)
    whole = registration.unwatched(source) and (add is None or registration.unwatched(add))
    whole = whole and source.device.type == "cpu" and source.dtype not in HALVES
    if whole and _chosen(source, impl) == "native":
        y = target if target is not None and target.is_contiguous() else torch.empty(source.shape, dtype=source.dtype)
        add = None if add is None else add.contiguous()
        if add is not None and add.data_ptr() == y.data_ptr():
            add = add.clone()
        native.fused(source.contiguous(), y, transform, add, epilogue.add_scale, epilogue.threshold)
    else:
        y = registration.apply(source, transform, impl)
        y = y if add is None else y + epilogue.add_scale * add
        y = torch.sign(y) * torch.relu(torch.abs(y) - epilogue.threshold) if epilogue.threshold else y
    if target is not None:
        if y is not target:
            target.copy_(y)
        return out
    return y.numpy() if isinstance(x, np.ndarray) else y
