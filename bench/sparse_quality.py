"""What is found from sampled coalitions, ours and peers': not how fast, so it is no entry of the registry.

::

    python -m bench.sparse_quality planted              # terms with the right sign, false terms, R^2, seconds
    python -m bench.sparse_quality real --inputs 20     # held-out R^2 on IMDB reviews with SmolLM2; resumable
    python -m bench.sparse_quality sharing              # calls a second with shared beginnings, and what they cost
    python -m bench.sparse_quality long                 # reviews of 1,000 tokens and more: sentences, then words

Every method gets the same model, masking and number of calls (ours pays for its own held-out coalitions from them) and
is judged on the same coalitions, which none of them saw: half of density 1/2, half of all densities.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import Ridge, RidgeCV

from bench.sparse import planted, recovered
from interact import embedded, extract, prepare, sparse
from interact.coalitions import score_coalitions
from interact.inputs import CoalitionInputs
from interact.models.load import load_model
from interact.sft.data import REVIEW
from interact.sparse.design import draw
from interact.sparse.scores import ScoreCache, score

Predictor = Callable[[np.ndarray], np.ndarray]
METHODS = ("ours", "ours, two-sided", "ProxySPEX", "LIME", "pairwise")


def r2(truth: np.ndarray, rebuilt: np.ndarray) -> float:
    """Return the share of variance explained."""
    return float(1 - ((truth - rebuilt) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


def judges(n: int, count: int) -> np.ndarray:
    """Return coalitions to judge by: half of density 1/2, half of every size."""
    rng = np.random.default_rng(10_007)
    kinds = ("uniform", "balanced")
    return np.concatenate([draw(n, count // 2, kind=k, paired=False, shared=1, rng=rng)[0] for k in kinds])


def proxyspex(value: sparse.Value, n: int, budget: int) -> Predictor:
    """Fit shapiq's ProxySPEX and return its Moebius form as a predictor."""
    from shapiq.approximator import ProxySPEX

    kept: dict[tuple[int, ...], float] = {}

    class Keeping(ProxySPEX):
        def _process_moebius(self, moebius_transform: dict[tuple, float]) -> np.ndarray:
            kept.update(moebius_transform)
            return super()._process_moebius(moebius_transform)

    Keeping(n=n, index="SV", max_order=1, random_state=0).approximate(budget, lambda m: value(np.asarray(m, bool)))

    def predict(masks: np.ndarray) -> np.ndarray:
        total = np.zeros(len(masks))
        for members, effect in kept.items():
            total += effect * masks[:, list(members)].all(axis=1)
        return total

    return predict


def lime(masks: np.ndarray, values: np.ndarray) -> Predictor:
    """Fit a weighted linear model with LIME's kernel on the share of absent players."""
    distance = 1 - np.sqrt(masks.mean(axis=1))
    fit = Ridge(alpha=1.0).fit(masks, values, sample_weight=np.exp(-(distance**2) / 0.25**2))
    return lambda m: np.asarray(fit.predict(m))


def pairwise(masks: np.ndarray, values: np.ndarray) -> Predictor:
    """Fit a ridge on players and pairs, its strength by cross-validation."""
    first, second = np.triu_indices(masks.shape[1], 1)

    def wide(m: np.ndarray) -> np.ndarray:
        return np.concatenate([m, m[:, first] & m[:, second]], axis=1).astype(np.float32)

    fit = RidgeCV(np.geomspace(1, 1e4, 9)).fit(wide(masks), values)
    return lambda m: np.asarray(fit.predict(wide(m)))


