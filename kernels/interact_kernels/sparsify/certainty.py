"""What is known of each effect: its range over all splits that cost nearly as little as the one that was found.

A split is *near-optimal* when its cost F, the strength and the price of the noise, is at most U = (1 + eps) F(found).
The ridge is left out of F: it chooses one of the splits that cost the same, so it makes nothing certain. For any dual
vector y whose slopes s are within 1 but for that of an effect T, every split obeys (docs/split.md)::

    F  >=  D(y) + |x_T| - s_T x_T,      D(y) the dual bound

1. With a certificate this bounds every effect at no cost. The soft split's own is for a cost with a ridge, so a split
   without one gives another.
2. phi_T(t), the least cost with x_T held at t, is convex. So x_T stays beyond a level in every near-optimal split if
   and only if phi_T(level) > U, and phi_T is one more split, from where the first one stood (csrc/sparsify/
   held_columns.cpp). Each of its iterates proves bounds from both sides, and the first that passes U ends it.
3. A range's end is where phi_T reaches U. The bound of 1 with the y of a held split is a line below phi_T, so its root
   is a proven end, and closer to the true one than the level that was held.
4. Noise of the scores, where it is known, is compared with the same levels: what it may carry across its level is
   possible at most (`interact_kernels.sparsify.response` says how far it may carry).

What is returned is recomputed here from the dual vectors and the splits that the solver found: nothing it says of
itself is used.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from interact_kernels.sparsify import native
from interact_kernels.sparsify.form import cost, dual_bound, dual_slopes, single_ors_at_rest
from interact_kernels.sparsify.options import SplitOptions
from interact_kernels.sparsify.order_one import merge_order_one
from interact_kernels.sparsify.request import SplitRequest
from interact_kernels.sparsify.result import AndOrSplit

CERTAIN, POSSIBLE, EXCLUDED, UNDECIDED = range(4)
STATUSES = ("certain", "possible", "excluded", "undecided")
LARGEST_HELD = 12
_ROUNDING = 1e-12
_CHUNK = 64
_ROUNDS = 12
_RTOL = 1e-7
_FREE_RTOL = 1e-6
_ENDS = 1e-3


@dataclass(frozen=True)
class Certainty:
    """Result of `certainty`; arrays of shape [2, 2**n], the AND effects and then the OR effects.

    Attributes:
        status: Place in `STATUSES`, int8: certain (salient with one sign in every near-optimal split), possible
            (salient in one and not, or with the other sign, in another, or noise may make it so), excluded (salient in
            none), undecided.
        price: What it costs, relative to the split's cost, to take a salient effect down to its level, or another
            one up to it: at least this where certain or excluded, at most this where possible, NaN where undecided.
        low: Proven lower end of the effect over all near-optimal splits.
        high: Proven upper end.
        limit: The cost U that a near-optimal split may have.
        solved: How many splits with a held effect it took.
    """

    status: np.ndarray
    price: np.ndarray
    low: np.ndarray
    high: np.ndarray
    limit: float
    solved: int


def certainty(
    v: np.ndarray,
    split: AndOrSplit,
    bound: float,
    *,
    levels: np.ndarray,
    eps: float = 1e-4,
    every: bool | np.ndarray = False,
    ranges: bool = False,
    reach: np.ndarray | None = None,
    time_limit: float = float("inf"),
) -> Certainty:
    """Classify the effects of one split by what every near-optimal split says of them.

    A near-optimal split costs at most (1 + eps) times what this one costs without its ridge.

    Args:
        v: The scores, float64, shape [2**n].
        split: Their split, of any implementation that certifies; OR effects of single players count as AND.
        bound: Its absolute noise bound (box), gamma (soft) or 0: kappa |v[full] - v[empty]|.
        levels: The level above which an effect is salient, shape [2, 2**n].
        eps: How much more than the split a near-optimal one may cost, relative.
        every: Decide the other effects too, not only the salient ones and those that are decided for free; or which
            of them, bool, shape [2, 2**n].
        ranges: Find the ends of the salient effects (with `every`, of those too) to a thousandth of their levels.
        reach: How far noise of the scores may carry each effect, shape [2, 2**n]; None for not at all.
        time_limit: Seconds after which what is left is undecided.

    Raises:
        ValueError: The split certifies nothing, or eps, a level or the time limit is negative.

    >>> from interact_kernels.sparsify import and_or_split
    >>> v = np.array([0.0, 0.0, 0.0, 1.0])
    >>> found = certainty(v, and_or_split(v), 0.01, levels=np.full((2, 4), 0.05))
    >>> STATUSES[found.status[0, 3]]
    'certain'
    """
    _check(eps, time_limit, levels)
    if not np.any(split.certificate) and np.any(split.primal):
        raise ValueError(
            "This split proves no bound (its certificate is 0), so it has no certain interactions; split again."
        )
    work = _Work(np.asarray(v, dtype=np.float64), split, bound, np.asarray(levels, dtype=np.float64), eps)
    deadline = time.monotonic() + time_limit
    chosen = work.columns & (every | work.salient)
    if work.n <= LARGEST_HELD:
        if split.form.ridge:
            work.split_without_ridge(deadline)
        for at, sides in work.questions(chosen):
            work.hold(at, sides, deadline)
        if ranges:
            work.find_ends(chosen, deadline)
    return work.answer(np.zeros(work.levels.shape) if reach is None else reach)


def bounds(
    v: np.ndarray,
    split: AndOrSplit,
    bound: float,
    *,
    points: np.ndarray,
    eps: float = 1e-4,
    time_limit: float = float("inf"),
) -> tuple[np.ndarray, np.ndarray]:
    """Return proven bounds of all effects over the near-optimal splits, of shape [2, 2**n] each.

    Args:
        v: As in `certainty`.
        split: As in `certainty`.
        bound: As in `certainty`.
        points: Where the bounds of an effect need to be told from, shape [2, 2**n], NaN for nowhere: a bound lies
            between the effect and its point if every near-optimal split lies on the effect's side of it.
        eps: As in `certainty`.
        time_limit: Seconds after which no more bounds are sought.

    Raises:
        ValueError: eps or the time limit is negative.
    """
    points = np.asarray(points, dtype=np.float64)
    _check(eps, time_limit, np.zeros(1))
    deadline = time.monotonic() + time_limit
    work = _Work(np.asarray(v, dtype=np.float64), split, bound, np.zeros_like(points), eps)
    if work.n <= LARGEST_HELD:
        if split.form.ridge:
            work.split_without_ridge(deadline)
        flat = points.ravel()
        asked = np.flatnonzero(np.isfinite(flat) & (work.low.ravel() <= flat) & (flat <= work.high.ravel()))
        for first in range(0, len(asked), _CHUNK):
            part = asked[first : first + _CHUNK]
            work.hold(part, np.ones(len(part)), deadline, flat[part], decide=True)
    return np.where(work.columns, work.low, 0.0), np.where(work.columns, work.high, 0.0)


def _check(eps: float, time_limit: float, levels: np.ndarray) -> None:
    least = float(np.min(levels, initial=0.0))
    if not (np.isfinite(eps) and eps >= 0 and time_limit >= 0 and least >= 0):
        raise ValueError(
            f"eps, levels and time_limit must be >= 0, but eps is {eps}, time_limit {time_limit} and the least level "
            f"{least:g}."
        )


class _Work:
    def __init__(self, v: np.ndarray, split: AndOrSplit, bound: float, levels: np.ndarray, eps: float) -> None:
        split = merge_order_one(split)
        self.v, self.levels = v, levels
        self.form = replace(split.form, ridge=0.0)
        self.bound = np.array([bound])
        self.n = len(v).bit_length() - 1
        self.effects = np.stack([np.asarray(split.i_and), np.asarray(split.i_or)])
        i_and, i_or = self.effects[:, None]
        noise = np.asarray(split.noise)[None]
        self.found = float(cost(self.form, v[None], self.bound, i_and, i_or, noise)[0])
        # The split that was found is near-optimal for every eps, rounding or not.
        self.limit = (1 + max(eps, _ROUNDING)) * self.found
        self.columns = single_ors_at_rest(np.ones_like(levels)).astype(bool)
        self.columns[:, 0] = False
        self.salient = (np.abs(self.effects) > levels) & self.columns
        # No effect is larger than what its split costs.
        self.low, self.high = np.full_like(levels, -self.limit), np.full_like(levels, self.limit)
        # Proven bounds of phi at +level and -level.
        self.least, self.most = np.zeros((2, *levels.shape)), np.full((2, *levels.shape), np.inf)
        self.solved = 0
        self._learn(np.asarray(split.certificate, dtype=np.float64))

    def split_without_ridge(self, deadline: float) -> None:
        """Bound every effect by the certificate of a split without a ridge."""
        options = SplitOptions(time_limit=max(deadline - time.monotonic(), 0.0))
        request = SplitRequest(self.v[None], self.bound, _FREE_RTOL, options, None, self.form)
        self._learn(native.interior_point(request).certificate[0])

    def _learn(self, y: np.ndarray) -> None:
        """Bound every effect by one dual vector."""
        slopes = single_ors_at_rest(dual_slopes(y))
        scale = max(1.0, float(np.abs(slopes).max()))
        y, slopes = y / scale, slopes / scale
        whole = float(dual_bound(self.form, self.v, self.bound, y, slopes)[0])
        self._cut(np.nonzero(self.columns), slopes[self.columns], np.full(int(self.columns.sum()), whole))

    def _cut(self, at: tuple[np.ndarray, ...], slopes: np.ndarray, without: np.ndarray) -> None:
        """Take what dual vectors prove of the columns `at`: their slopes there, and their bounds without them."""
        low, high = ends(slopes, self.limit - without)
        # A column may be there twice, held at either end.
        np.maximum.at(self.low, at, low)
        np.minimum.at(self.high, at, high)
        for side, sign in enumerate((1.0, -1.0)):
            level = self.levels[at]
            np.maximum.at(self.least[side], at, without + level - sign * slopes * level)

    def questions(self, chosen: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return places (flat) and signs of the levels to hold, a few at a time."""
        flat, places, sides = self.effects.ravel(), [], []
        for side, sign in enumerate((1.0, -1.0)):
            # A salient effect is asked whether it comes down to its level, another whether it comes up to either.
            asked = chosen & np.where(self.salient, np.sign(self.effects) == sign, True)
            asked &= self.least[side] <= self.limit
            asked &= (self.low <= sign * self.levels) & (sign * self.levels <= self.high)
            places.append(np.flatnonzero(asked))
            sides.append(np.full(len(places[-1]), sign))
        place, side = np.concatenate(places), np.concatenate(sides)
        order = np.argsort(-np.abs(flat[place]), kind="stable")
        cuts = range(_CHUNK, len(order), _CHUNK)
        return list(zip(np.split(place[order], cuts), np.split(side[order], cuts), strict=True)) if len(order) else []

    def hold(
        self,
        place: np.ndarray,
        sign: np.ndarray,
        deadline: float,
        levels: np.ndarray | None = None,
        *,
        decide: bool = False,
    ) -> np.ndarray | None:
        """Hold columns (flat places) at their levels; return the least cost found of each, None out of time.

        With other levels than the own a split runs to its end, unless it is to `decide` only.
        """
        left = deadline - time.monotonic()
        if left <= 0 or not len(place):
            return None
        at = np.unravel_index(place, self.levels.shape)
        level = sign * self.levels[at] if levels is None else levels
        decision = self.limit if levels is None or decide else float("nan")
        options = SplitOptions(time_limit=left)
        request = SplitRequest(self.v[None], self.bound, _RTOL, options, None, self.form)
        i_and, i_or, noise, y = native.hold_columns(request, at[0], at[1], level, decision)
        if self.n == 1:
            # The only column is held, so nothing moves, and the dual is one number without a limit.
            apart = self.v[1] - self.v[0] - level
            i_and[:, 1], noise[:, 1] = level, -apart
            y[:, 1] = apart / self.bound if self.form.soft and self.bound > 0 else 1e9 * np.sign(apart)
            if not self.form.soft:
                i_and[np.abs(apart) > self.bound, 1] = np.inf
        self.solved += len(place)
        slopes = single_ors_at_rest(dual_slopes(y))
        rows = np.arange(len(place))
        own = slopes[at[0], rows, at[1]].copy()
        # The slopes of all other columns must stay within 1.
        slopes[at[0], rows, at[1]] = 0.0
        scale = np.maximum(1.0, np.abs(slopes).max((0, 2)))
        y, own = y / scale[:, None], own / scale
        without = dual_bound(self.form, np.broadcast_to(self.v, y.shape), self.bound, y)
        self._cut(at, own, without)
        most = cost(self.form, np.broadcast_to(self.v, y.shape), self.bound, i_and, i_or, noise)
        reached = np.where(at[0] == 0, i_and[rows, at[1]], i_or[rows, at[1]])
        most = np.where(np.abs(reached - level) <= 1e-6 * np.abs(level) + 1e-12 * self.found, most, np.inf)
        if levels is None:
            for side, which in enumerate((sign > 0, sign < 0)):
                self.most[side][tuple(a[which] for a in at)] = most[which]
        return most

    def find_ends(self, chosen: np.ndarray, deadline: float) -> None:
        """Move the ends of ranges inwards, from proof to proof, until they stand."""
        places = np.flatnonzero(chosen)
        open_ends = {(int(p), side): np.inf for p in places for side in (1, -1)}
        for _ in range(_ROUNDS):
            if not open_ends:
                return
            place = np.array([p for p, _ in open_ends])
            sign = np.array([float(s) for _, s in open_ends])
            before = np.where(sign > 0, self.high.ravel()[place], self.low.ravel()[place])
            for first in range(0, len(place), _CHUNK):
                part = slice(first, first + _CHUNK)
                if self.hold(place[part], sign[part], deadline, before[part]) is None:
                    return
            after = np.where(sign > 0, self.high.ravel()[place], self.low.ravel()[place])
            moved = np.abs(after - before) > _ENDS * self.levels.ravel()[place]
            open_ends = {(int(p), int(s)): 0.0 for p, s, m in zip(place, sign, moved, strict=True) if m}

    def answer(self, reach: np.ndarray) -> Certainty:
        least, most = (np.where(self.columns, part, np.nan) for part in (self.least, self.most))
        own = np.where(self.effects >= 0, 0, 1)[None]
        down = [np.take_along_axis(part, own, 0)[0] for part in (least, most)]
        least_any, most_any = np.fmin(*least), np.fmin(*most)
        beyond = (self.low > self.levels) | (self.high < -self.levels)
        within = (self.low >= -self.levels) & (self.high <= self.levels)
        sure = self.salient & (beyond | (down[0] > self.limit))
        gone = ~self.salient & (within | (least_any > self.limit))
        either = np.where(self.salient, down[1] <= self.limit, most_any <= self.limit)
        status = np.full(self.levels.shape, UNDECIDED, dtype=np.int8)
        size = np.abs(self.effects)
        crossed = np.where(self.salient, size - reach <= self.levels, size + reach > self.levels) & (reach > 0)
        for code, which in ((POSSIBLE, either), (EXCLUDED, gone), (CERTAIN, sure), (POSSIBLE, crossed)):
            status[which & self.columns] = code
        proven = np.where(self.salient, down[0], least_any)
        shown = np.where(self.salient, down[1], most_any)
        unit = self.found if self.found > 0 else 1.0
        price = np.where(sure | gone, proven, np.where(either, shown, np.nan)) / unit - 1
        price[~self.columns | (status == UNDECIDED)] = np.nan
        status[~self.columns] = EXCLUDED
        low, high = (np.where(self.columns, part, 0.0) for part in (self.low, self.high))
        return Certainty(status, price, low, high, self.limit, self.solved)


def ends(slope: np.ndarray, slack: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the largest t with |t| - slope t <= slack; both 0 where there is none."""
    low, high = -_upper(-slope, slack), _upper(slope, slack)
    # With less than no slack one side alone is left, where the effect saves more than it costs.
    far = np.abs(slope) - 1
    alone = (slack < 0) & (far > 0)
    near = np.divide(-slack, far, out=np.zeros_like(far), where=alone)
    return np.where(alone & (slope > 0), near, low), np.where(alone & (slope < 0), -near, high)


def _upper(slope: np.ndarray, slack: np.ndarray) -> np.ndarray:
    rise = 1 - slope
    return np.divide(np.maximum(slack, 0.0), rise, out=np.full_like(rise, np.inf), where=rise > 0)
