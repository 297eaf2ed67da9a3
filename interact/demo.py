"""The demo: a small real study of two language models that learn to judge movie reviews."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from interact.report import write
from interact.study.config import StudyConfig
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


def run(out: Path, say: Callable[[str], None]) -> Path:
    """Train SmolLM2-135M-Instruct and Gemma-3-270m on review sentences, follow their interactions, write the page.

    Args:
        out: The study's store; a demo that was interrupted goes on.
        say: Where to print.

    Returns:
        The page.
    """
    store = run_study(out, DEMO, say=say)
    page = write(store.folder)
    say(f"page: {page}")
    return page
