"""Running a study: train, follow every cell of the work list, conclude.

The same call continues where the last one stopped, and several processes may work on one store: each takes the
trainings and cells that no other process holds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

from interact.engines import check_name
from interact.sft.following import load_cell
from interact.study.cluster import Cluster, check_address
from interact.study.conclusions import conclude, summary
from interact.study.config import StudyConfig
from interact.study.needs import provide
from interact.study.progress import Progress
from interact.study.samples import Material, load
from interact.study.schedule import Here, Queue, Team, drive
from interact.study.store import Store, explained
from interact.study.trainings import is_trained, prepare, tidy
from interact.study.work import Cell, Prepared, cells, runs
from interact.study.worker import Data, Worker


def run_study(
    folder: Path,
    config: StudyConfig,
    *,
    say: Callable[[str], None] = print,
    cluster: str | None = None,
    workers: int | None = None,
) -> Store:
    """Run a study to its end, or continue it.

    Args:
        folder: Its store.
        config: What to train, follow and compare.
        say: Where to print progress.
        cluster: Do the work on Ray (docs/cluster.md): ``"local"`` for processes on this machine, ``"ray://HOST:PORT"``,
            or ``"auto"`` for the cluster that this machine has joined. None for this process alone.
        workers: Processes on the cluster; None for one per device.

    Returns:
        The store, its tables written.

    Raises:
        ValueError: The configuration, the data, a checkpoint or the store is wrong; the sentence says which.
        RuntimeError: The machine lacks something, the cluster cannot be reached, or some cells failed (the others are
            kept, and the tables made).
    """
    check_name(config.engine)
    if cluster is not None:
        check_address(cluster)
    elif workers is not None:
        raise ValueError(f"workers is {workers}, but there is no cluster; give one too (local for this machine).")
    with explained(folder):
        return _run(folder, config, say, cluster, workers)


def _run(
    folder: Path, config: StudyConfig, say: Callable[[str], None], cluster: str | None, workers: int | None
) -> Store:
    store = Store.open(folder, config)
    # With what the study began with where this one leaves it to the machine.
    config = store.config
    deque(provide(config, say), maxlen=0)
    data = Data(store)
    work = list(cells(config, prepared_study(store, data.all)))
    _drop_damaged(store, work, say)
    left = [c for c in work if not store.cell(c.key).is_file()]
    failed: dict[str, str] = {}
    if left:
        trainings = dict.fromkeys(replace(c.run, baseline=config.baselines[0]) for c in left)
        for run in trainings:
            tidy(store, run)
        queue = Queue(left, [run for run in trainings if not is_trained(store, run)])
        with _team(store, data, cluster, workers) as team, Progress(work, left, say) as progress:
            failed = drive(queue, team, progress)
    say(summary(conclude(store, say=say)))
    if failed:
        first, reason = next(iter(failed.items()))
        raise RuntimeError(f"{len(failed)} cells could not be followed; the first, {first}: {reason}")
    return store


def _team(store: Store, data: Data, cluster: str | None, workers: int | None) -> AbstractContextManager[Team]:
    return nullcontext(Here(Worker(store, data))) if cluster is None else Cluster(store, cluster, workers)


def prepared_study(store: Store, data: Callable[[], dict[str, Material]]) -> Prepared:
    """Return what the study fixed before its first cell; make the store when all is known that goes into it."""
    if not store.begun:
        store.begin(prepare(store.config, runs(store.config), data()))
    return load(store.folder / "samples.json")


def _drop_damaged(store: Store, work: Sequence[Cell], say: Callable[[str], None]) -> None:
    for path in {store.cell(c.key) for c in work if store.cell(c.key).is_file()}:
        if load_cell(path) is not None:
            continue
        with store.claimed(f"cell-{path.stem}") as mine:
            # Looked at again: another process may have computed it anew by now.
            if mine and path.is_file() and load_cell(path) is None:
                say(f"{path} is damaged, so it is computed again.")
                path.unlink(missing_ok=True)
