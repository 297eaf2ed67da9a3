"""How a value function is called: in batches, again where it fails for a moment, and twice to see whether it is random.

1. Eight batches' worth are sorted before they are cut, so that coalitions with a long common beginning, which the
   coalition tree computes once, are asked together.
2. A batch whose call raises is scored again after a wait, unless the error is of a kind that another try does not
   change. If it fails still, a coalition that was scored before says whether the function fails for all now: then the
   run ends, with its scores kept. Otherwise the batch is halved until the coalitions at fault are alone.
3. Nothing is asked twice for its score. Two coalitions are, to see whether the same score comes back; if not, more are,
   and their differences say how far one score can be trusted (`spread`). Of a cache from before, whose function has no
   name, up to four are, to see whether it is the same function.
"""

from __future__ import annotations

import contextlib
import json
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any
from urllib.error import HTTPError

import numpy as np

from interact.formats.progress import Progress
from interact.sparse.scores import Interrupted, ScoreCache, Value, named

_MOST_FAILURES = 64
_SHORT = 0.05
# The squares of larger scores overflow.
_LARGEST = 1e100
_SURE = (ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError, TypeError, ValueError)
"""Errors of what was given, which come again; all others may be of the moment (a connection, a server)."""
_GARBLED = (json.JSONDecodeError, UnicodeDecodeError)
"""A reply that cannot be read, such as a page of a proxy's; it may be of the moment, though these are `ValueError`s."""
_ROUNDING = 1e-5
"""Scores that differ by less than this share of their spread are the same."""


@dataclass(frozen=True)
class Asking:
    """How a value function is called.

    Attributes:
        batch: Most coalitions of one call.
        retries: How often a failed call is tried again, unless its error is of what was given (a `ValueError`, say).
        wait: Seconds before the first of these, doubled for each further one.
        repeats: Most coalitions that are scored a second time, in addition to the budget: two, and the rest
            only if these differ. Their spread enters the error bars. 0 for none; None for 32, for a prompt of a model
            for none.
    """

    batch: int = 512
    retries: int = 3
    wait: float = 1.0
    repeats: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.batch, Integral) or not isinstance(self.retries, Integral):
            raise ValueError(f"batch ({self.batch}) and retries ({self.retries}) must be whole numbers.")
        if self.batch < 1:
            raise ValueError(f"batch must be positive, but is {self.batch}.")
        if not isinstance(self.wait, Real) or (self.repeats is not None and not isinstance(self.repeats, Integral)):
            raise ValueError(
                f"wait ({self.wait!r}) must be a number, and repeats ({self.repeats!r}) a whole one or None."
            )
        if self.retries < 0 or not 0 <= self.wait < float("inf"):
            raise ValueError(f"retries ({self.retries}) and wait ({self.wait}) must be 0 or more.")
        if self.repeats is not None and self.repeats < 0:
            raise ValueError(f"repeats must be 0 or more, or None, but is {self.repeats}.")


def score(
    value: Value, masks: np.ndarray, cache: ScoreCache, asking: Asking | None = None, progress: Progress | None = None
) -> np.ndarray:
    """Score coalitions, asking only for those that the cache does not know.

    Coalitions for which the value function raises, and those whose score is not finite or beyond 1e100, get NaN, and a
    warning names the first.

    Args:
        value: The value function.
        masks: Which players are present, bool, shape [m, n].
        cache: Scores known; new ones are added batch by batch.
        asking: Batches and retries.
        progress: Reports each batch.

    Returns:
        float64, shape [m].

    Raises:
        ValueError: The value function returns another shape or complex numbers, or fails for 65 coalitions more than
            it scores.
        RuntimeError: It fails for all coalitions now, after it scored some.
        Interrupted: Ctrl-C; the scores so far are in it, and in the cache.
    """
    before = len(cache.failed)
    fill(value, masks, cache, asking, progress)
    if len(cache.failed) > before:
        key, reason = next(iter(cache.failed.items()))
        warnings.warn(
            f"The value function failed for {len(cache.failed)} coalitions, which are left out; the first is the mask "
            f"{named(key)}: {reason}.",
            stacklevel=3,
        )
    return cache.get(masks)


