"""Which words, and which words together, matter over many texts."""

from __future__ import annotations

import math
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from interact.formats.extras import require
from interact.formats.labels import as_word
from interact.results.interactions import Interactions

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("kind", "words", "order", "texts", "mean", "low", "high", "positive", "strength")


def summary(
    results: Iterable[Interactions], *, order: int = 2, least: int = 3, level: float = 0.95, ignore_case: bool = True
) -> pd.DataFrame:
    """Summarise the interactions of many texts by their words.

    A text counts for a set of words if all of them are players in it. Its effect there is that of the AND (or OR)
    interaction of these words, 0 where the result lists none, and the sum where words occur more than once. The
    interval is Student's over texts: what it leaves out is that texts of one author, or words that occur together, are
    not independent. It is for one row; among a hundred rows some five leave their interval by chance.

    Args:
        results: One result for each text, such as those of `interact.extract_many`; all of one target.
        order: Most words of a row.
        least: Fewest texts of a row; at least 2, since one text has no spread.
        level: Coverage of the intervals.
        ignore_case: Whether "Film" and "film" are one word.

    Returns:
        One row for each kind and set of words, the largest sum of absolute effects first: ``kind`` (and, or), ``words``
        (joined by " & " or " | "), ``order``, ``texts`` (how many), ``mean`` of the effect over these texts, ``low``
        and ``high`` (its interval), ``positive`` (share of these texts with a positive effect), ``strength`` (sum of
        absolute effects).

    Raises:
        ValueError: There is no result, an option is out of range, or the results have different targets.
        RuntimeError: pandas is not installed.

    >>> summary(interact.extract_many(model, tokenizer, reviews, target="positive")).head(10)  # doctest: +SKIP
    """
    require("study", "A summary", "pandas")
    import pandas as pd

    found = list(results) if isinstance(results, Iterable) else [results]
    if isinstance(results, Interactions) or not all(isinstance(result, Interactions) for result in found):
        raise ValueError(f"A summary needs a list of results, one for each text, but was given {results!r:.60}.")
    if not found:
        raise ValueError("There are no results; pass one for each text.")
    for name, value, lowest in (("order", order, 1), ("least", least, 2)):
        if value < lowest:
            raise ValueError(f"{name} is {value}, but must be at least {lowest}.")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}, but must lie between 0 and 1, such as 0.95.")
    asked = Counter(asked_of(result) for result in found)
    if len(asked) > 1:
        raise ValueError(
            f"The results have different targets or scores ({', '.join(map(repr, asked))}); sum up one at a time."
        )
    note_other_settings(found)
    effects: dict[tuple[str, tuple[str, ...]], list[float]] = defaultdict(list)
    for result in found:
        for key, effect in effects_by_words(result, order, ignore_case).items():
            effects[key].append(effect)
    rows = [_row(key, np.array(values), level) for key, values in effects.items() if len(values) >= least]
    table = pd.DataFrame(rows, columns=pd.Index(_COLUMNS))
    return table.sort_values("strength", ascending=False, kind="stable", ignore_index=True)


def asked_of(result: Interactions) -> str:
    """Return which tokens were scored, and against which."""
    parts = [result.provenance.get(name) for name in ("target", "contrast")]
    asked = [part.get("ids") if isinstance(part, dict) else None for part in parts]
    return str([*asked, result.provenance["score"]] if result.provenance.get("score") else asked)


def note_other_settings(results: Iterable[Interactions]) -> None:
    """Warn of results whose prompts or absent words differ: their effects answer different questions."""
    known: dict[str, set[str]] = defaultdict(set)
    for result in results:
        for name in ("masking", "baseline", "template"):
            told = result.provenance.get(name)
            # Of a vector only the kind is compared: that of another model has other numbers.
            known[name].add(str(told).split(" sha256:")[0])
    for name, told in known.items():
        if len(told) > 1:
            warnings.warn(
                f"The results differ in their {name} ({' and '.join(sorted(told)):.200}), so their effects answer "
                "different questions.",
                stacklevel=3,
            )


def effects_by_words(result: Interactions, order: int, ignore_case: bool) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return the effect of each set of words that are all players of a text, 0 where no interaction is listed."""
    words = [as_word(player.text, ignore_case) for player in result.players]
    sums: dict[tuple[str, tuple[str, ...]], float] = {}
    for size in range(1, order + 1):
        for chosen in combinations(sorted(set(words)), size):
            sums["and", chosen] = 0.0
            if size > 1:
                sums["or", chosen] = 0.0
    for kind, terms in (("and", result.and_terms), ("or", result.or_terms)):
        for members, effect in terms.items():
            key = kind, tuple(sorted({words[i] for i in members}))
            # Of a word that occurs twice, AND and OR of both are effects of that one word.
            key = key if len(key[1]) > 1 else ("and", key[1])
            if key in sums:
                sums[key] += effect
    return sums


def _row(key: tuple[str, tuple[str, ...]], values: np.ndarray, level: float) -> tuple[object, ...]:
    # Here, because it takes a tenth of a second that `import interact` need not spend.
    from scipy.special import stdtrit

    kind, words = key
    mean = float(values.mean())
    width = float(stdtrit(len(values) - 1, (1 + level) / 2) * values.std(ddof=1) / math.sqrt(len(values)))
    joined = (" & " if kind == "and" else " | ").join(words)
    positive, strength = float((values > 0).mean()), float(np.abs(values).sum())
    return kind, joined, len(words), len(values), mean, mean - width, mean + width, positive, strength
