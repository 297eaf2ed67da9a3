"""The coalition tree against flat batches, flat with a shared-prefix cache, and the matrix products of its tokens.

Flat contenders score every 2^s-th coalition and are charged for all of them: they cost the same for each coalition.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

import interact
from bench.registry import Case, Check, Entry, Timed
from bench.stock import Stock
from interact import CoalitionInputs, coalition_values
from interact.engines.flat import Flat
from interact.engines.runner import score_by
from interact.engines.tree import Tree, coalition_tree
from interact.games.coalition_values import all_coalitions
from interact.games.prompt_game import PromptGame, game_of
from interact.models import embedded
from interact.models.load import load_model
from interact.prompt.masking import resolve_baseline
from interact.sft.data import REVIEW

_SHARES = {64: 64, 256: 32, 1024: 16}
"""Coalitions that a flat contender scores, of all 2^n, by tokens of the prompt."""
_PARTS = {64: 1, 256: 4, 1024: 4}
"""Of so many runs of the tree the matrix products of one are timed, by tokens of the prompt."""
_BUDGET = 2e9
"""Bytes that the tree may take beside the model."""
_TEXT = "a gorgeous, witty and seductive movie with clever jokes, warm music, brave actors and light"
"""Ten content words; 63 tokens with SmolLM2's chat template and the question about reviews, a tail of 9."""


