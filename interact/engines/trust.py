"""Whether a model may be scored by an engine: each is compared with a slower truth on a configuration's first use.

A wrong number is worse than a slow one: families differ in how they treat masks, positions and embeddings passed in,
and most mistakes raise no error.
"""

from __future__ import annotations

import dataclasses
import json
import re
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from interact.engines.engine import Engine, Plan, Verdict
from interact.engines.flat import flat_scores
from interact.engines.half import in_float32, is_half
from interact.engines.patches import forwards, hooks, patches
from interact.engines.runner import run
from interact.engines.score import usual
from interact.models.family import Family, device_of
from interact.models.memory import out_of_memory

if TYPE_CHECKING:
    from interact.games.prompt_game import PromptGame

# How long a prompt may be by the checks that were passed, by the check and what it held for: windows and chunks only
# show in prompts that are long enough. Models of one configuration share it.
_passed: dict[str, dict[Any, int]] = {}
# The same of single models with hooks or other forwards than their classes have, by a hash of these.
_passed_alone: weakref.WeakKeyDictionary[Any, dict[str, dict[Any, int]]] = weakref.WeakKeyDictionary()

_HALF_SLACK = 0.25
"""How far two right ways to score may differ in half precision, where nothing better is known."""


@contextmanager
def quiet(model: Any) -> Iterator[None]:
    """Score in eval mode and leave a model in training as it was."""
    training = [module for module in model.modules() if module.training]
    if training:
        # Setting 400 modules to what they are takes 2 ms, a tenth of a small model's scoring on a GPU.
        model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def plainly(model: Any) -> Iterator[None]:
    """Score as the model is, whatever is set around it: in eval mode, without autocast, with named outputs."""
    config, named = model.config, getattr(model.config, "return_dict", True)
    kinds = {"cpu", device_of(model).type} & {"cpu", "cuda", "xpu", "mps"}
    with quiet(model), ExitStack() as stack:
        for kind in kinds:
            stack.enter_context(torch.autocast(kind, enabled=False))
        if named:
            yield
            return
        config.return_dict = True
        try:
            yield
        finally:
            config.return_dict = named


def plain_logits(
    model: Any, family: Family, ids: list[int], last: int, types: Sequence[int] | None = None
) -> torch.Tensor:
    """Return unmasked logits in float32: of the last positions, shape [last, vocabulary], or of the labels, [1, C]."""
    # No cache: some models (BLT) fail at making one.
    options: dict[str, Any] = {"logits_to_keep": last, "use_cache": False, "return_dict": True}
    options = {name: value for name, value in options.items() if name == "return_dict" or name in family.takes}
    if types is not None:
        options["token_type_ids"] = torch.tensor([types], device=device_of(model))
    logits = model(input_ids=torch.tensor([ids], device=device_of(model)), **options).logits[0].float()
    return logits[-last:] if logits.dim() == 2 else logits[None]


def trust_masking(game: PromptGame) -> None:
    """Compare the masked forward with plain ones.

    What a model derives from ids and not from embeddings, such as where it pools or how it counts positions, depends on
    the prompt: classifiers, and prompts that hold the padding token, are checked each time. Else a model is checked on
    its first prompt, on longer ones (`reach`), and on those with other tokens that its configuration names.

    1. A causal model must not see later tokens.
    2. The full coalition must equal a plain forward of the prompt.
    3. Under attention masking, what an absent token says must not matter.

    Raises:
        ValueError: It does not; the sentence says what to use instead.
    """
    model, family, masking = game.model, game.family, game.masking
    if masking == "text" or not game.n:
        return
    # Trust is about the forward, so the score is the usual one whatever the game's is.
    if game.score is not usual(family.independent):
        game = dataclasses.replace(game, score=usual(family.independent))
    kept = None if family.kind == "classifier" else _named_tokens(game)
    if kept is not None and len(game.prompt.input_ids) <= game.passed.get((masking, kept), 0):
        return
    # What the code of a model does is told from what half precision rounds; classifiers, which are checked on each
    # prompt, would pay for it each time.
    if not is_half(model):
        proved = _trust(game, 1e-3, 1e-4)
    else:
        with in_float32(game) if family.kind == "causal" else nullcontext() as exact:
            proved = _trust(game, _HALF_SLACK, 0.05) if exact is None else _trust(exact, 1e-3, 1e-4)
    if kept is not None and proved:
        game.passed[masking, kept] = reach(game)


