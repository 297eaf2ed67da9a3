"""Following a training from inside: one line more for transformers' Trainer and TRL's SFTTrainer.

1. At each chosen step the samples' interactions are extracted, with nothing left behind: random states, gradients,
   modes and precision are as before, so the losses are those of a training that is not followed.
2. The tables of a study grow in memory and, with a store, on disk.
3. Removed, preserved and emerged interactions are measured and go to the trainer's loggers.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from transformers import TrainerCallback
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
from transformers.trainer_callback import CallbackHandler

from interact.evolution import check, classify, empty, fixed_reference, mark_salient, measure, overview
from interact.formats.notebook import table_html
from interact.prompt.players import Players
from interact.results import Interactions
from interact.results.file import check_writable
from interact.sft.data import Example
from interact.sft.following import (
    FollowOptions,
    Sample,
    as_examples,
    cell_path,
    cell_row,
    follow_sample,
    interaction_rows,
    load_cell,
)
from interact.sft.prompts import Prompts
from interact.sft.steps import checked_steps, log_spaced_steps
from interact.sft.undisturbed import undisturbed

_LOGGED = ("strength", "count", "rho", "gamma")


class InteractionCallback(TrainerCallback):
    """Follow the interactions of a few samples through a training.

    Logged at each followed step, as ``interactions/CLASS_NAME``: strength, count, rho and (with a reference) gamma of
    removed, preserved and emerged interactions; see `interact.evolution.measure`.

    Args:
        samples: What to follow: `interact.sft.data.Example` objects, texts, or (text, response) pairs. Without a
            response the model's own prediction at the first followed step is explained throughout.
        players: The players of every sample, see `interact.prompt.players.choose_spans`.
        steps: Steps to follow; None for up to 12, log-spaced over the training. Step 0 is always among them.
        reference: The model that gamma asks: ``(model, tokenizer)``, which is not trained, or a table `interactions`
            of another run with the same samples and players.
        store: A folder that keeps each result as ``cells/KEY.interactions``; a resumed training reads them again.
        options: Masking, kappa, tau, the run's name and more.

    Raises:
        ValueError: Something given is wrong.
        RuntimeError: The store cannot be written.

    >>> Trainer(..., callbacks=[InteractionCallback(samples, players=8)])  # doctest: +SKIP
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        *,
        players: Players = None,
        steps: Iterable[int] | None = None,
        reference: tuple[Any, Any] | pd.DataFrame | None = None,
        store: str | Path | None = None,
        options: FollowOptions | None = None,
    ) -> None:
        self.options = options or FollowOptions()
        self.samples = as_examples(samples, self.options.template)
        self.players = players
        self._given_steps = None if steps is None else checked_steps([0, *steps])
        pair = isinstance(reference, tuple) and len(reference) == 2
        if reference is not None and not pair and not isinstance(reference, pd.DataFrame):
            raise ValueError(
                f"The reference must be (model, tokenizer) or a table `interactions`, but is {reference!r:.80}."
            )
        self._reference, self._reference_table = reference, None
        self.store = None if store is None else Path(store).expanduser()
        if self.store is not None:
            check_writable(self.store / "cells" / "x")
        self._reset()

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps followed so far."""
        return tuple(self._rows)

    @property
    def interactions(self) -> pd.DataFrame:
        """The table `interactions` of what was followed so far."""
        tables = [table for table in self._rows.values() if len(table)]
        if not tables:
            return empty("interactions")
        if self.options.rule == "initial" and 0 not in self._rows:
            # What is salient is told from step 0, which is not known; see the warning of `_restore`.
            return pd.concat(tables, ignore_index=True)
        return mark_salient(pd.concat(tables, ignore_index=True), tau=self.options.tau, rule=self.options.rule)

    @property
    def cells(self) -> pd.DataFrame:
        """The table `cells` of what was followed so far."""
        rows = [row for step in self._cells.values() for row in step]
        return check(pd.DataFrame(rows), "cells") if rows else empty("cells")

    @property
    def classes(self) -> pd.DataFrame:
        """The table `classes` of what was followed so far; empty where step 0 was not."""
        return classify(self.interactions, cells=self.cells) if 0 in self._rows else empty("classes")

    @property
    def metrics(self) -> pd.DataFrame:
        """The table `metrics` of what was followed so far, with bootstrap intervals over the samples.

        Where step 0 was not followed, nothing is removed, preserved or emerged, and only the class `all` has rows.
        """
        return self._measured(200) if self._cells else empty("metrics")

    @property
    def reference(self) -> pd.DataFrame | None:
        """The reference's table `interactions` at the steps followed so far, None without a reference."""
        table = self._reference_table
        if table is None:
            return None
        return fixed_reference(table, list(self.steps)) if table["step"].nunique() == 1 else table

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Follow the model before training, or read what a resumed training had followed."""
        if is_deepspeed_zero3_enabled() or getattr(args, "fsdp", None):
            raise RuntimeError(
                "The model's weights are spread over processes (FSDP or ZeRO-3), so one process cannot score it; save "
                "checkpoints and follow them afterwards, or train with DDP."
            )
        self._reset()
        if not state.is_world_process_zero:
            return
        self.planned = self._given_steps or log_spaced_steps(state.max_steps)
        if state.global_step:
            self._restore(state.global_step)
        if state.global_step in self.planned and state.global_step not in self._rows:
            self._follow(args, state, control, **given)

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Follow the model at a chosen step."""
        if state.is_world_process_zero and state.global_step in self.planned:
            self._follow(args, state, control, **given)

    def __repr__(self) -> str:
        followed = f"followed at the steps {', '.join(map(str, self.steps))}" if self.steps else "not followed yet"
        return f"InteractionCallback: {len(self.samples)} samples, {followed}"

    def _repr_html_(self) -> str:
        found = self._measured(0) if 0 in self._rows else empty("metrics")
        return table_html(repr(self), overview(found), index=True)

    def _reset(self) -> None:
        self._rows: dict[int, pd.DataFrame] = {}
        self._cells: dict[int, list[dict[str, Any]]] = {}
        self._held: dict[str, Sequence[int]] = {}
        self._prompts = Prompts(self.store)
        self.planned: tuple[int, ...] = ()
        self._told_of_waiting = False

    def _follow(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        model, tokenizer, step = given["model"], _tokenizer(given.get("processing_class")), state.global_step
        start = time.monotonic()
        with undisturbed(model):
            try:
                results = [self._extract(model, tokenizer, sample, step) for sample in self.samples]
            except (ValueError, RuntimeError) as error:
                if not self._rows:
                    raise
                # The training is worth more than one step of its following.
                warnings.warn(f"Step {step} could not be followed and is left out: {error}", stacklevel=2)
                return
            self._take(step, results)
            if self._reference is not None and self._reference_table is None:
                self._reference_table = self._ask_reference(results)
        self._tell_of_waiting(args, time.monotonic() - start)
        if 0 in self._rows:
            _log(self._summary(step), args, state, control)

    def _tell_of_waiting(self, args: Any, seconds: float) -> None:
        """Say once that the other processes of a training nearly wait too long for this one."""
        patience = float(getattr(args, "ddp_timeout", 0) or 0)
        if self._told_of_waiting or getattr(args, "world_size", 1) < 2 or not 0 < patience < 4 * seconds:
            return
        self._told_of_waiting = True
        warnings.warn(
            f"A followed step took {seconds:.0f} s, in which the other {args.world_size - 1} processes wait, and they "
            f"give up after {patience:.0f} s; raise ddp_timeout (TrainingArguments), or follow fewer samples or "
            "players.",
            stacklevel=3,
        )

    def _extract(self, model: Any, tokenizer: Any, sample: Example, step: int) -> Interactions:
        held = self._held.get(sample.id)
        how: dict[str, Any] = {"options": self.options, "players": self.players, "target": held}
        result = follow_sample(model, tokenizer, sample, step, prompts=self._prompts, asked="followed", **how)
        if self.store is not None:
            result.save(cell_path(self.store, sample, step, self.players, self.options))
        return result

    def _take(self, step: int, results: Sequence[Interactions]) -> None:
        self._rows[step] = pd.concat([interaction_rows(result) for result in results], ignore_index=True)
        keys = [cell_path(Path(), sample, step, self.players, self.options).stem for sample in self.samples]
        self._cells[step] = [cell_row(result, key) for result, key in zip(results, keys, strict=True)]
        for sample, result in zip(self.samples, results, strict=True):
            if not sample.response.strip():
                self._held.setdefault(sample.id, tuple(result.provenance["target"]["ids"]))

    def _restore(self, last: int) -> None:
        """Read the steps up to `last`, which a training that is resumed had followed."""
        for step in self.planned:
            paths = [cell_path(self.store, s, step, self.players, self.options) for s in self.samples if self.store]
            results = [load_cell(path) for path in paths if step <= last]
            found = [result for result in results if result is not None]
            if len(found) == len(self.samples):
                self._take(step, found)
        if 0 not in self._rows:
            warnings.warn(
                f"This training continues from step {last}, and step 0 was not followed before (no store, or another "
                "one), so interactions are recorded but cannot be called removed, preserved or emerged.",
                stacklevel=2,
            )

    def _ask_reference(self, results: Sequence[Interactions]) -> pd.DataFrame:
        if isinstance(self._reference, pd.DataFrame):
            return self._marked(self._reference)
        model, tokenizer = self._reference  # pyright: ignore[reportGeneralTypeIssues, reportOptionalIterable]
        tables = []
        with undisturbed(model):
            for sample, result in zip(self.samples, results, strict=True):
                asked = replace(sample, response=sample.response.strip() or result.provenance["target"]["text"].strip())
                spans = [player.chars for player in result.players]
                how: dict[str, Any] = {"options": self.options, "players": spans, "prompts": self._prompts}
                other = follow_sample(model, tokenizer, asked, 0, asked="reference", **how)
                if [p.chars for p in other.players] != spans:
                    raise ValueError(
                        f"The reference's tokenizer cannot tell the players of {sample.id!r} apart "
                        f"({[p.text for p in other.players]} against {[p.text for p in result.players]}); choose other "
                        "players or another reference."
                    )
                tables.append(interaction_rows(other))
        return self._marked(pd.concat(tables, ignore_index=True))

    def _marked(self, table: pd.DataFrame) -> pd.DataFrame:
        return mark_salient(table, tau=self.options.tau, rule=self.options.rule)

    def _measured(self, resamples: int) -> pd.DataFrame:
        if 0 in self._rows:
            return measure(self.interactions, self.cells, reference=self.reference, resamples=resamples)
        # The whole of a step is measured without step 0; the first one stands in its place meanwhile.
        first = self.steps[0]
        reference = None if self.reference is None else _moved(self.reference, first, 0)
        table = measure(
            _moved(self.interactions, first, 0),
            _moved(self.cells, first, 0),
            reference=reference,
            resamples=resamples,
        )
        return check(_moved(table[table["class"] == "all"], 0, first).reset_index(drop=True), "metrics")

    def _summary(self, step: int) -> dict[str, float]:
        table = self._measured(0)
        now = table[(table["step"] == step) & table["name"].isin(_LOGGED) & table["value"].notna()]
        return {f"interactions/{row['class']}_{row['name']}": float(row["value"]) for row in now.to_dict("records")}


def calling_handler() -> CallbackHandler | None:
    """Return the handler that is calling a callback.

    transformers hands a callback neither the trainer nor its loggers, so the calls above this one are searched.
    """
    frame = sys._getframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, CallbackHandler):
            return owner
        frame = frame.f_back
    return None


def _log(values: dict[str, float], args: Any, state: Any, control: Any) -> None:
    """Hand values to the trainer's loggers, without the trainer's own `log`, which would end its current average."""
    logs = {**values, **({} if state.epoch is None else {"epoch": state.epoch})}
    state.log_history.append({**logs, "step": state.global_step})
    handler = calling_handler()
    if handler is not None:
        handler.call_event("on_log", args, state, control, logs=logs)


def _moved(table: pd.DataFrame, step: int, to: int) -> pd.DataFrame:
    """Return a table with another number for a step."""
    return table.assign(step=table["step"].replace(step, to))


def _tokenizer(processing: Any) -> Any:
    tokenizer = getattr(processing, "tokenizer", processing)
    if tokenizer is None:
        raise ValueError("The trainer has no tokenizer; pass processing_class=tokenizer to it.")
    return tokenizer
