"""One worker of a study: it trains runs and follows cells, with one model in memory.

The local run has one in its own process; a cluster has one for each device (`interact.study.cluster`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, Literal

from interact.formats.files import forget_partial
from interact.models.load import load_tokenizer
from interact.sft.data import Example
from interact.sft.following import FollowOptions, follow_sample
from interact.sft.prompts import Prompts
from interact.study import samples
from interact.study.samples import Material, materials
from interact.study.store import Store
from interact.study.trainings import Loaded, prepare, train_run
from interact.study.work import Cell, Run, runs

Job = Run | Cell
"""A run to train, or a cell to follow."""


@dataclass(frozen=True)
class Answer:
    """What became of a job.

    Attributes:
        state: ``"done"``; ``"held"`` by another process at this moment; ``"failed"`` for what `reason` says.
        seconds: How long it took.
        reason: Why it failed.
    """

    state: Literal["done", "held", "failed"]
    seconds: float
    reason: str = ""


class Worker:
    """Does one job after another; a checkpoint of the model in memory only swaps the adapter."""

    def __init__(self, store: Store, data: Data | None = None) -> None:
        self._store = store
        self._data = data or Data(store)
        self._loaded = Loaded(store)

    def do(self, job: Job) -> Answer:
        """Train a run or follow a cell, unless it is done already or another process holds it.

        Raises:
            ValueError: The data are not what they were when the study began, or a training cannot begin.
            RuntimeError: Something cannot be written, or memory ran out.
        """
        start, reason = time.monotonic(), ""
        what = f"training-{job.training}" if isinstance(job, Run) else f"cell-{job.key}"
        with self._store.claimed(what) as mine:
            if mine and isinstance(job, Run):
                # Given back before the training loads its own, so that two models never lie in memory.
                self._loaded = Loaded(self._store)
                train_run(self._store, job, self._data.checked)
            elif mine and isinstance(job, Cell) and not self._store.cell(job.key).is_file():
                forget_partial(self._store.cell(job.key))
                try:
                    compute(self._store, self._loaded, job)
                except ValueError as error:
                    reason = str(error)
        state = "failed" if reason else "done" if mine else "held"
        return Answer(state, time.monotonic() - start, reason)


def compute(store: Store, loaded: Loaded, cell: Cell) -> None:
    """Compute one cell and keep it.

    Raises:
        ValueError: It cannot be computed, for instance because the model's scores are NaN.
        RuntimeError: It cannot be written, or memory ran out.
    """
    config, sample = store.config, cell.sample
    options = FollowOptions(
        run=cell.run,
        masking=config.masking,
        baseline=None if cell.run.baseline == "auto" else cell.run.baseline,
        noise=config.noise,
        kappa=config.kappa,
        engine=config.engine,
        memory_budget=None if config.memory_budget is None else config.memory_budget << 20,
    )
    example = Example(sample.id, sample.text, sample.response, sample.template)
    model = loaded.at(cell.run, cell.step, cell.dtype)
    prompts = Prompts(store.folder, lock=lambda name: store.claimed(name, wait=True))
    how: dict[str, Any] = {"options": options, "players": list(sample.spans), "contrast": sample.contrast}
    result = follow_sample(*model, example, cell.step, prompts=prompts, asked=cell.run.model, **how)
    result.save(store.cell(cell.key))


class Data:
    """The data sets of a study, read when they are first needed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._found: dict[str, Material] | None = None

    def all(self) -> dict[str, Material]:
        """Return the data sets by name."""
        if self._found is None:
            config = self._store.config
            tokenizers = {m: load_tokenizer(m) for m in config.models}
            self._found = materials(config, tokenizers)
        return self._found

    def checked(self, name: str) -> Material:
        """Return one data set.

        Raises:
            ValueError: The data sets are not what they were when the study began.
        """
        config, folder = self._store.config, self._store.folder
        known = samples.load(folder / "samples.json")
        # What precision this machine would take does not matter: that of the study was fixed when it began.
        if replace(prepare(config, runs(config), self.all()), dtypes=known.dtypes) != known:
            raise ValueError(
                f"The data sets of the study in {folder} have changed since it began; restore them, or "
                "begin another study in another folder."
            )
        return self.all()[name]
