"""The implementations of the lattice transforms, and the one torch operation `interact::lattice` over all of them.

For torch: shapes without data (fake), gradients (the adjoint transform), vmap (any leading axes), torch.compile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.autograd import forward_ad

from interact_kernels import triton_guard
from interact_kernels.dispatch import Implementation, Operation
from interact_kernels.lattice import native, reference
from interact_kernels.lattice.request import TransformRequest
from interact_kernels.lattice.transform import Transform, transposed


def _triton(request: TransformRequest) -> None:
    # Imported when it runs: triton takes a second, and is an extra.
    from interact_kernels.lattice import triton

    triton.run(request)


TRANSFORMS: Operation[TransformRequest, None] = Operation(
    "lattice",
    [
        Implementation("native", native.run, native.refusal),
        Implementation("triton", _triton, lambda request: triton_guard.refusal(request.x.device)),
        Implementation("reference", reference.run),
    ],
)


def run(x: torch.Tensor, y: torch.Tensor, transform: Transform, impl: str) -> None:
    """Write the transform of contiguous `x` to contiguous `y` (which may be `x`), both of one dtype."""
    request = TransformRequest(x, y, transform)
    if x.numel():
        TRANSFORMS.run(request, impl)
    else:
        TRANSFORMS.choose(request, impl)


@torch.library.custom_op("interact::lattice", mutates_args=())
def lattice(x: torch.Tensor, transform: Sequence[float], impl: str) -> torch.Tensor:
    """Return the transform of `x` along its last axis, contiguous.

    `transform` is (a, b, c, d, scale, zero_first, from_first): a `Transform` as numbers.
    """
    return _unregistered(x, _from_numbers(transform), impl)


@lattice.register_fake
def _(x: torch.Tensor, transform: Sequence[float], impl: str) -> torch.Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    _, ctx.transform, ctx.impl = inputs


def _backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
    return adjoint(grad, _from_numbers(ctx.transform), ctx.impl), None, None


lattice.register_autograd(_backward, setup_context=_setup_context)


@lattice.register_vmap
def _(info: Any, in_dims: tuple[Any, ...], x: torch.Tensor, *rest: Any) -> tuple[torch.Tensor, int]:
    return lattice(x.movedim(in_dims[0], 0), *rest), 0


def apply(x: torch.Tensor, transform: Transform, impl: str) -> torch.Tensor:
    """Return the transform of `x`: through the operation where torch watches, else without its 20-30 us."""
    if unwatched(x):
        return _unregistered(x, transform, impl)
    if not torch.compiler.is_compiling():
        # What cannot run is said here, where the error has no frames of torch in it.
        TRANSFORMS.choose(TransformRequest(x, x, transform), impl)
    numbers = (*transform.matrix, transform.scale, float(transform.zero_first), float(transform.from_first))
    return lattice(x, numbers, impl)


def adjoint(grad: torch.Tensor, transform: Transform, impl: str) -> torch.Tensor:
    """Return the adjoint of `transform` applied to `grad`, itself differentiable."""
    if transform.zero_first:
        grad = torch.cat([torch.zeros_like(grad[..., :1]), grad[..., 1:]], dim=-1)
    if transform.from_first:
        grad = torch.cat([grad[..., 1:].sum(-1, keepdim=True), -grad[..., 1:]], dim=-1)
    return apply(grad, Transform(transposed(transform.matrix), transform.scale), impl)


def _unregistered(x: torch.Tensor, transform: Transform, impl: str) -> torch.Tensor:
    x = x.contiguous()
    y = torch.empty_like(x)
    run(x, y, transform, impl)
    return y


def _from_numbers(numbers: Sequence[float]) -> Transform:
    a, b, c, d, scale, zero_first, from_first = numbers
    return Transform((a, b, c, d), scale, bool(zero_first), bool(from_first))


def unwatched(x: torch.Tensor) -> bool:
    """Whether no gradient, vmap, tracer, subclass or mode of torch needs to see this call."""
    if type(x) is not torch.Tensor or torch.compiler.is_compiling():
        return False
    if (x.requires_grad and torch.is_grad_enabled()) or forward_ad._current_level >= 0:
        return False
    return not is_functorch_wrapped_tensor(x) and torch._C._len_torch_dispatch_stack() == 0
