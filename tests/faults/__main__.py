"""Repeat the table of docs/reliability.md: ``python -m tests.faults [NAME ...] [--count N] [--seed S] [--short]``.

The campaigns are kills, fetches, files, studies, limits and disks (which mounts small file systems and needs root).
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.faults import damage, kills, limits
from tests.faults.ground import child, smallest, study


def main(arguments: list[str] | None = None) -> int:
    """Run campaigns; return 1 when something was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {list(CAMPAIGNS)} (default: all)")
    parser.add_argument("--count", type=int, default=200, help="kills, damaged copies of each kind, or studies")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="few limits")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.names) - set(CAMPAIGNS)):
        parser.error(f"{unknown[0]} is no campaign; choose of {list(CAMPAIGNS)}")
    wrong = []
    for name in options.names or CAMPAIGNS:
        with tempfile.TemporaryDirectory() as folder:
            wrong += CAMPAIGNS[name](Path(folder), options)
    print("\n".join(["", *wrong]) if wrong else "\nnothing was lost")
    return 1 if wrong else 0


def _say(line: str) -> None:
    print(line, flush=True)


def _kills(folder: Path, options: argparse.Namespace) -> list[str]:
    found = kills.kill_studies(folder, options.count, seed=options.seed, say=_say)
    _say(f"{found.by_clock} kills by the clock, {found.by_operation} at a change of a file, {found.studies} studies")
    _say(", ".join(f"{n} {moment}" for moment, n in sorted(found.moments.items())))
    return found.wrong


def _fetches(folder: Path, options: argparse.Namespace) -> list[str]:
    count, wrong = limits.kill_fetches(folder, options.count, seed=options.seed)
    _say(f"{count} kills of fetches")
    return wrong


def _files(folder: Path, options: argparse.Namespace) -> list[str]:
    config = smallest(folder)
    child(lambda: study(folder / "store", config))
    kinds = damage.kinds_of_a_study(folder / "store", config) + damage.kinds_of_other_files(folder / "files")
    kinds += damage.kinds_of_a_cache(folder / "fetched") + damage.kinds_of_a_model(folder, config)
    wrong = []
    for kind in kinds:
        # A model is loaded for each copy, which takes long.
        few = options.count // 4 if kind.name.startswith(("adapter", "model")) else options.count
        found = damage.damage_readers([kind], few, seed=options.seed)[0]
        _say(f"{kind.name}: {', '.join(f'{n} {end}' for end, n in sorted(found.counts.items()))}")
        wrong += found.wrong
    return wrong


def _studies(folder: Path, options: argparse.Namespace) -> list[str]:
    config = smallest(folder)
    child(lambda: study(folder / "finished", config))
    found = damage.damage_studies(folder, folder / "finished", options.count, seed=options.seed)
    _say("\n".join(found.unnoticed))
    _say(f"{found.kind}: {', '.join(f'{n} {end}' for end, n in sorted(found.counts.items()))}")
    return found.wrong


def _limits(folder: Path, options: argparse.Namespace) -> list[str]:
    config, undisturbed = smallest(folder), folder / "undisturbed"
    child(lambda: study(undisturbed, config))
    wrong = limits.limit_sizes(folder, undisturbed, [6000] if options.short else [900, 3000, 6000, 40000], say=_say)
    wrong += limits.remove_checkpoints(folder, undisturbed, [1] if options.short else [1, 2], say=_say)
    if os.getuid() == 0 and not options.short:
        wrong += limits.take_rights(folder, undisturbed, say=_say)
    return wrong


def _disks(folder: Path, options: argparse.Namespace) -> list[str]:
    config, undisturbed = smallest(folder), folder / "undisturbed"
    child(lambda: study(undisturbed, config))
    sizes = [kilobytes << 10 for kilobytes in (16, 64, 128, 192, 256, 320, 384, 448)]
    return limits.fill_disks(folder, undisturbed, sizes, say=_say)


CAMPAIGNS: dict[str, Callable[[Path, argparse.Namespace], list[str]]] = {
    "kills": _kills,
    "fetches": _fetches,
    "files": _files,
    "studies": _studies,
    "limits": _limits,
    "disks": _disks,
}


if __name__ == "__main__":
    raise SystemExit(main())
