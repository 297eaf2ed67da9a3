"""Engines: ways to compute the scores of a prompt's coalitions, best first.

To add one, write a class of `interact.engines.engine.Engine` in a file of its own and put it into this list.
"""

from __future__ import annotations

from interact.engines.engine import Engine
from interact.engines.flat import Flat
from interact.engines.packed import Packed
from interact.engines.reorder import Reorder
from interact.engines.tree import Tree

ENGINES: list[Engine] = [Tree(), Reorder(), Packed(), Flat()]
"""What ``"auto"`` tries, in order; the last serves every prompt."""


def names() -> list[str]:
    """Return what users may ask for: ``"auto"``, or an engine."""
    return ["auto", *(engine.name for engine in ENGINES)]


def check_name(engine: str) -> None:
    """Raise ValueError unless `engine` is ``"auto"`` or names an engine."""
    if engine not in names():
        raise ValueError(f"engine={engine!r} is not known; choose one of {names()}.")
