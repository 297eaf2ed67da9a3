"""The demo: interactions of real movie reviews, by a real small language model."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from interact import embedded, report
from interact.extraction import extract
from interact.inputs import Template
from interact.interactions import Interactions, load
from interact.models.load import load_model
from interact.players import PlayerChoice

REVIEW = Template(user="Is this movie review positive or negative?\n\n{text}", answer_prefix="This review is")
_PLAYERS = PlayerChoice(limit=8)


def run(out: Path, say: Callable[[str], None], *, samples: int = 4, seed: int = 0) -> list[Interactions]:
    """Extract the interactions of review sentences with SmolLM2-135M-Instruct; show and save each.

    Args:
        out: Folder for one file a sentence and for ``index.html``; finished files are used again.
        say: Where to print.
        samples: Number of sentences.
        seed: Seed of the draw of sentences.

    Returns:
        The results, in the order shown.
    """
    if samples < 1:
        raise ValueError(f"The demo needs at least one sample, but {samples} were asked for.")
    folder = embedded.fetch("smollm2")
    embedded.fetch("reviews")
    fitting = [r for r in embedded.reviews() if 9 <= len(r.text.split()) <= 18]
    chosen = random.Random(seed).sample(fitting, samples)
    model, tokenizer = None, None
    results = []
    for number, review in enumerate(chosen, start=1):
        file = out / f"review-{seed}-{number}.interactions"
        if file.exists():
            result = load(file)
        else:
            if model is None:
                model, tokenizer = load_model(str(folder))
            target = "positive" if review.label else "negative"
            result = extract(model, tokenizer, review.text, players=_PLAYERS, target=target, template=REVIEW)
            result.save(file)
        say(f"\n[{number}/{samples}] {result}\n\nsaved in {file}")
        results.append(result)
    page = report.write_results(results, out / "index.html")
    say(f"\nAll {samples} sentences: {page}")
    return results
