"""Labels of players and of their terms: short enough to show, and never two alike."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import regex

_CLUSTER = regex.compile(r"\X")
_DOTS = "…"


def shortened(text: str, width: int) -> str:
    """Return a text on one line, cut in its middle where it is longer than `width`, so that both ends are seen.

    >>> shortened("https://example.org/a/very/long/path", 20)
    'https://exam…ng/path'
    """
    text = " ".join(text.split())
    # What is seen as one sign is kept or cut as one.
    signs = _CLUSTER.findall(text)
    if len(signs) <= width:
        return text
    end = max(1, (width - 1) * 2 // 5) if width > 2 else 0
    return "".join(signs[: max(1, width - 1 - end)]) + _DOTS + "".join(signs[len(signs) - end :])


def told_apart(names: Sequence[str]) -> list[str]:
    """Number names that look alike, such as the mentions of one word.

    >>> told_apart(["very", "very", "good"])
    ['very', 'very (2)', 'good']
    """
    found: list[str] = []
    taken, seen = {_visible(name) for name in names}, set[str]()
    for name in names:
        told, number = name, 1
        while _visible(told) in seen or (number > 1 and _visible(told) in taken):
            number += 1
            told = f"{name} ({number})"
        seen.add(_visible(told))
        found.append(told)
    return found


def labels(names: Sequence[str], width: int) -> list[str]:
    """Return a label of about `width` signs for each name, never two alike, none without its letters."""
    whole = told_apart(names)
    short = [shortened(name, width) for name in whole]
    alike = {label for label in short if short.count(label) > 1}
    longest = max((len(name) for name in whole), default=0)
    while alike and width < longest:
        # Names that differ where they were cut need more room.
        width = min(2 * width, longest)
        short = [shortened(n, width) if s in alike else s for n, s in zip(whole, short, strict=True)]
        alike = {label for label in short if short.count(label) > 1}
    return told_apart(short)


def _visible(name: str) -> str:
    """Return what is seen of a name."""
    return "".join(c for c in " ".join(name.split()) if c.isprintable())


def written(value: float, largest: float, sign: str = "-") -> str:
    """Write a score with three decimals, or with an exponent where the largest beside it would lose its digits."""
    plain = not largest or 0.01 <= largest < 1e6
    return f"{value:{sign}.3f}" if plain else f"{value:{sign}.2e}"


def as_word(text: str, ignore_case: bool = True) -> str:
    """Return a word in one of the ways in which Unicode can write it."""
    plain = unicodedata.normalize("NFC", text)
    return unicodedata.normalize("NFC", plain.casefold()) if ignore_case else plain
