"""What the machine takes away: the disk, the rights, a checkpoint, the network's end of a fetch, finite numbers.

Each fault meets a study (or a fetch) in a child. It ends in a sentence; what was finished before is kept; and when the
fault is gone, the same call ends in the tables of a study that nobody disturbed.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from interact.models import embedded
from interact.models.embedded import wheels
from interact.models.embedded.sources import SOURCES
from tests.faults.ground import Fate, child, differences, leftovers, smallest, study
from tests.interact.package_index import Index, file_source

NOBODY = 65534
MEGABYTE = 1 << 20


def limit_files(largest: int) -> None:
    """Let no file of this process grow beyond a size: the system then refuses a write as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))


def drop_rights() -> None:
    """Become nobody, for whom the modes of files hold."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Callable[[int], None]]:
    """Mount a file system of this many bytes; give a way to make it larger.

    Raises:
        RuntimeError: Mounting is not allowed here.
    """
    folder.mkdir(parents=True)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True)
    if made.returncode:
        raise RuntimeError(f"A small disk could not be mounted: {made.stderr.decode(errors='replace').strip()}.")

    def grow(larger: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={larger}", str(folder)], check=True, capture_output=True)

    try:
        yield grow
    finally:
        subprocess.run(["umount", str(folder)], check=True, capture_output=True)


def repaired(store: Path, config: Any, undisturbed: Path, fate: Fate, fault: str) -> list[str]:
    """Hold a fault's end against what it should be, then go on without the fault; return what is wrong."""
    wrong = [] if fate.end in ("sentence", "done") else [f"{fault}: {fate.end}: {fate.said}"]
    after = child(lambda: study(store, config))
    if after.end != "done":
        return [*wrong, f"{fault}, then repaired: {after.end}: {after.said}"]
    wrong += [f"{fault}, then repaired: the table {name} differs" for name in differences(store, undisturbed)]
    return wrong + [f"{fault}, then repaired: {name} is left behind" for name in leftovers(store)]


def fill_disks(folder: Path, undisturbed: Path, sizes: list[int], *, say: Callable[[str], None] = print) -> list[str]:
    """Run studies on disks of these sizes, in bytes, and go on when the disk has grown."""
    config, wrong = smallest(folder), []
    for size in sizes:
        with small_disk(folder / f"disk-{size}", size) as grow:
            store = folder / f"disk-{size}" / "store"
            fate = child(lambda s=store: study(s, config))
            say(f"disk of {size >> 10} KB: {fate.end}: {fate.said}")
            grow(64 * MEGABYTE)
            wrong += repaired(store, config, undisturbed, fate, f"disk of {size >> 10} KB")
    return wrong


def limit_sizes(folder: Path, undisturbed: Path, sizes: list[int], *, say: Callable[[str], None] = print) -> list[str]:
    """Run studies that may write no file larger than these sizes, in bytes, and go on without the limit."""
    config, wrong = smallest(folder), []
    for size in sizes:
        store = folder / f"limit-{size}"
        fate = child(lambda s=store: study(s, config), before=lambda n=size: limit_files(n))
        say(f"no file beyond {size} bytes: {fate.end}: {fate.said}")
        wrong += repaired(store, config, undisturbed, fate, f"no file beyond {size} bytes")
    return wrong


def take_rights(folder: Path, undisturbed: Path, *, say: Callable[[str], None] = print) -> list[str]:
    """Take the rights of each folder and kind of file of a store from a study that runs as nobody."""
    config, wrong = smallest(folder), []
    for path in [folder, *folder.parents]:
        if path.stat().st_uid == os.getuid() and path.stat().st_mode & 0o755 != 0o755:
            path.chmod(path.stat().st_mode | 0o755)
    for path in (folder / "one").iterdir():
        path.chmod(0o644)
    training = Path("checkpoints/one/reviews.jsonl/seed-0")
    places = [(".", 0o555), ("cells", 0o555), ("cells", 0o000), ("locks", 0o555), (str(training), 0o555)]
    places += [("checkpoints", 0o000), ("training/one/reviews.jsonl/seed-0.jsonl", 0o000), ("samples.json", 0o000)]
    places += [("config.json", 0o000), ("manifest.json", 0o000), (str(training / "step-2"), 0o000)]
    places += [(str(training / "step-2/adapter_model.safetensors"), 0o000), ("metrics.parquet", 0o000)]
    for number, (place, mode) in enumerate(places):
        store = folder / f"rights-{number}"
        shutil.copytree(undisturbed, store)
        shutil.rmtree(store / "locks")
        (store / "locks").mkdir()
        for cell in sorted((store / "cells").iterdir())[-2:]:
            cell.unlink()
        for path in [store, *store.rglob("*")]:
            os.chown(path, NOBODY, NOBODY)
        before = (store / place).stat().st_mode
        (store / place).chmod(mode)
        fate = child(lambda s=store: study(s, config), before=drop_rights)
        say(f"{place} with mode {mode:03o}: {fate.end}: {fate.said}")
        if (store / place).exists():
            (store / place).chmod(before)
        wrong += repaired(store, config, undisturbed, fate, f"{place} with mode {mode:03o}")
    return wrong


def remove_checkpoints(
    folder: Path, undisturbed: Path, steps: list[int], *, say: Callable[[str], None] = print
) -> list[str]:
    """Remove each checkpoint of a study whose cells are missing, then do what the sentence says."""
    config, wrong = smallest(folder), []
    training = Path("checkpoints/one/reviews.jsonl/seed-0")
    for step in steps:
        store = folder / f"removed-{step}"
        shutil.copytree(undisturbed, store)
        shutil.rmtree(store / "cells")
        shutil.rmtree(store / training / f"step-{step}")
        fate = child(lambda s=store: study(s, config))
        say(f"step-{step} removed: {fate.end}: {fate.said}")
        if fate.end != "sentence" or f"remove {store / training}" not in str(fate.said):
            wrong.append(f"step-{step} removed: {fate.end}: {fate.said}")
        shutil.rmtree(store / training)
        wrong += repaired(store, config, undisturbed, fate, f"step-{step} removed")
    return wrong


def kill_fetches(folder: Path, count: int, *, seed: int = 0) -> tuple[int, list[str]]:
    """Kill fetches at random changes of files; return the number of kills and what is wrong."""
    (folder / "index").mkdir(parents=True)
    index, rng = Index(folder / "index", []), random.Random(seed)
    wheels.download = index.download
    text = b"text,label,source\n" + b"".join(b"a film,%d,rotten_tomatoes\n" % (i % 2) for i in range(40))
    SOURCES["reviews"] = file_source(index, text)

    def fetch(cache: Path) -> int:
        embedded.fetch("reviews", cache=cache, say=lambda _: None)
        return len(embedded.reviews(cache=cache))

    whole = child(lambda: fetch(folder / "whole"), inside=folder / "whole")
    kills, wrong = 0, [] if whole.said == 40 else [f"an undisturbed fetch: {whole}"]
    while kills < count and not wrong:
        cache = folder / f"cache-{kills}"
        while True:
            last = rng.randint(1, whole.operations)
            fate = child(lambda c=cache: fetch(c), operation=last if kills < count else None, inside=cache)
            if fate.end != "killed":
                break
            kills += 1
        fate = child(lambda c=cache: fetch(c))
        left = [p.name for p in cache.iterdir() if p.name not in ("reviews", "reviews.lock")]
        if fate.end != "done" or fate.said != 40 or left:
            wrong.append(f"a fetch after {kills} kills: {fate.end}: {fate.said}; left {left}")
    return kills, wrong
