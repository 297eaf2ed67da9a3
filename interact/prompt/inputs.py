"""From a text to what a model is asked: prompt, players as token spans, target tokens.

1. The template wraps the user's text; a chat template wraps that (`interact.prompt.template`). Only the user's text
   holds players.
2. The whole prompt is tokenised once (`interact.prompt.encoding`), and the tokenizer's offsets tell which tokens belong
   to which player.
3. The target is tokenised in context (`interact.prompt.answers`), so that a leading space or a merge at the border is
   what the model sees.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from operator import index
from typing import Any

from interact.prompt.answers import answer_ids
from interact.prompt.conversation import render_messages
from interact.prompt.encoding import encode
from interact.prompt.message_players import choose_in_messages
from interact.prompt.messages import Conversation, Messages, asked_text
from interact.prompt.players import (
    LIMIT,
    Player,
    PlayerChoice,
    Players,
    Span,
    choice_notes,
    choose_spans,
    map_to_tokens,
)
from interact.prompt.template import HERE, Rendered, Template, open_thought, render

__all__ = ["CoalitionInputs", "Template", "encode_answer", "prepare"]


@dataclass(frozen=True)
class CoalitionInputs:
    """One prompt, ready for `coalition_values`.

    Attributes:
        input_ids: Token ids of the whole prompt (without the target).
        spans: (start, end) token range of each player, in text order, disjoint.
        target_ids: Ids of the answer's tokens to score; None takes what the model predicts for the unmasked prompt.
            For a classifier, the index of the label.
        players: The players in words (empty when made from raw ids).
        text: The user's text.
        special_ids: Ids of the tokenizer's ``unk``, ``pad`` and ``eos`` tokens, where it has them.
        placeholder_ids: Ids that replace a player under ``masking="text"``.
        notes: What had to be decided, and what the model sees otherwise than it was written, in sentences.
        type_ids: Token types of the prompt, where the tokenizer gives any: 0 for the first of two texts, 1 for the
            second.
    """

    input_ids: Sequence[int]
    spans: Sequence[Span]
    target_ids: Sequence[int] | None = None
    players: tuple[Player, ...] = ()
    text: str = ""
    special_ids: Mapping[str, int] = field(default_factory=dict)
    placeholder_ids: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    type_ids: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_ids", _whole_numbers("input_ids", self.input_ids))
        try:
            spans = tuple((index(low), index(high)) for low, high in self.spans)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"spans must be (start, end) pairs of whole numbers, but are {self.spans!r:.80}."
            ) from error
        object.__setattr__(self, "spans", spans)
        if self.target_ids is not None:
            object.__setattr__(self, "target_ids", _whole_numbers("target_ids", self.target_ids))
            if not self.target_ids:
                raise ValueError("target_ids is empty; give at least one token id, or None for the prediction.")
        if not self.input_ids:
            raise ValueError("input_ids is empty; a prompt needs at least one token.")
        if self.type_ids is not None and len(self.type_ids) != len(self.input_ids):
            raise ValueError(
                f"There are {len(self.type_ids)} type_ids for {len(self.input_ids)} tokens; give one each."
            )
        last = 0
        for low, high in self.spans:
            if not last <= low < high <= len(self.input_ids):
                raise ValueError(
                    f"The token span ({low}, {high}) is empty, overlaps the one before, or lies outside the "
                    f"{len(self.input_ids)} tokens; give (start, end) ranges in text order."
                )
            last = high

    @property
    def n(self) -> int:
        """Number of players."""
        return len(self.spans)


def _whole_numbers(name: str, given: Any) -> tuple[int, ...]:
    """Return token ids as integers, whatever holds them."""
    try:
        return tuple(index(one) for one in given)
    except TypeError as error:
        raise ValueError(f"{name} must be a flat list of whole numbers, but is {given!r:.80}.") from error


def prepare(
    tokenizer: Any,
    text: str | Conversation | None = None,
    *,
    messages: Messages | None = None,
    players: Players = None,
    target: str | int | Sequence[int] | None = None,
    template: Template | str | None = None,
    target_tokens: int | str | None = None,
    most_players: int = LIMIT,
    fixed: Callable[[Rendered], Rendered] | None = None,
) -> CoalitionInputs:
    """Turn a text into `CoalitionInputs`.

    Args:
        tokenizer: A fast Hugging Face tokenizer (it must report offsets).
        text: The user's text; the only part of the prompt that holds players.
        messages: Instead of a text: what was said, each with a role and a content, as `apply_chat_template` takes
            it. Any of them may hold players.
        players: See `interact.prompt.players.choose_spans`; of messages `interact.prompt.message_players`.
        target: The answer to score: text, a token id, several ids, or None for the model's own prediction.
        template: What surrounds the text; a string is a `Template` with this user message.
        target_tokens: How many tokens of a target text to score, or ``"all"``; None demands that it be one token. The
            paper scores the first token of the response (1).
        most_players: Most players allowed; more than 20 only serve sampled coalitions.
        fixed: From the prompt as it is written now to the one to take, such as that of an earlier step.

    Raises:
        ValueError: Bad text, players, template or target; the sentence says which and what to do.

    >>> inputs = prepare(tokenizer, "a gorgeous, witty movie", target="positive")  # doctest: +SKIP
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(
            f"{type(tokenizer).__name__} reports no character offsets; load a fast tokenizer, "
            "such as transformers.PreTrainedTokenizerFast.from_pretrained(FOLDER), where that has a tokenizer.json."
        )
    if not isinstance(template, (Template, str, type(None))):
        raise ValueError(f"The template must be a string with {HERE} in it or a Template, but is {template!r:.60}.")
    wanted = template if isinstance(template, Template) else Template(user=template if template is not None else HERE)
    said = _said(tokenizer, asked_text(text, messages), players, most_players, wanted, fixed)
    rendered = said.rendered
    encoded = encode(tokenizer, rendered)
    found, shared = map_to_tokens(said.text, said.spans, said.places, encoded.offsets)
    notes = [*said.notes, *rendered.notes, *encoded.notes, *shared]
    if target is not None and (sign := open_thought(rendered)):
        notes.append(_inside_a_thought(sign))
    for note in notes:
        warnings.warn(note, stacklevel=2)
    names = {"unk": tokenizer.unk_token_id, "pad": tokenizer.pad_token_id, "eos": tokenizer.eos_token_id}
    placeholder = tokenizer.mask_token or tokenizer.unk_token or "[UNK]"
    return CoalitionInputs(
        input_ids=encoded.ids,
        spans=[p.tokens for p in found],
        target_ids=_target_ids(tokenizer, target, target_tokens, rendered, encoded.ids),
        players=tuple(found),
        text=said.text,
        special_ids={name: int(i) for name, i in names.items() if i is not None},
        placeholder_ids=tuple(tokenizer(placeholder, add_special_tokens=False)["input_ids"]),
        notes=tuple(notes),
        type_ids=encoded.types,
    )


