"""The main verb: a model and a text in, the text's AND-OR interactions out."""

from __future__ import annotations

import datetime
import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from interact.coalitions import all_coalitions, score_coalitions
from interact.inputs import CoalitionInputs, Template
from interact.masking import Baseline, check_masking, resolve_baseline
from interact.models.family import device_of, held_elsewhere, inspect_model, unwrapped
from interact.models.precision import noise_floor
from interact.players import LIMIT, MOST_SAMPLED, PlayerChoice, Players
from interact.preparation import prepare_for
from interact.results import ExactInteractions, Interactions
from interact.sparse.scores import ScoreCache
from interact.sparse.search import SparseOptions, checked_budget, explain
from interact_kernels.sparsify import SplitOptions, and_or_split

METHODS = ("exact", "sparse")
_SPLIT_SECONDS = 600.0
"""After this the best split found is taken, with its gap said in a warning; only n > 12 can need so long."""


def extract(
    model: Any,
    tokenizer: Any,
    text: str,
    *,
    players: Players = None,
    target: str | int | Sequence[int] | None = None,
    template: Template | str | None = None,
    target_tokens: int | None = None,
    masking: str = "baseline",
    baseline: str | int | torch.Tensor | Baseline | None = None,
    kappa: float = 0.04,
    method: str = "exact",
    budget: int | None = None,
    max_order: int = 4,
    seed: int = 0,
    sparse: SparseOptions | None = None,
    cache: str | Path | None = None,
    known: tuple[np.ndarray, np.ndarray] | None = None,
    engine: str = "auto",
    memory_budget: int | None = None,
    progress: bool | None = None,
) -> Interactions:
    """Extract the AND-OR interactions between the words of a text.

    ``method="exact"`` scores all 2**n coalitions of up to 20 players and certifies the split; ``method="sparse"``
    samples coalitions of any number of players (`interact.sparse.explain`) and measures the fit on held-out ones.

    Args:
        model: A Hugging Face causal language model, or a sequence classifier.
        tokenizer: Its fast tokenizer.
        text: The user's text; its words are the players.
        players: None for up to ten content words (sparse: all of them); see `interact.players.choose_spans`.
        target: The answer to explain: text (a label's name for a classifier), token ids, or None for what the
            model predicts.
        template: What stands around the text, see `interact.Template`.
        target_tokens: How many tokens of a target text to score; None demands that it be one token.
        masking: ``"baseline"``, ``"attention"`` or ``"text"``.
        baseline: What absent tokens become under ``"baseline"``; None for <unk>, else pad, else eos.
        kappa: Tolerated noise of the split, relative to |v(N) - v(empty)|; exact only.
        method: ``"exact"`` or ``"sparse"``.
        budget: Most coalitions to score, None for 8 n log2(n); sparse only, like the five that follow.
        max_order: Most players of an interaction.
        seed: Seed of the sample.
        sparse: How to sample and search, see `interact.sparse.SparseOptions`.
        cache: A file that keeps scores as they come, so that an interrupted run goes on where it was.
        known: Coalitions (bool [m, n]) and scores (float [m]) of this prompt, to be fitted beside the budget.
        engine: See `interact.coalition_values`.
        memory_budget: Bytes one batch may take.
        progress: Show a progress bar; None shows it on a terminal.

    Returns:
        The interactions with their certificate (sparse: their held-out fit and error bars) and everything needed to
        repeat them.

    Raises:
        ValueError: Something given is wrong; the sentence says what was expected and what to do.
        RuntimeError: The machine lacks something (memory).

    Source: Zhang et al. 2026 (arXiv 2605.17967); Chen et al. 2024 (arXiv 2401.16318).

    >>> extract(model, tokenizer, "a gorgeous, witty, seductive movie", target="positive").top(5)  # doctest: +SKIP
    """
    check_masking(masking)
    _check_method(method, budget, cache, sparse, known)
    inputs = prepare_for(
        model,
        tokenizer,
        text,
        players=players,
        target=target,
        template=template,
        target_tokens=target_tokens,
        most_players=LIMIT if method == "exact" else MOST_SAMPLED,
    )
    vector = resolve_baseline(model, baseline, inputs.special_ids) if masking == "baseline" else None
    provenance = {
        "model": _model_identity(model),
        "target": _target_identity(model, tokenizer, inputs, given=target is not None),
        "players": _players_identity(players),
        "template": asdict(template) if isinstance(template, Template) else template,
        "masking": masking,
        "baseline": vector.identity() if vector else None,
        "placeholder_ids": list(inputs.placeholder_ids) if masking == "text" else None,
        "kappa": kappa if method == "exact" else None,
        "input_ids": list(inputs.input_ids),
        "notes": list(inputs.notes),
        "versions": _versions(),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }
    scoring: dict[str, Any] = {"masking": masking, "baseline": vector, "engine": engine, "memory_budget": memory_budget}
    if method == "sparse":
        sampling: dict[str, Any] = {"budget": budget, "max_order": max_order, "seed": seed, "options": sparse}
        return _sampled(
            model, inputs, provenance, scoring, {**sampling, "cache": cache, "known": known, "progress": progress}
        )
    scores = score_coalitions(model, inputs, coalitions=None, progress=progress, **scoring)
    values = scores.values.double().numpy()
    split = and_or_split(values, kappa=kappa, options=SplitOptions(time_limit=_SPLIT_SECONDS))
    provenance["engine"] = {"asked": engine, "used": scores.engine, "reason": scores.reason}
    scoring["engine"] = scores.engine
    provenance["precision"] = noise_floor(model, inputs, all_coalitions(inputs.n), scores.values, **scoring)
    arrays = {name: getattr(split, name) for name in ("i_and", "i_or", "noise", "certificate")}
    bounds = {name: float(getattr(split, name)) for name in ("primal", "dual", "gap")}
    found: dict[str, Any] = {"values": values, **arrays, **bounds}
    return ExactInteractions(players=inputs.players, text=inputs.text, provenance=provenance, **found)


