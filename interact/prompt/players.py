"""Players: the parts of a text whose presence or absence makes the coalitions.

1. Character spans are chosen: content words by default (`interact.prompt.words`), or sentences
   (`interact.prompt.sentences`), paragraphs, marked or listed phrases, or explicit spans.
2. Each span is mapped to the tokens it touches, through the tokenizer's offsets; all sub-tokens of a player
   stay together.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from numbers import Integral
from typing import Any

import numpy as np

from interact.prompt.sentences import sentence_spans
from interact.prompt.words import Span, cut_into_characters, word_spans

LIMIT = 20
"""Most players of a full lattice: 2**20 coalitions."""

MOST_SAMPLED = 4096
"""Most players of sampled coalitions; all of their pairs are looked at."""

_PARAGRAPH = re.compile(r"\S.*?(?=\n\s*\n|\s*$)", re.DOTALL)
_MARK = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)
# Negations are content words here: "not" carries half the meaning of a review.
_STOP_WORDS = frozenset(
    "a about above after again all also am an and any are as at be because been before being below between both "
    "but by can could did do does doing down during each few for from further had has have having he he's her "
    "here hers herself him himself his how i i'd i'll i'm i've if in into is it it's its itself just let's me "
    "more most my myself of off on once only or other ought our ours ourselves out over own same she she's should "
    "so some such than that that's the their theirs them themselves then there there's these they they're they've "
    "this those through to too under until up very was we we're we've were what what's when where which while who "
    "who's whom why will with would you you'd you'll you're you've your yours yourself yourselves".split()
)


@dataclass(frozen=True)
class Player:
    """One player: its text, its characters in the user's text, its tokens in the model's input.

    Attributes:
        text: What the user wrote.
        chars: (start, end) in the user's text, end exclusive.
        tokens: (start, end) in the token ids of the whole prompt, end exclusive.
    """

    text: str
    chars: Span
    tokens: Span


@dataclass(frozen=True)
class PlayerChoice:
    """How players are chosen from a text when none are listed.

    Attributes:
        unit: ``"words"`` (content words), ``"all-words"`` (stop words too), ``"sentences"``, ``"paragraphs"`` or
            ``"marked"`` (phrases between double square brackets; the brackets are removed from the text). In a
            conversation also ``"messages"``, ``"documents"`` or ``"examples"``.
        limit: Most players; more candidates than this are drawn from with the seed. None means 10 for words and
            20 for everything else, where more than 20 is an error instead of a draw. For sampled coalitions None
            takes every candidate.
        seed: Seed of the draw.
        messages: Of which messages of a conversation: a number, several, a role, or ``"all"``; None for the last one of
            the role ``user`` (marked: all).
    """

    unit: str = "words"
    limit: int | None = None
    seed: int = 0
    messages: int | str | tuple[int, ...] | None = None

    def content(self) -> dict[str, Any]:
        """Return the choice as JSON values, of which keys and fingerprints are made."""
        content = asdict(self)
        if content["messages"] is None:
            # Keys from before there were messages stay what they were.
            del content["messages"]
        return content


Players = PlayerChoice | str | int | Sequence[str] | Sequence[Span] | Sequence[tuple[int, int, int]] | None


def choose_spans(text: str, players: Players, most: int = LIMIT) -> tuple[str, list[Span]]:
    """Choose the players' characters in `text`.

    Args:
        text: The user's text.
        players: None for up to ten content words, a number of content words, a unit's name or a `PlayerChoice`,
            phrases that occur in the text (in any order), or explicit (start, end) character spans. An empty list
            means no players: the one coalition is the whole text.
        most: Most players allowed; above 20 (for sampled coalitions) words are not drawn from unless a limit is set.

    Returns:
        The text without marks, and the spans in text order.

    Raises:
        ValueError: The text is empty, no players are found, there are more than `most`, a phrase is missing, or a
            span is empty, overlaps another or lies outside the text.
    """
    _check_text(text)
    if isinstance(players, (np.ndarray, np.integer)):
        players = players.tolist()
    if isinstance(players, Integral) and not isinstance(players, bool):
        players = PlayerChoice(limit=int(players)) if players else []
    if isinstance(players, str):
        players = PlayerChoice(unit=players)
    if players is None or isinstance(players, PlayerChoice):
        return _chosen(text, players or PlayerChoice(), most)
    if not isinstance(players, Sequence):
        raise ValueError(
            f"players={players!r} is not known; pass a number, a unit's name, phrases or (start, end) spans."
        )
    return text, checked(text, [_span(text, players, index) for index in range(len(players))], most)


def choice_notes(text: str, players: Players) -> list[str]:
    """Say what the choice of players could not do as well as it should, in sentences."""
    if isinstance(players, np.ndarray):
        return []
    unit = players.unit if isinstance(players, PlayerChoice) else players
    words = unit is None or unit in ("words", "all-words") or (isinstance(unit, int) and unit > 0)
    if not words or not cut_into_characters(text):
        return []
    return [
        "The text is in a script without spaces, and no dictionary of its words is installed, so single characters are "
        'the players; run `pip install "interact-llm[words]"`, or list phrases (players=[...]).'
    ]


def map_to_tokens(
    text: str, spans: Sequence[Span], places: Sequence[Span], offsets: Sequence[Span]
) -> tuple[list[Player], list[str]]:
    """Map character spans to the tokens they touch.

    Args:
        text: The user's text.
        spans: Character spans in `text`, in order, disjoint.
        places: The same stretches in the rendered prompt.
        offsets: (start, end) characters of each token in the rendered prompt.

    Returns:
        The players, and a sentence for each token that a player shares with what lies beside it. Two players in
        one token cannot be masked apart, so they become one player.

    Raises:
        ValueError: A span has no token of its own.
    """
    groups: list[tuple[Span, Span]] = []
    merged: set[int] = set()
    # How far each end of a player lies behind its place in the text.
    shifts: dict[int, int] = {}
    for (low, high), (begin, end) in zip(spans, places, strict=True):
        shifts[low], shifts[high] = begin - low, end - high
        touched = [i for i, o in enumerate(offsets) if o[0] < o[1] and o[0] < end and o[1] > begin]
        if not touched:
            raise ValueError(
                f"The player {text[low:high]!r} has no token; choose a span that holds visible characters."
            )
        tokens = (touched[0], touched[-1] + 1)
        if groups and tokens[0] < groups[-1][1][1]:
            (first, _), (token, _) = groups.pop()
            groups.append(((first, high), (token, tokens[1])))
            merged.add(first)
        else:
            groups.append(((low, high), tokens))
    notes = [
        f"{text[low:high]!r} became one player, because the tokenizer puts parts of it into one token."
        for (low, high), _ in groups
        if low in merged
    ]
    players = [Player(text[c[0] : c[1]], c, t) for c, t in groups]
    for player in players:
        outside = [offsets[player.tokens[0]][0], offsets[player.tokens[1] - 1][1]]
        first, last = player.chars
        before = text[max(0, outside[0] - shifts[first]) : first].strip()
        after = text[last : max(last, outside[1] - shifts[last])].strip()
        if before or after:
            notes.append(f"The player {player.text!r} includes {(before or after)!r}, because they share a token.")
    return players, notes


def _check_text(text: str) -> None:
    if not isinstance(text, str):
        way = "; pass messages as messages=" if isinstance(text, Sequence) else ""
        raise ValueError(f"The text must be one string, but is a {type(text).__name__}{way}.")
    if not text.strip():
        raise ValueError("The text is empty; pass the sentence or document whose words are the players.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"The text holds a broken character at {error.start}; pass valid UTF-8.") from error


def _span(text: str, players: Sequence[Any], index: int) -> Span:
    player = players[index]
    if isinstance(player, str):
        return _located(text, players, index)
    player = player.tolist() if isinstance(player, np.ndarray) else player
    edges = tuple(player) if isinstance(player, Sequence) else ()
    if len(edges) != 2 or not all(isinstance(e, Integral) and not isinstance(e, bool) for e in edges):
        raise ValueError(f"The player {player!r} is not a phrase or a (start, end) pair of whole numbers.")
    return int(edges[0]), int(edges[1])


def _chosen(text: str, choice: PlayerChoice, most: int) -> tuple[str, list[Span]]:
    if choice.messages is not None:
        raise ValueError("PlayerChoice(messages=...) is for a prompt of messages; leave it out for a text.")
    check_choice(choice, most)
    if choice.unit == "marked":
        text, spans = unmarked(text)
    else:
        spans = unit_spans(text, choice.unit)
    if not spans:
        raise ValueError(
            f"No players ({choice.unit}) were found in {_short(text)!r}; list phrases or choose another unit."
        )
    return text, checked(text, drawn(spans, choice, most), most)


def check_choice(choice: PlayerChoice, most: int) -> None:
    """Raise ValueError unless the unit is one of a text, and the limit is possible."""
    if choice.unit not in _UNITS:
        way = "; it is one of a conversation (messages=...)" if choice.unit in OF_MESSAGES else ""
        raise ValueError(f"players={choice.unit!r} is not a unit{way}; choose one of {sorted(_UNITS)} or list phrases.")
    if choice.limit is not None and not 0 < choice.limit <= most:
        way = ", or sample coalitions of more players with method='sparse'" if most <= LIMIT else ""
        raise ValueError(f"{choice.limit} players were requested; choose from 1 to {most}{way}.")


def unit_spans(text: str, unit: str) -> list[Span]:
    """Return the words, sentences or paragraphs of a text."""
    spans = _UNITS[unit](text)
    if unit == "words":
        spans = [s for s in spans if text[s[0] : s[1]].lower().replace("’", "'") not in _STOP_WORDS]
    return spans


def drawn(spans: list[Span], choice: PlayerChoice, most: int) -> list[Span]:
    """Draw players from candidates, where there are more than the limit."""
    usual = 10 if most <= LIMIT and choice.unit in ("words", "all-words") else None
    limit = choice.limit if choice.limit is not None else usual
    if limit is not None and len(spans) > limit:
        spans = sorted(random.Random(choice.seed).sample(spans, limit))
    return spans


def _paragraphs(text: str) -> list[Span]:
    return [trimmed(text, match.span()) for match in _PARAGRAPH.finditer(text)]


def unmarked(text: str) -> tuple[str, list[Span]]:
    """Return a text without its double brackets, and what stood between them."""
    plain, spans, last = "", [], 0
    for match in _MARK.finditer(text):
        if not match[1].strip():
            raise ValueError(
                f"Nothing is between the double brackets in {_short(text)!r}; mark a word, or remove them."
            )
        plain += text[last : match.start()]
        spans.append(trimmed(plain + match[1], (len(plain), len(plain) + len(match[1]))))
        plain += match[1]
        last = match.end()
    return plain + text[last:], spans


def trimmed(text: str, span: Span) -> Span:
    """Return a span without the white space at its ends."""
    part = text[span[0] : span[1]]
    return span[0] + len(part) - len(part.lstrip()), span[1] - (len(part) - len(part.rstrip()))


def _located(text: str, phrases: Sequence[object], index: int) -> Span:
    """Find a listed phrase; the k-th mention of a repeated phrase is its k-th occurrence, as whole words if it can."""
    phrase = str(phrases[index])
    wanted = sum(1 for p in phrases[:index] if p == phrase)
    found = occurrences(phrase, text, wanted)
    if len(found) > wanted:
        return found[wanted]
    raise ValueError(
        f"The player {phrase!r} (mention {wanted + 1}) does not occur in {_short(text)!r}; copy phrases exactly."
    )


def occurrences(phrase: str, text: str, wanted: int = 0) -> list[Span]:
    """Return where a phrase stands in a text: as whole words, or anywhere if that is not more than `wanted` times."""
    found = whole_words(phrase, text)
    if len(found) > wanted or not phrase.strip():
        return found
    return [match.span() for match in re.finditer(re.escape(phrase), text)]


def whole_words(phrase: str, text: str) -> list[Span]:
    """Return where a phrase stands in a text as whole words."""
    pattern = rf"(?<!\w){re.escape(phrase)}(?!\w)"
    return [match.span() for match in re.finditer(pattern, text)] if phrase.strip() else []


def checked(text: str, spans: list[Span], most: int) -> list[Span]:
    """Return spans in text order.

    Raises:
        ValueError: One is empty or outside the text, two overlap, or there are more than `most`.
    """
    spans = sorted(spans)
    for low, high in spans:
        if not 0 <= low < high <= len(text):
            raise ValueError(
                f"The span ({low}, {high}) lies outside the text of {len(text)} characters or is empty; "
                "spans are (start, end) with 0 <= start < end <= length."
            )
    for (a, b), (c, d) in itertools.pairwise(spans):
        if c < b:
            raise ValueError(
                f"The players {text[a:b]!r} and {text[c:d]!r} overlap; give spans or phrases that share no character."
            )
    if len(spans) > most:
        kind, way = ("a full lattice", " or method='sparse'") if most <= LIMIT else ("a sample", "")
        raise ValueError(
            f"{len(spans)} players were found, but {kind} holds at most {most}; set a limit "
            f"(PlayerChoice(limit=...)), choose a larger unit{way}."
        )
    return spans


OF_MESSAGES = ("messages", "documents", "examples")
"""Units that only a conversation has."""
_UNITS: dict[str, Callable[[str], list[Span]]] = {
    "words": word_spans,
    "all-words": word_spans,
    "sentences": sentence_spans,
    "paragraphs": _paragraphs,
    # The brackets leave the text, so they are found apart.
    "marked": lambda _: [],
}


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