def fill(
    value: Value, masks: np.ndarray, cache: ScoreCache, asking: Asking | None = None, progress: Progress | None = None
) -> None:
    """Score coalitions into a cache, as `score` does, but without a warning; those without a score are in its `failed`.

    Args and errors as `score`.
    """
    asking = asking or Asking()
    todo = np.flatnonzero(np.isnan(cache.get(masks)))
    try:
        for window, as_drawn in _windows(masks, todo, asking.batch, len(cache)):
            for low in range(0, len(window), asking.batch):
                rows = window[low : low + asking.batch]
                for part, values in _ask(value, masks[rows], cache, asking, as_drawn):
                    cache.put(part, values)
                if progress is not None:
                    progress.update(len(rows))
            _check_hope(cache)
    except KeyboardInterrupt as interrupt:
        raise Interrupted(cache) from interrupt
    if cache.failed and not len(cache):
        raise _hopeless(cache)


def spread(value: Value, cache: ScoreCache, asking: Asking, rng: np.random.Generator) -> float:
    """Return by how much one score of the same coalition differs from call to call, as a standard deviation.

    Two known coalitions are scored again; where they come back the same to rounding it is 0, else more are asked, each
    in a call with others, as they were.

    Raises:
        Interrupted: Ctrl-C.
    """
    masks, known = cache.listed()
    most = min(32 if asking.repeats is None else asking.repeats, len(known))
    if not most:
        return 0.0
    rows = rng.permutation(len(known))[:most]
    moved = _moved(value, masks[rows[:2]], known[rows[:2]], asking, cache)
    if not len(moved):
        warnings.warn(
            "The value function failed when known coalitions were scored a second time, so it is not known whether its "
            "scores are random.",
            stacklevel=3,
        )
    scale = float(np.ptp(known)) + 1e-9 * float(np.abs(known).max())
    if not (np.abs(moved) > _ROUNDING * scale).any():
        return 0.0
    more = rows[2:]
    moved = np.concatenate([moved, _moved(value, masks[more], known[more], asking, cache)])
    # The difference of two scores has twice the variance of one.
    return float(np.sqrt((moved**2).mean() / 2))


def _moved(value: Value, masks: np.ndarray, known: np.ndarray, asking: Asking, cache: ScoreCache) -> np.ndarray:
    """Return by how much scores differ when they are scored again; those that fail now are left out."""
    moved = _again(value, masks, asking, cache) - known
    return moved[np.isfinite(moved)]


def _again(value: Value, masks: np.ndarray, asking: Asking, cache: ScoreCache) -> np.ndarray:
    """Score coalitions that are known once more; NaN where there is no score now."""
    fresh = ScoreCache()
    fresh.open(masks.shape[1])
    # Where it fails now, what is known is no worse for it; whoever asks for further scores is told the reason.
    try:
        with contextlib.suppress(ValueError, RuntimeError):
            fill(value, masks, fresh, asking)
    except Interrupted as interrupt:
        raise Interrupted(cache) from interrupt
    return fresh.get(masks)


def check_same(value: Value, cache: ScoreCache, asking: Asking | None = None, *, share: float = 0.01) -> None:
    """Score up to four known coalitions again, among them the lowest and the highest, and compare.

    Scores whose cache names what they belong to (`identity`) are taken as they are, and so is an empty cache.

    Raises:
        ValueError: They differ by more than a `share` of the spread of the known scores.
        Interrupted: Ctrl-C.
    """
    masks, known = cache.listed()
    if cache.identity or not len(known):
        return
    # Of the lowest the largest coalition and of the highest the smallest: there few players decide.
    by_score = np.lexsort((-masks.sum(axis=1), known))
    rows = np.unique([by_score[0], by_score[-1], 0, len(known) - 1])
    again = _again(value, masks[rows], asking or Asking(), cache)
    with np.errstate(over="ignore"):
        single = bool((known.astype(np.float32) == known).all())
    # What is no float32 itself may be made of float32 numbers.
    slack = share * np.ptp(known) + (1e-6 if single else 1e-7) * np.abs(known).max()
    # What has no score now is said when the others are asked.
    differs = np.flatnonzero(np.abs(again - known[rows]) > slack)
    if len(differs):
        place = "The cache" if cache.path is None else str(cache.path)
        row = differs[0]
        key = np.packbits(masks[rows[row]], bitorder="little").tobytes()
        raise ValueError(
            f"{place} holds scores of another value function: of the mask {named(key)} it has "
            f"{known[rows[row]]:.9g}, but the function returns {again[row]:.9g}; name another file, or delete it. For "
            "a function whose scores are random, pass ScoreCache(path, identity='a name for it')."
        )


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


