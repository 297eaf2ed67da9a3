"""The speed of lattice transforms, of splits and of their factorizations."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from bench.device.child import Cases
from bench.device.clock import Target, Time, clock, distance, in_full
from bench.sparsify import planted, smooth
from interact_kernels import lattice as lattice_operations
from interact_kernels import sparsify
from interact_kernels.sparsify.normal import cholesky_in_blocks

F32, F64 = torch.float32, torch.float64


def _butterfly(n: int, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Transform as a torch user would: in place, one pass a player."""
    y = x if y is x else y.copy_(x)
    for player in range(n):
        pairs = y.view(-1, 2, 1 << player)
        pairs[:, 1] -= pairs[:, 0]
    return y


def lattice(cases: Cases, _: str) -> None:
    """Time transforms against a copy, over buffers that are larger than the cache in rotation."""
    shapes = [
        (10, 65536, F32),
        (12, 16384, F32),
        (16, 1024, F32),
        (20, 64, F32),
        (24, 1, F32),
        (28, 1, F32),
        (20, 64, F64),
    ]
    target = cases.target
    for n, batch, dtype in [(4, 8, F32), (5, 8, F64)] if target.tiny else shapes:
        count = 2 if target.tiny else max(2, (256 << 20) // (batch << n) // dtype.itemsize)
        sets = [[target.random(batch, 1 << n, dtype=dtype) for _ in range(2)] for _ in range(count)]
        truth = sets[0][0].to(F64, copy=True)
        _butterfly(n, truth, truth)
        size = 2 * sets[0][0].nbytes / 1e6
        cells = {"case": f"n={n} x {batch} {dtype}", "MB": f"{size:.0f}"}
        times: dict[str, Time] = {}
        for name, call in _lattice_tries(target, n, dtype).items():
            timed = partial(_transform, cases, n, name, call, sets, truth, cells, times)
            cases.case(f"{cells['case']}: {name}", timed, group="lattice at these sizes")


def _lattice_tries(target: Target, n: int, dtype: torch.dtype) -> dict[str, Callable[..., object]]:
    """Return what transforms x into y, by name: a copy, ours, a loop of torch operations, a matrix product."""

    def ours(name: str, impl: str) -> Callable[..., object]:
        transform = getattr(lattice_operations, name)
        return lambda x, y: transform(x, out=y, impl=impl)

    impls = ("native",) if target.rehearsal else ("native", "triton")
    tries: dict[str, Callable[..., object]] = {"copy": lambda x, y: y.copy_(x)}
    tries |= {impl: ours("moebius", impl) for impl in impls}
    tries |= {f"{impl} or_moebius": ours("or_moebius", impl) for impl in impls if n in (4, 10, 20)}
    tries["torch butterfly"] = partial(_butterfly, n)
    if n <= 12:
        matrix = lattice_operations.moebius(torch.eye(1 << n, dtype=dtype), impl="reference").to(target.device)
        tries["dense product"] = lambda x, y: torch.mm(x, matrix, out=y)
    return tries


def _transform(
    cases: Cases,
    n: int,
    name: str,
    call: Callable[..., object],
    sets: list[list[torch.Tensor]],
    truth: torch.Tensor,
    cells: dict[str, str],
    times: dict[str, Time],
) -> tuple[float, float] | None:
    """Time one contender and write its cell; ours are held against the truth at this very size."""
    (x, y), verdict = sets[0], None
    if name in ("native", "triton"):
        call(x, y.fill_(torch.nan))
        verdict = distance(y, truth), 1e-5 if x.dtype == F32 else 1e-13
        if not verdict[0] <= verdict[1] or f"lattice {name} {x.dtype} n={n}" in cases.red:
            cells[name] = "refused: it is wrong"
            cases.line(cells["case"], "lattice", cells, times=in_full(times))
            return verdict
    times[name] = clock(cases.target, call, sets)
    cells[f"{name}, ms"] = times[name].against(times["copy"])
    cases.line(cells["case"], "lattice", cells, times=in_full(times))
    return verdict


@dataclass(frozen=True)
class Splits:
    """Samples to split: players, how many, the form of the noise, and whether C++ does them, too."""

    n: int
    count: int
    noise: str
    native: bool = True

    @property
    def gap(self) -> float:
        """Relative duality gap to reach: the default of the form."""
        return 1e-6 if self.noise == "soft" else 1e-3


def split(cases: Cases, _: str) -> None:
    """Time splits on the card against C++ on all threads; every one is verified."""
    target = cases.target
    shapes = [
        Splits(10, 256, "box"),
        Splits(10, 256, "soft"),
        Splits(12, 1, "box"),
        Splits(12, 1, "soft"),
        Splits(14, 1, "box", native=False),
    ]
    for given in [Splits(4, 4, "box"), Splits(5, 1, "soft")] if target.tiny else shapes:
        scores = np.stack([(planted, smooth)[i % 2](given.n, i) for i in range(given.count)])
        what = f"n={given.n} x {given.count}, {given.noise}"
        cells, times = {"case": what}, {}
        tries = {"torch": torch.as_tensor(scores, device=target.device)} | ({"native": scores} if given.native else {})
        for name, v in tries.items():
            cases.case(f"split {what}: {name}", partial(_split, cases, name, v, scores, given, cells, times))


def _split(
    cases: Cases,
    name: str,
    v: torch.Tensor | np.ndarray,
    scores: np.ndarray,
    given: Splits,
    cells: dict[str, str],
    times: dict[str, Time],
) -> tuple[str, bool]:
    options = sparsify.SplitOptions(time_limit=30.0)

    def call() -> sparsify.AndOrSplit:
        return sparsify.and_or_split(v, noise=given.noise, impl=name, options=options)

    begun = time.perf_counter()
    found = vars(call())
    once = time.perf_counter() - begun
    plain = {field: torch.as_tensor(part).cpu().numpy() for field, part in found.items() if field != "form"}
    seen = sparsify.verify(sparsify.AndOrSplit(**plain, form=found["form"]), scores)
    steps = plain["iterations"]
    right = bool(max(seen.matching, seen.noise_excess, seen.dual_excess) <= 1e-6 and seen.gap.max() <= 1.1 * given.gap)
    label = f"native, {torch.get_num_threads()} threads" if name == "native" else "torch, on the card"
    if right:
        # What takes a second was timed by its first call; the card warms up in it.
        longest = Time(1e3 * once, 1, 1e3 * once, 1e3 * once)
        times[name] = longest if once > (1 if name == "native" else 4) else clock(cases.target, call, seconds=1.0)
        cells[f"{label}, ms"] = times[name].against(times.get("torch", times[name]))
        cells[f"{name}, steps"] = f"{steps.mean():.1f}"
        cases.line(cells["case"], "split", cells, times=in_full(times))
    said = f"matching {seen.matching:.1g}, dual excess {seen.dual_excess:.1g}, largest gap {seen.gap.max():.2g}"
    return f"{said}, {plain['converged'].mean():.0%} converged", right


def cholesky(cases: Cases, _: str) -> None:
    """Factor the matrices of a batch of splits: cuSOLVER's batch against blocks of batched matrix products."""
    target = cases.target
    n, count = (63, 3) if target.tiny else (1023, 256)
    for dtype in (F64, F32):
        x = target.random(count, n, n, dtype=dtype)
        matrices = x @ x.mT / n + torch.eye(n, dtype=dtype, device=target.device)
        del x
        truth = torch.linalg.cholesky_ex(matrices)[0]
        ones = torch.ones(count, n, 1, dtype=dtype, device=target.device)
        tries: dict[str, Callable[[], torch.Tensor]] = {
            "cholesky_ex": lambda m=matrices: torch.linalg.cholesky_ex(m)[0]
        }
        tries |= {
            f"blocks of {w}": lambda m=matrices, w=w: cholesky_in_blocks(m.clone(), w) for w in (32, 64, 128, 256)
        }
        tries |= {"cholesky_solve": lambda t=truth, b=ones: torch.cholesky_solve(b, t)}
        cells = {"case": f"{count} x {n} {dtype}"}
        times: dict[str, Time] = {}
        for name, call in tries.items():

            def timed(
                name: str = name, call: Any = call, cells: Any = cells, times: Any = times, truth: Any = truth
            ) -> Any:
                off = distance(call().tril(), truth.tril()) if "blocks" in name else 0.0
                times[name] = clock(target, call, seconds=0.5)
                cells[f"{name}, ms"] = times[name].against(times["cholesky_ex"])
                cases.line(cells["case"], "Cholesky", cells, times=in_full(times))
                return off, 1e-3

            cases.case(f"{name}, {cells['case']}", timed, group=f"Cholesky {dtype}")