@dataclass(frozen=True)
class _Said:
    """What is asked, in characters: the text, the players in it and in the prompt, and what was decided."""

    text: str
    spans: list[Span]
    places: list[Span]
    rendered: Rendered
    notes: list[str]


def _said(
    tokenizer: Any,
    asked: str | Conversation,
    players: Players,
    most: int,
    template: Template,
    fixed: Callable[[Rendered], Rendered] | None,
) -> _Said:
    if isinstance(asked, Conversation):
        documents = template.arguments.get("documents") if _unit(players) == "documents" else None
        asked = asked if documents is None else asked.with_documents(documents)
        conversation, spans = choose_in_messages(asked, players, most)
        pieces = [n for n, (a, b) in enumerate(conversation.places) if any(a < high and low < b for low, high in spans)]
        laid = render_messages(tokenizer, conversation, template, pieces)
        where = "".join(conversation.pieces[number] for number in pieces)
        places = laid.in_prompt(conversation, spans)
        return _Said(conversation.text, spans, places, laid.rendered, choice_notes(where, players))
    text, spans = choose_spans(asked, players, most)
    rendered = render(tokenizer, text, template)
    rendered = rendered if fixed is None else fixed(rendered)
    places = [(rendered.start + low, rendered.start + high) for low, high in spans]
    return _Said(text, spans, places, rendered, choice_notes(asked, players))


def _unit(players: Players) -> Any:
    return players.unit if isinstance(players, PlayerChoice) else players


