"""A prompt as people write it: messages with roles, several turns, documents, few-shot examples, tool results.

What is said in them, joined, is the text of a result; players are stretches of it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from interact.prompt.words import Span

Messages = Sequence[Mapping[str, Any]]
GAP = "\n\n"
"""What stands between two messages in the text of a result."""
_WORDS_OF_A_DOCUMENT = ("text", "content", "contents")


@dataclass(frozen=True)
class Conversation:
    """Messages that are asked together.

    Attributes:
        messages: Each with its role, its content as one string, and whatever else the chat template reads.
        documents: What the chat template gets as ``documents``, where they are players.
    """

    messages: tuple[Mapping[str, Any], ...]
    documents: tuple[Mapping[str, Any], ...] = ()

    @cached_property
    def pieces(self) -> tuple[str, ...]:
        """What is said: the documents' texts, then the messages' contents; empty where a message only calls a tool."""
        documents = [document[_words_of(document)] for document in self.documents]
        return (*documents, *(message.get("content") or "" for message in self.messages))

    @cached_property
    def places(self) -> tuple[Span, ...]:
        """The characters of each piece in `text`."""
        ends = itertools.accumulate(len(piece) + (len(GAP) if piece else 0) for piece in self.pieces)
        starts = [0, *ends]
        return tuple((start, start + len(piece)) for start, piece in zip(starts, self.pieces, strict=False))

    @cached_property
    def text(self) -> str:
        """All pieces, with a blank line between two."""
        return GAP.join(piece for piece in self.pieces if piece)

    def name(self, piece: int) -> str:
        """Name a piece in a sentence."""
        number = piece - len(self.documents)
        return f"document {piece}" if number < 0 else f"message {number} ({self.messages[number].get('role')})"

    def with_piece(self, piece: int, content: str) -> Conversation:
        """Return the conversation with other words in one place."""
        number = piece - len(self.documents)
        if number >= 0:
            changed = {**self.messages[number], "content": content}
            return replace(self, messages=(*self.messages[:number], changed, *self.messages[number + 1 :]))
        document = self.documents[piece]
        changed = {**document, _words_of(document): content}
        return replace(self, documents=(*self.documents[:piece], changed, *self.documents[piece + 1 :]))

    def with_documents(self, documents: Any) -> Conversation:
        """Return the conversation with the documents that the chat template gets.

        Raises:
            ValueError: They are not a list of mappings with a text each.
        """
        whole = isinstance(documents, Sequence) and not isinstance(documents, str)
        if not whole or not all(isinstance(one, Mapping) and _words_of(one) for one in documents):
            raise ValueError(
                "Documents that are players must be a list such as [{'title': 'A', 'text': 'words'}], but are "
                f"{documents!r:.80}."
            )
        return replace(self, documents=tuple(documents))


def conversation_of(messages: Any) -> Conversation:
    """Check messages, and join the parts of their contents.

    Raises:
        ValueError: There are none, one has no role or no words, one holds a picture or a sound, or the last is the
            model's own.

    >>> conversation_of([{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]).text
    'Hello'
    """
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        raise ValueError(
            "messages must be a list such as [{'role': 'user', 'content': 'words'}], but are " + f"{messages!r:.80}."
        )
    found = []
    for number, message in enumerate(messages):
        role = message.get("role") if isinstance(message, Mapping) else None
        if not isinstance(message, Mapping) or not isinstance(role, str) or not role:
            raise ValueError(
                f"Message {number} must be a mapping with a role and a content, but is {message!r:.80}. Roles are "
                "those that the chat template knows, such as system, user, assistant and tool."
            )
        content = _joined(message.get("content"), number)
        if not content.strip() and not any(key not in ("role", "content") for key in message):
            raise ValueError(f"Message {number} ({role}) is empty; write its content, or leave it out.")
        found.append({**message, "content": content if content or message.get("content") is not None else None})
    if found[-1]["role"] == "assistant":
        raise ValueError(
            "The last message is the assistant's, and the answer is what is scored: pass its words as target=, or as "
            "what the model has said already: template=Template(answer_prefix=...)."
        )
    return Conversation(tuple(found))


def asked_text(text: str | Conversation | None, messages: Any) -> str | Conversation:
    """Return what is asked: a text, or messages instead.

    Raises:
        ValueError: There is neither, or both, or the messages are wrong.
    """
    if (text is None) == (messages is None):
        given = "neither" if text is None else "both"
        raise ValueError(f"A prompt is a text or messages, but {given} were given; pass one of them.")
    return text if text is not None else conversation_of(messages)


def as_json(conversation: Conversation) -> list[dict[str, Any]]:
    """Return the messages as JSON holds them, for the record."""
    return json.loads(json.dumps([dict(message) for message in conversation.messages], default=str))


def _joined(content: Any, number: int) -> str:
    """Return a message's text; of a list of parts, the texts joined."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, Sequence):
        raise ValueError(f"The content of message {number} must be text, but is a {type(content).__name__}.")
    texts = []
    for part in content:
        text = part.get("text") if isinstance(part, Mapping) else part
        kind = part.get("type", "text") if isinstance(part, Mapping) else "text"
        if not isinstance(text, str) or kind not in ("text", "input_text", "output_text"):
            shown = kind if isinstance(part, Mapping) else type(part).__name__
            raise ValueError(
                f"Message {number} has a part of the kind {shown!r}, but interact explains text only; leave the part "
                "out, or say in words what it shows."
            )
        texts.append(text)
    return "".join(texts)


def _words_of(document: Mapping[str, Any]) -> str:
    """Return under which key a document has its words; empty where it has none."""
    return next((k for k in _WORDS_OF_A_DOCUMENT if isinstance(document.get(k), str) and document[k].strip()), "")
