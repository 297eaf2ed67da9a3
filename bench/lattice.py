"""The subset-lattice transforms against NumPy, torch, numba, shapiq, hadamard-transform and the dense matrix."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from bench.registry import Case, Check, Entry, Timed
from interact_kernels import _native, lattice
from interact_kernels.lattice.transform import MOEBIUS, ZETA


def numpy_butterfly_(x: np.ndarray, sign: float) -> None:
    """Transform `x` in place, one pass a player."""
    half = 1
    while half < x.shape[-1]:
        pairs = x.reshape(-1, 2, half)
        pairs[:, 1] += sign * pairs[:, 0]
        half *= 2


def torch_butterfly_(x: torch.Tensor, sign: float) -> None:
    """Transform `x` in place, one pass a player: what a careful torch user writes."""
    half = 1
    while half < x.shape[-1]:
        pairs = x.view(-1, 2, half)
        pairs[:, 1].add_(pairs[:, 0], alpha=sign)
        half *= 2


def numba_butterfly() -> Callable[[np.ndarray, float], None] | str:
    """Return the butterfly compiled by numba, or why not."""
    try:
        numba = importlib.import_module("numba")
    except ImportError:
        return "numba is not installed"

    @numba.njit(fastmath=True)
    def butterfly_(x, sign):  # x: [batch, 2^n]
        for row in range(x.shape[0]):
            half = 1
            while half < x.shape[1]:
                for block in range(0, x.shape[1], 2 * half):
                    for i in range(block, block + half):
                        x[row, i + half] += sign * x[row, i]
                half *= 2

    return butterfly_


def hadamard(x: torch.Tensor) -> Timed | str:
    """Return hadamard-transform's Walsh-Hadamard transform of `x`, as many butterflies as ours."""
    try:
        module: Any = importlib.import_module("hadamard_transform")
    except ImportError:
        return "hadamard-transform is not installed"
    return Timed(lambda: module.hadamard_transform(x))


def dense(x: torch.Tensor) -> Timed:
    """Return the product with the 2^n x 2^n matrix, as the published code has it."""
    size = x.shape[-1]
    matrix = lattice.moebius(torch.eye(size)).contiguous()
    return Timed(lambda: x @ matrix)


def shapiq(n: int) -> Timed | str:
    """Return shapiq's exact Moebius transform of a game given as a table."""
    try:
        module: Any = importlib.import_module("shapiq.game_theory.exact")
    except ImportError:
        return "shapiq is not installed"
    values = np.random.default_rng(0).normal(size=1 << n)
    weights = 1 << np.arange(n)

    def game(coalitions: np.ndarray) -> np.ndarray:
        return values[coalitions @ weights]

    computer = module.ExactComputer(n_players=n, game=game)

    def run() -> object:
        computer._computed.clear()  # it remembers results
        return computer.moebius_transform

    return Timed(run)


def both(transform: Callable[[Any, float], None] | str, x: Any) -> Timed | str:
    """Return Moebius then zeta in place, so that repeating it keeps the values."""
    if isinstance(transform, str):
        return transform

    def run() -> None:
        transform(x, -1.0)
        transform(x, 1.0)

    return Timed(run, work=2)


def ours_(x: torch.Tensor, sign: float) -> None:
    """Transform `x` in place through the public door."""
    if sign < 0:
        lattice.moebius(x, out=x)
    else:
        lattice.zeta(x, out=x)


def raw(x: torch.Tensor, threads: int) -> Timed:
    """Return the raw call of the native transform of one row, in place."""
    n = x.shape[-1].bit_length() - 1

    def run() -> None:
        address = x.data_ptr()
        _native.kronecker_f32(address, address, 1, n, *MOEBIUS, threads)
        _native.kronecker_f32(address, address, 1, n, *ZETA, threads)

    return Timed(run, work=2)


def one_pass(x: torch.Tensor) -> Timed:
    """Return the physical limit: one in-place pass over the memory of `x`."""
    return Timed(x.neg_)


