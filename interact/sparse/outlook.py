"""What more scores would explain: a budget proposed after a first round.

1. The variance that a Gaussian process leaves at a coalition does not depend on the scores, only on which coalitions
   were scored. So it can be computed for coalitions that are yet to be drawn.
2. What is left now is measured on the held-out scores and on each fitted score without itself (closed form); its ratio
   to what the process expects to leave is taken to stay the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from interact.results import SampledInteractions
from interact.sparse.design import distinct
from interact.sparse.gaussian import GaussianProcess, expected_error
from interact.sparse.of_result import of_rows

_GROWTH = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
_MOST = 3000
"""Coalitions of the largest budget looked at; the time grows with their cube."""
_JUDGES = 200


@dataclass(frozen=True)
class Outlook:
    """The R^2 to expect of budgets.

    Attributes:
        budgets: Scored coalitions, the held-out ones included; the first is what was scored.
        r2: The share of the variance that is explained: measured on all scores but the two ends, each without itself
            (so it is steadier than the R^2 of the few held-out ones); then expected.
    """

    budgets: tuple[int, ...]
    r2: tuple[float, ...]

    def needed(self, r2: float) -> int | None:
        """Return the least budget that is expected to reach an R^2, None where none of these is."""
        if self.r2[0] >= r2:
            return self.budgets[0]
        for (a, b), (low, high) in zip(
            zip(self.budgets, self.budgets[1:], strict=False), zip(self.r2, self.r2[1:], strict=False), strict=True
        ):
            if high >= r2:
                return int(np.ceil(a + (b - a) * (r2 - low) / max(high - low, 1e-12)))
        return None

    def __str__(self) -> str:
        measured = f"R^2 {self.r2[0]:.2f} from {self.budgets[0]:,} scores"
        expected = ", ".join(f"{r2:.2f} from {m:,}" for m, r2 in zip(self.budgets[1:], self.r2[1:], strict=True))
        return f"{measured}; expect about {expected}" if expected else measured


def outlook(result: SampledInteractions) -> Outlook:
    """Say what R^2 to expect from more scores.

    Args:
        result: A first round, of any design; further coalitions are drawn likewise.

    Raises:
        ValueError: The result is exact, or nothing was held out, so that nothing is known of the first fit.

    >>> more = outlook(first).needed(0.8)  # doctest: +SKIP
    """
    if not isinstance(result, SampledInteractions):
        raise ValueError("An exact result has all scores, so more cannot be expected; pass one of method='sparse'.")
    held = result.held_out
    if not held.any() or not np.ptp(result.values[held]):
        raise ValueError("No scores were held out (or all are equal), so there is no fit to start from.")
    process, m = of_rows(result, ~held), len(result.values)
    judges = result.coalitions[held][:_JUDGES]
    now = measured(
        process, (result.coalitions[held], result.values[held]), (result.coalitions[~held], result.values[~held])
    )
    left = expected_error(process, process.z > 0, judges)
    taken = np.concatenate([process.z > 0, judges])
    design = result.provenance.get("sparse", {}).get("design", "uniform")
    budgets, shares = [m], [now]
    rng = np.random.default_rng(0)
    for growth in _GROWTH[1:]:
        budget = min(round(growth * m), 1 << min(result.n, 40))
        if budget > _MOST or budget == budgets[-1]:
            break
        wanted = max(0, budget - len(judges) - len(process.z))
        fresh, *_ = distinct(result.n, wanted, taken, kind=design, paired=False, shared=1, rng=rng)
        share = expected_error(process, np.concatenate([process.z > 0, fresh]), judges) / left
        budgets.append(budget)
        shares.append(max(shares[-1], 1 - (1 - now) * float(share)))
    return Outlook(tuple(budgets), tuple(shares))


def measured(
    process: GaussianProcess, held: tuple[np.ndarray, np.ndarray], fitted: tuple[np.ndarray, np.ndarray], given: int = 0
) -> float:
    """Return the share of the variance explained of held-out scores, and of fitted ones each without itself.

    Args:
        process: The process, fitted to the second scores.
        held: Coalitions (bool, [m, n]) and their scores (float64, [m]).
        fitted: The same; the two ends among them do not count.
        given: So many of the fitted are of any design, and do not count: the first.
    """
    known = len(process.z)
    inner = ~np.isin(fitted[0][:known].sum(axis=1), (0, process.n)) & (np.arange(known) >= given)
    truth = np.concatenate([held[1], fitted[1][:known][inner]])
    guessed = np.concatenate([process.predict(held[0])[0], process.left_out()[0][inner]])
    if not len(truth):
        return float("nan")
    spread = float(((truth - truth.mean()) ** 2).mean())
    return float(np.clip(1 - ((truth - guessed) ** 2).mean() / max(spread, 1e-300), 0, 1))