def _trust(game: PromptGame, slack: float, relative: float) -> bool:
    """Make the three checks; return False where the scores are not finite and so prove nothing.

    Scores may differ by `slack`, logits by `relative` of the largest one.
    """
    model, family, masking = game.model, game.family, game.masking
    name = type(model).__name__
    if family.kind == "causal" and "causal" not in game.passed:
        if _sees_later_tokens(game, relative):
            raise ValueError(f"{name} lets a token see later ones, so it predicts no next token; load a causal model.")
        if len(game.prompt.input_ids) > 1:
            game.passed["causal"] = 1
    target = torch.tensor(game.target)
    logits = plain_logits(model, family, list(game.ids), len(target), game.types).cpu()
    plain = game.score(logits, target).sum()
    try:
        masked = flat_scores(game, np.ones((1, game.n), dtype=bool))[0]
    except Exception as error:
        if isinstance(error, RuntimeError) and out_of_memory(error):
            raise
        raise ValueError(
            f"{name} runs from token ids but not with its embeddings passed in ({type(error).__name__}: {error}), so "
            f"{masking} masking is impossible; use masking='text'."
        ) from error
    if not (bool(plain.isfinite()) and bool(masked.isfinite())):
        # Scores that are not finite are refused later, by coalition.
        return False
    if not torch.isclose(plain, masked, rtol=slack, atol=slack):
        raise ValueError(
            f"{name} scores the unmasked prompt {float(plain):.4f}, but {float(masked):.4f} when its "
            f"embeddings are passed in, so {masking} masking would be wrong; use masking='text'."
        )
    if masking == "attention":
        _trust_attention(game, slack)
    return True


def disagreement(
    game: PromptGame, engine: Engine, named: str, plans: Callable[[PromptGame, np.ndarray], Sequence[Plan]]
) -> Verdict:
    """Compare an engine's scores of some coalitions with those of the flat forward.

    A model in half precision is held in float32 for it, where that fits, so that a wrong engine is told from rounding;
    in its own precision it is then held against a loose bound, which rests on how far flat scores themselves are off.

    Args:
        game: The game.
        engine: The engine.
        named: What it is called in a sentence.
        plans: From a game and coalitions (bool [M, n]) to the plans to be tried.
    """
    # The usual score: another one may be the same for all logits, and would find no difference. What passes is kept.
    game = dataclasses.replace(game, score=usual(game.family.independent))
    players = np.arange(game.n)
    some = np.unique(np.stack([players >= 0, players < 0, players % 2 == 0, players % 3 == 1]), axis=0)
    if not is_half(game.model):
        return _held_against(flat_scores(game, some), 1e-3, engine, named, plans(game, some))
    flat, rounding = flat_scores(game, some), 0.0
    with in_float32(game) as exact:
        if exact is not None:
            truth = flat_scores(exact, some)
            verdict = _held_against(truth, 1e-3, engine, named, plans(exact, some))
            if verdict.reason is not None:
                return verdict
            rounding = float((flat - truth).abs().max())
    return _held_against(flat, _HALF_SLACK, engine, named, plans(game, some), rounding)


def _held_against(
    truth: torch.Tensor, slack: float, engine: Engine, named: str, plans: Sequence[Plan], rounding: float = 0.0
) -> Verdict:
    # Where the scores hardly move, a wrong engine is hardly wrong: the allowance follows their spread. What was seen to
    # be rounded does not: the size of the logits decides that.
    slack = slack * min(1.0, 0.2 + float(truth.max() - truth.min())) + 6 * rounding
    for plan in plans:
        name = type(plan.game.model).__name__
        try:
            values = run(engine, plan)
        except Exception as error:
            # Whatever a family's code does not expect is a reason for another engine, said to the user.
            if isinstance(error, RuntimeError) and out_of_memory(error):
                raise
            return Verdict(f"the {named} fails on {name} ({type(error).__name__}: {error})", failed=True)
        if not truth.isfinite().all():
            return Verdict(f"{name} gives scores that are not finite")
        worst = float((truth - values).abs().max())
        if not worst <= slack:
            return Verdict(f"the {named}'s scores of {name} differ by {worst:.3g} from the flat forward's")
    return Verdict()


