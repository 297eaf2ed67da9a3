"""From a text to what a model is asked: prompt, players as token spans, target tokens.

1. The template wraps the user's text; a chat template wraps that. Only the user's text holds players.
2. The whole prompt is tokenised once, and the tokenizer's offsets tell which tokens belong to which player.
3. The target is tokenised in context, so that a leading space or a merge at the border is what the model sees.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import index
from typing import Any

from jinja2 import TemplateError

from interact.prompt.players import LIMIT, Player, Players, Span, choose_spans, map_to_tokens

_HERE = "{text}"
_BEFORE_A_SPACE = ".,:;!?)]}%…”’"


@dataclass(frozen=True)
class Template:
    """What stands around the user's text.

    Attributes:
        user: The user's message with ``{text}`` once in it.
        system: System message for models with a chat template, None for the template's own default.
        answer_prefix: What the model is made to have said already before the target, such as ``"Sentiment:"``.
        chat: Whether to use the tokenizer's chat template; None uses it when there is one.
    """

    user: str = _HERE
    system: str | None = None
    answer_prefix: str = ""
    chat: bool | None = None

    def __post_init__(self) -> None:
        if self.user.count(_HERE) != 1:
            raise ValueError(f"The template must hold {_HERE} exactly once, but is {self.user!r}.")


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
        notes: What the mapping to tokens had to decide, in sentences.
    """

    input_ids: Sequence[int]
    spans: Sequence[Span]
    target_ids: Sequence[int] | None = None
    players: tuple[Player, ...] = ()
    text: str = ""
    special_ids: Mapping[str, int] = field(default_factory=dict)
    placeholder_ids: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

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
    text: str,
    *,
    players: Players = None,
    target: str | int | Sequence[int] | None = None,
    template: Template | str | None = None,
    target_tokens: int | None = None,
    most_players: int = LIMIT,
) -> CoalitionInputs:
    """Turn a text into `CoalitionInputs`.

    Args:
        tokenizer: A fast Hugging Face tokenizer (it must report offsets).
        text: The user's text; the only part of the prompt that holds players.
        players: See `interact.prompt.players.choose_spans`.
        target: The answer to score: text, a token id, several ids, or None for the model's own prediction.
        template: What stands around the text; a string is a `Template` with this user message.
        target_tokens: How many tokens of a target text to score; None demands that it be one token. The paper
            scores the first token of the response (1).
        most_players: Most players allowed; more than 20 only serve sampled coalitions.

    Raises:
        ValueError: Bad text, players, template or target; the sentence says which and what to do.

    >>> inputs = prepare(tokenizer, "a gorgeous, witty movie", target="positive")  # doctest: +SKIP
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(
            f"{type(tokenizer).__name__} reports no character offsets; load a fast tokenizer "
            "(AutoTokenizer.from_pretrained(..., use_fast=True))."
        )
    text, spans = choose_spans(text, players, most_players)
    if not isinstance(template, (Template, str, type(None))):
        raise ValueError(f"The template must be a string with {_HERE} in it or a Template, but is {template!r:.60}.")
    wanted = template if isinstance(template, Template) else Template(user=template if template is not None else _HERE)
    prompt, start, chat = _render(tokenizer, text, wanted)
    encoded = tokenizer(prompt, return_offsets_mapping=True, add_special_tokens=not chat)
    found, notes = map_to_tokens(text, spans, start, encoded["offset_mapping"])
    for note in notes:
        warnings.warn(note, stacklevel=2)
    ids = list(encoded["input_ids"])
    names = {"unk": tokenizer.unk_token_id, "pad": tokenizer.pad_token_id, "eos": tokenizer.eos_token_id}
    placeholder = tokenizer.mask_token or tokenizer.unk_token or "[UNK]"
    return CoalitionInputs(
        input_ids=ids,
        spans=[p.tokens for p in found],
        target_ids=_target_ids(tokenizer, target, target_tokens, prompt, ids, chat),
        players=tuple(found),
        text=text,
        special_ids={name: int(i) for name, i in names.items() if i is not None},
        placeholder_ids=tuple(tokenizer(placeholder, add_special_tokens=False)["input_ids"]),
        notes=tuple(notes),
    )


def encode_answer(
    tokenizer: Any, text: str, answer: str, template: Template | None = None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Tokenise a prompt and a whole answer to it, as training sees them.

    The answer's first tokens are the `target_ids` that `prepare` gives for the same text, answer and template.

    Args:
        tokenizer: A fast Hugging Face tokenizer.
        text: The user's text.
        answer: The whole answer.
        template: What stands around the text.

    Returns:
        Token ids of the prompt, and those of the answer.

    Raises:
        ValueError: The answer is empty, or cannot be told from the prompt in tokens.

    >>> prompt, answer = encode_answer(tokenizer, "a witty movie", "positive")  # doctest: +SKIP
    """
    if not answer.strip():
        raise ValueError(f"The answer to {text[:60]!r} is empty; every example needs a response.")
    prompt, _, chat = _render(tokenizer, text, template or Template())
    ids = list(tokenizer(prompt, add_special_tokens=not chat)["input_ids"])
    return tuple(ids), _answer_ids(tokenizer, answer, prompt, ids, chat)


