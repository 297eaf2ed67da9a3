"""The scores known so far, in memory and in a file: nothing is lost when a run is interrupted or killed.

A file holds one JSON line that says what it belongs to, then records of one coalition (players packed eight to a byte),
one float64 and the CRC-32 of both each, appended as they come. A record that was cut short by a kill, or whose sum
differs, is dropped and asked again.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

Value = Callable[[np.ndarray], np.ndarray]
"""A value function: bool [m, n] (which players are present) -> float [m]."""

_FORMAT = "interact.scores"
_SCORE = struct.Struct("<dI")


class Interrupted(KeyboardInterrupt):
    """An interrupt of a run; `scores` holds the scores so far and can be passed as `cache`."""

    def __init__(self, scores: ScoreCache) -> None:
        place = "" if scores.path is None else f", kept in {scores.path}"
        super().__init__(f"interrupted after {len(scores)} scores{place}")
        self.scores = scores


class ScoreCache:
    """Scores by coalition, in memory and, with a path, in a file as well.

    Args:
        path: Where to keep them; an existing file is gone on with. None keeps them in memory only.
        identity: What the scores belong to (model, text, masking); scores of something else are refused. Without it,
            some of the scores kept are scored again and compared (`check_same`).

    Raises:
        ValueError: It is no path, or the file is not of this format, or belongs to something else.
    """

    def __init__(self, path: str | Path | None = None, identity: str = "") -> None:
        if path is not None and not isinstance(path, (str, Path)):
            raise ValueError(f"A cache of scores is a file or a ScoreCache, but is {path!r:.60}.")
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
            raise ValueError(f"The cache holds scores of {self._n} players, but {n} are needed; use another one.")
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
                    records, before = b"".join(_record(key, v) for key, v in good), file.seek(0, os.SEEK_END)
                    if file.write(records) < len(records):
                        # A piece of a record would hide those that come after it.
                        file.truncate(before)
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:
                raise RuntimeError(
                    f"The scores could not be kept in {self.path}: {error}. Free some space and run it again; it "
                    "continues from the scores that are there."
                ) from error

    def _read(self, data: bytes, n: int) -> int:
        """Take whole records, those after a torn one, too; return up to which byte there are any."""
        width = (n + 7) // 8
        size, at, whole = width + _SCORE.size, 0, 0
        while at + size <= len(data):
            key = data[at : at + width]
            score, _ = _SCORE.unpack_from(data, at + width)
            if data[at : at + size] != _record(key, score):
                # One whose sum differs is as long as the others; a torn one is shorter.
                at += 1
                continue
            if np.isfinite(score):
                self._known[key] = score
            at = whole = at + size
        return whole


def _record(key: bytes, score: float) -> bytes:
    start = key + struct.pack("<d", score)
    return start + struct.pack("<I", zlib.crc32(start))


def named(key: bytes) -> str:
    """Return a packed coalition as its bit mask."""
    return hex(int.from_bytes(key, "little"))
