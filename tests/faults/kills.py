"""Kill -9 at any moment: whatever is left, the same call goes on and ends in the same tables.

1. A child runs the smallest study. It is killed after a random share of the processor time that a whole study takes,
   or as it begins a random one of the changes it makes to files.
2. The next child goes on; every second one is killed again, until one comes to its end.
3. Its tables are those of a study that nobody disturbed, to the last bit, and nothing half written is left.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.ground import child, differences, leftovers, smallest, study


@dataclass
class Kills:
    """What a campaign of kills found.

    Attributes:
        by_clock: Kills at a moment of processor time.
        by_operation: Kills at a change of a file.
        studies: Studies that came to their end after them.
        moments: How many kills found the store in each state.
        wrong: A sentence for everything that should not have happened.
    """

    by_clock: int = 0
    by_operation: int = 0
    studies: int = 0
    moments: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


def kill_studies(folder: Path, count: int, *, seed: int = 0, say: Callable[[str], None] = print) -> Kills:
    """Kill studies `count` times, and go on with each until it is finished."""
    config = smallest(folder)
    reference = folder / "undisturbed"
    fate = child(lambda: study(reference, config), inside=reference)
    if fate.end != "done":
        raise RuntimeError(f"The study that nobody disturbed ended with {fate}.")
    say(f"undisturbed: {fate.seconds:.1f} s of processor time, {fate.operations} changes of files")
    found, rng, number = Kills(), random.Random(seed), 0
    while found.by_clock + found.by_operation < count:
        store = folder / f"killed-{number}"
        number += 1
        _one_study(store, lambda s=store: study(s, config), fate.seconds, fate.operations, count, rng, found)
        if store.is_dir() and not found.wrong:
            wrong = [f"{store.name}: the table {name} differs" for name in differences(store, reference)]
            wrong += [f"{store.name}: {name} is left behind" for name in leftovers(store)]
            found.wrong += wrong
            found.studies += 1
        if found.wrong:
            break
        shutil.rmtree(store)
        say(f"{found.by_clock + found.by_operation} kills, {found.studies} studies finished alike")
    return found


def _one_study(
    store: Path,
    work: Callable[[], object],
    seconds: float,
    operations: int,
    count: int,
    rng: random.Random,
    found: Kills,
) -> None:
    """Kill and go on until the study is finished, or something is wrong."""
    while True:
        clock = rng.random() < 0.5
        left = found.by_clock + found.by_operation < count
        fate = child(
            work,
            seconds=rng.uniform(0, seconds) if left and clock else None,
            # A third of them in the first moments, in which a store is not yet one.
            operation=rng.randint(1, rng.choice((25, operations, operations))) if left and not clock else None,
            inside=store,
        )
        if fate.end == "done":
            return
        if fate.end != "killed":
            found.wrong.append(f"{store.name}: {fate.end}: {fate.said}")
            return
        found.by_clock += clock
        found.by_operation += not clock
        moment = _moment(store)
        found.moments[moment] = found.moments.get(moment, 0) + 1


def _moment(store: Path) -> str:
    """Say how far a store was when its process was killed."""
    if not (store / "manifest.json").is_file():
        return "before the manifest"
    if not (store / "samples.json").is_file():
        return "before the samples"
    if not list(store.glob("checkpoints/**/finished.json")):
        return "in the training"
    if len(list(store.glob("cells/*.interactions"))) < 6:
        return "in the cells"
    return "in the tables" if not (store / "metrics.parquet").is_file() else "after the first tables"
