"""What is found from sampled coalitions: not how fast, so it is no entry of the registry.

::

    python -m bench.sparse_quality planted              # terms with the right sign, false terms, R^2, seconds, memory
    python -m bench.sparse_quality sharing              # calls a second with shared beginnings, and what they cost
    python -m bench.sparse_quality long                 # reviews of 1,000 tokens and more: sentences, then words
    python -m bench.sparse_quality memory               # a prompt of 4,000 tokens: memory beside the model
    python -m bench.sparse_quality lattice              # where all scores are known: R^2 and coverage by estimator

`bench.peers` compares with other methods.
"""

from __future__ import annotations

import argparse
import itertools
import math
import resource
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench import lattices
from bench.peers.judging import judges, r2
from bench.sparse import planted, recovered
from interact import extract, prepare, sparse
from interact.games.prompt_game import game_of
from interact.models import embedded
from interact.models.load import load_model
from interact.prompt.inputs import CoalitionInputs
from interact.sft.data import REVIEW
from interact.sparse import gaussian
from interact.sparse.design import draw


def run_planted(given: argparse.Namespace) -> None:
    """Print a row a game."""
    games = ((20, 12, 8), (64, 30, 8), (200, 25, 3), (256, 30, 3), (1000, 30, 1))
    for n, terms, factor in games:
        if n not in given.players:
            continue
        for seed in range(given.seeds):
            (truth, value), (_, true) = planted(n, terms, seed), planted(n, terms, seed, noise=0.0)
            budget = int(factor * n * math.log2(n))
            start = time.process_time()
            found = sparse.explain(value, n, budget=budget, seed=seed)
            seconds, (right, false) = time.process_time() - start, recovered(truth, found)
            held = judges(n, 1000)
            half, mixed = (r2(true(part), found.predict(part)) for part in (held[:500], held[500:]))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            print(
                f"n={n} seed={seed} budget={budget}: {right} of {terms} right, {false} false, R^2 {half:.3f} and "
                f"{mixed:.3f}, {len(found.values)} calls, {seconds:.1f} CPU s, peak {peak:.2f} GiB",
                flush=True,
            )


def reviews(tokenizer: Any, inputs: int, sizes: tuple[int, int]) -> Iterator[tuple[int, CoalitionInputs]]:
    """Yield IMDB reviews whose number of content words lies in a range, by their place in the file."""
    found = 0
    for place, review in enumerate(embedded.reviews("imdb")):
        if place % 7 or found == inputs:
            continue
        target = "positive" if review.label else "negative"
        asked = {"target": target, "template": REVIEW, "most_players": 4096}
        prompt = prepare(tokenizer, review.text, **asked) if len(review.text) < 40 * sizes[1] else None
        if prompt is not None and sizes[0] <= prompt.n <= sizes[1]:
            found += 1
            yield place, prompt


def run_long(given: argparse.Namespace) -> None:
    """Print how well, how fast and in what memory long reviews are explained: sentences, then the strongest's words."""
    model, tokenizer = load_model(str(embedded.fetch("smollm2")), dtype=given.dtype, device="cpu")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for place, review in enumerate(embedded.reviews("imdb")):
        tokens = len(tokenizer(review.text)["input_ids"])
        if given.inputs == 0 or not given.tokens[0] <= tokens <= given.tokens[1]:
            continue
        given.inputs -= 1
        asked: dict[str, Any] = {"target": "positive" if review.label else "negative", "template": REVIEW}
        asked |= {"method": "sparse", "masking": "attention", "progress": False}
        again = partial(extract, model, tokenizer, review.text, **asked)
        start = time.process_time()
        coarse = again(players="sentences", budget=given.budget)
        middle = time.process_time()
        fine = sparse.refine(coarse, again, budget=given.budget, keep=2)
        seconds = middle - start, time.process_time() - middle
        peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
        for name, found, cost in (("sentences", coarse, seconds[0]), ("opened", fine, seconds[1])):
            print(
                f"review {place}, {tokens} tokens, {name}: n={found.n}, {len(found.and_terms) + len(found.or_terms)} "
                f"terms, held-out R^2 {found.fidelity(0.0).r2:.3f}, {cost:.0f} CPU s, {peak:.2f} GiB above the model",
                flush=True,
            )


def run_memory(given: argparse.Namespace) -> None:
    """Print what a prompt of many reviews, each a player, takes in memory and seconds."""
    model, tokenizer = load_model("smollm2", dtype=given.dtype, device="cpu")
    # What is held now: loading took more for a while.
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**10
    text, spans = "", []
    for review in embedded.reviews("imdb"):
        spans.append((len(text), len(text) + len(review.text)))
        text += f"{review.text}\n\n"
        if len(tokenizer(text)["input_ids"]) >= given.tokens[1]:
            break
    asked: dict[str, Any] = {"players": spans, "target": "positive", "template": REVIEW, "masking": "attention"}
    start = time.process_time()
    found = extract(model, tokenizer, text, **asked, method="sparse", budget=sparse.least_budget(len(spans)))
    seconds = time.process_time() - start
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    tokens = len(prepare(tokenizer, text, **{k: v for k, v in asked.items() if k != "masking"}).input_ids)
    print(
        f"{tokens} tokens, n={found.n}, {len(found.values)} scores: {seconds:.0f} CPU s, {peak:.2f} GiB above the model"
    )


