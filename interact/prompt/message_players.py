"""Players in a conversation: words of any message, phrases, spans, whole messages, documents, few-shot examples.

A player is one stretch of the conversation's text. It may go over several messages (an example is a question with its
answer); then what the chat template writes between them belongs to it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

from interact.prompt.messages import Conversation
from interact.prompt.players import (
    LIMIT,
    OF_MESSAGES,
    PlayerChoice,
    Players,
    Span,
    check_choice,
    checked,
    drawn,
    occurrences,
    trimmed,
    unit_spans,
    unmarked,
    whole_words,
)

_DOCUMENT = re.compile(r"<(document|doc|passage|source|context)\b[^>]*>(.*?)</\1\s*>", re.DOTALL | re.IGNORECASE)
_BRINGS_DOCUMENTS = frozenset(("tool", "document", "documents", "context", "function", "ipython", "observation"))
_NOT_SAID = frozenset(("system", "developer"))


def choose_in_messages(
    conversation: Conversation, players: Players, most: int = LIMIT
) -> tuple[Conversation, list[Span]]:
    """Choose the players' characters in a conversation's text.

    Args:
        conversation: The messages.
        players: As in `interact.prompt.players.choose_spans`, for the last message of the role ``user`` unless
            `PlayerChoice.messages` says otherwise. Also ``"messages"``, ``"documents"`` (results of tools, messages of
            a role such as ``document``, what stands between ``<document>`` tags, or what the chat template gets as
            ``documents``), ``"examples"`` (each earlier question with its answer); phrases anywhere; spans
            ``(message, start, end)``, or ``(start, end)`` in the joined text.
        most: Most players allowed.

    Returns:
        The conversation without marks, and the spans in the order of its text.

    Raises:
        ValueError: As `choose_spans`; a phrase stands in several messages, or there is no such message.
    """
    if isinstance(players, Integral) and not isinstance(players, bool):
        players = PlayerChoice(limit=int(players)) if players else []
    if isinstance(players, str):
        players = PlayerChoice(unit=players)
    if players is None or isinstance(players, PlayerChoice):
        return _chosen(conversation, players or PlayerChoice(), most)
    if not isinstance(players, Sequence):
        raise ValueError(f"players={players!r} is not known; pass a number, a unit's name, phrases or spans.")
    spans = [_listed(conversation, players, index) for index in range(len(players))]
    for low, high in spans:
        if not any(a <= low and high <= b for a, b in conversation.places):
            raise ValueError(
                f"The span ({low}, {high}) is in no message; spans are (message, start, end), and a player listed by "
                "its characters lies within one message."
            )
    return conversation, checked(conversation.text, spans, most)


def _chosen(conversation: Conversation, choice: PlayerChoice, most: int) -> tuple[Conversation, list[Span]]:
    if choice.unit in OF_MESSAGES:
        if choice.messages is not None:
            raise ValueError(
                f"messages={choice.messages!r} says whose words are players, but the players are the {choice.unit}; "
                "leave it out, or list spans (message, start, end)."
            )
        found = {"messages": _messages, "documents": _documents, "examples": _examples}[choice.unit](conversation)
        if not found:
            raise ValueError(f"No players ({choice.unit}) were found in these messages; {_ADVICE[choice.unit]}.")
        check_choice(PlayerChoice(limit=choice.limit), most)
        return conversation, checked(conversation.text, drawn(found, choice, most), most)
    check_choice(choice, most)
    chosen, spans = _selected(conversation, choice), []
    marks: dict[int, list[Span]] = {}
    if choice.unit == "marked":
        if choice.messages is None:
            chosen = [piece for piece, said in enumerate(conversation.pieces) if said]
        for piece in chosen:
            plain, marks[piece] = unmarked(conversation.pieces[piece])
            conversation = conversation.with_piece(piece, plain)
    for piece in chosen:
        start = conversation.places[piece][0]
        inside = marks[piece] if piece in marks else unit_spans(conversation.pieces[piece], choice.unit)
        spans += [(start + low, start + high) for low, high in inside]
    if not spans:
        named = ", ".join(conversation.name(piece) for piece in chosen)
        raise ValueError(f"No players ({choice.unit}) were found in {named}; list phrases or choose another unit.")
    return conversation, checked(conversation.text, drawn(spans, choice, most), most)


def _selected(conversation: Conversation, choice: PlayerChoice) -> list[int]:
    """Return the pieces whose words are players."""
    first, roles = len(conversation.documents), [message["role"] for message in conversation.messages]
    said = [bool(piece) for piece in conversation.pieces[first:]]
    wanted = choice.messages
    if wanted is None:
        users = [number for number, role in enumerate(roles) if role == "user" and said[number]]
        if not users:
            raise ValueError(
                f"No message has the role user (the roles are {roles}), so say whose words are the players: "
                "PlayerChoice(messages=0), or list phrases."
            )
        return [first + users[-1]]
    if isinstance(wanted, str):
        found = [number for number, role in enumerate(roles) if wanted in ("all", role) and said[number]]
        if not found:
            raise ValueError(f"No message with words has the role {wanted!r}; the roles are {roles}.")
        return [first + number for number in found]
    numbers = list(wanted) if isinstance(wanted, Iterable) else [wanted]
    if wrong := [n for n in numbers if not _counts(n) or not -len(roles) <= int(n) < len(roles)]:
        raise ValueError(f"There is no message {wrong[0]!r} among {len(roles)}; they are counted from 0.")
    return sorted({first + int(number) % len(roles) for number in numbers})


def _counts(number: Any) -> bool:
    return isinstance(number, Integral) and not isinstance(number, bool)


def _listed(conversation: Conversation, players: Sequence[Any], index: int) -> Span:
    player = players[index]
    if isinstance(player, str):
        return _located(conversation, players, index)
    edges = tuple(player) if isinstance(player, Sequence) else ()
    if len(edges) not in (2, 3) or not all(isinstance(e, Integral) and not isinstance(e, bool) for e in edges):
        raise ValueError(f"The player {player!r} is not a phrase or a span (message, start, end).")
    if len(edges) == 2:
        return int(edges[0]), int(edges[1])
    number, low, high = (int(edge) for edge in edges)
    if not 0 <= number < len(conversation.messages):
        raise ValueError(f"There is no message {number} among {len(conversation.messages)}; they are counted from 0.")
    start, end = conversation.places[len(conversation.documents) + number]
    if not 0 <= low < high <= end - start:
        raise ValueError(
            f"The span ({number}, {low}, {high}) lies outside the {end - start} characters of message {number} or is "
            "empty; spans are (message, start, end)."
        )
    return start + low, start + high


def _located(conversation: Conversation, players: Sequence[Any], index: int) -> Span:
    """Find a listed phrase; its k-th mention is its k-th occurrence in the one message that it is in."""
    phrase = players[index]
    wanted = sum(1 for player in players[:index] if player == phrase)
    first = len(conversation.documents)
    # As in one text, whole words come first: "art" is not looked for in "party" where it stands by itself.
    found = {number: spans for number, p in enumerate(conversation.pieces) if (spans := whole_words(phrase, p))}
    if not found:
        found = {number: spans for number, p in enumerate(conversation.pieces) if (spans := occurrences(phrase, p))}
    if len(found) > 1:
        spans = [(number - first, *spans[0]) for number, spans in found.items() if number >= first]
        raise ValueError(
            f"The player {phrase!r} occurs in {len(found)} messages; say which is meant by its span (message, start, "
            f"end), such as {' or '.join(map(str, spans[:3]))}."
        )
    number = next(iter(found), 0)
    spans = occurrences(phrase, conversation.pieces[number], wanted) if found else []
    if len(spans) <= wanted:
        raise ValueError(f"The player {phrase!r} (mention {wanted + 1}) is in no message; copy phrases exactly.")
    start = conversation.places[number][0]
    return start + spans[wanted][0], start + spans[wanted][1]


def _whole(conversation: Conversation, piece: int) -> Span:
    return trimmed(conversation.text, conversation.places[piece])


def _messages(conversation: Conversation) -> list[Span]:
    first = len(conversation.documents)
    return [_whole(conversation, i) for i, piece in enumerate(conversation.pieces) if i >= first and piece.strip()]


def _documents(conversation: Conversation) -> list[Span]:
    first, spans = len(conversation.documents), []
    for number, piece in enumerate(conversation.pieces):
        role = "document" if number < first else conversation.messages[number - first]["role"]
        start = conversation.places[number][0]
        tagged = [trimmed(conversation.text, (start + m.start(2), start + m.end(2))) for m in _DOCUMENT.finditer(piece)]
        tagged = [(low, high) for low, high in tagged if low < high]
        if tagged:
            spans += tagged
        elif role in _BRINGS_DOCUMENTS and piece.strip():
            spans.append(_whole(conversation, number))
    return spans


def _examples(conversation: Conversation) -> list[Span]:
    """Return each turn of the user before the last one, with all that follows it up to the next."""
    first, roles = len(conversation.documents), [message["role"] for message in conversation.messages]
    starts = [number for number, role in enumerate(roles) if role == "user"]
    spans = []
    for begin, behind in itertools.pairwise(starts):
        turn = [n for n in range(begin, behind) if roles[n] not in _NOT_SAID and conversation.pieces[first + n].strip()]
        if len(turn) > 1:
            low, high = _whole(conversation, first + turn[0])[0], _whole(conversation, first + turn[-1])[1]
            spans.append((low, high))
    return spans


_ADVICE = {
    "messages": "write a content into at least one",
    "documents": "a document is the result of a tool, a message of the role document, what stands between <document> "
    "and </document>, or one of Template(arguments={'documents': [...]})",
    "examples": "an example is a question of the user with its answer, before the last question; mark others "
    "(players='marked')",
}