def gate(quick: bool) -> Iterator[Check]:
    """Compare with float64 for every n; the budget is twice the error of plain torch in float32."""
    for n in range(13 if quick else 25):
        exact = torch.randn(1 << n, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
        single, plain = exact.float(), exact.float()
        truth = lattice.moebius(single.double(), impl="reference")
        torch_butterfly_(plain, -1.0)
        budget = 2 * float((plain - truth).abs().max()) + 1e-6
        yield Check(f"moebius n={n} float32", float((lattice.moebius(single) - truth).abs().max()), budget)


def cases(quick: bool) -> Iterator[Case]:
    """Yield calls, batches, single vectors, the passes over memory, threads, shapiq."""
    yield call(torch.randn(1, 1 << 10))
    compiled = numba_butterfly()
    for n in (10, 12):
        for threads in (1, 2):
            yield batched(torch.randn(64, 1 << n), n, threads, compiled)
    for n in (16, 20) if quick else (16, 18, 20, 22, 24, 26):
        for threads in (1, 2) if n < 26 else (1,):
            yield single(torch.randn(1, 1 << n), n, threads, compiled)
    x = torch.randn(1, 1 << 22)
    one = {"our one thread": raw(x, 1)}
    yield Case("n=22, batch 1, threads", raw(x, 2), one, at_least={"our one thread": 1.6}, threads=2)
    if not quick:
        peers = {"shapiq": shapiq(14)}
        x = torch.randn(1, 1 << 14)
        yield Case("n=14, batch 1, float32", both_of(ours_, x), peers, at_least={"shapiq": 1e4}, slow=True)


def both_of(transform: Callable[[Any, float], None], x: Any) -> Timed:
    """Return `both` for what is never absent."""
    timed = both(transform, x)
    assert isinstance(timed, Timed)
    return timed


def call(x: torch.Tensor) -> Case:
    """Return what one small call costs, by door."""
    numbers = [*MOEBIUS, 1.0, 0.0, 0.0]
    rows = torch.zeros(64, x.shape[-1])

    def many() -> None:
        _native.kronecker_f32(rows.data_ptr(), rows.data_ptr(), 64, 10, *MOEBIUS, 1)

    doors = {
        "C++ alone (64 rows a call)": Timed(many, work=64),
        "moebius(x, out=x)": both_of(ours_, x),
        "moebius(x)": Timed(lambda: lattice.moebius(x)),
        "registered operation": Timed(lambda: torch.ops.interact.lattice.default(x, numbers, "auto")),
        "torch": both_of(torch_butterfly_, x),
    }
    limits = {"C++ alone (64 rows a call)": 1e-6, "moebius(x)": 20e-6, "registered operation": 20e-6}
    return Case("n=10, batch 1, raw call", raw(x, 1), doors, at_most=limits)


def batched(x: torch.Tensor, n: int, threads: int, compiled: Any) -> Case:
    """Return a batch of small transforms against every peer."""
    peers = {
        "torch": both_of(torch_butterfly_, x.clone()),
        "numba": both(compiled, x.clone().numpy()),
        "numpy": both_of(numpy_butterfly_, x.clone().numpy()),
        "hadamard-transform": hadamard(x),
        "dense": dense(x),
        "one pass": one_pass(x.clone()),
    }
    return Case(f"n={n}, batch {len(x)}", both_of(ours_, x), peers, {"torch": 5.0, "numba": 5.0}, threads=threads)


def single(x: torch.Tensor, n: int, threads: int, compiled: Any) -> Case:
    """Return one large transform, with the limits in passes over its memory."""
    passes = {20: 2.5, 22: 2.5, 24: 3.5, 26: 4.0}
    peers: dict[str, Timed | str] = {"one pass": one_pass(x)}
    if n <= 24:
        peers["torch"] = both_of(torch_butterfly_, x)
        peers["numba"] = both(compiled, x.numpy())
    least = {"torch": 8.0} if n <= 24 else {}
    if threads == 1 and n in passes:
        least["one pass"] = 1 / passes[n]
    slow = n > 24
    return Case(f"n={n}, batch 1", both_of(ours_, x), peers, least, threads=threads, slow=slow)


ENTRY = Entry("lattice", "us", cases, gate)
