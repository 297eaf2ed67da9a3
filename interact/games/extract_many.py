"""Many texts with one model: scored one after another, split together, kept in a folder as they come."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from interact.games.build import asked_game
from interact.games.game import Scores, form_for, split_together
from interact.games.prompt_game import PromptGame
from interact.games.question import Question, Scoring
from interact.prompt.inputs import Template
from interact.prompt.masking import Baseline
from interact.prompt.messages import Messages, asked_text
from interact.prompt.players import Players
from interact.results import ExactInteractions, load
from interact.results.file import check_writable
from interact.sparse.scores import ScoreCache
from interact_kernels.sparsify import NoiseForm

_TOGETHER = 16
"""Texts whose scores are split in one call: enough to keep all threads at work, few enough to lose little time."""


def extract_many(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str] | None = None,
    *,
    messages: Sequence[Messages] | None = None,
    folder: str | Path | None = None,
    players: Players = None,
    target: str | int | Sequence[int] | None = None,
    template: Template | str | None = None,
    target_tokens: int | str | None = None,
    contrast: str | Sequence[str] | None = None,
    score: str | Callable[[torch.Tensor], torch.Tensor] | None = None,
    masking: str = "baseline",
    baseline: str | int | torch.Tensor | Baseline | None = None,
    noise: str | None = None,
    kappa: float | None = None,
    engine: str = "auto",
    memory_budget: int | None = None,
    progress: bool | None = None,
) -> list[ExactInteractions]:
    """Extract the AND-OR interactions of many texts under one template and target, from all coalitions of each.

    Args:
        model: A Hugging Face causal language model, or a sequence classifier.
        tokenizer: Its fast tokenizer.
        texts: The users' texts.
        messages: Instead of texts: conversations, each a list of ``{"role": ..., "content": ...}``.
        folder: Where each result is kept, as ``NUMBER-KEY.interactions``; KEY is a hash of the weights, the prompt and
            the options. After an interruption the same call reads what is there and continues.
        players: As in `interact.extract`, like all that follow but `progress`.
        target: One answer for all texts.
        template: What surrounds each text.
        target_tokens: How many tokens of a target text to score.
        contrast: Other answers that the target is compared with.
        score: What a score is.
        masking: ``"baseline"``, ``"attention"`` or ``"text"``.
        baseline: What absent tokens become under ``"baseline"``.
        noise: How noise of the scores is treated.
        kappa: Its price or bound.
        engine: How coalitions are scored.
        memory_budget: Bytes one batch may take.
        progress: Show a bar of texts with the time left; None shows it on a terminal.

    Returns:
        One result for each text, in their order; the same as `interact.extract` gives.

    Raises:
        ValueError: Something given is wrong; of a text, the sentence says which. What was finished is in the folder.
        RuntimeError: The machine lacks something (memory).

    >>> results = extract_many(model, tokenizer, reviews, target="positive", folder="results")  # doctest: +SKIP
    """
    messages = list(messages) if isinstance(messages, Iterator) else messages
    contrast = list(contrast) if isinstance(contrast, Iterator) else contrast
    asked = _each(texts, messages)
    question = Question(players, target, template, target_tokens, contrast, score)
    scoring = Scoring(masking, baseline, engine, memory_budget)
    batch = _Batch(None if folder is None else Path(folder), noise, kappa)
    hidden = None if progress is None else not progress
    with tqdm(asked, unit="text", disable=hidden, leave=False) as bar, batch:
        for number, one in enumerate(bar):
            with _of_text(number):
                batch.add(number, asked_game(model, tokenizer, asked_text(*one), question, scoring))
    return [batch.found[number] for number in range(len(asked))]


def _each(texts: Any, messages: Any) -> list[tuple[str | None, Messages | None]]:
    """Return each text or conversation, as the pair that `asked_text` takes."""
    if (texts is None) == (messages is None):
        raise ValueError("Pass texts, or conversations as messages=, and not both.")
    if isinstance(texts, str):
        raise ValueError("texts is one text; pass a list of texts, or call interact.extract.")
    if messages is not None and any(isinstance(one, Mapping) for one in messages):
        raise ValueError("messages is one conversation; pass a list of conversations, or call interact.extract.")
    return [(text, None) for text in texts] if messages is None else [(None, one) for one in messages]


class _Batch:
    """Results as they come; left by an error or an interrupt, it splits what is scored, so that nothing is lost."""

    def __init__(self, folder: Path | None, noise: str | None, kappa: float | None) -> None:
        self.found: dict[int, ExactInteractions] = {}
        self._noise, self._kappa = noise, kappa
        self._folder = folder
        NoiseForm.of(noise, kappa)  # What is wrong with it is said before any text is scored.
        self._waiting: list[tuple[int, Path | None, PromptGame, Scores]] = []
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            check_writable(folder / "0.interactions")

    def __enter__(self) -> _Batch:
        return self

    def __exit__(self, *_: object) -> None:
        self._finish()

    def add(self, number: int, one: PromptGame) -> None:
        """Read a text's result, or score it and split it with the next."""
        identity = "" if self._folder is None else one.identity()
        name = f"{number:05d}-{self._key(one, identity)}.interactions"
        file = None if self._folder is None else self._folder / name
        if file is not None and file.is_file() and _is_of(result := _loaded(file), one):
            self.found[number] = result
            _beside(file).unlink(missing_ok=True)
            return
        if self._waiting and (self._waiting[0][2].n != one.n or len(self._waiting) == _TOGETHER):
            self._finish()
        kept = None
        if file is not None:
            # What waits for its split is lost by a kill; its scores are not.
            kept = _scores(_beside(file), identity, one.n)
        self._waiting.append((number, file, one, one.all_scores(progress=False, cache=kept)))

    def _finish(self) -> None:
        scored = [(one, scores) for _, _, one, scores in self._waiting]
        results = split_together(scored, noise=self._noise, kappa=self._kappa)
        for (number, file, _, _), result in zip(self._waiting, results, strict=True):
            self.found[number] = result
            if file is not None:
                result.save(file)
                _beside(file).unlink(missing_ok=True)
        self._waiting.clear()

    def _key(self, one: PromptGame, identity: str) -> str:
        told = [identity, form_for(one.n, self._noise, self._kappa).record()]
        return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:12]


def _beside(file: Path) -> Path:
    """Return where the scores of a text lie until its result is whole."""
    return file.with_name(f".{file.name}.scores")


def _scores(file: Path, identity: str, n: int) -> ScoreCache:
    """Open the scores of a text, or begin them anew where a kill left the file without its beginning."""
    kept = ScoreCache(file, identity)
    try:
        kept.open(n)
    except ValueError:
        # Its name says whose scores it holds.
        file.unlink()
        kept = ScoreCache(file, identity)
        kept.open(n)
    return kept


@contextmanager
def _of_text(number: int) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"Text {number} (counted from 0): {error}") from error


def _is_of(result: ExactInteractions, one: PromptGame) -> bool:
    """Say whether a result names the text: two texts may be the same tokens, such as in upper and lower case."""
    return (result.text, result.players) == (one.text, tuple(one.players))


def _loaded(file: Path) -> ExactInteractions:
    result = load(file)
    if not isinstance(result, ExactInteractions):
        raise ValueError(f"{file} holds interactions from sampled coalitions; name another folder.")
    return result
