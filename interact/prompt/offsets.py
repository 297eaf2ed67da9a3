"""The characters of tokens, where a tokenizer says that a token of letters has none.

Some tokenizers lose the first letter behind a control token when they put a space before it, and some tell of each
token only where it begins. A player whose tokens have no characters would keep them when it is absent.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from interact.prompt.words import Span


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
    found = list(offsets)
    for i in empty:
        start, said = found[i][0], tokenizer.decode([ids[i]]).strip().casefold()
        later = zip(offsets[i + 1 :], ids[i + 1 :], strict=True)
        after = next((a for (a, b), one in later if one not in controls or a < b), len(prompt))
        before = max((b for a, b in found[:i] if a < b), default=0)
        # What a tokenizer puts round a text, or before a word, is not written there.
        spans = ((start, after), (before, start))
        found[i] = next((s for s in spans if said and prompt[s[0] : s[1]].strip().casefold() == said), found[i])
    return found