def qwen2() -> Any:
    """Return a random Qwen2 of 8 layers and hidden size 512."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 512,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
    }
    return Qwen2ForCausalLM(Qwen2Config(vocab_size=32000, intermediate_size=1408, **sizes)).eval()


def smollm2() -> Any | str:
    """Return SmolLM2-135M-Instruct if it is in the cache, or why not."""
    folder = embedded.find("smollm2")
    return (
        load_model(str(folder), dtype="float32", device="cpu")[0]
        if folder
        else "SmolLM2 is not in the cache (interact fetch smollm2)"
    )


def prompt(length: int, n: int, tail: int) -> CoalitionInputs:
    """Return random ids with n one-token players at the ends of n even cells and `tail` tokens behind them."""
    ids = torch.randint(10, 30000, (length,), generator=torch.Generator().manual_seed(0)).tolist()
    ends = np.linspace(4, length - tail, n + 1).astype(int)[1:].tolist()
    return CoalitionInputs(ids, [(end - 1, end) for end in ends], [77], special_ids={"unk": 0})


@torch.no_grad()
def matrix_products(game: PromptGame, coalitions: torch.Tensor, part: int = 1) -> Timed:
    """Return only the linear layers of the tree's tokens, run by run; of every `part`-th run.

    All layers for all tokens and the head for the leaves: the tree itself skips most of the last layer.
    """
    model, size = game.model, Tree().plan(game, coalitions.numpy())
    tree = coalition_tree(game, coalitions.numpy())
    runs = [(len(r.position) - r.kept, len(r.leaves)) for r in tree.runs(size.size, size.leaves)]
    total = sum(tokens for tokens, _ in runs)
    runs = runs[part // 2 :: part]
    body = [m for name, m in model.named_modules() if isinstance(m, torch.nn.Linear) and "lm_head" not in name]

    def run() -> None:
        with torch.no_grad():
            for tokens, leaves in runs:
                for layer in body:
                    layer(layer.weight.new_ones(tokens, layer.in_features))
                model.lm_head(model.lm_head.weight.new_ones(leaves, model.lm_head.in_features))

    return Timed(run, work=sum(tokens for tokens, _ in runs) / total)


def case(
    name: str, model: Any, inputs: CoalitionInputs, masking: str, threads: int, stock_tree: bool = True, **options: Any
) -> Case:
    """Build one row; `options` go to `Case`."""
    coalitions, length = all_coalitions(inputs.n), len(inputs.input_ids)
    baseline = resolve_baseline(model, None, inputs.special_ids) if masking == "baseline" else None
    near = min(_SHARES, key=lambda size: abs(size - length))
    some = coalitions[:: max(1, len(coalitions) // _SHARES[near])]
    stock = Stock(model, inputs, baseline)

    def timed(values: Any, share: float = 1) -> Timed:
        def run() -> None:
            with torch.no_grad():
                values()

        return Timed(run, work=share)

    settings: dict[str, Any] = {"slow": True} | options
    game = game_of(model, inputs, masking=masking, baseline=baseline, memory_budget=int(_BUDGET))
    free = game_of(model, inputs, masking=masking, baseline=baseline)
    tree = coalition_tree(game, coalitions.numpy())
    ratio = tree.flat_tokens / tree.tokens
    wanted = 1.0 if length >= 256 else 0.9
    return Case(
        f"{name}, {length} tokens, n={inputs.n}, {masking}, {ratio:.1f}x fewer tokens",
        ours=timed(lambda: score_by(Tree(), game, coalitions.numpy())),
        baselines={
            "flat batch": timed(lambda: score_by(Flat(), free, some.numpy()), len(some) / len(coalitions)),
            "flat + prefix cache": timed(lambda: stock.flat(some), len(some) / len(coalitions)),
            "prefix tree of stock caches": timed(stock.tree) if stock_tree else "not run (minutes a call)",
            "its matrix products": matrix_products(free, coalitions, max(_PARTS[near], len(coalitions) >> 12)),
        },
        at_least={"flat batch": wanted * ratio, "prefix tree of stock caches": 1, "its matrix products": 1 / 1.2},
        threads=threads,
        **settings,
    )


def listed(model: Any) -> Case:
    """Build the row of 2,000 sampled coalitions of 64 players that cover a text of 1,024 tokens."""
    ids = torch.randint(10, 30000, (1024 + 8,), generator=torch.Generator().manual_seed(0)).tolist()
    inputs = CoalitionInputs(ids, [(16 * i, 16 * i + 16) for i in range(64)], [77])
    rows = torch.rand(2000, 64, generator=torch.Generator().manual_seed(0)) < 0.5
    game = game_of(model, inputs, masking="attention")
    saved = coalition_tree(game, rows.numpy())

    def values(engine: Any, some: torch.Tensor) -> Timed:
        def run() -> None:
            with torch.no_grad():
                score_by(engine, game, some.numpy())

        return Timed(run, work=len(some) / len(rows))

    return Case(
        f"Qwen2 8x512, 2,000 sampled coalitions of n=64 over 1,032 tokens, attention, "
        f"{saved.flat_tokens / saved.tokens:.2f}x fewer tokens",
        ours=values(Tree(), rows),
        baselines={"flat batch": values(Flat(), rows[:16])},
        at_least={"flat batch": 1.8},
        threads=1,
        rounds=1,
    )


def chosen(name: str, model: Any, inputs: CoalitionInputs) -> Case:
    """Build the row of `engine="auto"` against each engine it chooses from."""

    def values(engine: str) -> Timed:
        return Timed(lambda: coalition_values(model, inputs, engine=engine, progress=False))

    others = ("flat", "tree", "reorder")
    return Case(
        f"auto, Qwen2 8x512, {name}, {len(inputs.input_ids)} tokens, n={inputs.n}, baseline",
        ours=values("auto"),
        baselines={engine: values(engine) for engine in others},
        at_least=dict.fromkeys(others, 0.95),
        slow=True,
    )


def whole_extraction(dtype: str, most_seconds: float) -> Case:
    """Build the row of `interact.extract` with SmolLM2, end to end."""
    model, tokenizer = load_model(str(embedded.find("smollm2")), dtype=dtype, device="cpu")
    inputs = interact.prepare(tokenizer, _TEXT, target="positive", template=REVIEW)

    def run() -> None:
        interact.extract(model, tokenizer, _TEXT, target="positive", template=REVIEW, progress=False)

    return Case(
        f"SmolLM2-135M, interact.extract, n=10, {dtype}",
        ours=Timed(run),
        # What this machine needs at least, so that a slow hour can be told from a slow program.
        baselines={"its matrix products": matrix_products(game_of(model, inputs), all_coalitions(inputs.n))},
        at_most={"ours": most_seconds},
        threads=2,
        slow=True,
    )


def cases(quick: bool) -> Iterator[Case]:
    """Yield prompts of several lengths and tails, both maskings, random and real models, a sampled list."""
    model = qwen2()
    if quick:
        yield case("Qwen2 8x512", model, prompt(32, 5, 4), "attention", 1)
        return
    for length in (64, 256, 1024):
        for tail in (1, 8, 32):
            for masking in ("baseline", "attention"):
                long: dict[str, Any] = {"rounds": max(1, 512 // length)} if length > 64 else {}
                yield case(f"Qwen2 8x512, tail {tail}", model, prompt(length, 10, tail), masking, 1, **long)
    for length, n in ((256, 12), (64, 16)):
        options: dict[str, Any] = {"rounds": 1, "most_bytes": _BUDGET, "stock_tree": False}
        yield case("Qwen2 8x512, tail 8", model, prompt(length, n, 8), "baseline", 1, **options)
    ids = prompt(128, 6, 8).input_ids
    early = CoalitionInputs(ids, [(i, i + 1) for i in range(6)], [77], special_ids={"unk": 0})
    yield chosen("players at the start", model, early)
    yield chosen("players all over", model, prompt(128, 6, 8))
    yield listed(model)
    real = smollm2()
    if not isinstance(real, str):
        yield whole_extraction("float32", 30)
        yield whole_extraction("bfloat16", 13)
    if not isinstance(real, str):
        for masking in ("baseline", "attention"):
            yield case("SmolLM2-135M, tail 9", real, prompt(68, 10, 9), masking, 1, rounds=1)


def gate(quick: bool) -> Iterator[Check]:
    """Yield the largest difference of log-odds between tree and flat."""
    model = qwen2()
    inputs = prompt(32, 5, 3)
    for masking in ("baseline", "attention"):
        baseline = resolve_baseline(model, None, inputs.special_ids) if masking == "baseline" else None
        game, every = game_of(model, inputs, masking=masking, baseline=baseline), all_coalitions(5).numpy()
        with torch.no_grad():
            flat, tree = score_by(Flat(), game, every), score_by(Tree(), game, every)
        yield Check(f"tree against flat, {masking}", float((tree - flat).abs().max()), 1e-4)
        stock = Stock(model, inputs, baseline)
        for name, values in (("flat + prefix cache", stock.flat(all_coalitions(5))), ("stock caches", stock.tree())):
            yield Check(f"{name} against flat, {masking}", float((values - flat).abs().max()), 1e-4)


ENTRY = Entry("tree", unit="s", cases=cases, gate=gate)
