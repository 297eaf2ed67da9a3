"""Score all coalitions of the reviews of `bench.lattices` that are not scored yet."""

from __future__ import annotations

import time

import numpy as np

from bench.lattices import REVIEWS, path
from interact import load_model, prepare
from interact.games.prompt_game import game_of
from interact.models import embedded
from interact.sft.data import REVIEW


def main() -> None:
    """Score and keep one review after another."""
    loaded = None
    for source, place, players in REVIEWS:
        file = path(source, place, players)
        if file.exists():
            print(f"{file.name} is there", flush=True)
            continue
        loaded = loaded or load_model("smollm2", dtype="float32", device="cpu")
        model, tokenizer = loaded
        review, start = embedded.reviews(source)[place], time.process_time()
        asked = {"target": "positive" if review.label else "negative", "template": REVIEW, "most_players": 4096}
        prompt = prepare(tokenizer, review.text, players=None if players == "words" else players, **asked)
        values = game_of(model, prompt, masking="attention")(np.arange(1 << prompt.n))
        np.savez_compressed(file, v=values.astype(np.float32))
        print(f"{file.name}: n={prompt.n}, {time.process_time() - start:.0f} CPU s", flush=True)


if __name__ == "__main__":
    main()