def _check_method(method: str, *sampling: object) -> None:
    if method not in METHODS:
        raise ValueError(f"method={method!r} is not known; choose one of {list(METHODS)}.")
    if method == "exact" and any(given is not None for given in sampling):
        raise ValueError(
            "budget, cache, sparse and known belong to sampled coalitions; pass method='sparse' with them."
        )


def _sampled(
    model: Any, inputs: CoalitionInputs, provenance: dict[str, Any], scoring: dict[str, Any], sampling: dict[str, Any]
) -> Interactions:
    """Explain a prompt from sampled coalitions."""
    used: dict[str, str] = {}

    def value(masks: np.ndarray) -> np.ndarray:
        scores = score_coalitions(model, inputs, coalitions=torch.from_numpy(masks), progress=False, **scoring)
        used.update(used=scores.engine, reason=scores.reason)
        return scores.values.double().numpy()

    told = {name: provenance[name] for name in ("model", "target", "masking", "baseline", "input_ids")}
    belongs = json.dumps([told, inputs.spans], sort_keys=True, default=str)
    # Scores of another model, text or masking must not be gone on with.
    identity = hashlib.sha256(belongs.encode()).hexdigest()[:16]
    checked_budget(inputs.n, sampling["budget"], sampling["max_order"], sampling["seed"])
    cache = ScoreCache(sampling["cache"], identity)
    cache.open(inputs.n)
    ends = np.array([[False] * inputs.n, [True] * inputs.n], dtype=bool)[: 2 if inputs.n else 1]
    if np.isnan(cache.get(ends)).any():
        # What is wrong with all coalitions is said here in its own words, before any are sampled.
        cache.put(ends, value(ends))
    sampling = {**sampling, "cache": cache}
    result = explain(value, inputs.n, players=inputs.players, text=inputs.text, **sampling)
    engine = {"asked": scoring["engine"], "used": None, "reason": "all scores were in the cache", **used}
    return replace(result, provenance={**provenance, **result.provenance, "engine": engine})


def _model_identity(model: Any) -> dict[str, Any]:
    config = model.config
    return {
        "name": getattr(config, "_name_or_path", "") or type(model).__name__,
        "revision": getattr(config, "_commit_hash", None),
        "class": type(model).__name__,
        "dtype": str(model.get_input_embeddings().weight.dtype).removeprefix("torch."),
        "device": str(device_of(model)),
        **_loading(model),
    }


def _loading(model: Any) -> dict[str, Any]:
    """Name what else decides a model's scores, where there is such: an adapter, offloaded or quantised weights."""
    plain = unwrapped(model)
    found = {"adapter": getattr(model, "interact_adapter", None), "weights": held_elsewhere(model)}
    quantised = getattr(plain.config, "quantization_config", None)
    if quantised is not None:
        told = quantised if isinstance(quantised, dict) else quantised.to_dict()
        # What a library adds for itself need not be JSON.
        found["quantisation"] = json.loads(json.dumps(told, default=str))
    return {name: value for name, value in found.items() if value is not None}


def _target_identity(model: Any, tokenizer: Any, inputs: CoalitionInputs, *, given: bool) -> dict[str, Any]:
    ids = list(inputs.target_ids or ())
    names = getattr(model.config, "id2label", None) or {}
    labels = inspect_model(model).kind == "classifier"
    text = str(names.get(ids[0], ids[0])) if labels else tokenizer.decode(ids)
    return {"ids": ids, "text": text, "chosen": "label" if given else "predicted"}


def _players_identity(players: Players) -> Any:
    if players is None or isinstance(players, (int, str)):
        return players
    return (
        asdict(players)
        if isinstance(players, PlayerChoice)
        else [p if isinstance(p, str) else list(p) for p in players]
    )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("interact-llm", "torch", "transformers", "numpy", "scipy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found
