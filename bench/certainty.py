"""What is certain of a split: classes against HiGHS and least squares, uniqueness, and what both cost.

Scores are regenerated from seeds. INTERACT_SCORES=FOLDER adds real ones, as in `bench.sparsify`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from scipy.optimize import linprog, nnls
from scipy.sparse import csr_array, hstack, identity

from bench.registry import Case, Check, Entry, Timed
from bench.sparsify import fit, given, planted, smooth
from interact_kernels import sparsify
from interact_kernels.sparsify import NoiseForm, SplitOptions

TAU = 0.05
EPS = 1e-4
MOST_SECONDS = {8: 0.3, 10: 5.0}


@functools.cache
def columns(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the columns of all effects but the ORs of single players (rows S != empty), their kinds and their sets."""
    sets = np.arange(1, 1 << n)
    several = sets[(sets & (sets - 1)) != 0]
    dictionary = np.hstack([(sets[:, None] & sets) == sets, (sets[:, None] & several) != 0]).astype(float)
    return dictionary, np.repeat([0, 1], [len(sets), len(several)]), np.concatenate([sets, several])


def highs_range(v: np.ndarray, delta: float, limit: float, column: int) -> tuple[float, float]:
    """Return the least and the largest effect of a column over all splits of strength <= limit, by HiGHS."""
    a = columns(len(v).bit_length() - 1)[0]
    rows, size = a.shape
    equal = np.hstack([a, -a, -np.eye(rows)])
    strength = np.concatenate([np.ones(2 * size), np.zeros(rows)])[None]
    bounds = [(0, None)] * (2 * size) + [(-delta, delta)] * rows
    ends = []
    for way in (1.0, -1.0):
        aim = np.zeros(equal.shape[1])
        aim[column], aim[size + column] = way, -way
        solved = linprog(aim, A_ub=strength, b_ub=[limit], A_eq=equal, b_eq=(v - v[0])[1:], bounds=bounds)
        ends.append(way * float(solved.fun or 0.0))
    return ends[0], ends[1]


def soft_cost(v: np.ndarray, column: int, level: float) -> float:
    """Return the least soft cost without a ridge, a column held at a level, as non-negative least squares by SciPy."""
    form = NoiseForm.of("soft")
    unit = np.abs(v - v[0]).max()
    w, gamma = (v - v[0])[1:] / unit, form.relative * abs(v[-1] - v[0]) / unit
    a, level = columns(len(v).bit_length() - 1)[0], level / unit
    w, a = w - level * a[:, column], np.delete(a, column, 1)
    # x + r/2 x^2 = r/2 (x + 1 / r)^2 - 1 / (2 r) for either sign of an effect, with an r that adds a millionth.
    small = np.sqrt(1e-6)
    weighted = np.vstack([np.hstack([a, -a]) / np.sqrt(gamma), small * np.eye(2 * a.shape[1])])
    aim = np.concatenate([w / np.sqrt(gamma), np.full(2 * a.shape[1], -1 / small)])
    x, _ = nnls(weighted, aim, maxiter=100_000)
    q = a @ (x[: a.shape[1]] - x[a.shape[1] :]) - w
    return float(unit * (x.sum() + q @ q / (2 * gamma) + abs(level)))


def classes(v: np.ndarray, form: NoiseForm, rtol: float | None = None) -> tuple[sparsify.Certainty, np.ndarray]:
    """Return what is certain of the split of `v`, and its effects."""
    split = sparsify.merge_order_one(sparsify.and_or_split(v, noise=form.noise, kappa=form.kappa, rtol=rtol))
    effects = np.stack([split.i_and, split.i_or])
    bound = form.relative * abs(v[-1] - v[0])
    levels = np.full(effects.shape, TAU * np.abs(effects).max())
    return sparsify.certainty(v, split, bound, levels=levels, eps=EPS), effects


def highs_cost(v: np.ndarray, delta: float, column: int, level: float) -> float:
    """Return the least strength with a column held at a level, by HiGHS."""
    a = columns(len(v).bit_length() - 1)[0]
    rest = csr_array(np.delete(a, column, 1))
    rows, size = rest.shape
    equal: Any = hstack([rest, -rest, -csr_array(identity(rows))], format="csc")
    cost = np.repeat([1.0, 0.0], [2 * size, rows])
    bounds = [(0.0, None)] * (2 * size) + [(-delta, delta)] * rows
    solved = linprog(cost, A_eq=equal, b_eq=(v - v[0])[1:] - level * a[:, column], bounds=bounds)
    return float(solved.fun or 0.0) + abs(level)


