"""The interactions of a few samples at one step of a training, as results and as rows of a study's tables.

Tables and cells are those of docs/formats.md, so what a callback follows and what a study follows read alike.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from interact.evolution.certain import COLUMNS
from interact.evolution.tables import check, orders_of
from interact.formats.schema import CellKey, Run
from interact.games.build import asked_contrast, asked_score, prepared_game
from interact.games.preparation import prepare_for
from interact.games.question import Question, Scoring
from interact.models.family import inspect_model
from interact.prompt.inputs import Template
from interact.prompt.players import PlayerChoice, Players
from interact.results import Interactions, load
from interact.sft.data import Example, content_of
from interact.sft.prompts import Prompts

Sample = Example | str | tuple[str, str]


@dataclass(frozen=True)
class FollowOptions:
    """How samples are followed.

    Attributes:
        run: The run, or what to call it in tables and in a store.
        template: What surrounds samples that are plain texts; examples bring their own.
        target_tokens: How many tokens of the response to score; the paper takes the first.
        masking: What an absent player becomes, see `interact.extract`.
        baseline: The baseline of ``"baseline"`` masking, see `interact.extract`.
        noise: How noise of the scores is treated, see `interact.extract`.
        kappa: Its price or bound, see `interact.extract`.
        score: ``"log-odds"`` (None), ``"log-probability"`` or ``"logit"``, see `interact.extract`.
        tau: Salience threshold, see `interact.evolution.salient`.
        rule: Its rule.
        engine: How coalitions are scored, see `interact.coalition_values`.
        memory_budget: Bytes one batch of an extraction may take.
    """

    run: str | Run = "run"
    template: Template | None = None
    target_tokens: int = 1
    masking: str = "baseline"
    baseline: str | int | None = None
    noise: str | None = None
    kappa: float | None = None
    tau: float = 0.05
    rule: str = "max"
    engine: str = "auto"
    memory_budget: int | None = None
    score: str | None = None


def as_examples(samples: Sequence[Sample], template: Template | None = None) -> list[Example]:
    """Turn texts and (text, response) pairs into examples; an empty response stands for the model's own prediction.

    Raises:
        ValueError: There are none, one is of another kind, or two have one id.
    """
    if isinstance(samples, str) or not isinstance(samples, Sequence):
        raise ValueError(f"Samples must be a list of texts, pairs or examples, but are {samples!r:.60}.")
    found = []
    for number, sample in enumerate(samples):
        if isinstance(sample, Example):
            found.append(sample)
            continue
        pair = (sample, "") if isinstance(sample, str) else sample
        if not isinstance(pair, tuple) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise ValueError(f"A sample is an Example, a text, or a pair (text, response), but is {sample!r:.80}.")
        found.append(Example(f"sample-{number}", pair[0], pair[1], template or Template()))
    if not found:
        raise ValueError("There are no samples to follow; give at least one.")
    if len({example.id for example in found}) < len(found):
        raise ValueError("Two samples have the same id; ids name samples in the tables, so they must differ.")
    return found


def follow_sample(
    model: Any,
    tokenizer: Any,
    sample: Example,
    step: int,
    *,
    options: FollowOptions,
    players: Players = None,
    target: Sequence[int] | None = None,
    contrast: str | Sequence[str] = (),
    prompts: Prompts | None = None,
    asked: str = "",
) -> Interactions:
    """Extract one sample's interactions at one step.

    Args:
        model: The model at this step.
        tokenizer: Its tokenizer.
        sample: The sample; with an empty response, what the model predicts is explained.
        step: The step, for the record.
        options: How.
        players: See `interact.prompt.players.choose_spans`.
        target: Ids to score instead of the response, such as an earlier step's prediction.
        contrast: Other answers that the response is held against, see `interact.extract`; none for all tokens.
        prompts: The prompts of the run, each of which is rendered once; None renders this one anew.
        asked: Which model is asked, in the words of `prompts`.

    Returns:
        The result, whose provenance names run, step, sample and seconds.

    Raises:
        ValueError: As `interact.extract`.
    """
    start = time.monotonic()
    family, response = inspect_model(model), sample.response.strip()
    causal = family.kind == "causal"
    tokens = options.target_tokens if causal and response and not target else None
    asked_target = target or response or None
    others = (contrast,) if isinstance(contrast, str) else tuple(contrast)
    question = Question(players, asked_target, sample.template, tokens, others or None, options.score)
    fixed = None if prompts is None else partial(prompts.fixed, _named(sample), asked, tokenizer)
    inputs = prepare_for(model, tokenizer, sample.text, question, fixed=fixed)
    scoring = Scoring(options.masking, options.baseline, options.engine, options.memory_budget)
    against = asked_contrast(model, tokenizer, sample.text, question, inputs)
    score = asked_score(model, inputs, options.score, against)
    game = prepared_game(model, tokenizer, inputs, question, scoring, score=score)
    result = game.interactions(noise=options.noise, kappa=options.kappa, progress=False)
    seconds = round(time.monotonic() - start, 3)
    return placed_in(result, _run(options, result), step, sample.id, seconds=seconds)


def _named(sample: Example) -> str:
    """Name a sample's prompt in a store, in which another sample may have the same id."""
    content = json.dumps([sample.text, sample.template.content()], sort_keys=True, default=str)
    return f"{sample.id}-{sha256(content.encode(errors='replace')).hexdigest()[:8]}"