def compared(
    value: sparse.Value, n: int, budget: int, held: np.ndarray, names: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield one row a method: R^2 on both halves of the held-out coalitions, and seconds of process time.

    LIME and pairwise fit the same uniform coalitions; the seconds are those of the fit where `value` remembers scores.
    """
    truth, half = value(held), len(held) // 2
    uniform = draw(n, budget, kind="uniform", paired=False, shared=1, rng=np.random.default_rng(1))[0]
    methods: dict[str, Callable[[], Predictor]] = {
        "ours": lambda: sparse.explain(value, n, budget=budget).predict,
        "ours, two-sided": lambda: (
            sparse.explain(value, n, budget=budget, options=sparse.SparseOptions(design="two-sided")).predict
        ),
        "ProxySPEX": lambda: proxyspex(value, n, budget),
        "LIME": lambda: lime(uniform, value(uniform)),
        "pairwise": lambda: pairwise(uniform, value(uniform)),
    }
    for name, fit in ((name, methods[name]) for name in names):
        start = time.process_time()
        rebuilt = fit()(held)
        seconds = time.process_time() - start
        both = r2(truth[:half], rebuilt[:half]), r2(truth[half:], rebuilt[half:])
        yield {"method": name, "uniform": both[0], "mixed": both[1], "seconds": seconds}


def run_planted(seeds: int, quick: bool) -> None:
    """Print a row a game."""
    games = ((64, 30, 8),) if quick else ((20, 12, 8), (64, 30, 8), (200, 25, 3), (256, 30, 3), (1000, 30, 1))
    for n, terms, factor in games:
        for seed in range(seeds):
            truth, value = planted(n, terms, seed)
            budget, start = int(factor * n * math.log2(n)), time.process_time()
            found = sparse.explain(value, n, budget=budget, seed=seed)
            seconds, peak = time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            right, false = recovered(truth, found)
            used = found.provenance["rounds"][-1]["coalitions"]
            print(
                f"n={n} seed={seed} budget={budget} used={used}: {right} of {terms} right, {false} false, "
                f"held-out R^2 {found.fidelity(0.0).r2:.4f}, {seconds:.1f} CPU s, peak {peak:.2f} GiB",
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


def run_real(given: argparse.Namespace) -> None:
    """Print and keep a row an input and method; scores and rows that are there are not computed again."""
    folder, factor, sizes = given.folder / given.dtype, given.factor, (given.least, given.most)
    folder.mkdir(parents=True, exist_ok=True)
    model, tokenizer = load_model(str(embedded.fetch("smollm2")), dtype=given.dtype)
    for place, prompt in reviews(tokenizer, given.inputs, sizes):
        n, done = prompt.n, folder / f"{place}-{factor:g}.json"
        if not done.exists():
            cache = ScoreCache(folder / f"{place}.scores", f"smollm2 {given.dtype} attention {place}")
            cache.open(n)

            def ask(masks: np.ndarray, prompt: CoalitionInputs = prompt) -> np.ndarray:
                options: dict[str, Any] = {"masking": "attention", "baseline": None, "engine": "auto"}
                rest: dict[str, Any] = {"memory_budget": None, "progress": False}
                scored = score_coalitions(model, prompt, coalitions=torch.from_numpy(masks), **options, **rest)
                return scored.values.double().numpy()

            def value(masks: np.ndarray, cache: ScoreCache = cache, ask: sparse.Value = ask) -> np.ndarray:
                return score(ask, masks, cache, batch=128)

            rows = list(compared(value, n, int(factor * n * math.log2(n)), judges(n, given.judges), given.methods))
            done.write_text(json.dumps([{"place": place, "n": n, **row} for row in rows]))
        for row in json.loads(done.read_text()):
            print(
                f"review {place} n={n} {row['method']:<16} R^2 uniform {row['uniform']:.3f}, mixed {row['mixed']:.3f}, "
                f"{row['seconds']:.1f} CPU s",
                flush=True,
            )


def run_long(given: argparse.Namespace) -> None:
    """Print how well, how fast and in what memory long reviews are explained: sentences, then the strongest's words."""
    model, tokenizer = load_model(str(embedded.fetch("smollm2")), dtype=given.dtype)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for place, review in enumerate(embedded.reviews("imdb")):
        tokens = len(tokenizer(review.text)["input_ids"])
        if given.inputs == 0 or not 1000 <= tokens <= 4000:
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


def run_sharing(calls: int, sizes: tuple[int, int]) -> None:
    """Print calls a second of flat and tree, by size of the groups, and what sharing costs in planted terms."""
    model, tokenizer = load_model(str(embedded.fetch("smollm2")))
    _, prompt = next(reviews(tokenizer, 1, sizes))
    options: dict[str, Any] = {"masking": "attention", "baseline": None, "memory_budget": None, "progress": False}
    flat = 0.0
    for engine, shared in (("flat", 1), ("tree", 1), ("tree", 4), ("tree", 8)):
        masks = draw(prompt.n, calls, kind="uniform", paired=False, shared=shared, rng=np.random.default_rng(0))[0]
        score_coalitions(model, prompt, coalitions=torch.from_numpy(masks[:2]), engine=engine, **options)
        start = time.process_time()
        score_coalitions(model, prompt, coalitions=torch.from_numpy(masks), engine=engine, **options)
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


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("part", choices=("planted", "real", "sharing", "long"))
    parser.add_argument("--inputs", type=int, default=20)
    parser.add_argument("--factor", type=float, default=4.0, help="budget / (n log2 n)")
    parser.add_argument("--budget", type=int, default=300, help="coalitions of a long review, for each step")
    parser.add_argument("--least", type=int, default=32, help="fewest players of a review")
    parser.add_argument("--most", type=int, default=128, help="most players of a review")
    parser.add_argument("--judges", type=int, default=400, help="held-out coalitions")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, help="who competes on real reviews")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of the real model")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("runs/sparse"), help="where real scores and rows are kept")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    if given.part == "planted":
        run_planted(given.seeds, given.quick)
    elif given.part == "real":
        run_real(given)
    elif given.part == "long":
        run_long(given)
    else:
        run_sharing(32, (given.least, given.most))


if __name__ == "__main__":
    main()
