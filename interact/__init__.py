"""AND-OR interactions of language models: a prompt in, its interactions out.

>>> import interact
>>> result = interact.extract(model, tokenizer, "a gorgeous, witty movie", target="positive")  # doctest: +SKIP
"""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interact import indices, sparse
    from interact.games.build import game
    from interact.games.coalition_values import coalition_values, explain_engine
    from interact.games.extract import extract
    from interact.games.extract_many import extract_many
    from interact.games.game import Game, game_from
    from interact.games.learned import learn_baseline
    from interact.games.several import extract_targets, extract_tokens
    from interact.games.shapiq import as_shapiq_game
    from interact.games.windows import windows
    from interact.models.load import load_model
    from interact.prompt.inputs import CoalitionInputs, Template, prepare
    from interact.prompt.players import Player, PlayerChoice
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
    from interact.results.comparison import compare
    from interact.results.summary import summary
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
    "compare",
    "explain_engine",
    "extract",
    "extract_many",
    "extract_targets",
    "extract_tokens",
    "from_shapiq",
    "game",
    "game_from",
    "indices",
    "learn_baseline",
    "load",
    "load_model",
    "prepare",
    "sparse",
    "summary",
    "to_shap",
    "to_shapiq",
    "windows",
]

_ROOMS = {
    "games.coalition_values": ("coalition_values", "explain_engine"),
    "games.shapiq": ("as_shapiq_game",),
    "games.extract": ("extract",),
    "games.extract_many": ("extract_many",),
    "games.build": ("game",),
    "games.several": ("extract_targets", "extract_tokens"),
    "games.game": ("Game", "game_from"),
    "games.learned": ("learn_baseline",),
    "games.windows": ("windows",),
    "prompt.inputs": ("CoalitionInputs", "Template", "prepare"),
    "models.load": ("load_model",),
    "prompt.players": ("Player", "PlayerChoice"),
    "results": (
        *("ExactInteractions", "Fidelity", "Interaction", "Interactions", "SampledInteractions"),
        *("from_shapiq", "load", "to_shap", "to_shapiq"),
    ),
    "results.comparison": ("compare",),
    "results.summary": ("summary",),
    "sft.callback": ("InteractionCallback",),
    "sft.early_stopping": ("InteractionEarlyStopping",),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

# Modules that stood at the top once: their old names lead to the new ones.
_MOVED = {
    "interact.cli": "interact.command.main",
    "interact.coalitions": "interact.games.coalition_values",
    "interact.embedded": "interact.models.embedded",
    "interact.extraction": "interact.games.extract",
    "interact.inputs": "interact.prompt.inputs",
    "interact.masking": "interact.prompt.masking",
    "interact.players": "interact.prompt.players",
    "interact.report": "interact.study.report",
}


class _Forward:
    """A finder and loader that imports a module that moved by its old name, with a DeprecationWarning."""

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        # `importlib.abc.Loader`, which self is but in name, would take 30 ms to import.
        loader: Any = self
        return ModuleSpec(fullname, loader) if fullname in _MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        now = _MOVED[spec.name]
        warnings.warn(f"{spec.name} is {now} now; import that.", DeprecationWarning, stacklevel=2)
        module = ModuleType(spec.name)
        new = import_module(now)
        module.__dict__.update({k: v for k, v in vars(new).items() if k not in ("__name__", "__spec__", "__loader__")})
        return module

    def exec_module(self, module: ModuleType) -> None:
        return None


sys.meta_path.append(_Forward())


def __getattr__(name: str) -> Any:
    # Loading torch and transformers takes seconds that `interact fetch` and `--help` need not spend.
    if name in ("indices", "sparse"):
        return import_module(f"interact.{name}")
    if f"interact.{name}" in _MOVED:
        return import_module(f"interact.{name}")
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'interact' has no attribute {name!r}")
    return getattr(import_module(f"interact.{_ROOM_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
