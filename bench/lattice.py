"""The subset-lattice transforms against NumPy, torch, numba, shapiq, hadamard-transform and the dense matrix."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from bench.registry import Case, Check, Entry, Timed
from interact_kernels import lattice


def torch_butterfly_(x: torch.Tensor, sign: float) -> None:
    """Transform `x` in place, one pass a player: what a careful torch user writes."""
    half = 1
    while half < x.shape[-1]:
        pairs = x.view(-1, x.shape[-1] // (2 * half), 2, half)
        pairs[:, :, 1].add_(pairs[:, :, 0], alpha=sign)
        half *= 2


def gate(quick: bool) -> Iterator[Check]:
    """Compare with float64 for every n; the budget is twice the error of plain torch in float32."""
    for n in range(13 if quick else 25):
        exact = torch.randn(1 << n, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
        single, plain = exact.float(), exact.float()
        truth = lattice.moebius(exact, impl="reference")
        torch_butterfly_(plain, -1.0)
        budget = 2 * float((plain - truth).abs().max()) + 1e-6
        yield Check(f"moebius n={n} float32", float((lattice.moebius(single) - truth).abs().max()), budget)


def cases(quick: bool) -> Iterator[Case]:
    """Yield the batched and single transforms, in place."""
    for n, batch in ((10, 64), (12, 64), (16, 1), (20, 1)):
        x = torch.randn(batch, 1 << n)

        def ours(x: torch.Tensor = x) -> None:
            lattice.moebius(x, out=x)
            lattice.zeta(x, out=x)

        def plain(x: torch.Tensor = x) -> None:
            torch_butterfly_(x, -1.0)
            torch_butterfly_(x, 1.0)

        yield Case(f"n={n}, batch {batch}", Timed(ours, 2), {"torch": Timed(plain, 2)}, {"torch": 5.0})


ENTRY = Entry("lattice", "ms", cases, gate)
