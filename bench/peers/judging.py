"""By what methods are judged: scores that none of them saw, and the players that each would remove or insert first."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from interact.sparse import Value

Predictor = Callable[[np.ndarray], np.ndarray]
Effects = Mapping[frozenset[int], float]
FIRST = (1, 3, 5)
"""How many players are removed or inserted."""
LEAST = 0.5
"""The least absolute effect that counts as found; planted effects are at least twice that."""


def judges(n: int, count: int) -> np.ndarray:
    """Return coalitions to judge by: half of density 1/2, half of every size."""
    # Drawn here and not by `interact.sparse.design`, so that a change of ours leaves the judges of kept rows alone.
    # Sizes begin again at 0 after n, so that some small ones come once more; that is the same for all methods.
    rng, half = np.random.default_rng(10_007), count // 2
    uniform = rng.random((half, n)) < 0.5
    sizes = rng.permutation(np.arange(half) % (n + 1))
    rng.random((half, n))
    return np.concatenate([uniform, rng.random((half, n)).argsort(axis=1).argsort(axis=1) < sizes[:, None]])


def r2(truth: np.ndarray, rebuilt: np.ndarray) -> float:
    """Return the share of variance explained."""
    return float(1 - ((truth - rebuilt) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


def removal(value: Value, predict: Predictor, n: int) -> float:
    """Return the mean of |v(all) - v(all but k)|, k of FIRST, where a method names, one by one, what matters most."""
    return _change(value, predict, np.ones(n, dtype=bool))


def insertion(value: Value, predict: Predictor, n: int) -> float:
    """Return the mean of |v(k) - v(none)|, k of FIRST, where a method names, one by one, what matters most."""
    return _change(value, predict, np.zeros(n, dtype=bool))


def _change(value: Value, predict: Predictor, start: np.ndarray) -> float:
    """Turn over the player whose turn changes the prediction most from that of the start, again and again."""
    begun, mask, rows = predict(start[None])[0], start, [start]
    for count in range(1, min(max(FIRST), len(start)) + 1):
        left = np.flatnonzero(mask == start)
        turned = np.repeat(mask[None], len(left), axis=0)
        turned[np.arange(len(left)), left] ^= True
        mask = turned[np.abs(predict(turned) - begun).argmax()]
        if count in FIRST:
            rows.append(mask)
    first, *others = value(np.array(rows))
    return float(np.mean(np.abs(np.array(others) - first)))


def moebius(and_terms: Effects, or_terms: Effects) -> dict[frozenset[int], float]:
    """Return AND and OR terms as AND terms alone.

    1[T meets S] = sum over L in T, L not empty, of -(-1)^|L| 1[L in S].
    """
    found = dict(and_terms)
    for members, effect in or_terms.items():
        listed = sorted(members)
        for mask in range(1, 1 << len(listed)):
            part = frozenset(p for i, p in enumerate(listed) if mask >> i & 1)
            found[part] = found.get(part, 0.0) - (-1) ** len(part) * effect
    return found


def counted(truth: Effects, found: Effects) -> tuple[int, int, int]:
    """Return how many true terms there are, how many were found with their sign, and how many found are not true.

    The empty term is left out; a term of less than LEAST does not count, on either side.
    """
    true = {members: effect for members, effect in truth.items() if members and abs(effect) >= LEAST}
    said = {members: effect for members, effect in found.items() if members and abs(effect) >= LEAST}
    right = sum(true.get(members, 0.0) * effect > 0 for members, effect in said.items())
    # A planted term whose parts cancel to less than LEAST is no false one.
    false = sum(abs(truth.get(members, 0.0)) < 1e-9 for members in said)
    return len(true), right, false


def predicted(effects: Effects, empty: float) -> Predictor:
    """Return S -> v(empty) + sum over T in S of effects, that of the empty T too where there is one."""
    orders = sorted({len(members) for members in effects})
    tables = [[(sorted(members), effect) for members, effect in effects.items() if len(members) == k] for k in orders]
    listed = [(np.array([m for m, _ in table], dtype=np.int64), np.array([e for _, e in table])) for table in tables]

    def predict(masks: np.ndarray) -> np.ndarray:
        total = np.full(len(masks), empty)
        for members, values in listed:
            for row, mask in enumerate(masks):
                total[row] += values @ mask[members].all(axis=1)
        return total

    return predict
