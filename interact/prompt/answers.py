"""The tokens of an answer behind its prompt, as a model sees both."""

from __future__ import annotations

import unicodedata
from typing import Any

import regex

from interact.prompt.encoding import encode
from interact.prompt.template import Rendered
from interact.prompt.words import unspaced

# Behind a letter, a number or the end of a clause; not behind a line break, an opening bracket or a chat marker.
_BEFORE_A_SPACE = regex.compile(r"[\p{L}\p{M}\p{N}\p{Terminal_Punctuation}\p{Pe}\p{Pf}%…]\Z", regex.V1)
_LAST_LETTER = regex.compile(r"\p{L}(?=[^\p{L}]*\Z)", regex.V1)


def answer_ids(tokenizer: Any, answer: str, rendered: Rendered, ids: list[int]) -> tuple[int, ...]:
    """Tokenise an answer behind its prompt.

    Args:
        tokenizer: The tokenizer.
        answer: The answer; a space goes before it where the script of prompt and answer has one.
        rendered: The prompt.
        ids: Its token ids.

    Raises:
        ValueError: No answer can follow the prompt, or the two share a token.
    """
    prompt = rendered.prompt
    full = encode(tokenizer, rendered.followed_by(spaced(prompt, answer))).ids
    found = tuple(full[len(ids) :])
    last = ids[-1] if ids else None
    if last in tokenizer.all_special_ids and not prompt.endswith(tokenizer.convert_ids_to_tokens(last)):
        raise ValueError(
            "The tokenizer ends every text with a special token, so no answer can follow the prompt; pass the target's "
            "token ids, or a label for a classifier."
        )
    if full[: len(ids)] != ids or not found:
        raise ValueError(
            f"The target {answer!r} merges with the end of the prompt into one token; end the template differently "
            "or pass the target's token ids."
        )
    return found


def spaced(prompt: str, answer: str) -> str:
    """Return the answer with a space before it, where one is written between the two.

    >>> spaced("This review is", "positive"), spaced("这条评论是", "正面"), spaced("이 리뷰는", "긍정적")
    (' positive', '正面', ' 긍정적')
    """
    if answer[0].isspace() or not _BEFORE_A_SPACE.search(prompt):
        return answer
    letter = _LAST_LETTER.search(prompt)
    without = _wide(prompt[-1]) or _wide(answer[0]) or unspaced(answer[0]) or (letter and unspaced(letter[0]))
    return answer if without else f" {answer}"


def _wide(sign: str) -> bool:
    """Say whether a sign is punctuation of Chinese and Japanese, which brings its own room."""
    return unicodedata.east_asian_width(sign) in "WF" and unicodedata.category(sign)[0] == "P"
