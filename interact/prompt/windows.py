"""Windows of a text that is longer than a model's context, cut where sentences end."""

from __future__ import annotations

from typing import Any

from interact.prompt.encoding import encode
from interact.prompt.sentences import sentence_spans
from interact.prompt.template import Template, render


def cut(tokenizer: Any, text: str, most: int, template: Template | None = None) -> list[str]:
    """Cut a text into stretches of whole sentences whose prompts have at most so many tokens.

    Args:
        tokenizer: A fast Hugging Face tokenizer.
        text: The text; the windows together hold all of it, except for white space between them.
        most: Tokens of a prompt, with what the template adds.
        template: What surrounds each window.

    Raises:
        ValueError: A sentence alone is longer than that.

    >>> cut(tokenizer, "One sentence. And another.", 12)  # doctest: +SKIP
    """
    spans = sentence_spans(text)
    if not spans:
        raise ValueError("The text is empty, so there is nothing to cut into windows.")
    ends = [*(low for low, _ in spans[1:]), len(text)]
    windows, first = [], 0
    while first < len(spans):
        # The longest window that fits: more sentences are never fewer tokens.
        low, high = first, len(spans)
        while high - low > 0:
            middle = (low + high + 1) // 2
            if _tokens(tokenizer, text[spans[first][0] : ends[middle - 1]].rstrip(), template) <= most:
                low = middle
            else:
                high = middle - 1
        if low == first:
            sentence = text[spans[first][0] : spans[first][1]]
            raise ValueError(
                f"The sentence {sentence[:40]!r} alone makes a prompt of {_tokens(tokenizer, sentence, template)} "
                f"tokens, more than {most}; cut it yourself, or choose a model with a longer context."
            )
        windows.append(text[spans[first][0] : ends[low - 1]].rstrip())
        first = low
    return windows


def _tokens(tokenizer: Any, text: str, template: Template | None) -> int:
    return len(encode(tokenizer, render(tokenizer, text, template or Template())).ids)
