"""Running a study: train, follow every cell of the work list, conclude.

The same call goes on where the last one stopped, and several processes may work on one store: each takes the trainings
and cells that nobody else holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from interact.sft.following import load_cell
from interact.study.conclusions import conclude, summary
from interact.study.config import StudyConfig
from interact.study.progress import Progress
from interact.study.samples import Material, load, save
from interact.study.schedule import Here, Queue, drive
from interact.study.store import Store
from interact.study.trainings import is_trained, prepare
from interact.study.work import Cell, Prepared, cells, runs
from interact.study.worker import Data, Worker


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
    store = Store.open(folder, config)
    data = Data(store)
    work = list(cells(config, prepared_study(store, data.all)))
    _drop_damaged(store, work, say)
    left = [c for c in work if not store.cell(c.key).is_file()]
    failed: dict[str, str] = {}
    if left:
        trainings = dict.fromkeys(replace(c.run, baseline=config.baselines[0]) for c in left)
        queue = Queue(left, [run for run in trainings if not is_trained(store, run)])
        with Progress(work, left, say) as progress:
            failed = drive(queue, Here(Worker(store, data)), progress)
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
            save(path, prepare(store.config, runs(store.config), data()))
    return load(path)


def _drop_damaged(store: Store, work: Sequence[Cell], say: Callable[[str], None]) -> None:
    for path in {store.cell(c.key) for c in work if store.cell(c.key).is_file()}:
        if load_cell(path) is None:
            say(f"{path} is damaged, so it is computed again.")
            path.unlink()
