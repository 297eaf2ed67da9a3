"""From messages to the prompt, in characters: where the chat template writes each of them.

1. The words of one message after another are replaced by others, as for a single text (`interact.prompt.template`), so
   that equal messages, trimmed ones and those that the template writes twice are never mistaken.
2. Messages with players must be found so; of others that the template changes or leaves out, it is told.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from interact.prompt.messages import Conversation
from interact.prompt.template import Rendered, Template, found, unknown_arguments, writer
from interact.prompt.words import Span

_TRIES = 3


@dataclass(frozen=True)
class Place:
    """Where the words of a message stand in the prompt.

    Attributes:
        start: Where they begin.
        lead: How many characters at their beginning the template took away.
        length: How many characters the template kept.
    """

    start: int
    lead: int
    length: int


@dataclass(frozen=True)
class Laid:
    """A conversation in characters.

    Attributes:
        rendered: The prompt.
        places: Where each message that was found stands, by its number.
    """

    rendered: Rendered
    places: Mapping[int, Place]

    def in_prompt(self, conversation: Conversation, spans: Collection[Span]) -> list[Span]:
        """Return where stretches of the conversation's text stand in the prompt.

        Raises:
            ValueError: The template writes them in another order.
        """
        unseen = [(a, b) for a, b in spans if not conversation.text[a:b].strip()]
        if unseen:
            raise ValueError(
                f"The span {unseen[0]} of the conversation's text is white space, which a chat template may leave out; "
                "choose spans that hold visible characters."
            )
        edges = [(self._edge(conversation, low), self._edge(conversation, high, last=True)) for low, high in spans]
        if any(a >= b for a, b in edges) or edges != sorted(edges):
            raise ValueError(
                "The chat template writes the players in another order than the messages have; list fewer, of one "
                "message or of messages that follow each other."
            )
        return edges

    def _edge(self, conversation: Conversation, char: int, *, last: bool = False) -> int:
        # The last character of a stretch lies in it, the first behind it does not.
        inner = char - 1 if last else char
        number = next(n for n, (low, high) in enumerate(conversation.places) if low <= inner < high)
        place = self.places[number]
        inside = char - conversation.places[number][0] - place.lead
        return place.start + min(max(inside, 0), place.length)


def render_messages(tokenizer: Any, conversation: Conversation, template: Template, holding: Collection[int]) -> Laid:
    """Write the prompt of a conversation.

    Args:
        tokenizer: A tokenizer with a chat template.
        conversation: The messages.
        template: Which chat template, what other arguments it gets, and what the model has said already.
        holding: The numbers of the pieces with players, which must be found.

    Raises:
        ValueError: There is no chat template, it fails on these messages, or it changes one with players.
    """
    _check_template(tokenizer, template)
    for _ in range(_TRIES):
        places, changed, prompts = {}, {}, []
        for number, piece in enumerate(conversation.pieces):
            if not piece.strip():
                continue
            try:
                prompt, place = _one(tokenizer, conversation, template, number)
            except ValueError as error:
                if number in holding:
                    raise ValueError(f"Of {conversation.name(number)}: {error}") from error
                changed[number] = error
                continue
            prompts.append(prompt)
            places[number] = place
        if not prompts:
            raise next(iter(changed.values()))
        # A clock may run on between two renderings, but its digits stay as many.
        if len({len(prompt) for prompt in prompts}) == 1:
            break
    else:
        raise ValueError(
            "The chat template writes these messages differently each time; use text= with "
            "Template(chat=False) and write the whole prompt yourself."
        )
    spans = [(place.start, place.start + place.length) for _, place in sorted(places.items())]
    notes = (*unknown_arguments(tokenizer, template), *(_changed(conversation, number) for number in changed))
    # What stands behind the last message is the template's own.
    last = max(spans)
    others = tuple(sorted(span for span in spans if span != last))
    rendered = Rendered(prompts[0] + template.answer_prefix, last[0], last, True, notes, others)
    return Laid(rendered, places)


def _one(tokenizer: Any, conversation: Conversation, template: Template, number: int) -> tuple[str, Place]:
    def asked(content: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        other = conversation.with_piece(number, content)
        arguments = {"documents": [dict(one) for one in other.documents]} if other.documents else {}
        return [dict(message) for message in other.messages], arguments

    piece = conversation.pieces[number]
    prompt, low, shown = found(writer(tokenizer, template, asked), piece)
    lead = 0 if shown[:1].isspace() else len(piece) - len(piece.lstrip())
    return prompt, Place(low, lead, len(shown))


def _check_template(tokenizer: Any, template: Template) -> None:
    if template.user != Template().user or template.system is not None:
        raise ValueError(
            "With messages=, a template holds no user or system message, since the messages do; keep its chat, "
            "arguments and answer_prefix."
        )
    if template.chat is False or not getattr(tokenizer, "chat_template", None):
        why = "Template(chat=False) uses none" if template.chat is False else "the tokenizer has none"
        raise ValueError(
            f"Messages need a chat template, and {why}; load the tokenizer of a chat model, or write one text (text=)."
        )


def _changed(conversation: Conversation, number: int) -> str:
    return (
        f"The chat template does not write {conversation.name(number)} as it stands and once, so the model sees "
        "something else, nothing of it, or more than one copy."
    )