def _render(tokenizer: Any, text: str, template: Template) -> tuple[str, int, bool]:
    """Return the prompt, where the text begins in it, and whether a chat template was used."""
    chat = template.chat if template.chat is not None else bool(getattr(tokenizer, "chat_template", None))
    before, after = template.user.split(_HERE)
    if not chat and template.system is not None:
        raise ValueError(
            "A system message needs a chat template, and none is used here; write it into the template's user message."
        )
    if not chat:
        return before + text + after + template.answer_prefix, len(before), False
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError("The template asks for a chat template, but the tokenizer has none; use Template(chat=False).")

    def rendered(content: str) -> str:
        messages = [{"role": "user", "content": content}]
        if template.system is not None:
            messages.insert(0, {"role": "system", "content": template.system})
        try:
            return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except TemplateError as error:
            raise ValueError(
                f"The tokenizer's chat template cannot hold these messages ({error}); use Template(chat=False), or no "
                "system message."
            ) from error

    # A mark that no text holds shows where the chat template puts the user's message.
    mark = "\u241ftext\u241f"
    prompt = rendered(before + text + after)
    start = rendered(before + mark + after).find(mark)
    lead = len(text) - len(text.lstrip())
    core = text.strip()
    if start >= 0 and prompt[start + lead :].startswith(core):
        return prompt + template.answer_prefix, start, True
    if start >= 0 and prompt[start:].startswith(core):
        return prompt + template.answer_prefix, start - lead, True
    raise ValueError(
        "The chat template changes the user's text, so its characters cannot be found in the prompt; "
        "use Template(chat=False) and write the whole prompt yourself."
    )


def _target_ids(
    tokenizer: Any,
    target: str | int | Sequence[int] | None,
    wanted: int | None,
    prompt: str,
    ids: list[int],
    chat: bool,
) -> tuple[int, ...] | None:
    if target is None:
        return None
    if isinstance(target, (bool, float)) or not isinstance(target, (str, int, Sequence)):
        raise ValueError(f"The target must be text, a token id or several, but is {target!r:.60}.")
    if not isinstance(target, str):
        given = (int(target),) if isinstance(target, int) else tuple(int(i) for i in target)
        outside = [i for i in given if not 0 <= i < len(tokenizer)]
        if outside:
            raise ValueError(f"The target ids {outside} are not in the vocabulary of {len(tokenizer)} tokens.")
        return given
    if not target.strip():
        raise ValueError("The target is empty; name the answer's first word, or pass None for the model's prediction.")
    answer = _answer_ids(tokenizer, target, prompt, ids, chat)
    if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in answer:
        raise ValueError(f"The target {target!r} is not in the vocabulary; choose a word that the tokenizer knows.")
    if wanted is None and len(answer) > 1:
        pieces = tokenizer.convert_ids_to_tokens(list(answer))
        raise ValueError(
            f"The target {target!r} is {len(answer)} tokens {pieces}, so there are several candidates to score; "
            f"pass target_tokens=1 for the first (as the paper does) or target_tokens={len(answer)} for all."
        )
    if wanted is not None and not 1 <= wanted <= len(answer):
        raise ValueError(f"target_tokens={wanted} was asked for, but {target!r} has {len(answer)} tokens.")
    return answer[:wanted]


def _answer_ids(tokenizer: Any, target: str, prompt: str, ids: list[int], chat: bool) -> tuple[int, ...]:
    """Tokenise an answer behind its prompt, as the model would see both."""
    # After a word or the end of a clause the answer starts with a space; after a line break, an opening quote or
    # bracket, or a chat marker such as <|assistant|> it does not.
    follows = bool(prompt) and (prompt[-1].isalnum() or prompt[-1] in _BEFORE_A_SPACE)
    spaced = " " + target if follows and not target[0].isspace() else target
    full = tokenizer(prompt + spaced, add_special_tokens=not chat)["input_ids"]
    answer = tuple(full[len(ids) :])
    if ids and ids[-1] in tokenizer.all_special_ids and not prompt.endswith(tokenizer.convert_ids_to_tokens(ids[-1])):
        raise ValueError(
            "The tokenizer ends every text with a special token, so no answer can follow the prompt; pass the target's "
            "token ids, or a label for a classifier."
        )
    if full[: len(ids)] != ids or not answer:
        raise ValueError(
            f"The target {target!r} merges with the end of the prompt into one token; end the template differently "
            "or pass the target's token ids."
        )
    return answer
