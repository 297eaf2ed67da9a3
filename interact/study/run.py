"""Running a study: train, follow every cell of the work list, conclude.

The same call goes on where the last one stopped, and several processes may work on one store: each takes the trainings
and cells that nobody else holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from interact.files import forget_partial
from interact.models.load import load_tokenizer
from interact.sft.data import Example
from interact.sft.following import FollowOptions, follow_sample, load_cell
from interact.study.conclusions import conclude, summary
from interact.study.config import StudyConfig
from interact.study.samples import Material, load, materials, save
from interact.study.store import Store, explained
from interact.study.trainings import Loaded, prepare, train_run
from interact.study.work import Cell, Prepared, cells, runs

_PATIENCE = 0.5
"""Seconds between looks at cells that another process holds."""


def run_study(folder: Path, config: StudyConfig, *, say: Callable[[str], None] = print) -> Store:
    """Run a study to its end, or go on with it.

    Args:
        folder: Its store.
        config: What to train, follow and compare.
        say: Where to print progress.

    Returns:
        The store, its tables written.

    Raises:
        ValueError: The configuration, the data, a checkpoint or the store is wrong; the sentence says which.
        RuntimeError: The machine lacks something, or some cells failed (the others are kept, and the tables made).
    """
    with explained(folder):
        return _run(folder, config, say)


def _run(folder: Path, config: StudyConfig, say: Callable[[str], None]) -> Store:
    store = Store.open(folder, config)
    data = _Data(config)
    prepared = prepared_study(store, data.all)

    def material(name: str) -> Material:
        if prepare(config, runs(config), data.all()) != prepared:
            raise ValueError(
                f"The data sets of the study in {folder} are not what they were when it began; give them back, or "
                "begin another study in another folder."
            )
        return data.all()[name]

    work = list(cells(config, prepared))
    for path in {store.cell(c.key) for c in work if store.cell(c.key).is_file()}:
        if load_cell(path) is None:
            with store.claimed(f"cell-{path.stem}") as mine:
                # Looked at again: another process may have computed it anew by now.
                if mine and path.is_file() and load_cell(path) is None:
                    say(f"{path} is damaged, so it is computed again.")
                    path.unlink(missing_ok=True)
    loaded, failed = Loaded(store), {}
    trainings = list(dict.fromkeys(replace(run, baseline=config.baselines[0]) for run in runs(config)))
    for wait in (False, True):
        postponed = []
        for run in trainings:
            part = sorted((c for c in work if c.run.training == run.training), key=lambda c: c.step)
            if all(store.cell(c.key).is_file() for c in part):
                continue
            with store.claimed(f"training-{run.training}", wait=wait) as mine:
                if mine:
                    say(f"{run.training}: training")
                    train_run(store, run, material)
            if mine:
                failed |= follow(store, loaded, part, say)
            else:
                postponed.append(run)
        trainings = postponed
    say(summary(conclude(store, say=say)))
    if failed:
        first, reason = next(iter(failed.items()))
        raise RuntimeError(f"{len(failed)} cells could not be followed; the first, {first}: {reason}")
    return store


def prepared_study(store: Store, data: Callable[[], dict[str, Material]]) -> Prepared:
    """Return what the study fixed before its first cell; fix it from its data when it has not yet."""
    path = store.folder / "samples.json"
    with store.claimed("samples", wait=True):
        if not path.is_file():
            forget_partial(path)
            save(path, prepare(store.config, runs(store.config), data()))
    return load(path)


def follow(store: Store, loaded: Loaded, work: Sequence[Cell], say: Callable[[str], None]) -> dict[str, str]:
    """Compute the cells that are missing.

    Args:
        store: Where they go.
        loaded: The model in work.
        work: The cells, those of one checkpoint next to each other.
        say: Where to print progress.

    Returns:
        What could not be followed, with the reason.
    """
    failed: dict[str, str] = {}
    left = [c for c in work if not store.cell(c.key).is_file()]
    with tqdm(total=len(work), initial=len(work) - len(left), unit="cell", disable=None) as bar:
        while left:
            held = []
            for cell in left:
                with store.claimed(f"cell-{cell.key}") as mine:
                    if mine and not store.cell(cell.key).is_file():
                        forget_partial(store.cell(cell.key))
                        try:
                            compute(store, loaded, cell)
                        except ValueError as error:
                            failed[f"{cell.run.name}, step {cell.step}, sample {cell.sample.id}"] = str(error)
                if not mine:
                    held.append(cell)
                    continue
                bar.update()
                if bar.disable and cell.sample.id == left[-1].sample.id:
                    say(f"{cell.run.name}: step {cell.step} followed")
            if held == left:
                time.sleep(_PATIENCE)
            left = held
    return failed


def compute(store: Store, loaded: Loaded, cell: Cell) -> None:
    """Compute one cell and keep it.

    Raises:
        ValueError: It cannot be computed, for instance because the model's scores are NaN.
        RuntimeError: It cannot be written, or memory ran out.
    """
    config, sample = store.config, cell.sample
    options = FollowOptions(
        run=cell.run.name,
        masking=config.masking,
        baseline=None if cell.run.baseline == "auto" else cell.run.baseline,
        kappa=config.kappa,
        engine=config.engine,
        memory_budget=None if config.memory_budget is None else config.memory_budget << 20,
    )
    example = Example(sample.id, sample.text, sample.response, sample.template)
    model = loaded.at(cell.run, cell.step)
    result = follow_sample(*model, example, cell.step, options=options, players=list(sample.spans))
    result.save(store.cell(cell.key))


class _Data:
    """The data sets of a study, read when they are first needed."""

    def __init__(self, config: StudyConfig) -> None:
        self._config = config
        self._found: dict[str, Material] | None = None

    def all(self) -> dict[str, Material]:
        if self._found is None:
            tokenizers = {m: load_tokenizer(m) for m in self._config.models}
            self._found = materials(self._config, tokenizers)
        return self._found
