"""The game of a prompt: its words are the players, a model's log-odds for an answer are the scores.

1. Everything that is asked is fixed once: the model and its family, the prompt with its target, the masking, the
   baseline vector, the memory budget, the score.
2. On a model's first use the masked forward is compared with plain ones (`interact.engines.trust`).
3. An engine is chosen for the coalitions that are asked (`interact.engines.choose`), and run by
   `interact.engines.runner`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from interact.engines import check_name
from interact.engines.choose import Choice, choose
from interact.engines.engine import distinct
from interact.engines.patches import patches
from interact.engines.precision import noise_floor
from interact.engines.runner import run
from interact.engines.score import Score, log_odds, name_of, rated, usual
from interact.engines.trust import passed_checks, plain_logits, plainly, trust_masking
from interact.formats.progress import Progress
from interact.games.coalitions import presence
from interact.games.cost import Cost
from interact.games.game import Game, Scores
from interact.models.family import Family, device_of, inspect_model, opened, takes_types, unwrapped
from interact.models.fingerprint import state_fingerprint
from interact.models.memory import free_memory
from interact.prompt.inputs import CoalitionInputs
from interact.prompt.masking import Baseline, check_masking, resolve_baseline, silent_players
from interact.prompt.players import Player
from interact.sparse.scores import ScoreCache
from interact.sparse.search import SparseOptions

_DRAWN = 512
"""Coalitions from which the tokens of a sample are extrapolated: as many as are asked together."""


@dataclass(frozen=True)
class Scored:
    """Scores of coalitions and how they were computed.

    Attributes:
        values: float32 on the CPU, shape [M], or [M, columns] of a score with columns.
        choice: The engine, and why it was taken.
    """

    values: torch.Tensor
    choice: Choice


@dataclass(frozen=True, eq=False)
class PromptGame(Game):
    """A question to a model about a prompt, as a game; `interact.game` and `game_of` make one.

    Attributes:
        model: A Hugging Face causal language model or sequence classifier.
        family: What the engines need to know of it.
        prompt: Token ids, players as token spans, and the target, which is fixed.
        masking: ``"baseline"``, ``"attention"`` or ``"text"``.
        baseline: What absent tokens become under baseline masking, else None.
        engine: The engine's name, or ``"auto"``.
        memory_budget: Bytes that one batch may take, None for a quarter of what is free.
        score: From logits and target to scores.
        record: What else is known of the game, for the provenance of its results.
    """

    model: Any
    family: Family
    prompt: CoalitionInputs
    masking: str
    baseline: Baseline | None
    engine: str = "auto"
    memory_budget: int | None = None
    score: Score = log_odds
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def players(self) -> tuple[Player, ...]:
        """The players; numbered where the prompt was made from raw ids."""
        spans = enumerate(self.prompt.spans)
        return self.prompt.players or tuple(Player(str(i), (0, 0), span) for i, span in spans)

    @property
    def n(self) -> int:
        """Number of players."""
        return self.prompt.n

    @property
    def text(self) -> str:
        """The user's text."""
        return self.prompt.text

    @property
    def target(self) -> tuple[int, ...]:
        """Ids of the answer's tokens that are scored, or the index of a label."""
        return tuple(self.prompt.target_ids or ())

    @cached_property
    def device(self) -> torch.device:
        """Where the model's inputs belong."""
        return device_of(self.model)

    @cached_property
    def ids(self) -> tuple[int, ...]:
        """Token ids of a whole forward: the prompt, and all of the answer's tokens but the last."""
        answer = self.target[:-1] if self.family.kind == "causal" else ()
        return (*self.prompt.input_ids, *answer)

    @cached_property
    def types(self) -> tuple[int, ...] | None:
        """Token types of `ids`; None where the tokenizer gave none, or the model takes none."""
        found = _types(self.model, self.family, self.prompt)
        return None if found is None else found + found[-1:] * (len(self.ids) - len(found))

    @cached_property
    def passed(self) -> dict[Any, int]:
        """How long a prompt may be by the checks that this model has passed; shared by models of one configuration."""
        return passed_checks(self.model)

    @property
    def bytes_of_a_token(self) -> int:
        """Bytes in work for each token of a batch, in a layer."""
        return (8 * self.family.width + 3 * self.family.inner) * self._number

    @property
    def bytes_kept_of_a_token(self) -> int:
        """Bytes of keys and values of a token that is kept, over all layers."""
        return self.family.layers * self.family.cached * self._number

    @property
    def bytes_of_scores(self) -> int:
        """Bytes of logits, with their float32 copies, for each coalition."""
        return max(1, len(self.target)) * self.family.outputs * 12

    @property
    def _number(self) -> int:
        return self.model.get_input_embeddings().weight.element_size()

    @property
    def columns(self) -> tuple[int, ...]:
        """How many numbers the score gives for each coalition, as a shape; empty for one."""
        found = getattr(self.score, "columns", None)
        return () if found is None else (found,)

    def rate(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Score answers, see `interact.engines.score.rated`."""
        return rated(self.score, logits, target.to(logits.device))

    def budget(self) -> int:
        """Return the bytes that one batch may take: as given, or a quarter of what is free now."""
        return self.memory_budget if self.memory_budget is not None else free_memory(self.device) // 4

    def __call__(self, masks: Any) -> np.ndarray:
        """Score coalitions, see `Game`."""
        return self.scored(masks, progress=False).values.double().numpy()

    @torch.no_grad()
    def scored(
        self, coalitions: Any = None, *, progress: bool | None = None, cache: ScoreCache | None = None
    ) -> Scored:
        """Score coalitions and say how; None for all 2**n in order.

        Args:
            coalitions: Bit masks, or which players are present.
            progress: Whether to show a bar and tell the cost; None shows them on a terminal.
            cache: Scores known, which are not computed again; those of each batch are kept in it.

        Raises:
            ValueError: The model cannot be masked this way, or gave scores that are not finite.
            RuntimeError: Not even one coalition fits in memory, or the named engine cannot score this model.
        """
        masks = presence(self.n, coalitions)
        rows, inverse = distinct(masks.numpy())
        known = np.full((len(rows), *self.columns), np.nan) if cache is None else cache.get(rows)
        todo = np.flatnonzero(np.isnan(known).reshape(len(rows), -1).any(1)) if len(rows) else np.arange(0)
        with plainly(self.model):
            choice = self._choose(rows[todo] if len(todo) else rows)
            if len(todo):
                known[todo] = self._run(choice, rows[todo], progress, cache)
        values = torch.from_numpy(known).float()[torch.from_numpy(inverse)]
        bad = ~values.isfinite()
        bad = bad.any(1) if bad.dim() > 1 else bad
        if bad.any():
            first = "".join("1" if here else "0" for here in masks[bad][0].tolist()[::-1])
            raise ValueError(
                f"The model gave NaN or infinite scores for {int(bad.sum())} of {len(masks)} coalitions "
                f"(first: 0b{first}); try float32 or bfloat16 weights, or another baseline."
            )
        object.__setattr__(self, "_last", choice)
        return Scored(values, choice)

    def _run(self, choice: Choice, masks: np.ndarray, progress: bool | None, cache: ScoreCache | None) -> torch.Tensor:
        """Score coalitions (bool [M, n], those of the plan of a choice), keeping each batch in the cache."""
        told = None if progress is False else Progress.of(progress, lambda: str(_cost(choice)))
        keep = None if cache is None else lambda rows, scores: cache.put(masks[rows], scores)
        return run(choice.engine, choice.plan, progress=told, keep=keep)

    @torch.no_grad()
    def cost(self, coalitions: Any = None, *, budget: int | None = None, seed: int = 0) -> Cost:
        """Say what scores will cost; nothing is scored but what checks the engine.

        Args:
            coalitions: Which, as in `scored`; None for all 2**n, or for a sample where a budget is given.
            budget: How many coalitions of a sample (`method="sparse"`); its tokens are extrapolated from 512 draws.
            seed: Seed of these draws.

        >>> print(game.cost(budget=2000))  # doctest: +SKIP
        """
        if budget is not None and coalitions is None:
            coalitions = np.random.default_rng(seed).random((min(budget, _DRAWN), self.n)) < 0.5
        with plainly(self.model):
            choice = self._choose(distinct(presence(self.n, coalitions).numpy())[0])
        return _cost(choice, budget)

    @torch.no_grad()
    def explain(self, coalitions: Any = None) -> str:
        """Say which engine scores coalitions (None for all), and why; nothing is scored but what checks the engine."""
        with plainly(self.model):
            choice = self._choose(distinct(presence(self.n, coalitions).numpy())[0])
        return f"{self.engine} takes {choice.engine.name}: {choice.reason}."

    def _choose(self, masks: np.ndarray) -> Choice:
        _ = self._masking_trusted
        return choose(self, masks)

    @cached_property
    def _masking_trusted(self) -> bool:
        trust_masking(self)
        return True

    def all_scores(self, *, progress: bool | None = None, cache: ScoreCache | None = None) -> Scores:
        """Score all 2**n coalitions, and measure the noise of half precision."""
        scored = self.scored(None, progress=progress, cache=cache)
        masks, choice = presence(self.n, None), scored.choice
        precision = noise_floor(self, masks, scored.values, choice.engine, **choice.plan.options)
        return Scores(scored.values.double().numpy(), {**self._scored_how(), "precision": precision})

    def _asked(self, given: SparseOptions | None) -> SparseOptions:
        options = given or SparseOptions(retries=0)
        # A model gives the same scores to rounding; that of half precision is measured otherwise.
        return options if options.repeats is not None else dataclasses.replace(options, repeats=0)

    def _begin(self, kept: ScoreCache) -> None:
        # What is wrong with all coalitions is said here in its own words, before any are sampled.
        ends = np.array([[False] * self.n, [True] * self.n], dtype=bool)[: 2 if self.n else 1]
        if np.isnan(kept.get(ends)).any():
            kept.put(ends, self(ends))

    def _cost_in_words(self, budget: int) -> str:
        return str(self.cost(budget=budget))

    def _scored_how(self) -> dict[str, Any]:
        last = getattr(self, "_last", None)
        used = (last.engine.name, last.reason) if last else (None, "all scores were in the cache")
        return {"engine": {"asked": self.engine, "used": used[0], "reason": used[1]}}

    def _provenance(self) -> dict[str, Any]:
        return dict(self.record)

    def identity(self) -> str:
        """Name the game: a hash of the model's name and weights, the prompt, its target and the masking."""
        told = {name: self.record.get(name) for name in ("model", "target", "masking", "baseline", "input_ids")}
        if told["input_ids"] is None:
            # A game that was made of ids has no record of its prompt.
            vector = None if self.baseline is None else self.baseline.vector.double().sum().item()
            told |= {"input_ids": self.ids, "target": self.target, "masking": self.masking, "baseline": vector}
            told["placeholder"] = self.prompt.placeholder_ids
        told["weights"] = state_fingerprint(self.model)
        if (patched := patches(self.model)) is not None:
            told["patches"] = patched
        for name in ("contrast", "score"):
            # Named only where they were given, so that older files of scores keep their names.
            if self.record.get(name):
                told[name] = self.record[name]
        if self.prompt.type_ids is not None and any(self.prompt.type_ids):
            told["type_ids"] = self.prompt.type_ids
        belongs = json.dumps([told, self.prompt.spans], sort_keys=True, default=str)
        # Scores of another model, text or masking must not be gone on with.
        return hashlib.sha256(belongs.encode()).hexdigest()[:16]


def _cost(choice: Choice, budget: int | None = None) -> Cost:
    """Return what a choice costs, for as many coalitions as the budget says."""
    plan = choice.plan
    share = 1.0 if budget is None else budget / max(1, len(plan.masks))
    tokens, flat = (round(share * count) for count in (plan.tokens, plan.flat_tokens))
    return Cost(budget or len(plan.masks), tokens, flat, plan.memory, choice.engine.name)


def game_of(
    model: Any,
    inputs: CoalitionInputs,
    *,
    masking: str = "baseline",
    baseline: str | int | torch.Tensor | Baseline | None = None,
    engine: str = "auto",
    memory_budget: int | None = None,
    record: Mapping[str, Any] | None = None,
    score: Score | None = None,
) -> PromptGame:
    """Make a game of a prepared prompt, and check everything that can be checked before the model runs.

    Args and errors as `interact.coalition_values`; `record` is what results of the game tell of it, `score` is None for
    the usual one.
    """
    check_masking(masking)
    check_name(engine)
    if not isinstance(inputs, CoalitionInputs):
        raise ValueError(f"inputs must come from interact.prepare or CoalitionInputs, but are {inputs!r:.80}.")
    if memory_budget is not None and (not isinstance(memory_budget, (int, np.integer)) or memory_budget < 1):
        raise ValueError(f"memory_budget must be a positive number of bytes, but is {memory_budget!r}.")
    model = opened(model)
    family = inspect_model(model)
    fixed = with_target(model, inputs)
    _check_fits(model, family, fixed)
    _check_asker(family, fixed, masking)
    _check_padding(model, family, fixed, masking)
    with torch.no_grad():
        vector = resolve_baseline(model, baseline, inputs.special_ids) if masking == "baseline" else None
    told = dict(record or {})
    if masking == "attention" and _counts_what_is_seen(model):
        warnings.warn(
            f"{type(model).__name__} counts positions by the attention mask, so under attention masking words move "
            "closer where words between them are absent; use masking='baseline' where positions must not change.",
            stacklevel=3,
        )
    if silent := silent_players(model, fixed, masking, vector):
        warnings.warn(silent, stacklevel=3)
        told["notes"] = [*told.get("notes", ()), silent]
    rating = score or usual(family.independent)
    if rating is not usual(family.independent) and (name := name_of(rating)):
        told["score"] = name
    return PromptGame(model, family, fixed, masking, vector, engine, memory_budget, rating, told)


@torch.no_grad()
def with_target(model: Any, inputs: CoalitionInputs) -> CoalitionInputs:
    """Return `inputs` with its target fixed: as given, or the argmax for the unmasked prompt."""
    if inputs.target_ids is not None:
        return inputs
    model = opened(model)
    family = inspect_model(model)
    _check_fits(model, family, inputs)
    with plainly(model):
        logits = plain_logits(model, family, list(inputs.input_ids), 1, _types(model, family, inputs))
    if not logits.isfinite().any():
        raise ValueError(
            "The model's logits for the unmasked prompt are NaN, so it predicts nothing; check its weights and its "
            "precision."
        )
    return dataclasses.replace(inputs, target_ids=(int(logits[-1].argmax()),))


def _counts_what_is_seen(model: Any) -> bool:
    """Say whether a model's ALiBi is made of the attention mask, which no argument can prevent."""
    config = unwrapped(model).config
    return config.model_type == "bloom" or (config.model_type == "falcon" and bool(getattr(config, "alibi", False)))


def _types(model: Any, family: Family, prompt: CoalitionInputs) -> tuple[int, ...] | None:
    """Return the token types that a model is handed with a prompt."""
    types = prompt.type_ids
    if types is None or (family.kind == "causal" and not any(types)):
        return None
    # A tokenizer may give more kinds than the model was built with; such models know one kind, or none.
    return types if takes_types(model, family, max(types) + 1) else None


def _check_fits(model: Any, family: Family, inputs: CoalitionInputs) -> None:
    length = len(inputs.input_ids) + len(inputs.target_ids or (0,)) - 1
    if family.context is not None and length > family.context:
        raise ValueError(
            f"The prompt is {length} tokens long, but the model's context holds {family.context}, and nothing is cut "
            "in silence; explain the parts that interact.windows(model, tokenizer, text) returns, or shorten the text."
        )
    known = model.get_input_embeddings().weight.shape[0]
    if strange := [i for i in inputs.input_ids if not 0 <= i < known]:
        raise ValueError(
            f"The token {strange[0]} is not in the vocabulary of {known} tokens; prepare the text with the model's own "
            "tokenizer."
        )
    outside = [i for i in inputs.target_ids or () if not 0 <= i < max(family.outputs, 1)]
    if outside:
        raise ValueError(f"The target {outside} is outside the model's {family.outputs} outputs; choose another.")
    if family.kind == "classifier" and len(inputs.target_ids or ()) > 1:
        raise ValueError(
            f"A classifier scores one label, but {len(inputs.target_ids or ())} targets were given; pass one."
        )


def _check_padding(model: Any, family: Family, inputs: CoalitionInputs, masking: str) -> None:
    """Refuse embeddings where the place of the answer, or the positions, are found from the padding among the ids."""
    pad = model.config.get_text_config().pad_token_id
    if masking == "text" or family.kind != "classifier" or pad is None or pad not in inputs.input_ids:
        return
    pooled, counted = family.reads_last and inputs.input_ids[-1] == pad, family.first_position > 0
    if pooled or counted:
        what = "ends with it" if pooled else "holds it"
        way = "reads its answer at the last token that is not padding" if pooled else "counts positions without padding"
        raise ValueError(
            f"{type(model).__name__} {way}, the padding token is {pad}, and this prompt {what}: with embeddings in the "
            f"place of ids, as in {masking} masking, the scores would be wrong; use masking='text'."
        )


def _check_asker(family: Family, inputs: CoalitionInputs, masking: str) -> None:
    """Refuse attention masking where the token that is asked for the answer may itself be absent."""
    asker = len(inputs.input_ids) - 1 if family.reads_last else 0
    if masking == "attention" and any(low <= asker < high for low, high in inputs.spans):
        raise ValueError(
            f"Token {asker}, from which the answer is read, belongs to a player, and an absent token cannot answer "
            "under attention masking; put text after the last player (a template), or use masking='baseline'."
        )
