"""The JSON of a result: one object, the same from `result.to_json()`, `interact extract --json` and `show --json`.

It lists interactions, strongest first, and no scores: `interact.results.file` keeps those. `SCHEMA` is the rule
(JSON Schema, draft 2020-12); docs/formats.md says it in words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interact.results.answers import Interaction, finite
from interact.results.display import statuses

if TYPE_CHECKING:
    from interact.results.interactions import Interactions

FORMAT = "interact.interactions"
VERSION = 3
_READ = (1, 2, 3)
_COUNT = {"type": "integer", "minimum": 0}
_NUMBER = {"type": "number"}
_KNOWN = {"type": ["number", "null"]}
_INTERACTION = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["and", "or"], "description": "all of the players together, or any of them"},
        "players": {"type": "array", "items": _COUNT, "uniqueItems": True, "description": "their places in `players`"},
        "words": {"type": "array", "items": {"type": "string"}, "description": "their words, in the same order"},
        "effect": {
            **_NUMBER,
            "description": "what it adds to the score (log-odds, or `provenance.score`)",
        },
        "error": {**_KNOWN, "description": "standard error; null where none was computed"},
        "stability": {**_KNOWN, "description": "how surely it has its sign, 0 to 1; null likewise"},
        "status": {
            "enum": ["certain", "possible", "undecided", None],
            "description": "certainty of a salient interaction; null for other interactions, or if it is not known",
        },
    },
}
SCHEMA: Mapping[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "The AND-OR interactions of one prompt",
    "type": "object",
    "properties": {
        "format": {"const": FORMAT, "description": "which schema this is"},
        "version": {"const": VERSION, "description": "its version"},
        "method": {"enum": ["exact", "sparse"], "description": "all coalitions, or sampled ones"},
        "text": {"type": "string", "description": "the user's text"},
        "players": {"type": "array", "items": {"type": "string"}, "description": "the players in words, in text order"},
        "bias": {
            **_NUMBER,
            "description": "phi(empty), the rebuilt score with every player absent",
        },
        "total": {**_NUMBER, "description": "v(N), the score with every player present"},
        "strength": {**_NUMBER, "description": "L1 strength of all effects"},
        "noise": {
            "enum": ["soft", "box", "exact", None],
            "description": "how noise of the scores was treated; null for a sparse result, or if it is not known",
        },
        "primal": {**_NUMBER, "description": "cost of the split: the strength and, under soft noise, price and ridge"},
        "dual": {**_KNOWN, "description": "certified lower bound of that cost; null for a sparse result"},
        "gap": {**_KNOWN, "description": "(primal - dual) / primal; null for a sparse result"},
        "r2": {**_NUMBER, "description": "share of the scores' variance that all interactions explain; see `held_out`"},
        "scored": {**_COUNT, "description": "how many coalitions have a score"},
        "held_out": {**_COUNT, "description": "how many were held out from the fit; `r2` is of them, or of all if 0"},
        "interactions": {"type": "array", "items": _INTERACTION, "description": "strongest first"},
        "left_out": {**_COUNT, "description": "how many weaker nonzero interactions are not listed"},
        "file": {"type": ["string", "null"], "description": "the result's file, if the command line wrote or read one"},
        "provenance": {"type": "object", "description": "everything needed to repeat the result"},
    },
    "if": {"properties": {"method": {"const": "exact"}}},
    "then": {"properties": {"dual": _NUMBER, "gap": _NUMBER}},
    "else": {"properties": {"dual": {"type": "null"}, "gap": {"type": "null"}}},
}
"""Version 3: every property is there, and no other."""
for _rule in (SCHEMA, _INTERACTION):
    _rule.update(required=list(_rule["properties"]), additionalProperties=False)


@dataclass(frozen=True)
class Listing:
    """What the JSON of a result says.

    `interact.indices` and `interact.to_shapiq` take one that lists every interaction.

    Attributes:
        text: The user's text.
        players: The players in words.
        bias: phi(empty).
        total: v(N).
        r2: Share of the variance of the scores that all interactions explain.
        interactions: The interactions listed, strongest first.
        left_out: How many weaker ones are not listed.
        provenance: Everything needed to repeat the result.
    """

    text: str
    players: tuple[str, ...]
    bias: float
    total: float
    r2: float
    interactions: tuple[Interaction, ...]
    left_out: int
    provenance: Mapping[str, Any]

    @property
    def n(self) -> int:
        """Number of players."""
        return len(self.players)

    @property
    def and_terms(self) -> dict[frozenset[int], float]:
        """The AND effects by their players, strongest first."""
        return self._terms("and")

    @property
    def or_terms(self) -> dict[frozenset[int], float]:
        """The OR effects by their players, strongest first."""
        return self._terms("or")

    def _terms(self, kind: str) -> dict[frozenset[int], float]:
        if self.left_out:
            raise ValueError(
                f"This JSON lists {len(self.interactions)} interactions and leaves out {self.left_out}, so its terms "
                "are not the whole game; write all of them (to_json() without k)."
            )
        return {i.members: i.effect for i in self.interactions if i.kind == kind}


def to_json(result: Interactions, *, k: int | None = None, path: Path | None = None) -> str:
    """Return a result as one line of JSON that `SCHEMA` describes.

    Args:
        result: The result.
        k: How many interactions to list; None for all that are not zero.
        path: The file that the result lies in.

    Raises:
        ValueError: k is negative, or a number is not finite (JSON has no such numbers).
    """
    if k is not None and k < 0:
        raise ValueError(f"to_json takes a number of interactions, 0 or more, but got {k}.")
    every = result.top(len(result.i_and) + len(result.i_or))
    fidelity, known = result.fidelity(0.0), statuses(result)
    answer = {
        "format": FORMAT,
        "version": VERSION,
        "method": result.method,
        "text": result.text,
        "players": [player.text for player in result.players],
        "bias": float(result.bias),
        "total": float(result.total),
        "strength": result.strength,
        "noise": result.noise_name,
        "primal": float(result.primal),
        "dual": finite(result.dual),
        "gap": finite(result.gap),
        "r2": fidelity.r2,
        "scored": len(result.values),
        "held_out": len(fidelity.values) if fidelity.held_out else 0,
        "interactions": [
            {
                "kind": i.kind,
                "players": sorted(i.members),
                "words": list(i.words),
                "effect": i.effect,
                "error": i.error,
                "stability": i.stability,
                "status": known.get((i.kind, i.mask)),
            }
            for i in every[:k]
        ],
        "left_out": 0 if k is None else len(every[k:]),
        "file": None if path is None else str(path),
        "provenance": dict(result.provenance),
    }
    return json.dumps(answer, ensure_ascii=False, allow_nan=False)


def read_json(text: str) -> Listing:
    """Read what `to_json` or ``--json`` wrote.

    Raises:
        ValueError: It is no such JSON, or of a later version.

    >>> [read_json(line) for line in open("results.jsonl")]  # doctest: +SKIP
    """
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"This is not the JSON of interactions: {error}.") from error
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise ValueError(f"This is not the JSON of interactions; it has no format {FORMAT!r}.")
    if told.get("version") not in _READ:
        raise ValueError(
            f"This JSON has version {told.get('version')!r:.20}, but this program reads up to version {VERSION}; "
            "update it."
        )
    try:
        players = tuple(map(str, told["players"]))
        return Listing(
            text=str(told["text"]),
            players=players,
            bias=float(told["bias"]),
            total=float(told["total"]),
            r2=float(told["r2"]),
            interactions=tuple(_interaction(row, players) for row in told["interactions"]),
            left_out=int(told["left_out"]),
            provenance=dict(told["provenance"]),
        )
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise ValueError(f"This JSON of interactions is damaged ({error}); write it again.") from error


def _interaction(row: Mapping[str, Any], players: tuple[str, ...]) -> Interaction:
    members = [int(i) for i in row["players"]]
    if row["kind"] not in ("and", "or") or len(set(members)) < len(members) or min(members, default=-1) < 0:
        raise ValueError(f"an interaction is of kind {row['kind']!r:.20} and players {members}")
    words = tuple(players[i] for i in members)
    known = [None if row[name] is None else float(row[name]) for name in ("error", "stability")]
    return Interaction(row["kind"], sum(1 << i for i in members), words, float(row["effect"]), *known)
