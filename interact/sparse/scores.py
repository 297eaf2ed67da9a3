"""The scores asked for so far: nothing is asked twice, and nothing is lost when a run is interrupted.

Only of a cache from before, whose function has no name, up to four scores are asked again, to see whether it is the
same.

A file holds one JSON line that says what it belongs to, then records of one coalition (players packed eight to a byte),
one float64 and the CRC-32 of both each, appended as they come. A record that was cut short by a kill, or whose sum
differs, is dropped and asked again.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

Value = Callable[[np.ndarray], np.ndarray]
"""A value function: bool [m, n] (which players are present) -> float [m]."""

_FORMAT = "interact.scores"
_SCORE = struct.Struct("<dI")
_MOST_FAILURES = 64
# The squares of larger scores overflow.
_LARGEST = 1e100


class Interrupted(KeyboardInterrupt):
    """An interrupt of a run; `scores` holds what was asked so far and can be passed on as `cache`."""

    def __init__(self, scores: ScoreCache) -> None:
        super().__init__(f"interrupted after {len(scores)} scores")
        self.scores = scores


class ScoreCache:
    """Scores by coalition, in memory and, with a path, in a file as well.

    Args:
        path: Where to keep them; an existing file is gone on with. None keeps them in memory only.
        identity: What the scores belong to (model, text, masking); scores of something else are refused. Without it,
            some of the scores kept are asked again and compared (`check_same`).

    Raises:
        ValueError: The file is not of this format, or belongs to something else.
    """

    def __init__(self, path: str | Path | None = None, identity: str = "") -> None:
        self.path = None if path is None else Path(path)
        self.identity = identity
        self.failed: dict[bytes, str] = {}
        self._n: int | None = None
        self._known: dict[bytes, float] = {}

    def __len__(self) -> int:
        return len(self._known)

    def open(self, n: int) -> None:
        """Prepare for coalitions of n players, reading the file if there is one.

        Raises:
            ValueError: The scores kept are of another number of players, or of something else.
            RuntimeError: The file cannot be written.
        """
        if self._n is not None and self._n != n:
            raise ValueError(f"The cache holds scores of {self._n} players, but {n} are asked; use another one.")
        fresh = self._n is None
        self._n = n
        self.failed.clear()
        if self.path is None or not fresh:
            return
        header = json.dumps({"format": _FORMAT, "version": 2, "players": n, "identity": self.identity}) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self.path.exists() or not self.path.stat().st_size:
                self.path.write_text(header, encoding="utf-8")
                return
            with self.path.open("r+b") as file:
                first = file.readline(1 << 16)
                if first != header.encode():
                    raise ValueError(
                        f"{self.path} holds no scores of this value function over {n} players (it begins with "
                        f"{first[:80]!r}); name another file, or delete it."
                    )
                kept = self._read(file.read(), n)
                # What is left of a record that a kill cut short.
                file.truncate(len(first) + kept)
        except OSError as error:
            raise RuntimeError(f"The scores cannot be kept in {self.path}: {error}. Choose another place.") from error

    def listed(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all coalitions known, bool [m, n], and their scores, float64 [m]."""
        n = self._n or 0
        packed = np.frombuffer(b"".join(self._known), dtype=np.uint8).reshape(len(self), (n + 7) // 8)
        masks = np.unpackbits(packed, axis=1, count=n, bitorder="little").astype(bool)
        return masks, np.array(list(self._known.values()), dtype=np.float64)

    def get(self, masks: np.ndarray) -> np.ndarray:
        """Return the scores known of coalitions (bool, [m, n]), NaN where none is."""
        keys = np.packbits(masks, axis=1, bitorder="little")
        return np.array([self._known.get(key.tobytes(), np.nan) for key in keys])

    def put(self, masks: np.ndarray, values: np.ndarray) -> None:
        """Keep finite scores of coalitions."""
        keys = [key.tobytes() for key in np.packbits(masks, axis=1, bitorder="little")]
        good = [(k, float(v)) for k, v in zip(keys, values, strict=True) if np.isfinite(v)]
        self._known.update(good)
        if self.path is not None and good:
            try:
                with self.path.open("ab", buffering=0) as file:
                    records = b"".join(_record(key, v) for key, v in good)
                    if file.write(records) < len(records):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:
                raise RuntimeError(
                    f"The scores could not be kept in {self.path}: {error}. Make room and run it again; it goes on "
                    "from the scores that are there."
                ) from error

    def _read(self, data: bytes, n: int) -> int:
        """Take whole records; return how many bytes they are."""
        width = (n + 7) // 8
        size = width + _SCORE.size
        whole = len(data) // size * size
        for at in range(0, whole, size):
            key = data[at : at + width]
            score, _ = _SCORE.unpack_from(data, at + width)
            if data[at : at + size] == _record(key, score) and np.isfinite(score):
                self._known[key] = score
        return whole


def _record(key: bytes, score: float) -> bytes:
    start = key + struct.pack("<d", score)
    return start + struct.pack("<I", zlib.crc32(start))


def score(
    value: Value, masks: np.ndarray, cache: ScoreCache, *, batch: int = 512, progress: bool = False
) -> np.ndarray:
    """Score coalitions, asking only for those that the cache does not know.

    Eight batches' worth are sorted before they are cut, so that coalitions with a long common beginning, which the
    coalition tree computes once, are asked together. A batch for which the value function raises is halved until the
    coalitions at fault are alone; they and those whose score is not finite, or beyond 1e100, get NaN, and a warning
    names the first.

    Args:
        value: The value function.
        masks: Which players are present, bool, shape [m, n].
        cache: Scores known; new ones are added batch by batch.
        batch: Most coalitions of one call.
        progress: Whether to show a bar on standard error.

    Returns:
        float64, shape [m].

    Raises:
        ValueError: The value function returns another shape or complex numbers, or fails for more coalitions than it
            scores.
        Interrupted: Ctrl-C; the scores so far are in it, and in the cache.
    """
    todo = np.flatnonzero(np.isnan(cache.get(masks)))
    before = len(cache.failed)
    try:
        with tqdm(total=len(todo), unit="coalition", disable=not progress, leave=False) as bar:
            for window, as_drawn in _windows(masks, todo, batch, len(cache)):
                for low in range(0, len(window), batch):
                    rows = window[low : low + batch]
                    for part, values in _ask(value, masks[rows], cache, as_drawn):
                        cache.put(part, values)
                    bar.update(len(rows))
                _check_hope(cache)
    except KeyboardInterrupt as interrupt:
        raise Interrupted(cache) from interrupt
    if cache.failed and not len(cache):
        raise _hopeless(cache)
    if len(cache.failed) > before:
        key, reason = next(iter(cache.failed.items()))
        warnings.warn(
            f"The value function failed for {len(cache.failed)} coalitions, which are left out; the first is the mask "
            f"{_named(key)}: {reason}.",
            stacklevel=3,
        )
    return cache.get(masks)


def _windows(masks: np.ndarray, todo: np.ndarray, batch: int, known: int) -> Iterator[tuple[np.ndarray, bool]]:
    """Yield the rows that are cut into calls together, and whether they come as drawn.

    Sorted rows begin with those without the first players; a function that fails without them would seem to fail for
    all. So where little is known yet the first come as drawn.
    """
    low = 0 if known >= 2 * _MOST_FAILURES else min(2 * _MOST_FAILURES, len(todo))
    if low:
        yield todo[:low], True
    for start in range(low, len(todo), 8 * batch):
        window = todo[start : start + 8 * batch]
        yield (window[np.lexsort(masks[window].T[::-1])] if masks.shape[1] else window), False


def check_same(value: Value, cache: ScoreCache, *, batch: int = 512, share: float = 0.01) -> None:
    """Score up to four known coalitions again, among them the lowest and the highest, and compare.

    Scores whose cache names what they belong to (`identity`) are taken as they are, and so is an empty cache.

    Raises:
        ValueError: They differ by more than a `share` of the spread of the known scores.
        Interrupted: Ctrl-C.
    """
    masks, known = cache.listed()
    if cache.identity or not len(known):
        return
    rows = np.unique([int(known.argmin()), int(known.argmax()), 0, len(known) - 1])
    fresh = ScoreCache()
    fresh.open(masks.shape[1])
    try:
        again = score(value, masks[rows], fresh, batch=batch)
    except Interrupted as interrupt:
        raise Interrupted(cache) from interrupt
    slack = share * np.ptp(known) + 1e-6 * np.abs(known).max()
    # What has no score now is said when the others are asked.
    differs = np.flatnonzero(np.abs(again - known[rows]) > slack)
    if len(differs):
        place = "The cache" if cache.path is None else str(cache.path)
        row = differs[0]
        key = np.packbits(masks[rows[row]], bitorder="little").tobytes()
        raise ValueError(
            f"{place} holds scores of another value function: of the mask {_named(key)} it has "
            f"{known[rows[row]]:.9g}, but the function returns {again[row]:.9g}; name another file, or delete it. For "
            "a function whose scores are random, pass ScoreCache(path, identity='a name for it')."
        )


def _ask(value: Value, masks: np.ndarray, cache: ScoreCache, as_drawn: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield coalitions and scores, halving where the value function raises."""
    try:
        # A copy, because the function may write into what it is given.
        given = np.asarray(value(masks.copy()))
        values = given if given.dtype.kind == "c" else given.astype(np.float64)
    except (MemoryError, RecursionError):
        raise
    except Exception as error:
        # Whatever a user's function raises concerns some of the coalitions, until it is seen to concern all.
        if len(masks) == 1:
            _failed(cache, masks[0], f"{type(error).__name__}: {error}", as_drawn)
            return
        middle = len(masks) // 2
        yield from _ask(value, masks[:middle], cache, as_drawn)
        yield from _ask(value, masks[middle:], cache, as_drawn)
        return
    if values.shape != (len(masks),):
        raise ValueError(
            f"The value function must return one score a coalition, shape ({len(masks)},), but returned {values.shape}."
        )
    if values.dtype.kind == "c":
        raise ValueError(
            f"The value function must return real scores, but returned {values.dtype}; return their real part or "
            "absolute value."
        )
    good = np.abs(values) <= _LARGEST
    # The good ones are kept before the bad ones are counted: failures are held against scores.
    yield masks, np.where(good, values, np.nan)
    for row in np.flatnonzero(~good):
        _failed(cache, masks[row], f"its score is {values[row]}, not a number up to {_LARGEST:g}", as_drawn)


def _failed(cache: ScoreCache, mask: np.ndarray, reason: str, as_drawn: bool) -> None:
    cache.failed[np.packbits(mask, bitorder="little").tobytes()] = reason
    if as_drawn:
        _check_hope(cache)


def _check_hope(cache: ScoreCache) -> None:
    if len(cache.failed) > max(_MOST_FAILURES, len(cache)):
        raise _hopeless(cache)


def _hopeless(cache: ScoreCache) -> ValueError:
    key, first = next(iter(cache.failed.items()))
    return ValueError(
        f"The value function failed for {len(cache.failed)} coalitions and scored {len(cache)}; the first is the "
        f"mask {_named(key)}: {first}. It takes a bool array [m, n] and returns a float array [m]."
    )


def _named(key: bytes) -> str:
    return hex(int.from_bytes(key, "little"))
