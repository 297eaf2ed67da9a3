"""Which share of salient interactions is certain, on real scores of several models and texts.

::

    python -m bench.certain_shares --folder runs/shares      # scores, kept as they come, then the table
    python -m bench.certain_shares --folder runs/shares --players 8 --texts 4

The scores of each text are kept in the folder, so the same command goes on where it was interrupted. Each form of noise
is then split from the same scores, and every salient interaction is asked at three eps. Reviews of an embedded data
set are taken in the order of the file: those short enough that have the number of content words asked for.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from interact import extract_many, load_model, prepare
from interact.models import embedded
from interact.sft.data import REVIEW
from interact_kernels import sparsify
from interact_kernels.sparsify import NoiseForm

TAU = 0.05
EPS = (1e-5, 1e-4, 1e-3)
FORMS = ("soft", "box", "exact")
LONGEST = 360
"""Characters of a text: a longer one costs more and has no more players."""


def texts_of(tokenizer: Any, source: str, players: int, count: int) -> Iterator[str]:
    """Yield texts of a data set that have at least so many content words."""
    for review in embedded.reviews(source):
        if count and len(review.text) <= LONGEST and prepare(tokenizer, review.text, template=REVIEW).n >= players:
            count -= 1
            yield review.text


def shares(scores: list[np.ndarray], form: NoiseForm) -> tuple[int, list[float]]:
    """Return how many interactions of all texts are salient, and which share is certain at each eps."""
    salient, certain = 0, np.zeros(len(EPS))
    for v in scores:
        split = sparsify.merge_order_one(sparsify.and_or_split(v, noise=form.noise, kappa=form.kappa))
        effects = np.stack([split.i_and, split.i_or])
        levels = np.full(effects.shape, TAU * np.abs(effects).max())
        strong = np.abs(effects) > levels
        salient += int(strong.sum())
        for place, eps in enumerate(EPS):
            bound = form.relative * abs(v[-1] - v[0])
            known = sparsify.certainty(v, split, bound, levels=levels, eps=eps)
            certain[place] += (np.array(sparsify.STATUSES)[known.status[strong]] == "certain").sum()
    return salient, (certain / max(salient, 1)).tolist()


def main() -> None:
    """Score what is not scored yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=["smollm2", "gemma3-270m"])
    parser.add_argument("--data", nargs="+", default=["rotten_tomatoes", "imdb"])
    parser.add_argument("--players", nargs="+", type=int, default=[8, 10])
    parser.add_argument("--texts", type=int, default=8, help="of each model, data set and number of players")
    given = parser.parse_args()
    scores: dict[tuple[str, str, int], list[np.ndarray]] = {}
    for name in given.models:
        model, tokenizer = load_model(name, dtype="float32", device="cpu")
        for source in given.data:
            for n in given.players:
                texts = list(texts_of(tokenizer, source, n, given.texts))
                asked = {"players": n, "template": REVIEW, "target": "positive", "progress": True}
                folder = given.folder / f"{name}-{source}-{n}"
                found = extract_many(model, tokenizer, texts, folder=folder, **asked)
                scores[name, source, n] = [result.values for result in found if result.n == n]
    print("| model | texts | n | prompts | form | salient | " + " | ".join(f"eps {e:g}" for e in EPS) + " |")
    print("|---" * (6 + len(EPS)) + "|")
    groups = [(*key, values) for key, values in scores.items()]
    groups.append(("all", "all", 0, [v for values in scores.values() for v in values]))
    for name, source, n, values in groups:
        for noise in FORMS:
            count, found = shares(values, NoiseForm.of(noise))
            row = (name, source, n or "", len(values), noise, count, *(f"{share:.2f}" for share in found))
            print(f"| {' | '.join(map(str, row))} |", flush=True)


if __name__ == "__main__":
    main()
