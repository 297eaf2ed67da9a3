"""Whole models with random weights made on the card: the tree against the best flat batch and against float32."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from transformers import AttentionInterface, AutoModelForCausalLM, LlamaConfig

from bench.device.child import Cases
from bench.device.clock import Target, Time, clock, in_full, matrix_rate, profiled
from bench.device.inputs import coalition_tree, lengths, players, prompt
from interact.engines import precision
from interact.engines import tree as tree_module
from interact.engines.cuda_graphs import cuda_graphs
from interact.engines.engine import distinct
from interact.engines.flat import Flat
from interact.engines.half import widened
from interact.engines.precision import noise_floor
from interact.engines.runner import run, score_by
from interact.engines.tree import Tree, TreePlan
from interact.games.coalitions import all_coalitions
from interact.games.prompt_game import PromptGame, game_of
from interact_kernels.sparsify import and_or_split

BF16, F32 = torch.bfloat16, torch.float32
_SIZES = {
    "8B": (32, 4096, 14336, 32, 8, 128256),
    "135M": (30, 576, 1536, 9, 3, 49152),
    "tiny": (2, 64, 96, 4, 2, 30016),
}
"""Layers, hidden size, inner size, query heads, key heads, vocabulary."""
_REPEATED = 16
_OTHER_RUNS = 8192
_PROMPTS = 3


@dataclass
class Subject:
    """The game of a prompt, and what was found of it so far."""

    target: Target
    name: str
    game: PromptGame
    rows: int
    cells: dict[str, str] = field(default_factory=dict)
    times: dict[str, Time] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.length, self.coalitions = len(self.game.ids), all_coalitions(self.game.n)
        model = f"{self.name}, {self.dtype}".replace("torch.", "")
        self.what = f"{model}, L={self.length}"
        self.cells |= {"model": model, "L": str(self.length)}

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.game.model.get_input_embeddings().weight.dtype

    def tree(self, most_tokens: int | None = None, **options: Any) -> torch.Tensor:
        """Score all coalitions by the tree, without asking whether the project trusts it for this model."""
        return score_by(Tree(), self.game, self.coalitions.numpy(), most_tokens=most_tokens, **options)

    def tree_plan(self) -> TreePlan:
        """Return how the project cuts the tree of all coalitions."""
        return Tree().plan(self.game, self.coalitions.numpy())

    def flat(self, coalitions: torch.Tensor, rows: int) -> torch.Tensor:
        """Score some coalitions flat in batches of `rows`, whatever the project would take by itself."""
        masks, inverse = distinct(coalitions.numpy())
        plan = replace(Flat().plan(self.game, masks), size=rows)
        return run(Flat(), plan)[torch.from_numpy(inverse)]

    def some(self, count: int) -> slice:
        """Return which coalitions `count` of them are, at even distances."""
        return slice(None, None, max(1, len(self.coalitions) // count))


def graphs(cases: Cases, which: str) -> None:
    """Time what waits for the host in a small model: all runs of a tree in one CUDA graph, and compiled layers."""
    target = cases.target
    made = random_model(target, "tiny" if target.tiny else which)
    for compiled in (False, True):
        if compiled:
            compile_layers(made)
        for length, rows in list(lengths(target).items())[:2]:
            one = Subject(target, which, game_of(made, prompt(length, players(target))), rows)
            one.cells["layers"] = "compiled" if compiled else "as they are"
            cases.case(f"{one.what}: CUDA graph, {one.cells['layers']}", partial(_graph, cases, one))


def compile_layers(model: Any) -> None:
    """Compile each decoder layer; attention stays outside."""
    outside: Any = torch._dynamo.disable(tree_module._attend)
    AttentionInterface.register(tree_module._NAME, outside)
    for layer in model.model.layers:
        layer.compile(dynamic=True)


def _graph(cases: Cases, one: Subject) -> tuple[str, bool]:
    plan = one.tree_plan()
    tree = tree_module.coalition_tree(one.game, plan.masks)
    with tree_module.tree_runs(plan) as runs:
        staged = [runs.stage(run) for run in tree.runs(plan.size, plan.leaves)]

        def eager() -> list[torch.Tensor]:
            return [runs.compute(run) for run in staged]

        begun = time.perf_counter()
        eager()
        one.target.synchronize()
        first = time.perf_counter() - begun
        expected = eager()
        one.times["tree"] = clock(one.target, eager, seconds=0.5)
        same = True
        if not one.target.rehearsal:
            graph = torch.cuda.CUDAGraph()
            begun = time.perf_counter()
            with torch.cuda.graph(graph):
                found = eager()
            one.target.synchronize()
            one.cells["capture, s"] = f"{time.perf_counter() - begun:.3g}"
            one.times["graph"] = clock(one.target, graph.replay, seconds=0.5)
            same = all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    one.cells["first call, s"] = f"{first:.3g}"
    cells = {**one.cells, "runs": str(len(staged))}
    cells |= {f"{name}, ms": t.against(one.times["tree"]) for name, t in one.times.items()}
    cases.line(f"{one.what} {one.cells['layers']}", "CUDA graphs", cells, times=in_full(one.times))
    return f"{one.times.get('graph', one.times['tree']).ms:.3g} ms", same


def product_graphs(cases: Cases, which: str) -> None:
    """Time the scoring of prompts of nearly one length as ever, padded, and inside `cuda_graphs`."""
    target = cases.target
    made = random_model(target, "tiny" if target.tiny else which)
    for length, rows in lengths(target).items():
        some = [
            Subject(target, which, game_of(made, prompt(length - less, players(target))), rows)
            for less in range(_PROMPTS)
        ]
        cases.case(f"{some[0].what}: CUDA graphs in the product", partial(_in_product, cases, some))


def _in_product(cases: Cases, some: list[Subject]) -> tuple[str, bool]:
    one, target = some[0], some[0].target

    def scores(**options: Any) -> list[torch.Tensor]:
        return [subject.tree(**options) for subject in some]

    plain, wide = scores(), scores(padded=True)
    for name, options in {"as ever": {}, "padded": {"padded": True}}.items():
        one.times[name] = clock(target, partial(scores, **options), seconds=0.7).scaled(1 / len(some))
    held = 0 if target.rehearsal else torch.cuda.memory_reserved()
    with cuda_graphs(one.game.model) as graphs:
        begun = time.perf_counter()
        scores()
        target.synchronize()
        first = time.perf_counter() - begun
        scores()
        captured, replayed = graphs.captured, graphs.replayed
        one.times["graphs"] = clock(target, scores, seconds=0.7).scaled(1 / len(some))
        found = scores()
        held = 0 if target.rehearsal else torch.cuda.memory_reserved() - held
    cells = {**one.cells, "graphs": str(captured), "replays of the first 6 scorings": str(replayed)}
    cells |= {f"{name}, ms": taken.against(one.times["as ever"]) for name, taken in one.times.items()}
    cells["first 3 scorings, s"] = f"{first:.3g}"
    cells["more memory reserved, MB"] = f"{held / 1e6:.0f}"
    far = max(float((a - b).abs().max()) for a, b in zip(wide, plain, strict=True))
    cells["padded - as ever, largest"] = f"{far:.3g}"
    cases.line(one.what, "CUDA graphs in the product", cells, times=in_full(one.times))
    same = all(torch.equal(a, b) for a, b in zip(found, wide, strict=True))
    said = graphs.refusal or f"{one.times['graphs'].ms:.3g} ms, the numbers of padded runs: {same}"
    return said, same and (target.rehearsal or graphs.refusal is None)


def model(cases: Cases, which: str) -> None:
    """Measure a model of the shape of Llama-3-8B in bfloat16, or of SmolLM2-135M in float32, too."""
    target = cases.target
    made = random_model(target, "tiny" if target.tiny else which)
    steps = [_against_float32, _tree, _flat, _end_to_end]
    later = [_linear_layers, _profile]
    if which != "8B":
        later += [_host, partial(_tree, most_tokens=_OTHER_RUNS)]
    subjects = [
        Subject(target, which, game_of(made, prompt(length, players(target))), rows)
        for length, rows in lengths(target).items()
    ]
    rate = matrix_rate(target, BF16)[1]
    for step_group in (steps, later):
        for one in subjects:
            for step in step_group:
                _step(cases, one, step, rate)
    if which == "8B" and not target.tiny:
        return
    made.float()
    rate = matrix_rate(target, F32)[1]
    for length, rows in list(lengths(target).items())[:2]:
        one = Subject(target, which, game_of(made, prompt(length, players(target))), rows)
        for step in (_against_float32, _tree, _flat, _linear_layers):
            _step(cases, one, step, rate)


def random_model(target: Target, which: str) -> Any:
    """Return a Llama with random weights in bfloat16."""
    layers, hidden, inner, heads, kv_heads, vocabulary = _SIZES[which]
    config = LlamaConfig(
        num_hidden_layers=layers,
        hidden_size=hidden,
        intermediate_size=inner,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        vocab_size=vocabulary,
        max_position_embeddings=2048,
        # So large that scores depend on every token; with 0.02 they hardly move, and any tree seems right.
        initializer_range=1.3 / hidden**0.5,
    )
    with torch.device(target.device):
        return AutoModelForCausalLM.from_config(config, dtype=BF16).eval()


def _step(cases: Cases, one: Subject, step: Callable[..., object], rate: float) -> None:
    """Run a step as a case."""
    if step is _end_to_end and one.length > 256:
        return
    if step is _profile and one.length > 256:
        # The profiler itself takes longer than the run.
        return
    name = getattr(step, "__name__", "_tree in other runs").strip("_").replace("_", " ")
    cases.case(f"{one.what}: {name}", partial(step, cases, one, rate))


def _against_float32(cases: Cases, one: Subject, _: float) -> tuple[str, bool]:
    """Hold tree and flat against flat in float32 with the same weights; in float32, tree against flat."""
    some = one.some(_REPEATED)
    ours, theirs = one.tree()[some], one.flat(one.coalitions[some], 64)
    with widened(one.game.model) if one.dtype != F32 else nullcontext():
        truth = one.flat(one.coalitions[some], 16)
    off = {"tree - flat": ours - theirs, "tree - float32": ours - truth, "flat - float32": theirs - truth}
    spread = {name: float(difference.std()) for name, difference in off.items()}
    scores = float(truth.std())
    allowed = 2 * spread["flat - float32"] + 1e-3 * scores
    cells = {**one.cells, "coalitions": str(len(truth)), "deviation of scores": f"{scores:.3g}"}
    for name, difference in off.items():
        cells[f"{name}, largest (sd)"] = f"{float(difference.abs().max()):.3g} ({spread[name]:.3g})"
    cases.line(one.what, "whole models against float32", cells)
    said = one.game.explain()
    right = spread["tree - float32"] <= allowed
    return f"sd {spread['tree - float32']:.3g} of at most {allowed:.3g}; {said}", right and "takes tree" in said


def _tree(cases: Cases, one: Subject, _: float, most_tokens: int | None = None) -> None:
    plan = one.tree_plan()
    name = f"tree, runs of {most_tokens}" if most_tokens else "tree"
    if not most_tokens:
        one.cells["runs of"] = str(min(plan.size, plan.tokens))
    one.times[name] = clock(one.target, lambda: one.tree(most_tokens), seconds=0.7)
    _table(cases, one)


def _flat(cases: Cases, one: Subject, _: float) -> None:
    some = one.coalitions[one.some(one.rows)]
    share = len(one.coalitions) / len(some)
    one.times["flat"] = clock(one.target, lambda: one.flat(some, one.rows), seconds=0.7).scaled(share)
    one.cells["flat's rows"] = str(one.rows)
    _table(cases, one)


def _table(cases: Cases, one: Subject) -> None:
    cells = dict(one.cells)
    for name, taken in one.times.items():
        ratio = f" = {taken.ms / one.times['tree'].ms:.2f}x" if "tree" in one.times else ""
        cells[f"{name}, s"] = f"{taken.ms / 1e3:.4g}{ratio}"
    cases.line(one.what, "whole models", cells, times=in_full(one.times))


def _linear_layers(cases: Cases, one: Subject, rate: float) -> None:
    """Time all linear layers of all tokens alone, run by run; the tree skips most of the last layer."""
    plan = one.tree_plan()
    runs = coalition_tree(one.game.prompt).runs(plan.size, plan.leaves)
    counts = [(len(run.position) - run.kept, len(run.leaves)) for run in runs]
    linear = torch.nn.Linear
    body = [m for name, m in one.game.model.named_modules() if isinstance(m, linear) and "lm_head" not in name]
    widths, head = {layer.in_features for layer in body}, one.game.model.lm_head
    most = max(tokens for tokens, _ in counts)
    inputs = {width: one.target.random(most, width, dtype=one.dtype) for width in widths | {head.in_features}}

    def products() -> None:
        for tokens, leaves in counts:
            for layer in body:
                layer(inputs[layer.in_features][:tokens])
            head(inputs[head.in_features][:leaves])

    taken = clock(one.target, products, seconds=0.7)
    weights = sum(layer.weight.numel() for layer in body)
    work = 2e-9 * sum(t * weights + leaves * head.weight.numel() for t, leaves in counts)
    cells = {**{name: one.cells[name] for name in ("model", "L")}, "tokens": str(sum(t for t, _ in counts))}
    cells |= {
        "ms": f"{taken.ms:.4g}",
        "TFLOP/s": f"{work / taken.ms:.0f}",
        "of the matrix rate": f"{work / taken.ms / rate:.0%}",
    }
    if "tree" in one.times:
        cells["of the tree's time"] = f"{taken.ms / one.times['tree'].ms:.0%}"
        cells["the tree's TFLOP/s, of the matrix rate"] = f"{work / one.times['tree'].ms / rate:.0%}"
    cases.line(one.what, "linear layers", cells, time=asdict(taken))


def _profile(cases: Cases, one: Subject, _: float) -> None:
    seen = profiled(one.target, one.tree)
    cells = {**{name: one.cells[name] for name in ("model", "L")}, "kernels": str(seen.kernels)}
    cells |= {"copies to the card": str(seen.copies), "busy, ms": f"{seen.busy:.0f}", "of, ms": f"{seen.span:.0f}"}
    cells["longest, ms"] = "; ".join(f"{name[:40]} {ms:.1f}" for name, ms in seen.longest[:4])
    cases.line(one.what, "card and host", cells, longest=seen.longest)


def _host(cases: Cases, one: Subject, _: float) -> None:
    """Time the parts of a scoring by the tree one after the other, each to its end on the card."""
    parts: dict[str, list[float]] = {}

    def done(name: str, begun: float) -> float:
        one.target.synchronize()
        now = time.perf_counter()
        parts.setdefault(name, []).append(1e3 * (now - begun))
        return now

    for _ in range(2 if one.target.tiny else 7):
        at = time.perf_counter()
        plan = Tree().plan(one.game, distinct(one.coalitions.numpy())[0])
        at = done("plan", at)
        tree = tree_module.coalition_tree(one.game, plan.masks)
        runs = list(tree.runs(plan.size, plan.leaves))
        at = done("runs", at)
        with tree_module.tree_runs(plan) as computed:
            at = done("hooks", at)
            staged = [computed.stage(run) for run in runs]
            at = done("copies", at)
            scores = [computed.compute(run) for run in staged]
            at = done("first forward, with lists", at)
            [computed.compute(run) for run in staged]
            at = done("second forward", at)
        at = done("hooks off", at)
        torch.cat(scores).cpu()
        done("scores", at)
    cells = {name: one.cells[name] for name in ("model", "L")}
    cells |= {f"{name}, ms": f"{sorted(laps)[len(laps) // 2]:.3g}" for name, laps in parts.items()}
    cases.line(one.what, "parts of a scoring", cells, laps=parts)


def _end_to_end(cases: Cases, one: Subject, _: float) -> tuple[str, bool]:
    """Time the steps of an extraction one by one, as `interact.extract` takes them."""
    game = one.game
    scored = game.scored(progress=False)
    values, choice = scored.values.double(), scored.choice
    floor = partial(noise_floor, game, one.coalitions, scored.values, choice.engine, **choice.plan.options)
    card = values.to(one.target.device)

    def exact_floor() -> Any:
        with patch.object(precision, "tf32_products", lambda _: nullcontext()):
            return floor()

    sigmas = {name: call() for name, call in {"TF32": floor, "float32": exact_floor}.items()}
    steps: dict[str, Callable[[], object]] = {
        "scores": lambda: game.scored(progress=False),
        "noise floor": floor,
        "noise floor in float32": exact_floor,
        "soft split on the CPU": lambda: and_or_split(values.numpy()),
        "soft split on the card": lambda: and_or_split(card),
        "box on the CPU": lambda: and_or_split(values.numpy(), noise="box"),
    }
    times = {name: clock(one.target, step, seconds=0.5) for name, step in steps.items()}
    cells = {**{name: one.cells[name] for name in ("model", "L")}, "engine": choice.engine.name}
    cells |= {f"{name}, s": f"{taken.ms / 1e3:.3g}" for name, taken in times.items()}
    total = sum(times[name].ms for name in ("scores", "noise floor", "soft split on the CPU")) / 1e3
    cells["sum, s"] = f"{total:.3g}"
    cells |= {f"sigma, {name}": f"{made['sigma']:.4g}" for name, made in sigmas.items() if made is not None}
    cases.line(one.what, "end to end", cells, times=in_full(times))
    return f"{total:.3g} s by {choice.engine.name}: {choice.reason}", choice.engine.name == "tree"
