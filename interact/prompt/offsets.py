"""The characters of tokens, where a tokenizer says that a token of letters has none.

Some tokenizers lose the first letter behind a control token when they put a space before it, and some tell of each
token only where it begins. A player whose tokens have no characters would keep them when it is absent.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from interact.prompt.words import Span

_MARKS_OF_A_SPACE = "▁Ġ "


def with_characters(
    tokenizer: Any, prompt: str, ids: Sequence[int], offsets: Sequence[Span], controls: Collection[int]
) -> list[Span]:
    """Return the offsets, tokens of letters without characters having those between their neighbours.

    Args:
        tokenizer: The tokenizer.
        prompt: The prompt.
        ids: Its token ids.
        offsets: (start, end) characters of each token.
        controls: Ids of control tokens, which may have none.
    """
    empty = [i for i, (a, b) in enumerate(offsets) if a == b and ids[i] not in controls]
    if not empty:
        return list(offsets)
    written = dict(zip(empty, tokenizer.convert_ids_to_tokens([ids[i] for i in empty]), strict=True))
    found = list(offsets)
    for i in empty:
        if not written[i].strip(_MARKS_OF_A_SPACE):
            continue
        start = found[i][0]
        # What the tokenizer puts behind the text has no place in it.
        later = zip(offsets[i + 1 :], ids[i + 1 :], strict=True)
        after = next((a for (a, b), one in later if one not in controls or a < b), len(prompt))
        before = max((b for a, b in found[:i] if a < b), default=0)
        if after > start:
            found[i] = (start, after)
        elif before < start:
            found[i] = (before, start)
    return found
