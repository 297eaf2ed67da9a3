"""The AND-OR split against HiGHS, plain torch and the published fit; gaps are recomputed by `verify`.

Scores are regenerated from seeds. INTERACT_SCORES=FOLDER adds real ones: every ``*.npy`` of shape [2**n] or
[samples, 2**n] in it goes through the gate, at kappa 0.04.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from bench.registry import Case, Check, Entry, Timed
from interact_kernels import sparsify
from interact_kernels.sparsify import SplitOptions

KAPPA = 0.04
RTOL = 1e-3
MOST_SECONDS = {8: 0.008, 10: 0.15, 12: 6.0}


def planted(n: int, seed: int, noise: float = 0.05) -> np.ndarray:
    """Return scores of 3 n AND and OR interactions plus noise."""
    rng = np.random.default_rng(seed)
    masks = np.arange(1 << n)
    v = noise * rng.normal(size=1 << n)
    for _ in range(3 * n):
        term, effect = rng.integers(1, 1 << n), rng.normal()
        v += effect * ((masks & term) == term if rng.random() < 0.5 else (masks & term) != 0)
    return v


def smooth(n: int, seed: int) -> np.ndarray:
    """Return scores of a random two-layer network of the players: nothing is planted."""
    rng = np.random.default_rng(seed)
    players = (np.arange(1 << n)[:, None] >> np.arange(n)) & 1
    return np.tanh((players - 0.5) @ rng.normal(size=(n, 4 * n))) @ rng.normal(size=4 * n)


def given() -> Iterator[tuple[str, np.ndarray]]:
    """Yield the arrays of the folder named by INTERACT_SCORES."""
    if folder := os.environ.get("INTERACT_SCORES"):
        for path in sorted(Path(folder).glob("*.npy")):
            values = np.load(path).astype(np.float64)
            yield path.stem, values.reshape(-1, values.shape[-1])


def gate(quick: bool) -> Iterator[Check]:
    """Every gap is certified by `verify`; strengths are within 1e-3 of HiGHS."""
    sets = [
        (f"planted n={n}", np.stack([planted(n, seed) for seed in range(3)])) for n in (4, 8, 10)[: 2 if quick else 3]
    ]
    sets += [("smooth n=8", np.stack([smooth(8, seed) for seed in range(3)])), *given()]
    for name, v in sets:
        for kappa in (KAPPA, 0.0):
            verdict = sparsify.verify(sparsify.and_or_split(v, kappa=kappa, rtol=RTOL), v, kappa)
            yield Check(f"{name} kappa={kappa} gap of {len(v)}", float(verdict.gap.max()), RTOL * (1 + 1e-9))
            yield Check(f"{name} kappa={kappa} matching", verdict.matching, 1e-9)
    for v in (planted(8, 0), smooth(8, 0)):
        truth = float(sparsify.and_or_split(v, kappa=KAPPA, impl="reference").primal)
        ours = float(sparsify.and_or_split(v, kappa=KAPPA, rtol=RTOL).primal)
        yield Check("n=8 against HiGHS", abs(ours / truth - 1), 1e-3)


def fit(v: np.ndarray, kappa: float, impl: str, steps: int | None = None) -> Timed:
    """Return the split of all rows of `v`, timed for each."""

    def run() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            sparsify.and_or_split(v, kappa=kappa, rtol=RTOL, impl=impl, options=SplitOptions(max_iterations=steps))

    return Timed(run, len(v))


def cases(quick: bool) -> Iterator[Case]:
    """Yield single samples, the batch on two threads, and many players without noise."""
    for n in (8, 10) if quick else (8, 10, 12):
        for name, make in (("planted", planted), ("smooth", smooth)):
            v = np.stack([make(n, seed) for seed in range({8: 8, 10: 3, 12: 1}[n])])
            peers: dict[str, Timed | str] = {"torch float64": fit(v, KAPPA, "torch")} if n < 12 else {}
            if n == 8:
                peers["HiGHS"] = fit(v[:1], KAPPA, "reference")
                peers["published SGD, 2000 of 10000 steps"] = fit(v[:1], KAPPA, "sgd-published", steps=2000)
            if n == 10:
                peers["HiGHS"] = "takes 4 s to minutes a sample"
            ours = fit(v, KAPPA, "native")
            yield Case(f"{name} n={n} kappa=0.04", ours, peers, slow=n > 8, at_most={"ours": MOST_SECONDS[n]})
    for name, v in given():
        ours = fit(v, KAPPA, "native")
        yield Case(f"{name} kappa=0.04", ours, {"torch float64": fit(v[:4], KAPPA, "torch")}, slow=True)
    v = np.stack([planted(9, seed) for seed in range(64)])

    def alone() -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        sparsify.and_or_split(v, kappa=KAPPA, rtol=RTOL, impl="native")
        torch.set_num_threads(threads)

    pair = fit(v, KAPPA, "native")
    yield Case("batch 64 n=9", pair, {"one thread": Timed(alone, 64)}, {"one thread": 1.7}, threads=2, slow=True)
    for n in (10, 12) if quick else (10, 12, 14):
        v = planted(n, 0)[None]
        peer = {"interior point": fit(v, 0.0, "native")} if n < 13 else {}
        yield Case(f"planted n={n} kappa=0, ADMM", fit(v, 0.0, "admm"), peer, slow=n > 10)


ENTRY = Entry("sparsify", "ms", cases, gate)