def encode_answer(
    tokenizer: Any,
    text: str,
    answer: str,
    template: Template | None = None,
    *,
    fixed: Callable[[Rendered], Rendered] | None = None,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Tokenise a prompt and a whole answer to it, as training sees them.

    The answer's first tokens are the `target_ids` that `prepare` gives for the same text, answer and template.

    Args:
        tokenizer: A fast Hugging Face tokenizer.
        text: The user's text.
        answer: The whole answer.
        template: What surrounds the text.
        fixed: See `prepare`.

    Returns:
        Token ids of the prompt, and those of the answer.

    Raises:
        ValueError: The answer is empty, or cannot be told from the prompt in tokens.

    >>> prompt, answer = encode_answer(tokenizer, "a witty movie", "positive")  # doctest: +SKIP
    """
    if not answer.strip():
        raise ValueError(f"The answer to {text[:60]!r} is empty; every example needs a response.")
    rendered = render(tokenizer, text, template or Template())
    rendered = rendered if fixed is None else fixed(rendered)
    encoded = encode(tokenizer, rendered)
    sign = open_thought(rendered.followed_by(answer))
    for note in (*rendered.notes, *encoded.notes, *([_inside_a_thought(sign)] if sign else ())):
        warnings.warn(note, stacklevel=2)
    return tuple(encoded.ids), answer_ids(tokenizer, answer, rendered, encoded.ids)


def _inside_a_thought(sign: str) -> str:
    return (
        f"The prompt ends inside a thought ({sign!r}), so the answer is scored as the beginning of the thought; "
        "close it (Template(answer_prefix=...)), or tell the chat template to open none (Template(arguments="
        "{'enable_thinking': False}), if it has such an argument)."
    )


def token_ids(target: Any) -> tuple[int, ...]:
    """Return the ids of a target that is no text: one or several whole numbers, of Python, NumPy or torch.

    Raises:
        ValueError: It is something else.
    """
    try:
        return (_index(target),) if is_number(target) else tuple(map(_index, _listed(target)))
    except TypeError as error:
        raise ValueError(
            f"The target must be text, a number (a token id or a label) or a list of numbers, but is {target!r:.60}."
        ) from error


def is_number(value: Any) -> bool:
    """Say whether a value is one whole number, of Python, NumPy or torch; an array of one element is several."""
    return hasattr(value, "__index__") and not getattr(value, "ndim", 0)


def _index(value: Any) -> int:
    if isinstance(value, bool) or "bool" in str(getattr(value, "dtype", "")):
        raise TypeError
    return index(value)


def _listed(values: Any) -> Any:
    if getattr(values, "ndim", 0) == 1 or (isinstance(values, Sequence) and not isinstance(values, (bytes, bytearray))):
        return values
    raise TypeError


def _target_ids(
    tokenizer: Any,
    target: str | int | Sequence[int] | None,
    wanted: int | str | None,
    rendered: Rendered,
    ids: list[int],
) -> tuple[int, ...] | None:
    if target is None:
        return None
    if not (wanted in (None, "all") or (isinstance(wanted, Integral) and not isinstance(wanted, bool))):
        raise ValueError(f"target_tokens must be a number of tokens, 'all' or None, but is {wanted!r:.60}.")
    if not isinstance(target, str):
        given = token_ids(target)
        outside = [i for i in given if not 0 <= i < len(tokenizer)]
        if outside:
            raise ValueError(
                f"The target ids {outside} are not in the vocabulary of {len(tokenizer)} tokens; choose others."
            )
        if wanted in (None, "all"):
            return given
        if isinstance(wanted, str) or not 1 <= wanted <= len(given):
            raise ValueError(
                f"target_tokens={wanted!r} was requested, but {len(given)} token ids were given; leave target_tokens "
                "out."
            )
        return given[:wanted]
    if not target.strip():
        raise ValueError("The target is empty; name the answer's first word, or pass None for the model's prediction.")
    answer = answer_ids(tokenizer, target, rendered, ids)
    if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in answer:
        raise ValueError(f"The target {target!r} is not in the vocabulary; choose a word that the tokenizer knows.")
    if wanted is None and len(answer) > 1:
        pieces = tokenizer.convert_ids_to_tokens(list(answer))
        raise ValueError(
            f"The target {target!r} is {len(answer)} tokens {pieces}, so there are several candidates to score; "
            f"pass target_tokens=1 for the first (as the paper does) or target_tokens={len(answer)} for all."
        )
    if wanted == "all":
        return answer
    if isinstance(wanted, str) or (wanted is not None and not 1 <= wanted <= len(answer)):
        raise ValueError(
            f"target_tokens={wanted!r} was requested, but {target!r} has {len(answer)} tokens; ask for at most so many."
        )
    return answer[:wanted]