def _ask(
    value: Value, masks: np.ndarray, cache: ScoreCache, asking: Asking, as_drawn: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield coalitions and scores, halving where the value function raises."""
    try:
        values = _called(value, masks, cache, asking)
    except (MemoryError, RecursionError, _Down):
        raise
    except Exception as error:
        # Whatever a user's function raises concerns some of the coalitions, until it is seen to concern all.
        if len(masks) == 1:
            _failed(cache, masks[0], f"{type(error).__name__}: {error}", as_drawn)
            return
        # One more try each, so that a failure of the moment is not taken for the prompt's. If nothing was scored yet,
        # all is at fault, most likely, and long waits would only put off saying so.
        wait = asking.wait if len(cache) else min(asking.wait, _SHORT)
        middle, hasty = len(masks) // 2, Asking(asking.batch, min(1, asking.retries), wait)
        yield from _ask(value, masks[:middle], cache, hasty, as_drawn)
        yield from _ask(value, masks[middle:], cache, hasty, as_drawn)
        return
    if values.shape != (len(masks),):
        raise ValueError(
            f"The value function must return one score per coalition, shape ({len(masks)},), but returned "
            f"{values.shape}."
        )
    if values.dtype.kind == "c":
        raise ValueError(
            f"The value function must return real scores, but returned {values.dtype}; return their real part or "
            "absolute value."
        )
    good = np.abs(values) <= _LARGEST
    # The good ones are kept before the bad ones are counted: failures are compared with scores.
    yield masks, np.where(good, values, np.nan)
    for row in np.flatnonzero(~good):
        _failed(cache, masks[row], f"its score is {values[row]}, not a number up to {_LARGEST:g}", as_drawn)


class _Down(RuntimeError):
    """A value function that fails for what it has scored before."""


def _called(value: Value, masks: np.ndarray, cache: ScoreCache, asking: Asking) -> np.ndarray:
    """Call the value function, again after a wait where it fails for a moment.

    Raises:
        _Down: It still fails, and for a coalition that it has scored, too.
    """
    failure: Exception = RuntimeError("The value function was not called.")
    for turn in range(asking.retries + 1):
        if turn:
            time.sleep(asking.wait * 2 ** (turn - 1))
        try:
            return _numbers(value, masks)
        except (MemoryError, RecursionError):
            raise
        except _GARBLED as error:
            failure = error
        except _SURE:
            raise
        except Exception as error:
            if isinstance(error, HTTPError):
                error.close()  # It holds its connection.
            failure = error
    if asking.retries and len(cache):
        known, _ = cache.listed()
        try:
            _numbers(value, known[-1:])
        except Exception as error:
            place = "are in the cache" if cache.path is None else f"are kept in {cache.path}"
            raise _Down(
                f"The value function failed {asking.retries + 1} times in a row, and for a coalition that it scored "
                f"before ({type(error).__name__}: {error}). The {len(cache)} scores so far {place}; run it again when "
                "the function answers."
            ) from error
    raise failure


def _numbers(value: Value, masks: np.ndarray) -> np.ndarray:
    # A copy, because the function may write into what it is given.
    found: Any = value(masks.copy())
    if hasattr(found, "detach"):
        # A tensor may be on a card, be learned from, or have numbers that NumPy lacks (bfloat16).
        found = found.detach().cpu()
        found = found.double() if found.is_floating_point() else found
    if isinstance(found, np.ma.MaskedArray):
        # What is masked is no score.
        found = np.ma.filled(found.astype(np.float64), np.nan)
    given = np.asarray(found)
    return given if given.dtype.kind == "c" else given.astype(np.float64)


def _failed(cache: ScoreCache, mask: np.ndarray, reason: str, as_drawn: bool) -> None:
    cache.failed[np.packbits(mask, bitorder="little").tobytes()] = reason
    if as_drawn:
        _check_hope(cache)


def _check_hope(cache: ScoreCache) -> None:
    if len(cache.failed) > _MOST_FAILURES + len(cache):
        raise _hopeless(cache)


def _hopeless(cache: ScoreCache) -> ValueError:
    key, first = next(iter(cache.failed.items()))
    return ValueError(
        f"The value function failed for {len(cache.failed)} coalitions and scored {len(cache)}; the first is the "
        f"mask {named(key)}: {first}. It takes a bool array [m, n] and returns a float array [m]."
    )
