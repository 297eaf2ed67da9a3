"""From a prompt in characters to token ids, with the tokenizer's offsets and token types.

1. The whole prompt is tokenised once.
2. A control token that the user typed is read as plain text: the piece between the control tokens around it is
   tokenised without them.
3. Of a pair of texts with the separator written between them, the token types are those of the pair.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from interact.prompt.offsets import with_characters
from interact.prompt.template import Rendered

Span = tuple[int, int]

# Listing them takes milliseconds for tokenizers with thousands, and a training asks at each row.
_known: weakref.WeakKeyDictionary[Any, tuple[int, dict[int, str]]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Encoded:
    """A prompt in tokens.

    Attributes:
        ids: Token ids.
        offsets: (start, end) characters of each token in the prompt.
        types: Token types, where the tokenizer gives any.
        notes: What the model sees otherwise than it was written.
    """

    ids: list[int]
    offsets: list[Span]
    types: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()


def encode(tokenizer: Any, rendered: Rendered) -> Encoded:
    """Tokenise a prompt.

    >>> encode(tokenizer, render(tokenizer, "a witty movie", Template())).ids  # doctest: +SKIP
    """
    known = tokenizer(rendered.prompt, return_offsets_mapping=True, add_special_tokens=not rendered.chat)
    ids, offsets = list(known["input_ids"]), [(int(a), int(b)) for a, b in known["offset_mapping"]]
    controls = _controls(tokenizer)
    offsets = with_characters(tokenizer, rendered.prompt, ids, offsets, controls)
    notes: list[str] = []
    types = known.get("token_type_ids")
    if typed := _typed(tokenizer, rendered, ids, offsets, controls):
        plain = _as_text(tokenizer, rendered, ids, offsets, controls)
        left = typed if plain is None else _typed(tokenizer, rendered, *plain, controls)
        if plain is not None and len(left) < len(typed):
            ids, offsets = plain
            types = None if types is None else [0] * len(ids)
            notes.append(
                f"The text holds {_listed(typed)}, which the tokenizer reads as a control token; here it is read as "
                "plain text, so that no text ends its turn. Control tokens belong in the template."
            )
        if left:
            notes.append(
                f"The text holds {_listed(left)}, and this tokenizer has no other way to read it than as a control "
                "token, so the model sees one there; write it differently if you mean plain text."
            )
    if types is not None:
        types, told = _pair_types(tokenizer, rendered.prompt, ids, offsets, list(types))
        notes += told
    return Encoded(ids, offsets, None if types is None else tuple(types), tuple(notes))


def _controls(tokenizer: Any) -> dict[int, str]:
    """Return the special tokens of a tokenizer, by id."""
    size, found = _known.get(tokenizer, (-1, {}))
    if size != len(tokenizer):
        found = {i: token.content for i, token in tokenizer.added_tokens_decoder.items() if token.special}
        _known[tokenizer] = len(tokenizer), found
    return found


def _listed(tokens: Sequence[str]) -> str:
    return ", ".join(map(repr, dict.fromkeys(tokens)))


def _typed(
    tokenizer: Any, rendered: Rendered, ids: Sequence[int], offsets: Sequence[Span], controls: dict[int, str]
) -> list[str]:
    """Return the control tokens that stand in what the user wrote."""
    found = []
    for i, (a, b) in zip(ids, offsets, strict=True):
        if not (a < b and i in controls and any(low <= a < high for low, high in _written(rendered))):
            continue
        written = rendered.prompt[a:b].strip()
        # A word that is not known is [UNK] too, but is not written so.
        if i != tokenizer.unk_token_id or written.lower() == controls[i].lower():
            found.append(controls[i])
    return found


def _written(rendered: Rendered) -> list[Span]:
    return sorted((*rendered.others, rendered.content))


def _as_text(
    tokenizer: Any, rendered: Rendered, ids: Sequence[int], offsets: Sequence[Span], controls: dict[int, str]
) -> tuple[list[int], list[Span]] | None:
    """Return ids and offsets with no control token in what the user wrote; None where pieces do not make the whole."""
    prompt = rendered.prompt
    control = [(a, b) for i, (a, b) in zip(ids, offsets, strict=True) if a < b and i in controls]
    # The prompt in stretches: what the user wrote, up to the control tokens around it, and what lies between.
    stretches: list[tuple[int, int, bool]] = []
    for low, high in _written(rendered):
        first = max((b for _, b in control if b <= low), default=0)
        last = min((a for a, _ in control if a >= high), default=len(prompt))
        end = stretches[-1][1] if stretches else 0
        if stretches and first < end:
            # No control token parts it from the one before.
            stretches[-1] = (stretches[-1][0], max(end, last), True)
        else:
            stretches += [(end, first, False), (first, last, True)]
    stretches.append((stretches[-1][1], len(prompt), False))
    # What the tokenizer puts round every text has no characters.
    lead = next((k for k, (a, b) in enumerate(offsets) if a < b), len(ids))
    trail = next((k for k, (a, b) in enumerate(reversed(offsets)) if a < b), 0)
    ends = (list(ids[:lead]), list(ids[len(ids) - trail :]))

    def pieced(plain: bool) -> tuple[list[int], list[Span]]:
        found, places = list(ends[0]), [(0, 0)] * lead
        for start, end, said in stretches:
            piece = tokenizer(
                prompt[start:end],
                add_special_tokens=False,
                return_offsets_mapping=True,
                # Not a setting of the tokenizer, which keeps what it is told.
                split_special_tokens=said and plain,
            )
            found += piece["input_ids"]
            inside = with_characters(
                tokenizer, prompt[start:end], piece["input_ids"], piece["offset_mapping"], controls
            )
            places += [(a + start, b + start) for a, b in inside]
        return found + ends[1], places + [(0, 0)] * trail

    return pieced(True) if pieced(False)[0] == list(ids) else None


def _pair_types(
    tokenizer: Any, prompt: str, ids: list[int], offsets: Sequence[Span], types: list[int]
) -> tuple[list[int], list[str]]:
    """Return the token types of a pair whose separator is written out, and what is to be told."""
    between = [(a, b) for i, (a, b) in zip(ids, offsets, strict=True) if a < b and i == tokenizer.sep_token_id]
    if tokenizer.sep_token_id is None or not between:
        return types, []
    # RoBERTa and its kin write two separators.
    first, second = prompt[: between[0][0]], prompt[between[-1][1] :]
    for one, two in ((first, second), (first.strip(), second.strip())):
        pair = tokenizer(one, two)
        if list(pair["input_ids"]) == ids:
            return list(pair["token_type_ids"]), []
    if not any(tokenizer("a", "a")["token_type_ids"]):
        return types, []
    return types, [
        f"The prompt holds {tokenizer.sep_token!r} {len(between)} times, and the tokenizer makes no pair of texts of "
        "the same tokens, so all of them have the token type of one text; a model of pairs may expect others."
    ]
