"""A long document as a tree: sentences first, then the words of the strongest with the rest of the document present.

1. The values of the sentences are their Shapley values over all choices of the other sentences. They add up to the
   document's value, v(all) - v(none); a paragraph's is the sum of its sentences'.
2. The strongest sentences are opened: their words are the players of a game of their own, in which the rest of the
   document is always present. Its Shapley values add up to v(all) - v(all without the sentence), and its fit is
   judged on its own held-out coalitions.
3. What a sentence's value is beside that sum depends on which other sentences are present; it is a child of its own,
   the rest, so that children add up to parents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from interact.prompt.players import MOST_SAMPLED, choose_spans
from interact.results import Interactions, SampledInteractions
from interact.results.parts import Part
from interact.sparse.of_result import posterior
from interact.sparse.refinement import word_parts
from interact.sparse.search import least_budget

_REST = "beside its words: what changes where other sentences are absent"


def document(
    coarse: Interactions, again: Callable[..., Interactions], *, budget: int | None = None, keep: int = 3
) -> SampledInteractions:
    """Open the strongest sentences of a result into words, each with the rest of the document present.

    Args:
        coarse: A sampled result whose players are the sentences (or paragraphs) of a text.
        again: What made it, to be called as ``again(players=spans, budget=budget)``: `interact.extract` with everything
            else of the first call but its `cache` filled in by `functools.partial`.
        budget: Most coalitions to score for each sentence; None for 4 n log2(n) of its n words.
        keep: How many sentences to open.

    Returns:
        `coarse` with the tree in ``provenance["parts"]``, shown by `print`, in a notebook and on the page of
        ``interact show --html``; `interact.results.parts_of` returns it as a `Part`.

    Raises:
        ValueError: There is nothing to open, or a budget is below the least.

    >>> ask = functools.partial(interact.extract, model, tokenizer, text, method="sparse")  # doctest: +SKIP
    >>> print(document(ask(players="sentences", budget=300), ask, keep=2))  # doctest: +SKIP
    """
    if keep < 0:
        raise ValueError(f"keep says how many sentences to open, 0 or more, but is {keep}.")
    if not isinstance(coarse, SampledInteractions) or not coarse.n or not coarse.text:
        raise ValueError("The first result must be of sampled coalitions of a text's sentences; pass method='sparse'.")
    values, errors = posterior(coarse).effects("shapley", [{i} for i in range(coarse.n)])
    # What rounding and noise leave of the sum.
    values = values + (coarse.total - coarse.empty - values.sum()) / coarse.n
    strongest = set(np.argsort(-np.abs(values), kind="stable")[:keep].tolist())
    kind, sentences = "paragraph" if coarse.provenance.get("players") == "paragraphs" else "sentence", []
    for i, player in enumerate(coarse.players):
        one = Part(kind, player.text, float(values[i]), float(errors[i]))
        spans = word_parts(coarse.text, player.chars) if i in strongest else []
        sentences.append(_opened(one, coarse.text, spans, again, budget) if len(spans) > 1 else one)
    fit = coarse.fidelity(0.0)
    whole = Part("document", coarse.text, float(values.sum()), None, _share(fit.r2), len(coarse.values))
    tree = replace(whole, children=tuple(_paragraphs(coarse, sentences)))
    return replace(coarse, provenance={**coarse.provenance, "parts": tree.record()})


def _opened(
    one: Part, text: str, spans: Sequence[tuple[int, int]], again: Callable[..., Interactions], budget: int | None
) -> Part:
    """Return a sentence with its words and the rest."""
    n = len(spans)
    usual = max(least_budget(n), min(1 << min(n, 30), int(4 * n * np.log2(max(n, 2)))))
    local = again(players=list(spans), budget=usual if budget is None else budget)
    if not isinstance(local, SampledInteractions):
        raise ValueError(
            "`again` must return a result of sampled coalitions, but returned an exact one; pass it method='sparse'."
        )
    values, errors = posterior(local).effects("shapley", [{i} for i in range(n)])
    words = [
        Part("word", text[low:high], float(value), float(error))
        for (low, high), value, error in zip(spans, values, errors, strict=True)
    ]
    rest = Part("rest", _REST, one.value - float(values.sum()))
    return replace(one, r2=_share(local.fidelity(0.0).r2), scores=len(local.values), children=(*words, rest))


def _share(r2: float) -> float | None:
    return float(r2) if np.isfinite(r2) else None


def _paragraphs(coarse: SampledInteractions, sentences: Sequence[Part]) -> list[Part]:
    """Group sentences by the paragraphs they lie in; a single paragraph is not a level."""
    _, spans = choose_spans(coarse.text, "paragraphs", MOST_SAMPLED)
    of = [sum(low <= player.chars[0] for low, _ in spans) for player in coarse.players]
    groups = [
        [part for part, place in zip(sentences, of, strict=True) if place == number] for number in sorted(set(of))
    ]
    if len(groups) < 2 or all(len(group) == 1 for group in groups):
        return list(sentences)
    return [Part("paragraph", group[0].text, sum(s.value for s in group), children=tuple(group)) for group in groups]
