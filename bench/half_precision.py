"""Does `auto` refuse a right engine in half precision, or keep a wrong one?

::

    python -m bench.half_precision                       # 200 prompts a row, minutes on one thread
    python -m bench.half_precision --reviews 20          # and reviews on SmolLM2 in bfloat16

Random models in bfloat16, whose logits are 16 and more, where their steps are an eighth, score random prompts. Each
prompt is checked as if it were the first one. The wrong engines: a tree that ignores the window of a model, and a tree
whose positions are one too high.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from interact import load_model, prepare
from interact.engines import tree
from interact.games.prompt_game import PromptGame, game_of
from interact.models import embedded
from interact.prompt.inputs import CoalitionInputs
from interact.sft.data import REVIEW

_SIZES: dict[str, Any] = {"vocab_size": 60, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
_SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": False}
_GPT2: dict[str, Any] = {"vocab_size": 60, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}


def random_games(model: Any, count: int) -> Iterator[PromptGame]:
    """Yield games of random prompts in which nothing has been checked yet."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        length = int(rng.integers(12, 40))
        edges = np.sort(rng.choice(np.arange(1, length), 6, replace=False))
        spans = [(int(edges[i]), int(edges[i + 1])) for i in (0, 2, 4)]
        ids = rng.integers(3, model.config.vocab_size, length).tolist()
        game = game_of(model, CoalitionInputs(ids, spans, target_ids=[7], special_ids={"unk": 1}))
        game.passed.clear()
        yield game


def llama() -> Any:
    """Return a random Llama with loud logits in bfloat16."""
    return _loud(LlamaConfig(**_SIZES), LlamaForCausalLM)


def mistral() -> Any:
    """Return a random Mistral with a window of 8 tokens and loud logits in bfloat16."""
    return _loud(MistralConfig(**_SIZES, sliding_window=8), MistralForCausalLM)


def gpt2() -> Any:
    """Return a random GPT-2, whose positions are learned, with loud logits in bfloat16."""
    return _loud(GPT2Config(**_GPT2, tie_word_embeddings=False), GPT2LMHeadModel)


def _loud(config: Any, kind: Any) -> Any:
    torch.manual_seed(0)
    model = kind(config).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(20.0 / model(torch.arange(9)[None] + 3).logits.std())
    return model.to(torch.bfloat16)


def ignored_window() -> Any:
    """Return a context in which the tree ignores windows."""
    plain = tree.tree_attention

    def ignored(q: Any, k: Any, v: Any, segments: Any, **options: Any) -> Any:
        return plain(q, k, v, replace(segments, first=torch.zeros_like(segments.first)), **options)

    return patch.object(tree, "tree_attention", ignored)


def shifted_positions() -> Any:
    """Return a context in which the tree gives GPT-2 positions that are one too high."""
    plain = GPT2LMHeadModel.forward

    def shifted(self: Any, *given: Any, position_ids: Any = None, **named: Any) -> Any:
        moved = position_ids + 1 if tree._current.get() is not None else position_ids
        return plain(self, *given, position_ids=moved, **named)

    return patch.object(GPT2LMHeadModel, "forward", functools.wraps(plain)(shifted))


def takes_tree(game: PromptGame) -> bool:
    """Return whether `auto` takes the tree for a game."""
    return "auto takes tree" in game.explain()


ROWS: tuple[tuple[str, Callable[[], Any], Callable[[], Any] | None], ...] = (
    ("Llama", llama, None),
    ("Mistral, window of 8", mistral, None),
    ("GPT-2", gpt2, None),
    ("Mistral, window ignored", mistral, ignored_window),
    ("GPT-2, positions shifted", gpt2, shifted_positions),
)
"""A model, and what makes its tree wrong."""


def reviews(count: int) -> Iterator[PromptGame]:
    """Yield games of reviews on SmolLM2 in bfloat16, in which nothing has been checked yet."""
    model, tokenizer = load_model("smollm2", dtype="bfloat16", device="cpu")
    for review in embedded.reviews("rotten_tomatoes")[:count]:
        game = game_of(model, prepare(tokenizer, review.text, target="positive", template=REVIEW, most_players=64))
        game.passed.clear()
        yield game


def main() -> None:
    """Print a row a model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--reviews", type=int, default=0)
    given = parser.parse_args()
    for name, model, wrong in ROWS:
        with ExitStack() as stack:
            made = model()
            if wrong is not None:
                stack.enter_context(wrong())
            taken = sum(takes_tree(game) for game in random_games(made, given.prompts))
        meant = "wrong" if wrong else "right"
        print(f"{name}: the {meant} tree was taken for {taken} of {given.prompts} prompts", flush=True)
    if given.reviews:
        taken = sum(takes_tree(game) for game in reviews(given.reviews))
        print(f"SmolLM2, reviews: the right tree was taken for {taken} of {given.reviews} prompts", flush=True)


if __name__ == "__main__":
    main()
