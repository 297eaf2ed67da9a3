"""What is known of each effect: its range over all splits that cost nearly as little as the one that was found.

A split is *near-optimal* when its cost F is at most U = (1 + eps) F(found). For any dual vector y with slopes s, and
for each effect T apart, every split obeys, with r = ridge / max |w| (docs/split.md)::

    F  >=  D_T(y) + |x_T| - s_T x_T + r/2 x_T^2,      D_T(y) the dual bound without T's column

1. With the split's own certificate this bounds every effect at no cost.
2. phi_T(t), the least cost with x_T held at t, is convex. So x_T stays beyond a level in every near-optimal split if
   and only if phi_T(level) > U, and phi_T is one more split, from where the first one stood (csrc/sparsify/
   held_columns.cpp). Each of its iterates proves bounds from both sides, and the first that passes U ends it.
3. Noise of the scores, where it is known, is held against the same levels: what it may carry across its level is
   possible at most (`interact_kernels.sparsify.response` says how far it may carry).
4. A range's end is where phi_T reaches U. The bound of 1 with the y of a held split is a line (a parabola) below
   phi_T, so its root is a proven end, and closer to the true one than the level that was held.

What is returned is recomputed here from the dual vectors and the splits that the solver found: nothing it says of
itself is used.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

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
_CHUNK = 64
_ROUNDS = 12
_RTOL = 1e-7
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
    if not (np.isfinite(eps) and eps >= 0 and time_limit >= 0 and (np.asarray(levels) >= 0).all()):
        raise ValueError(f"eps, levels and time_limit must be >= 0, but eps is {eps} and time_limit {time_limit}.")
    if not np.any(split.certificate) and np.any(split.primal):
        raise ValueError("This split proves no bound (its certificate is 0), so nothing is certain of it; split again.")
    work = _Work(np.asarray(v, dtype=np.float64), split, bound, np.asarray(levels, dtype=np.float64), eps)
    deadline = time.monotonic() + time_limit
    chosen = work.columns & (every | work.salient)
    if work.n <= LARGEST_HELD:
        for at, sides in work.questions(chosen):
            work.hold(at, sides, deadline)
        if ranges:
            work.find_ends(chosen, deadline)
    return work.answer(np.zeros(work.levels.shape) if reach is None else reach)


class _Work:
    def __init__(self, v: np.ndarray, split: AndOrSplit, bound: float, levels: np.ndarray, eps: float) -> None:
        split = merge_order_one(split)
        self.v, self.form, self.levels = v, split.form, levels
        self.bound = np.array([bound])
        self.n = len(v).bit_length() - 1
        unit = float(np.abs(v - v[0]).max()) or 1.0
        self.ridge = split.form.ridge / unit
        self.effects = np.stack([np.asarray(split.i_and), np.asarray(split.i_or)])
        i_and, i_or = self.effects[:, None]
        noise = np.asarray(split.noise)[None]
        self.found = float(cost(self.form, v[None], self.bound, i_and, i_or, noise)[0])
        self.limit = (1 + eps) * self.found
        self.columns = single_ors_at_rest(np.ones_like(levels)).astype(bool)
        self.columns[:, 0] = False
        self.salient = (np.abs(self.effects) > levels) & self.columns
        self.low, self.high = np.full_like(levels, -np.inf), np.full_like(levels, np.inf)
        # Proven bounds of phi at +level and -level.
        self.least, self.most = np.zeros((2, *levels.shape)), np.full((2, *levels.shape), np.inf)
        self.solved = 0
        y = np.asarray(split.certificate, dtype=np.float64)
        slopes = single_ors_at_rest(dual_slopes(y))
        if not self.ridge:
            y = y / max(1.0, float(np.abs(slopes).max()))
            slopes = single_ors_at_rest(dual_slopes(y))
        whole = float(dual_bound(self.form, v, self.bound, y, slopes)[0])
        without = whole + (self._beyond(slopes) if self.ridge else 0.0)
        self._cut(np.nonzero(self.columns), slopes[self.columns], np.broadcast_to(without, levels.shape)[self.columns])

    def _beyond(self, slopes: np.ndarray) -> np.ndarray:
        return np.maximum(np.abs(slopes) - 1, 0.0) ** 2 / (2 * self.ridge)

    def _cut(self, at: tuple[np.ndarray, ...], slopes: np.ndarray, without: np.ndarray) -> None:
        """Take what dual vectors prove of the columns `at`: their slopes there, and their bounds without them."""
        low, high = ends(slopes, self.limit - without, self.ridge)
        # A column may be there twice, held at either end.
        np.maximum.at(self.low, at, low)
        np.minimum.at(self.high, at, high)
        for side, sign in enumerate((1.0, -1.0)):
            level = self.levels[at]
            phi = without + level - sign * slopes * level + self.ridge / 2 * level**2
            np.maximum.at(self.least[side], at, phi)

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
        self, place: np.ndarray, sign: np.ndarray, deadline: float, levels: np.ndarray | None = None
    ) -> np.ndarray | None:
        """Hold columns (flat places) at their levels; return the least cost found of each, None out of time."""
        left = deadline - time.monotonic()
        if left <= 0 or not len(place):
            return None
        at = np.unravel_index(place, self.levels.shape)
        level = sign * self.levels[at] if levels is None else levels
        decision = self.limit if levels is None else float("nan")
        options = SplitOptions(time_limit=left)
        request = SplitRequest(self.v[None], self.bound, _RTOL, options, None, self.form)
        i_and, i_or, noise, y = native.hold_columns(request, at[0], at[1], level, decision)
        self.solved += len(place)
        slopes = single_ors_at_rest(dual_slopes(y))
        rows = np.arange(len(place))
        own = slopes[at[0], rows, at[1]].copy()
        if not self.ridge:
            # Without a ridge the slopes of all other columns must stay within 1.
            slopes[at[0], rows, at[1]] = 0.0
            scale = np.maximum(1.0, np.abs(slopes).max((0, 2)))
            y, own = y / scale[:, None], own / scale
        slopes[at[0], rows, at[1]] = 0.0
        without = dual_bound(self.form, np.broadcast_to(self.v, y.shape), self.bound, y, slopes)
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
            # Where nothing bounds an effect its own cost does.
            before = np.clip(before, -self.limit, self.limit)
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


def ends(slope: np.ndarray, slack: np.ndarray, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the largest t with |t| - slope t + ridge/2 t^2 <= slack; both 0 where there is none."""
    low, high = -_upper(-slope, slack, ridge), _upper(slope, slack, ridge)
    # With less than no slack one side alone is left, where the effect saves more than it costs.
    far = np.abs(slope) - 1
    root = np.sqrt(np.maximum(far**2 + 2 * ridge * slack, 0.0))
    alone = (slack < 0) & (far > 0)
    near = np.divide(-2 * slack, far + root, out=np.zeros_like(root), where=alone)
    return np.where(alone & (slope > 0), near, low), np.where(alone & (slope < 0), -near, high)


def _upper(slope: np.ndarray, slack: np.ndarray, ridge: float) -> np.ndarray:
    rise = 1 - slope
    if not ridge:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(rise > 0, np.maximum(slack, 0.0) / rise, np.inf)
    root = np.sqrt(np.maximum(rise**2 + 2 * ridge * slack, 0.0))
    below = np.divide(2 * np.maximum(slack, 0.0), rise + root, out=np.zeros_like(root), where=rise + root > 0)
    return np.where(rise < 0, np.maximum(root - rise, 0.0) / ridge, below)
