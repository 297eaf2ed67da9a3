"""What is measured, and how: times by GPU events, kernels by the profiler, ceilings by torch's own operations."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile


@dataclass(frozen=True)
class Target:
    """A card ("cuda") or, in a rehearsal, the CPU; `tiny` asks for few and small cases."""

    device: str
    tiny: bool

    @property
    def rehearsal(self) -> bool:
        """Whether there is no card."""
        return self.device == "cpu"

    def random(self, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Return normal numbers on the device."""
        return torch.randn(*shape, device=self.device).to(dtype)

    def synchronize(self, emptied: bool = False) -> None:
        """Wait for the device; `emptied` gives back what the allocator holds."""
        if not self.rehearsal:
            torch.cuda.synchronize()
            if emptied:
                torch.cuda.empty_cache()

    @contextmanager
    def other_stream(self) -> Iterator[None]:
        """Work on another stream, behind work that takes a while."""
        self.synchronize()
        if self.rehearsal:
            yield
            return
        with torch.cuda.stream(torch.cuda.Stream()):
            torch.cuda._sleep(1_000_000)
            yield
        self.synchronize()


@dataclass(frozen=True)
class Time:
    """The median of laps in ms, how many there were, the least and the most."""

    ms: float
    laps: int
    least: float
    most: float

    def scaled(self, factor: float) -> Time:
        """Return the time of `factor` times as much work."""
        return replace(self, ms=self.ms * factor, least=self.least * factor, most=self.most * factor)

    def against(self, other: Time | float) -> str:
        """Say the time and how many times `other` (ms) it is."""
        held = other.ms if isinstance(other, Time) else other
        return f"{self.ms:.4g} = {self.ms / held:.2f}x"


def clock(
    target: Target, call: Callable[..., object], sets: Sequence[Sequence[Any]] = ((),), seconds: float = 1.0
) -> Time:
    """Time a call with rotating inputs: the median of at least 5 laps, of 2 where a lap takes seconds.

    Three calls warm up before the number of calls of a lap is chosen, because CUDA loads a kernel when it first runs;
    a call that takes a second is a lap by itself, and one warms up.
    """
    turn = itertools.cycle(sets)
    begun = time.perf_counter()
    for _ in range(max(3, len(sets))):
        call(*next(turn))
        target.synchronize()
        if time.perf_counter() - begun > 1.0:
            break
    first = _lap(target, call, turn, 1)
    calls = min(50, int(2 / max(first, 1e-3)) + 1)
    laps = [first] if calls == 1 else []
    most, seconds = (30, seconds) if not target.rehearsal else (2, 0.0)
    while len(laps) < min(most, 2 if sum(laps) > 4000 else 5) or (len(laps) < most and sum(laps) < 1e3 * seconds):
        laps.append(_lap(target, call, turn, calls))
    laps = sorted(lap / calls for lap in laps)
    return Time(laps[len(laps) // 2], len(laps), laps[0], laps[-1])


def _lap(target: Target, call: Callable[..., object], turn: Iterator[Sequence[Any]], calls: int) -> float:
    """Return the ms of so many calls."""
    if target.rehearsal:
        begun = time.perf_counter()
        for _ in range(calls):
            call(*next(turn))
        return 1e3 * (time.perf_counter() - begun)
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(calls):
        call(*next(turn))
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end)


@dataclass(frozen=True)
class Profile:
    """What a device did in a call: kernels, copies to it, ms in work, ms from begin to end, kernels by their ms."""

    kernels: int
    copies: int
    busy: float
    span: float
    longest: list[tuple[str, float]]


def profiled(target: Target, call: Callable[[], object]) -> Profile:
    """Profile a call."""
    kind = target.device.upper()
    with profile(activities=[getattr(ProfilerActivity, kind)]) as profiler:
        call()
        target.synchronize()
    events = [event for event in profiler.events() or [] if event.device_type.name == kind]
    times: defaultdict[str, float] = defaultdict(float)
    for event in events:
        times[event.name] += event.time_range.elapsed_us() / 1e3
    longest = sorted(times.items(), key=lambda item: -item[1])[:12]
    span = max(e.time_range.end for e in events) - min(e.time_range.start for e in events)
    kernels = sum(not event.name.startswith("Mem") for event in events)
    copies = sum("HtoD" in event.name for event in events)
    return Profile(kernels, copies, sum(times.values()), span / 1e3, longest)


def kernels_alone(target: Target, call: Callable[[], object], calls: int = 3) -> float:
    """Return the ms that the kernels of a call take, without what lies between them."""
    return profiled(target, lambda: [call() for _ in range(calls)]).busy / calls


def matrix_rate(target: Target, dtype: torch.dtype) -> tuple[Time, float]:
    """Measure a large square matrix product: its time, and multiply-adds in TFLOP/s."""
    size = 64 if target.tiny else 8192 if dtype.itemsize == 2 else 4096
    sets = [[target.random(size, size, dtype=dtype) for _ in range(2)] for _ in range(2)]
    time_of_one = clock(target, torch.mm, sets, 0.5)
    return time_of_one, 2e-9 * size**3 / time_of_one.ms


def copy_rate(target: Target) -> tuple[Time, float]:
    """Measure a large copy: its time, and bytes read and written in GB/ms (TB/s)."""
    count = 1 << 18 if target.tiny else 1 << 28
    sets = [[target.random(count), target.random(count)] for _ in range(2)]
    time_of_one = clock(target, lambda x, y: y.copy_(x), sets)
    return time_of_one, 8e-9 * count / time_of_one.ms


def distance(got: torch.Tensor, truth: torch.Tensor) -> float:
    """Return |got - truth| / |truth| over all entries; NaN where one is not a number."""
    wide = truth.to(got.device).double()
    return float((got.double() - wide).norm() / wide.norm()) if wide.numel() else 0.0


def in_full(times: Mapping[str, Time]) -> dict[str, object]:
    """Return times as they go into the JSON file."""
    return {name: asdict(time) for name, time in times.items()}
