"""From sentences to the words inside the strongest of them: long texts in two steps.

1. A first result whose players are sentences (or paragraphs) says which of them matter.
2. The strongest are opened: their players become words, each with the stop words before it, so that the parts
   make up the whole; the other sentences stay whole. v(empty) and v(N) are those of the first result.
3. The scores of the new players are sampled and explained, with those of the first result, in which the words of a
   sentence come and go together. The terms may join words with whole sentences.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from interact.prompt.players import MOST_SAMPLED, PlayerChoice, Span, choose_spans
from interact.results import Interactions, SampledInteractions


def refine(coarse: Interactions, again: Callable[..., Interactions], *, budget: int, keep: int = 3) -> Interactions:
    """Open the strongest players of a result into their words and explain the text again.

    Args:
        coarse: A result whose players are sentences or paragraphs.
        again: What made it, to be called as ``again(players=spans, budget=budget, known=(masks, scores))``:
            `interact.extract` with everything else of the first call filled in by `functools.partial`.
        budget: Most coalitions to score for the second result, in addition to those of the first.
        keep: How many players to open.

    Returns:
        The second result; `provenance["refined"]` names the players that were opened.

    Raises:
        ValueError: There is nothing to open.

    >>> ask = functools.partial(interact.extract, model, tokenizer, text, method="sparse")  # doctest: +SKIP
    >>> fine = refine(ask(players="sentences", budget=600), ask, budget=1000)  # doctest: +SKIP
    """
    if keep < 1:
        raise ValueError(f"keep says how many players to open, at least 1, but is {keep}.")
    opened = strongest(coarse, keep)
    if not opened:
        raise ValueError("The first result has no interactions, so no player is worth opening; give it more budget.")
    parts = [word_parts(coarse.text, p.chars) if i in opened else [p.chars] for i, p in enumerate(coarse.players)]
    spans = [span for part in parts for span in part]
    known = None
    if isinstance(coarse, SampledInteractions):
        known = np.repeat(coarse.coalitions, [len(part) for part in parts], axis=1), coarse.values
    fine = again(players=spans, budget=budget, known=known)
    told = {"opened": [coarse.players[i].text for i in opened], "coarse": dict(coarse.provenance)}
    return replace(fine, provenance={**fine.provenance, "refined": told})


def strongest(result: Interactions, keep: int) -> list[int]:
    """Return the players with the largest shares of the effects, in text order.

    Each term divides its strength equally among its players; players without any are never returned.
    """
    share = [0.0] * result.n
    for terms in (result.and_terms, result.or_terms):
        for members, effect in terms.items():
            for player in members:
                share[player] += abs(effect) / len(members)
    order = sorted(range(result.n), key=lambda i: -share[i])[:keep]
    return sorted(i for i in order if share[i] > 0)


def word_parts(text: str, span: Span) -> list[Span]:
    """Split a stretch of text at the beginnings of its content words' phrases; the parts make up the whole."""
    low, high = span
    try:
        _, words = choose_spans(text[low:high], PlayerChoice("words"), MOST_SAMPLED)
    except ValueError:
        # No content word: nothing to open.
        return [span]
    ends = [low + end for _, end in words[:-1]]
    starts = [low]
    for end in ends:
        # A phrase begins at the next visible character, so that punctuation stays with the word before it.
        following = next((i for i in range(end, high) if text[i].isspace()), end)
        begin = next((i for i in range(following, high) if not text[i].isspace()), high)
        starts.append(begin)
    return [
        (a, a + len(text[a:b].rstrip())) for a, b in zip(starts, [*starts[1:], high], strict=True) if text[a:b].strip()
    ]
