"""The demo: one sentence at once, then a small real study of two language models that learn to judge movie reviews."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from interact.games.extract import extract
from interact.models.load import load_model
from interact.prompt.inputs import Template
from interact.results.display import as_text
from interact.study.config import StudyConfig
from interact.study.needs import provide
from interact.study.report import write
from interact.study.run import run_study

DEMO = StudyConfig(
    models=("smollm2", "gemma3-270m"),
    data=("reviews",),
    train_examples=400,
    heldout_examples=24,
    max_steps=40,
    batch_size=4,
    learning_rate=3e-4,
    followed_steps=6,
    samples=4,
    limit=7,
    longest=110,
)
QUICK = replace(
    DEMO, train_examples=40, heldout_examples=4, max_steps=4, followed_steps=3, samples=2, limit=4, resamples=20
)
_SENTENCE = "This gorgeous, witty and seductive movie never bores anyone"
_REVIEW = Template(user="Is this movie review positive or negative?\n\n{text}", answer_prefix="This review is")
# What a cell costs, for itself and for its coalitions, and a training step: in extractions of the sentence, roughly.
_CELL, _LATTICE, _STEP = 0.3, 0.6, 0.8


def run(out: Path | None, say: Callable[[str], None], *, quick: bool = False) -> Path:
    """Print the interactions of one sentence, train SmolLM2-135M-Instruct and Gemma-3-270m on reviews, write the page.

    Args:
        out: The study's store; a demo that was interrupted continues. None for ``runs/demo`` (``runs/demo-quick``).
        say: Where to print.
        quick: Whether the study is to be a very small one.

    Returns:
        The page.
    """
    config = QUICK if quick else DEMO
    out = out or Path("runs/demo-quick" if quick else "runs/demo")
    seconds = 0.0
    for name in provide(config, say):
        if name == config.models[0]:
            seconds = _first(name, say)
    say(f"Now the study: {', '.join(config.models)} learn to judge reviews, and {_cells(config)} cells are followed.")
    minutes = seconds * _extractions(config) / 60
    say(
        f"It takes about {max(1, round(minutes))} min on this machine from its start; after an interruption the same "
        "command continues it."
    )
    store = run_study(out, config, say=say)
    page = write(store.folder)
    say(f"page: {page}")
    return page


def _first(name: str, say: Callable[[str], None]) -> float:
    """Extract from the one sentence, print what is found, and return how long it took."""
    model, tokenizer = load_model(name)
    start = time.monotonic()
    result = extract(model, tokenizer, _SENTENCE, template=_REVIEW, target="positive")
    seconds = time.monotonic() - start
    say(f"How {name} rates one sentence, in {seconds:.1f} s:\n\n{as_text(result, 10)}\n")
    return seconds


def _cells(config: StudyConfig) -> int:
    return len(config.models) * len(config.followed) * config.samples


def _extractions(config: StudyConfig) -> float:
    """Say how many extractions of the sentence the study costs."""
    cell = _CELL + _LATTICE * 2.0 ** (config.limit - 7)
    return _cells(config) * cell + len(config.models) * config.max_steps * _STEP