def run_sharing(calls: int, sizes: tuple[int, int]) -> None:
    """Print calls a second of flat and tree, by size of the groups, and what sharing costs in planted terms."""
    model, tokenizer = load_model(str(embedded.fetch("smollm2")), dtype="float32", device="cpu")
    _, prompt = next(reviews(tokenizer, 1, sizes))
    flat = 0.0
    for engine, shared in (("flat", 1), ("tree", 1), ("tree", 4), ("tree", 8)):
        masks = draw(prompt.n, calls, kind="uniform", paired=False, shared=shared, rng=np.random.default_rng(0))[0]
        game = game_of(model, prompt, masking="attention", engine=engine)
        game(masks[:2])
        start = time.process_time()
        game(masks)
        speed = calls / (time.process_time() - start)
        flat = flat or speed
        truth, value = planted(64, 30, seed=0)
        budget = 2 * 64 * 6
        right, false = recovered(
            truth, sparse.explain(value, 64, budget=budget, options=sparse.SparseOptions(shared=shared, bootstraps=0))
        )
        print(
            f"{engine}, groups of {shared}: {speed:.2f} calls a CPU second ({speed / flat:.2f}x flat), n={prompt.n}, "
            f"{len(prompt.input_ids)} tokens; planted n=64 from {budget}: {right} of 30 right, {false} false",
            flush=True,
        )


ESTIMATES = (("terms", False), ("auto", False), ("auto", True))
"""Estimators, and whether they choose what to score next."""


def run_lattice(given: argparse.Namespace) -> None:
    """Print how much of all 2**n scores each estimator explains, and how often 95 % intervals cover exact effects."""
    if given.file is not None:
        games = [(given.file.stem, lattices.read(given.file))]
    else:
        games = [(file.stem, lattices.read(file)) for file in sorted(lattices.FOLDER.glob("*.npz"))]
    for name, values in games:
        n = len(values).bit_length() - 1
        every = lattices.everyone(n)
        sets = [{i} for i in range(n)] + [set(pair) for pair in itertools.combinations(range(n), 2)]
        truth = {kind: np.array([_exact(values, kind, members) for members in sets]) for kind in gaussian.KINDS}
        for budget, (estimator, adaptive) in itertools.product(given.budgets, ESTIMATES):
            rows, inside = [], []
            for seed in range(given.seeds):
                options = sparse.SparseOptions(estimator=estimator, adaptive=adaptive, bootstraps=0)
                ask, start = partial(_looked_up, values), time.process_time()
                # An eighth is held out, so that `budget` coalitions are fitted.
                found = sparse.explain(ask, n, budget=budget * 8 // 7, seed=seed, options=options)
                rows.append((r2(values, found.predict(every)), time.process_time() - start))
                if found.provenance["gaussian"] is not None:
                    process = sparse.posterior(found)
                    inside.append([_covered(process.effects(kind, sets), truth[kind]) for kind in truth])
            mean, low = np.mean(rows, axis=0), np.min(rows, axis=0)
            shares = dict(zip(truth, np.mean(inside, axis=0).round(2).tolist(), strict=True)) if inside else {}
            print(
                f"{name} n={n}, {budget} fitted, {estimator}{', chosen' if adaptive else ''}: R^2 {mean[0]:.3f} (worst "
                f"{low[0]:.3f}), {mean[1]:.1f} CPU s, 95 % intervals cover {shares}",
                flush=True,
            )


def _looked_up(values: np.ndarray, masks: np.ndarray) -> np.ndarray:
    return values[masks @ (1 << np.arange(masks.shape[1]))]


def _covered(known: tuple[np.ndarray, np.ndarray], truth: np.ndarray) -> float:
    # What was scored itself is known to rounding.
    return float((np.abs(known[0] - truth) < 1.96 * known[1] + 1e-6 * np.ptp(truth)).mean())


def _exact(values: np.ndarray, kind: str, members: set[int]) -> float:
    """Return an effect by its definition, one player after another summed out."""
    n, total = len(values).bit_length() - 1, 0.0
    for p, share in zip(*gaussian.densities(kind, n), strict=True):
        table = values
        for i in range(n):
            table = table.reshape(-1, 2) @ ((-1.0, 1.0) if i in members else (1 - p, p))
        total += share * float(table[0])
    return -((-1) ** len(members)) * total if kind == "or" else total


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("part", choices=("planted", "sharing", "long", "memory", "lattice"))
    parser.add_argument("--inputs", type=int, default=20)
    parser.add_argument("--budget", type=int, default=300, help="coalitions of a long review, for each step")
    parser.add_argument("--tokens", nargs=2, type=int, default=[1000, 4000], help="fewest and most of a long review")
    parser.add_argument("--least", type=int, default=32, help="fewest players of a review")
    parser.add_argument("--most", type=int, default=128, help="most players of a review")
    parser.add_argument("--players", nargs="+", type=int, default=[20, 64, 200, 256, 1000], help="of the planted games")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of the real model")
    parser.add_argument("--file", type=Path, help="of a lattice: an .npz whose v holds all 2**n scores in bit order")
    parser.add_argument(
        "--budgets", nargs="+", type=int, default=[100, 200, 400], help="coalitions fitted, of a lattice"
    )
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    if given.part == "planted":
        run_planted(given)
    elif given.part == "long":
        run_long(given)
    elif given.part == "memory":
        run_memory(given)
    elif given.part == "lattice":
        run_lattice(given)
    else:
        run_sharing(32, (given.least, given.most))


if __name__ == "__main__":
    main()
