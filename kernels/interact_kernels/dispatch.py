"""Which implementation of an operation runs, and why the others do not.

1. An operation lists its candidates, best first, each with the reason why it cannot run (or none).
2. ``impl="auto"`` takes the first that can run; a named one runs or raises with every candidate's reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """One implementation of an operation; `refusal` says why it cannot run here, None when it can."""

    name: str
    refusal: str | None = None


def choose(operation: str, candidates: Sequence[Candidate], impl: str) -> str:
    """Return the name of the implementation to run.

    Args:
        operation: Name for error messages.
        candidates: Implementations, best first.
        impl: ``"auto"`` or the name of one of them.

    Raises:
        ValueError: `impl` names no candidate.
        RuntimeError: The named implementation (or, for ``"auto"``, every one) cannot run here.
    """
    names = [c.name for c in candidates]
    if impl != "auto" and impl not in names:
        raise ValueError(f"{operation} has no implementation {impl!r}; choose 'auto' or one of {names}.")
    for candidate in candidates:
        if candidate.refusal is None and impl in ("auto", candidate.name):
            return candidate.name
    raise RuntimeError(f"{operation} cannot run with impl={impl!r} here. {explain(operation, candidates)}")


def explain(operation: str, candidates: Sequence[Candidate]) -> str:
    """Say in one line which implementation ``"auto"`` runs and why the others do not."""
    runs = next((c.name for c in candidates if c.refusal is None), "nothing")
    words = []
    for candidate in candidates:
        if candidate.refusal is not None:
            words.append(f"{candidate.name}: no, {candidate.refusal}")
        else:
            words.append(f"{candidate.name}: {'runs' if candidate.name == runs else 'could run'}")
    return f"{operation}: auto takes {runs} ({'; '.join(words)})."