def passed_checks(model: Any) -> dict[Any, int]:
    """Return how long a prompt may be by each check that was passed.

    What is checked is how a family's code treats masks and positions, not its weights, so models of the same classes
    and configuration share it: the next checkpoint of a training need not be checked again.
    """
    modules = dict(model.named_modules())
    if hooks(model):
        patched, known = str(patches(model)), _passed_alone.get(model, {})
        # Those of earlier hooks are given up: a hook that records is another one after each forward.
        _passed_alone[model] = {patched: known.get(patched, {})}
        return _passed_alone[model][patched]
    weight = model.get_input_embeddings().weight
    config = model.config.to_dict() | {"_name_or_path": None}
    kinds = {name: f"{type(m).__module__}.{type(m).__qualname__}" for name, m in modules.items()}
    attention = getattr(model.config, "_attn_implementation", None)
    content = [config, kinds, forwards(model), attention, str(weight.dtype), str(weight.device)]
    return _passed.setdefault(sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest(), {})


def reach(game: PromptGame) -> int:
    """Return the length of the longest prompt that a check of this one covers.

    Where a window or chunk ends, a longer prompt may be treated otherwise: that is at a number of the configuration,
    half of one, or a power of two. So prompts of about one length are checked once, and not each that is the longest.
    """
    numbers = [int(found) for found in re.findall(r"\b\d{1,9}\b", json.dumps(game.model.config.to_dict(), default=str))]
    edges = {*numbers, *(number // 2 for number in numbers), *(1 << k for k in range(30))}
    length = len(game.prompt.input_ids)
    return max(length, min((edge for edge in edges if edge >= length), default=length) - 1)


def _named_tokens(game: PromptGame) -> tuple[tuple[int, int], ...] | None:
    """Return which tokens of a prompt the configuration names, and how often; None where the padding is among them."""
    config, text = game.model.config, game.model.config.get_text_config()
    padding = {getattr(one, "pad_token_id", None) for one in (config, text)}
    padding.add(getattr(game.model.get_input_embeddings(), "padding_idx", None))
    there = Counter(game.prompt.input_ids)
    if padding & set(there):
        return None
    told = {**config.to_dict(), **text.to_dict()}
    named = [value for name, value in told.items() if name.endswith(("token_id", "token_ids", "token_index"))]
    named = {i for value in named for i in (value if isinstance(value, list) else [value])}
    return tuple(sorted((i, there[i]) for i in named if i in there))


def _trust_attention(game: PromptGame, slack: float) -> None:
    middle = (np.arange(game.n) % 2 == 0)[None] & (game.n > 1)
    ids = list(game.prompt.input_ids)
    for player, (low, high) in enumerate(game.prompt.spans):
        if not middle[0, player]:
            # Any other token that the model knows, so that something really changes.
            ids[low:high] = [next(i for i in range(3, 6) if i != token) for token in ids[low:high]]
    other = dataclasses.replace(game, prompt=dataclasses.replace(game.prompt, input_ids=ids))
    one, two = (flat_scores(some, middle)[0] for some in (game, other))
    if not torch.isclose(one, two, rtol=slack, atol=slack) and bool(one.isfinite()):
        raise ValueError(
            f"{type(game.model).__name__} lets absent tokens influence the score under attention masking (the score "
            f"moves from {float(one):.4f} to {float(two):.4f} with their content); use masking='baseline'."
        )


def _sees_later_tokens(game: PromptGame, relative: float) -> bool:
    ids = list(game.prompt.input_ids[:16])
    other = [*ids[:-1], ids[0] if ids[-1] != ids[0] else (ids[0] + 1) % game.family.outputs]
    one, two = (plain_logits(game.model, game.family, i, len(i))[:-1] for i in (ids, other))
    return bool((one - two).abs().max() > relative * one.abs().max()) if len(ids) > 1 else False
