"""AND-OR interactions of language models: a prompt in, its interactions out.

>>> import interact
>>> result = interact.extract(model, tokenizer, "a gorgeous, witty movie", target="positive")  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interact import embedded, indices, sparse
    from interact.coalitions import coalition_values, explain_engine
    from interact.extraction import extract
    from interact.games.build import game
    from interact.games.game import Game, game_from
    from interact.games.learned import learn_baseline
    from interact.games.shapiq import as_shapiq_game
    from interact.inputs import CoalitionInputs, Template, prepare
    from interact.models.load import load_model
    from interact.players import Player, PlayerChoice
    from interact.results import (
        ExactInteractions,
        Fidelity,
        Interaction,
        Interactions,
        SampledInteractions,
        from_shapiq,
        load,
        to_shap,
        to_shapiq,
    )
    from interact.sft.callback import InteractionCallback
    from interact.sft.early_stopping import InteractionEarlyStopping

__all__ = [
    "CoalitionInputs",
    "ExactInteractions",
    "Fidelity",
    "Game",
    "Interaction",
    "InteractionCallback",
    "InteractionEarlyStopping",
    "Interactions",
    "Player",
    "PlayerChoice",
    "SampledInteractions",
    "Template",
    "as_shapiq_game",
    "coalition_values",
    "embedded",
    "explain_engine",
    "extract",
    "from_shapiq",
    "game",
    "game_from",
    "indices",
    "learn_baseline",
    "load",
    "load_model",
    "prepare",
    "sparse",
    "to_shap",
    "to_shapiq",
]

_ROOMS = {
    "coalitions": ("coalition_values", "explain_engine"),
    "games.shapiq": ("as_shapiq_game",),
    "extraction": ("extract",),
    "games.build": ("game",),
    "games.game": ("Game", "game_from"),
    "games.learned": ("learn_baseline",),
    "inputs": ("CoalitionInputs", "Template", "prepare"),
    "models.load": ("load_model",),
    "players": ("Player", "PlayerChoice"),
    "results": (
        *("ExactInteractions", "Fidelity", "Interaction", "Interactions", "SampledInteractions"),
        *("from_shapiq", "load", "to_shap", "to_shapiq"),
    ),
    "sft.callback": ("InteractionCallback",),
    "sft.early_stopping": ("InteractionEarlyStopping",),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    # Loading torch and transformers takes seconds that `interact fetch` and `--help` need not spend.
    if name in ("embedded", "indices", "sparse"):
        return import_module(f"interact.{name}")
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'interact' has no attribute {name!r}")
    return getattr(import_module(f"interact.{_ROOM_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
