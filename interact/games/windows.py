"""A text that is longer than a model's context, in windows that are not."""

from __future__ import annotations

from typing import Any

from interact.models.family import inspect_model, opened
from interact.prompt.template import Template
from interact.prompt.windows import cut


def windows(
    model: Any, tokenizer: Any, text: str, *, template: Template | str | None = None, answer_tokens: int = 16
) -> list[str]:
    """Cut a text where sentences end, so that the prompt of each window fits into the model's context.

    Nothing is left out and nothing overlaps: each window is a text of its own, to be explained by itself. What stands
    in different windows cannot interact.

    Args:
        model: A Hugging Face causal language model or sequence classifier.
        tokenizer: Its fast tokenizer.
        text: The text.
        template: What surrounds each window, see `interact.Template`.
        answer_tokens: Tokens of the context that are left for the answer.

    Returns:
        The windows in text order; one where the text fits.

    Raises:
        ValueError: A sentence alone is longer than the context.

    >>> results = [interact.extract(model, tokenizer, w) for w in windows(model, tokenizer, text)]  # doctest: +SKIP
    """
    context = inspect_model(opened(model)).context
    if context is None:
        return [text]
    wanted = template if isinstance(template, Template) or template is None else Template(user=template)
    return cut(tokenizer, text, context - answer_tokens, wanted)