def cell_path(store: Path, sample: Example, step: int, players: Players, options: FollowOptions) -> Path:
    """Return where a store keeps this cell: ``cells/KEY.interactions``, see `interact.formats.schema.CellKey`."""
    template = None if options.template is None else options.template.content()
    chosen = players.content() if isinstance(players, PlayerChoice) else players
    # An option that came later is left out where it was not given, so that older cells keep their names.
    later = ("noise", "score")
    asked = {name: value for name, value in asdict(options).items() if not (name in later and value is None)}
    key = CellKey.of(
        _run(options),
        step,
        sample.id,
        decided_by=[content_of(sample), step, chosen, {**asked, "template": template}],
    )
    return store / "cells" / f"{key.stem}.interactions"


def load_cell(path: Path) -> Interactions | None:
    """Read a cell; None where there is none, or a damaged one, which is then computed again."""
    try:
        return load(path) if path.is_file() else None
    except ValueError:
        return None


def interaction_rows(result: Interactions) -> pd.DataFrame:
    """Return the rows of the table `interactions` of one cell, `salient` not yet filled in.

    Args:
        result: With run, step and sample in its provenance.
    """
    return check(unchecked_rows(result), "interactions")


def unchecked_rows(result: Interactions) -> pd.DataFrame:
    """Return the same for a table of many cells, which is checked once: a check of each takes longer than its split."""
    known = result.provenance
    both = [np.flatnonzero(effect) for effect in result.effects()]
    masks = np.concatenate(both).astype(np.uint64)
    table = pd.DataFrame(
        {
            "run": str(known["run"]),
            "step": np.full(len(masks), int(known["step"]), dtype=np.int64),
            "sample": str(known["sample"]),
            "kind": ["and"] * len(both[0]) + ["or"] * len(both[1]),
            "mask": masks,
            "order": orders_of(masks),
            "effect": np.concatenate([e[m] for e, m in zip(result.effects(), both, strict=True)]),
            "salient": np.zeros(len(masks), dtype=bool),
        }
    )
    return table.assign(**_identity(result))


def certainty_rows(
    results: Iterable[Interactions],
    *,
    eps: float = 1e-4,
    tau: float = 0.05,
    ranges: bool = False,
    sigma: float | None = None,
    time_limit: float = 600.0,
) -> pd.DataFrame:
    """Return what is known of the interactions of followed cells, for `interact.evolution.certain_classes`.

    Args:
        results: With run, step and sample in their provenance, such as those of a store's cells.
        eps: See `interact.ExactInteractions.certainty`.
        tau: Salience threshold there, a share of the strongest effect of each cell.
        ranges: Find exact ranges, without which bounds of strengths are wide.
        sigma: Noise of the scores there.
        time_limit: Seconds for each result.

    Returns:
        Columns run, step, sample, kind, mask, effect, salient, status, low, high: of each run and sample those
        interactions that are salient at any step, at all its steps.

    Raises:
        ValueError: A result is sampled, proves nothing, or has no run, step and sample.
    """
    places: dict[tuple[str, str], list[Interactions]] = {}
    for result in results:
        if missing := [name for name in ("run", "step", "sample") if name not in result.provenance]:
            raise ValueError(
                f"The provenance of a followed result must name run, step and sample, but lacks {missing[0]}; add it."
            )
        places.setdefault((str(result.provenance["run"]), str(result.provenance["sample"])), []).append(result)
    parts = []
    for (run, sample), cells in places.items():
        chosen = {(item.kind, item.mask) for result in cells for item in result.salient(tau)}
        for result in cells:
            own = {(item.kind, item.mask) for item in result.salient(tau)}
            found = result.certainty(eps, tau, ranges, every=chosen, sigma=sigma, time_limit=time_limit)
            keys = list(zip(found["kind"], found["mask"], strict=True))
            found = found.assign(run=run, step=int(result.provenance["step"]), sample=sample)
            found["salient"] = [key in own for key in keys]
            parts.append(found.loc[[key in chosen for key in keys], list(COLUMNS)])
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=pd.Index(COLUMNS))


def cell_row(result: Interactions, key: str = "") -> dict[str, Any]:
    """Return the row of the table `cells` of one result, which has run, step and sample in its provenance."""
    known = result.provenance
    return {
        "run": str(known["run"]),
        "step": int(known["step"]),
        "sample": str(known["sample"]),
        "n": result.n,
        "bias": result.bias,
        "total": result.total,
        "primal": result.primal,
        "dual": result.dual,
        "gap": result.gap,
        "seconds": float(known.get("seconds", float("nan"))),
        "engine": str(known["engine"]["used"]),
        "masking": str(known["masking"]),
        "baseline": str(known["baseline"] or ""),
        "key": key,
        **_identity(result),
    }


def placed_in(result: Interactions, run: Run, step: int, sample: str, **more: Any) -> Interactions:
    """Return the result with its run, step and sample in its provenance, and more."""
    place = {"run": run.name, "step": step, "sample": sample, "identity": run.columns()}
    return replace(result, provenance={**result.provenance, **place, **more})


def _run(options: FollowOptions, result: Interactions | None = None) -> Run:
    """Return the run that is followed; of one that has a name only, a result tells the model."""
    if isinstance(options.run, Run):
        return options.run
    asked = "auto" if options.baseline is None else options.baseline
    model = "" if result is None else str(result.provenance["model"]["name"])
    baseline = asked if isinstance(asked, str) else f"token:{asked}"
    return Run(model, baseline=baseline, alias=options.run)


def _identity(result: Interactions) -> dict[str, Any]:
    # Results of version 1 have the name of their run alone.
    return result.provenance.get("identity") or Run.parse(str(result.provenance["run"])).columns()