def contradicted(v: np.ndarray, form: NoiseForm, most: int) -> tuple[int, int]:
    """Return how many salient terms have a wrong class (by a millionth of the cost), of how many, at most `most`."""
    known, effects = classes(v, form, rtol=1e-7)
    level = TAU * np.abs(effects).max()
    places = list(enumerate(zip(*columns(len(v).bit_length() - 1)[1:], strict=True)))
    salient = [(column, place) for column, place in places if abs(effects[place]) > level]
    wrong, chosen = 0, np.random.default_rng(0).permutation(len(salient))[:most]
    for column, place in (salient[i] for i in chosen):
        held = np.sign(effects[place]) * level
        if form.soft:
            least = soft_cost(v, column, held)
        else:
            least = highs_cost(v, form.relative * abs(v[-1] - v[0]), column, held)
        sure = sparsify.STATUSES[known.status[place]] == "certain"
        wrong += sure != (least > known.limit) and abs(least - known.limit) > 1e-6 * known.limit
    return wrong, len(chosen)


def moved(v: np.ndarray, seed: int) -> float:
    """Return how far the soft effects move when the players are permuted, relative to the strength."""
    n = len(v).bit_length() - 1
    order = np.random.default_rng(seed).permutation(n)
    place = np.array([sum((s >> i & 1) << int(order[i]) for i in range(n)) for s in range(1 << n)])
    other = np.empty_like(v)
    other[place] = v
    one, two = sparsify.and_or_split(v), sparsify.and_or_split(other)
    far = max(np.abs(one.i_and - two.i_and[place]).max(), np.abs(one.i_or - two.i_or[place]).max())
    return float(far / one.primal)


def gate(quick: bool) -> Iterator[Check]:
    """No class is contradicted by HiGHS (or least squares); the soft split is the same under other names."""
    for n, seeds, most in [(5, 2, 99)] if quick else [(6, 2, 99), (7, 1, 40), (8, 1, 15)]:
        for form in (NoiseForm.of("box"), NoiseForm.of("exact"), NoiseForm.of("soft")):
            found = [contradicted(make(n, seed), form, most) for make in (planted, smooth) for seed in range(seeds)]
            wrong, count = (sum(part) for part in zip(*found, strict=True))
            yield Check(f"n={n} {form.noise}: contradicted of {count} salient terms", float(wrong), 0.0)
    for name, v in [("planted", planted(8, 0)), ("smooth", smooth(8, 0)), *((k, rows[0]) for k, rows in given())]:
        yield Check(
            f"{name} n={len(v).bit_length() - 1} permuted, moved", max(moved(v, seed) for seed in range(3)), 1e-6
        )


def known(rows: np.ndarray, form: NoiseForm) -> Timed:
    """Return the classes of all rows of `rows` on one thread, timed for each; their splits are made before."""
    splits = [sparsify.merge_order_one(sparsify.and_or_split(v, noise=form.noise, kappa=form.kappa)) for v in rows]

    def run() -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        for v, split in zip(rows, splits, strict=True):
            effects = np.stack([split.i_and, split.i_or])
            levels = np.full(effects.shape, TAU * np.abs(effects).max())
            bound = form.relative * abs(v[-1] - v[0])
            sparsify.certainty(v, split, bound, levels=levels, eps=EPS)
        torch.set_num_threads(threads)

    return Timed(run, len(rows))


def soft_split(rows: np.ndarray) -> Timed:
    """Return the canonical split of all rows, timed for each."""
    return Timed(lambda: sparsify.and_or_split(rows, impl="native", options=SplitOptions()), len(rows))


def cases(quick: bool) -> Iterator[Case]:
    """Yield the canonical split beside that of the box at gap 1e-3, and the classes of all salient terms."""
    soft = NoiseForm.of("soft")
    for n in (8,) if quick else (8, 10):
        for make in (planted, smooth):
            rows = np.stack([make(n, seed) for seed in range({8: 8, 10: 3}[n])])
            name = f"{make.__name__} n={n}"
            box = {"box, gap 1e-3": fit(rows, 0.04, "native")}
            yield Case(f"{name} canonical split", soft_split(rows), box, {"box, gap 1e-3": 1 / 1.3}, slow=n > 8)
            # Nothing is sparse in smooth scores: hundreds of terms are salient, and none are a user's at n = 10.
            if n == 8 or make is planted:
                peer = {"the split": soft_split(rows[:1])}
                yield Case(f"{name} classes", known(rows[:2], soft), peer, slow=True, at_most={"ours": MOST_SECONDS[n]})
    for name, rows in given():
        yield Case(f"{name} classes", known(rows[:8], soft), {"the split": soft_split(rows[:8])}, slow=True)


ENTRY = Entry("certainty", "ms", cases, gate)
