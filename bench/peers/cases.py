"""What methods are compared on: real texts whose scores are kept on disk, and planted games.

A group of texts is those of the file's rows, in its order, that fit (every seventh review of IMDB, so that they are of
many films), until it is full; it is worked through from the shortest, so that a part of the table is of short ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bench.peers.judging import Effects, moebius
from bench.sparse import planted
from interact import load_model, prepare
from interact.formats.progress import Progress
from interact.games.prompt_game import game_of
from interact.models import embedded
from interact.prompt.inputs import CoalitionInputs, Template
from interact.sft.data import REVIEW
from interact.sparse import Asking, ScoreCache, Value
from interact.sparse.asking import score

QUESTION = Template(
    user="{text}\n\nThe documents are what critics wrote about films. Do more of them praise than blame?",
    answer_prefix="The answer is",
)
_DOCUMENTS = 24


@dataclass(frozen=True)
class Case:
    """One game.

    Attributes:
        group: Of GROUPS.
        name: Of the text or game in its group.
        n: Players.
        tokens: Of the prompt, 0 for a planted game.
        dtype: What the scores are computed in.
        open: Gives the scores to ask for and those to judge by.
        truth: The Moebius form of a planted game.
    """

    group: str
    name: str
    n: int
    tokens: int
    dtype: str
    open: Callable[[], tuple[Value, Value]]
    truth: Effects | None = None


@dataclass(frozen=True)
class Texts:
    """A group of texts.

    Attributes:
        source: Of `embedded.reviews`.
        count: How many.
        every: Which rows are looked at.
        players: What they are.
        size: Fewest and most players, or tokens where `by_tokens`.
        by_tokens: What `size` means.
    """

    source: str
    count: int
    every: int
    players: str
    size: tuple[int, int]
    by_tokens: bool = False


TEXTS = {
    "reviews-30-60": Texts("rotten_tomatoes", 20, 7, "all-words", (30, 60)),
    "documents": Texts("imdb", 5, 7, "sentences", (1000, 2000), by_tokens=True),
    "reviews-100-128": Texts("imdb", 10, 7, "all-words", (100, 128)),
}
PLANTED = {"planted-40": (40, 20), "planted-64": (64, 30), "planted-256": (256, 30)}
"""Players and terms; 60 % AND, orders 1 to 4, noise 2 % of the spread (`bench.sparse.planted`)."""
GROUPS = (*TEXTS, "question", *PLANTED)


@cache
def smollm2(dtype: str) -> tuple[Any, Any]:
    """Return SmolLM2 in a dtype, and its tokenizer."""
    return load_model("smollm2", dtype=dtype, device="cpu")


def cases(group: str, count: int, folder: Path, dtype: str) -> list[Case]:
    """Return the first games of a group; scores of texts, computed in `dtype`, are kept in `folder`."""
    if group in PLANTED:
        return [_planted(group, seed) for seed in range(min(count, 3))]
    found = list(_questions(3, dtype) if group == "question" else _prompts(TEXTS[group], dtype))
    found.sort(key=lambda named: len(named[1].input_ids))
    return [_text(group, name, prompt, folder, dtype) for name, prompt in found[:count]]


def _planted(group: str, seed: int) -> Case:
    n, terms = PLANTED[group]
    truth, _ = planted(n, terms, seed)
    sets = {kind: {s: e for (k, s), e in truth.items() if k == kind} for kind in ("and", "or")}

    def begin() -> tuple[Value, Value]:
        return planted(n, terms, seed)[1], planted(n, terms, seed, noise=0.0)[1]

    return Case(group, str(seed), n, 0, "float64", begin, moebius(sets["and"], sets["or"]))


def _prompts(texts: Texts, dtype: str) -> Iterator[tuple[str, CoalitionInputs]]:
    """Yield the prompts of a group by the place of their text in the file."""
    tokenizer, found = smollm2(dtype)[1], 0
    low, high = texts.size
    for place, review in enumerate(embedded.reviews(texts.source)):
        words = len(review.text.split())
        # Cheaply, before anything is made of a text: a word has between one token and two.
        fits = low / 2 <= words <= high if texts.by_tokens else low / 1.2 <= words <= high * 1.2
        if place % texts.every or not fits:
            continue
        asked: dict[str, Any] = {"target": "positive" if review.label else "negative", "template": REVIEW}
        prompt = prepare(tokenizer, review.text, players=texts.players, most_players=4096, **asked)
        if low <= (len(prompt.input_ids) if texts.by_tokens else prompt.n) <= high:
            yield str(place), prompt
            found += 1
        if found == texts.count:
            return


def _questions(count: int, dtype: str) -> Iterator[tuple[str, CoalitionInputs]]:
    """Yield questions about many documents, which are the players: one sentence each of as many films' reviews."""
    lines = [review.text for review in embedded.reviews("rotten_tomatoes")[::7] if len(review.text.split()) <= 20]
    for number in range(count):
        parts = [f"Document {i + 1}: {line}" for i, line in enumerate(lines[number * _DOCUMENTS :][:_DOCUMENTS])]
        starts = np.cumsum([0, *(len(part) + 1 for part in parts)]).tolist()
        spans = [(low, low + len(part)) for low, part in zip(starts, parts, strict=False)]
        asked: dict[str, Any] = {"target": "yes", "template": QUESTION, "most_players": 4096}
        yield str(number), prepare(smollm2(dtype)[1], "\n".join(parts), players=spans, **asked)


def _text(group: str, name: str, prompt: CoalitionInputs, folder: Path, dtype: str) -> Case:
    made_of = repr((prompt.input_ids, prompt.spans, prompt.target_ids)).encode()
    told = f"smollm2 {dtype} attention {hashlib.sha256(made_of).hexdigest()[:16]}"

    def begin() -> tuple[Value, Value]:
        kept = ScoreCache(folder / f"{group}-{name}-{dtype}.scores", told)
        kept.open(prompt.n)
        ask = game_of(smollm2(dtype)[0], prompt, masking="attention")

        def value(masks: np.ndarray) -> np.ndarray:
            missing = int(np.isnan(kept.get(masks)).sum())
            with Progress.of(None).begin(missing) as watch:
                return score(ask, masks, kept, Asking(batch=64 if prompt.n < 200 else 16), watch)

        return value, value

    return Case(group, name, prompt.n, len(prompt.input_ids), dtype, begin)
