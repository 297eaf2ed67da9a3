"""Where the words of a text are, in every script.

1. A word is a run of letters, digits and marks, with the signs that belong inside: apostrophes, hyphens, the points of
   numbers and initials, soft hyphens, joiners. C++, C#, 3.5, 1,000 and U.S. are whole; so is an emoji.
2. A run of a script that is written without spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese) is cut by the
   dictionaries of ICU, where icu4py is installed (extra ``words``), else into single characters, which a note says.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import regex

try:
    from icu4py.breakers import WordBreaker  # pyright: ignore[reportMissingImports]
except ImportError:
    # Forty megabytes, for some scripts only: an extra.
    WordBreaker = None

Span = tuple[int, int]

_JOINERS = r"\u200c\u200d"
_UNSPACED = r"\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{scx=Bopomofo}\p{scx=Yi}\p{Line_Break=SA}"
# regex counts joiners among \w, but they are invisible.
_LETTER = rf"[[\w\p{{M}}]--[{_JOINERS}]]"
# Apostrophes, hyphens, the Catalan middle dot, Hebrew's two; soft hyphens and joiners; points between digits.
_INSIDE = rf"(?:['’\-\u2010\u2011·׳״\u00ad\u2060{_JOINERS}]+|(?<=\p{{N}})[.,٫٬](?=\p{{N}}))"
_INITIALS = r"(?<!\w)(?:\p{L}\p{M}*\.){2,}(?!\w)"
# A rating in stars and the arrows of a keyboard are symbols too; letters in circles and signs of trade are not.
_EMOJI = (
    r"(?:\p{Regional_Indicator}{2}|[0-9#*]\ufe0f?\u20e3"
    r"|[[\p{Extended_Pictographic}★☆]--[©®™‼⁉〰〽㊗㊙↔-↪]](?:\ufe0f|\p{Emoji_Modifier}|[\U000e0020-\U000e007f])*"
    r"(?:\u200d[\p{Extended_Pictographic}](?:\ufe0f|\p{Emoji_Modifier})*)*)"
)
_WORD = regex.compile(rf"{_EMOJI}|{_INITIALS}|{_LETTER}+(?:{_INSIDE}{_LETTER}+)*(?:(?:\+\+|[#+])(?![\w+#]))?", regex.V1)
_RUN = regex.compile(rf"[[{_UNSPACED}]&&[\w\p{{M}}]]+", regex.V1)
_UNSPACED_LETTER = regex.compile(rf"[{_UNSPACED}]", regex.V1)
_CLUSTER = regex.compile(r"\X")
_LONGEST_GIVEN = {True: 12, False: 4}
"""Most characters of a word between spaces: of Thai and its neighbours, and of Chinese and Japanese."""


def word_spans(text: str) -> list[Span]:
    """Return the (start, end) characters of each word, in order."""
    whole = _already_cut(text)
    return [span for match in _WORD.finditer(text) for span in _parts(text, match.span(), whole)]


def unspaced(text: str) -> bool:
    """Say whether a letter of a script that is written without spaces is in a text."""
    return _UNSPACED_LETTER.search(text) is not None


def cut_into_characters(text: str) -> bool:
    """Say whether words of a text are single characters because no dictionary is here."""
    return WordBreaker is None and not _already_cut(text) and any(len(m[0]) > 1 for m in _RUN.finditer(text))


def _parts(text: str, span: Span, whole: bool) -> Iterator[Span]:
    """Cut a word where it holds a script without spaces, as in ``iPhone手机``."""
    low, high = span
    last = low
    for run in _RUN.finditer(text, low, high) if not whole else ():
        yield from _word_again(text, last, run.start())
        yield from _cut(text, run.start(), run.end())
        last = run.end()
    if last == low:
        yield span
    else:
        yield from _word_again(text, last, high)


def _word_again(text: str, low: int, high: int) -> Iterator[Span]:
    yield from (match.span() for match in _WORD.finditer(text, low, high))


def _cut(text: str, low: int, high: int) -> Iterator[Span]:
    run = text[low:high]
    pieces = _CLUSTER.findall(run) if WordBreaker is None else list(WordBreaker(run, "en"))
    # ICU gives a piece of its own to what it does not know.
    for piece in pieces:
        if piece:
            yield low, low + len(piece)
        low += len(piece)


def _already_cut(text: str) -> bool:
    """Say whether somebody has put spaces between the words of a script that has none, as word segmenters do."""
    runs = list(_RUN.finditer(text))
    spaced = any(text[a.end() : b.start()].isspace() for a, b in itertools.pairwise(runs))
    return spaced and all(
        len(r[0]) <= _LONGEST_GIVEN[regex.match(r"\p{Line_Break=SA}", r[0]) is not None] for r in runs
    )
