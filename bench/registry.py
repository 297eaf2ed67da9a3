"""What can be measured: entries, their cases, and who competes in each.

To add an entry, write one new file ``bench/<operation>.py`` that defines ``ENTRY``; nothing else changes::

    from bench.registry import Case, Check, Entry, Timed

    def cases(quick: bool) -> Iterator[Case]:
        x = torch.randn(1 << 10)
        yield Case("n=10", ours=Timed(lambda: ours(x)), baselines={
            "numpy": Timed(lambda: peer(x)),            # a callable that does the work once
            "pair": Timed(lambda: both(x), work=2),     # ... or `work` times
            "shapiq": "shapiq is not installed",        # ... or the reason why it is absent
        }, at_least={"numpy": 5.0})                     # the ratio to show; missing it is reported, never hidden

    def gate(quick: bool) -> Iterator[Check]:
        yield Check("n=10 against the reference", error=..., budget=...)

    ENTRY = Entry("operation", unit="ms", cases=cases, gate=gate)

`cases` is a generator: what one case allocates is freed before the next is built. The gate runs first; if one
check is red, the entry reports no figures at all.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import bench


@dataclass(frozen=True)
class Timed:
    """A callable to measure; one call does the operation `work` times (a share of it, below 1)."""

    run: Callable[[], object]
    work: float = 1


@dataclass(frozen=True)
class Case:
    """One row of contenders on the same inputs.

    Args:
        name: The inputs in words.
        ours: Our implementation.
        baselines: Peers and physical limits by name; a string says why one is absent.
        at_least: Smallest acceptable ratio baseline / ours by baseline.
        at_most: Longest acceptable time in seconds by contender ("ours" or a baseline).
        threads: What torch.set_num_threads gets for this case.
        device: "cpu", or "cuda" to wait for the device round each sample.
        slow: One call takes seconds: three rounds.
        rounds: How often each is called when a call takes minutes; then without warm-up.
        most_bytes: Largest acceptable growth of the process's resident memory in one call of ours.
    """

    name: str
    ours: Timed
    baselines: Mapping[str, Timed | str] = field(default_factory=dict)
    at_least: Mapping[str, float] = field(default_factory=dict)
    at_most: Mapping[str, float] = field(default_factory=dict)
    threads: int = 1
    device: str = "cpu"
    slow: bool = False
    rounds: int | None = None
    most_bytes: float | None = None


@dataclass(frozen=True)
class Check:
    """One correctness check: green when `error` <= `budget`."""

    name: str
    error: float
    budget: float


@dataclass(frozen=True)
class Entry:
    """An operation with its correctness gate and its cases; `unit` is "s", "ms" or "us"."""

    name: str
    unit: str
    cases: Callable[[bool], Iterator[Case]]
    gate: Callable[[bool], Iterator[Check]]


def entries(names: tuple[str, ...] = ()) -> list[Entry]:
    """Return the entries called `names` (all by default).

    Raises:
        ValueError: A name is unknown.
    """
    # Other modules are the framework, or measure something else than time by a command of their own.
    files = (path for folder in bench.__path__ for path in Path(folder).glob("*.py"))
    modules = sorted(path.stem for path in files if re.search(r"^ENTRY = ", path.read_text("utf-8"), re.MULTILINE))
    if unknown := [name for name in names if name not in modules]:
        raise ValueError(f"No benchmark is called {', '.join(unknown)}; there are: {', '.join(modules)}.")
    return [importlib.import_module(f"bench.{name}").ENTRY for name in names or modules]
