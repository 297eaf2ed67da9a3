"""Where the sentences of a text end, in every script.

1. What may end one: Unicode's property Sentence_Terminal, an ellipsis, a line break; closing quotes belong to it.
2. A point, which ends abbreviations too, needs a space behind it; the signs of scripts without spaces need none.
3. A point does not end a sentence behind an abbreviation, an initial, an ordinal, or the number of an item of a list.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import regex

from interact.prompt.words import Span, unspaced

_END = regex.compile(r"(?:\p{Sentence_Terminal}|…)+[\"'”’»›\p{Pe}]*|\n", regex.V1)
_BEHIND_A_SPACE = frozenset(".!?…")
_OPENING = regex.compile(r"\s*[\"'“‘«‹¿¡\p{Ps}]*")
_WORD_BEFORE = regex.compile(r"[^\s\"'“‘«‹¿¡\p{Ps}]+$")
_INITIALS = regex.compile(r"(?:\p{L}\.)+\p{L}|\p{Lu}")
_ITEM = regex.compile(r"(?:^|\n)\s*(?:[-*•]\s*)?(?:\d{1,3}|\p{L}|[ivxIVX]{1,4})$")
# In front of a name: never the end of a sentence.
_TITLES = frozenset(
    "mr mrs ms dr prof mt st messrs mme mlle mgr sr sra srta dra fr hr dott ing sig rev gen col sgt capt lt cmdr hon "
    "pres gov sen rep adm maj supt insp bro fig figs eq eqs ref refs г-н г-жа проф акад им ул dipl".split()
)
# Titles that are words too: only as they are written in front of a name.
_ALSO_WORDS = frozenset("sr gen col hon pres rep adm maj bro rev sen sig ing ref refs fr capt sgt".split())
# Inside a sentence, whatever follows.
_INSIDE = frozenset(
    "vs cf eg ie viz approx ca resp bzw ggf evtl vgl sog z.b d.h u.a e.g i.e т.е т.к т.н напр см ср p.ej ej c.-à-d "
    "n.b".split()
)
# In front of a number.
_NUMBERED = frozenset(
    "no nos nr nº vol vols p pp ch chap sec art par tab pt ed jan feb mar apr jun jul aug sep sept oct nov dec "
    "рис стр табл гл ок".split()
)
# Inside a sentence unless a new one clearly begins.
_MAY_END = frozenset("etc jr inc ltd co corp al usw dept est assoc bros г гг в вв руб тыс млн др пр".split())
_STARTERS = frozenset(
    "the it this that these those he she they we i you there here then but and so his her its their our my what when "
    "where why how who if in on at as for from after before also however no not yes all some many most both each "
    "es er sie wir das der die ein eine und aber il elle nous les le la un une el los las я он она оно мы вы они это "
    "но и".split()
)
_MONTHS = frozenset("januar februar märz april mai juni juli august september oktober november dezember jänner".split())
_BEFORE_AN_ORDINAL = frozenset("am der die das dem den des vom zum zur im ab bis seit ihr ihre sein seine und".split())


def sentence_spans(text: str) -> list[Span]:
    """Return the (start, end) characters of each sentence, in order, without the white space around them."""
    ends = [*(match.end() for match in _END.finditer(text) if _ends(text, match)), len(text)]
    return list(_trimmed(text, [0, *ends]))


def _trimmed(text: str, edges: list[int]) -> Iterator[Span]:
    for low, high in itertools.pairwise(edges):
        part = text[low:high]
        if part.strip():
            yield low + len(part) - len(part.lstrip()), high - (len(part) - len(part.rstrip()))


def _ends(text: str, match: regex.Match[str]) -> bool:
    sign, low, high = match[0], match.start(), match.end()
    if sign == "\n":
        return True
    mark = sign.rstrip("\"'”’»›)]}）」』】》〉").strip() or sign
    quoted = len(mark) < len(sign)
    here = text[high : high + 1]
    if mark[-1] in _BEHIND_A_SPACE and here and not here.isspace():
        # Without a space only between letters of a script that has none.
        if not (unspaced(here) and unspaced(text[max(0, low - 1) : low])) or quoted:
            return False
    elif quoted and here.isalnum():
        # What is quoted ends, and the sentence around it goes on.
        return False
    following = text[_opening(text, high) :]
    if quoted and following[:1].islower():
        return False
    if (set(mark) <= {".", "…"} and len(mark) > 1) or mark == "…":
        return not following[:1].islower()
    return mark != "." or _point_ends(text[:low], following)


def _opening(text: str, start: int) -> int:
    match = _OPENING.match(text, start)
    return match.end() if match else start


def _point_ends(before: str, following: str) -> bool:
    """Say whether a single point ends a sentence, from what stands before and behind it."""
    found = _WORD_BEFORE.search(before)
    if found is None or not following:
        return True
    word, known = found[0], found[0].lower()
    next_word = regex.match(r"[\w\p{M}'’-]*", following)[0]  # pyright: ignore[reportOptionalSubscript]
    starts = next_word[:1].isupper() and next_word.lower() in _STARTERS
    digit = following[:1].isnumeric()
    item = _ITEM.search(before)
    if item and (item[0].strip().isnumeric() or following[:1].isupper()):
        return False
    if word.isnumeric():
        return not _ordinal(before[: found.start()], word, next_word)
    if known in _TITLES:
        return known in _ALSO_WORDS and not (word[:1].isupper() and next_word[:1].isupper())
    if known in _INSIDE:
        return False
    if known in _NUMBERED and digit:
        return False
    if _INITIALS.fullmatch(word) and word != "I":
        return starts
    if known in _MAY_END:
        return next_word[:1].isupper() or not next_word
    return True


def _ordinal(before: str, number: str, next_word: str) -> bool:
    """Say whether a number and its point are an ordinal, as in ``am 3. Oktober``."""
    if len(number) > 2:
        return False
    if next_word.lower() in _MONTHS:
        return True
    if next_word[:1].islower():
        return next_word not in _STARTERS
    last = before.split()[-1:] or [""]
    return last[0].lower() in _BEFORE_AN_ORDINAL
