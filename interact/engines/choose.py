"""Which engine scores a game.

``auto`` takes the first engine for the model's kind that serves the game, computes enough fewer tokens and is exact,
else the flat forward; a named engine is taken, or refused with the reason.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from interact import engines
from interact.engines.engine import Engine, Plan

if TYPE_CHECKING:
    from interact.games.prompt_game import PromptGame

# Below this ratio of tokens the small pieces cost more than they save. On a CPU the tree wins by a tenth even where no
# tokens are saved: its runs stay in the cache, and its last layer is computed for the final rows only.
_WORTH_IT = 1.15
_told: set[tuple[str, str]] = set()


@dataclass(frozen=True)
class Choice:
    """An engine, what it will compute, and why it was taken."""

    engine: Engine
    plan: Plan
    reason: str


def choose(game: PromptGame, masks: np.ndarray) -> Choice:
    """Return the engine that scores coalitions (bool [M, n], sorted, distinct) of a game.

    Raises:
        RuntimeError: The named engine cannot score this game.
    """
    *fast, flat = engines.ENGINES
    fitting = [engine for engine in fast if game.family.kind in engine.kinds]
    if game.engine == flat.name:
        return Choice(flat, flat.plan(game, masks), "it was requested")
    if game.engine != "auto":
        fitting = [engine for engine in fast if engine.name == game.engine]
    reasons: list[str] = []
    if not game.n or not len(masks):
        reasons = ["there are no players or no coalitions"]
        fitting = []
    for engine in fitting:
        found = _tried(game, engine, masks)
        if isinstance(found, Choice):
            return replace(found, reason="; ".join([*reasons, found.reason]))
        reasons.append(found)
    reason = "; ".join(dict.fromkeys(reasons)) or f"there is no other engine for a {game.family.kind}"
    if game.engine != "auto":
        raise RuntimeError(f"engine={game.engine!r} cannot score this: {reason}. Use engine='auto'.")
    return Choice(flat, flat.plan(game, masks), reason)


def _tried(game: PromptGame, engine: Engine, masks: np.ndarray) -> Choice | str:
    """Return the choice of an engine, or why it is not taken."""
    if reason := engine.refusal(game):
        return reason
    plan = engine.plan(game, masks)
    # Where weights lie on no device, nothing is known of what is fast.
    anyway = game.engine != "auto" or (engine.always_on_cpu and game.device.type == "cpu")
    if plan.ratio < _WORTH_IT and not anyway:
        return f"{engine.saver} saves too little, {plan.saving}"
    verdict = engine.check(game)
    if verdict.reason is None:
        plan = engine.plan(game, masks, **verdict.options) if verdict.options else plan
        return Choice(engine, plan, "; ".join(filter(None, [verdict.remark, plan.words])))
    if verdict.failed and game.engine == "auto" and game.device.type != "cpu":
        # On a CPU families of models that an engine does not know are the cause, on a card it may be a kernel.
        told = (engine.name, verdict.reason)
        if told not in _told:
            _told.add(told)
            warnings.warn(f"The engine {engine.name} is not used: {verdict.reason}.", stacklevel=5)
    return verdict.reason
