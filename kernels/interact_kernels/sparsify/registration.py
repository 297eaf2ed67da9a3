"""The list of implementations of the AND-OR split."""

from __future__ import annotations

from interact_kernels.dispatch import Implementation, Operation
from interact_kernels.sparsify import batched, native, published, reference
from interact_kernels.sparsify.request import SplitRequest
from interact_kernels.sparsify.result import AndOrSplit

# Beyond these the dense matrix (4**n entries) needs more than 4 GB, or HiGHS more than minutes.
LARGEST_DENSE = 14
LARGEST_REFERENCE = 11
# With noise the interior point goes on without the matrix.
LARGEST_ACTIVE = 18
# Without noise the ADMM is faster from here on.
LARGEST_EXACT = 12


def _too_large(request: SplitRequest) -> str | None:
    n = request.n
    return None if n <= LARGEST_DENSE else f"its matrix of 4**{n} entries does not fit into 4 GB"


def _asked_for_more(request: SplitRequest) -> str | None:
    plain = request.options.start is None and not request.options.polish
    return None if plain else "it has no warm start and no polish"


def _no_price(request: SplitRequest) -> str | None:
    return "it supports noise in a box only (noise='box')" if request.form.soft else None


def _native_refusal(request: SplitRequest) -> str | None:
    # Without the matrix it needs noise in every sample.
    if request.form.soft and request.options.polish:
        return "a soft split has no vertex to polish; its zeros are 0 to the gap"
    active = LARGEST_DENSE < request.n <= LARGEST_ACTIVE and not request.options.polish
    return None if active and (request.bound > 0).all() else _too_large(request)


def _torch_refusal(request: SplitRequest) -> str | None:
    return _too_large(request) or _asked_for_more(request)


def _published_refusal(request: SplitRequest) -> str | None:
    return _no_price(request) or _asked_for_more(request)


def _reference_refusal(request: SplitRequest) -> str | None:
    n = request.n
    return f"HiGHS would take hours at n = {n}" if n > LARGEST_REFERENCE else _asked_for_more(request)


def _preferred(request: SplitRequest) -> str | None:
    """The batched interior point where the scores lie on a GPU, the ADMM for many players without noise."""
    if request.device is not None and request.device.type == "cuda":
        return "torch"
    n = request.n
    if n <= LARGEST_EXACT:
        return None
    noise = request.bound > 0
    return None if (noise.all() if n > LARGEST_DENSE else noise.any()) else "admm"


SPLIT: Operation[SplitRequest, AndOrSplit] = Operation(
    "and_or_split",
    [
        Implementation("native", native.interior_point, _native_refusal),
        Implementation("admm", native.admm, _asked_for_more),
        Implementation("torch", batched.interior_point, _torch_refusal),
        Implementation("reference", reference.solve, _reference_refusal),
        Implementation("sgd-published", published.solve, _published_refusal),
    ],
    preferred=_preferred,
)
