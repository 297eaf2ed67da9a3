"""Which interactions count, and what becomes of them: removed, preserved, emerged.

With Omega_t the salient interactions of one sample at step t, by the two ends ("ends", the default)::

    P_t = Omega_0 & Omega_t                        preserved: salient before training, and now
    E_t = Omega_t minus Omega_0                    emerged: salient now, but not before training
    R_t = Omega_0 minus Omega_t                    removed: salient before training, but not now

They part Omega_0 | Omega_t, and how many steps are followed changes nothing. Zhang et al. 2026 take preserved ones by a
running intersection over the followed steps ("running"): P_0 = Omega_0, P_t = P_{t-1} & Omega_t, E_t = Omega_t minus
P_t. *Re-emerged* is an interaction of Omega_0 & Omega_t that was missing at a followed step between: a flag
of the table, in either definition. With "running" those are among the emerged, which then are not all new.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from interact.evolution.grid import Grid, follow
from interact.evolution.tables import CLASSES, check, empty
from interact.formats.schema import identify

RULES = ("max", "initial", "absolute", "top")
DEFINITIONS = ("ends", "running")
"""How preserved interactions are told from emerged ones."""


def salient(
    effects: np.ndarray, tau: float = 0.05, rule: str = "max", *, initial: np.ndarray | None = None
) -> np.ndarray:
    """Tell which effects of one cell are salient: ``|I(T)| > threshold``; a zero effect never is.

    ======== ==================================================
    rule     threshold
    ======== ==================================================
    max      tau times the largest |I| of these effects
    initial  tau times the largest |I| of the effects at step 0
    absolute tau
    top      the tau strongest, of equals the first
    ======== ==================================================

    With "max" the threshold moves with the model; with "initial" it does not, and "removed" then means "weakened".

    Args:
        effects: Effects of both types, float64 [m].
        tau: See above; in [0, 1) for "max" and "initial", at least 0 for "absolute", a whole number for "top".
        rule: One of the four.
        initial: Effects of the same sample at step 0, float64 [k]; for the rule "initial" only.

    Returns:
        bool [m].

    Raises:
        ValueError: The rule is unknown, tau does not fit it, or `initial` is missing.

    Source: Zhang et al. 2026 (arXiv 2605.17967) with tau = 0.05; the other rules are choices of this software.

    >>> salient(np.array([1.0, -0.04, 0.06])).tolist()
    [True, False, True]
    """
    _check_rule(tau, rule)
    strength = np.abs(np.asarray(effects, dtype=np.float64))
    if rule == "top":
        chosen = np.zeros(len(strength), dtype=bool)
        chosen[np.argsort(-strength, kind="stable")[: int(tau)]] = True
        return chosen & (strength > 0)
    if rule == "absolute":
        return strength > tau
    if rule == "initial" and initial is None:
        raise ValueError('The rule "initial" takes its threshold from step 0: pass initial=, the effects there.')
    unit = strength if rule == "max" else np.abs(np.asarray(initial, dtype=np.float64))
    return (strength > tau * unit.max(initial=0.0)) & (strength > 0)


def mark_salient(interactions: pd.DataFrame, *, tau: float = 0.05, rule: str = "max") -> pd.DataFrame:
    """Return the table with its column `salient` computed again, by `salient` in each cell.

    Args:
        interactions: Table; its column `salient` may be missing.
        tau: As in `salient`.
        rule: As in `salient`.

    Raises:
        ValueError: As in `salient`, or "initial" is asked of a sample that has no interactions at step 0.
    """
    _check_rule(tau, rule)
    table = check(interactions.assign(salient=False), "interactions")
    strength = table["effect"].abs()
    cells = [table["run"], table["step"], table["sample"]]
    if rule == "top":
        place = strength.groupby(cells, observed=True).rank(method="first", ascending=False)
        return table.assign(salient=(place <= tau) & (strength > 0))
    if rule == "absolute":
        return table.assign(salient=strength > tau)
    if rule == "max":
        largest = strength.groupby(cells, observed=True).transform("max")
    else:
        at_start = strength.where(table["step"] == 0)
        largest = at_start.groupby([table["run"], table["sample"]], observed=True).transform("max")
        if largest.isna().any():
            row = table[largest.isna()].iloc[0]
            raise ValueError(
                f'The rule "initial" takes its threshold from step 0, but the sample {row["sample"]!r} of '
                f"{row['run']!r} has no interactions there."
            )
    return table.assign(salient=(strength > tau * largest) & (strength > 0))


def classify(
    interactions: pd.DataFrame, *, cells: pd.DataFrame | None = None, definition: str = "ends"
) -> pd.DataFrame:
    """Classify every salient interaction of every run, step and sample; the module's docstring defines the classes.

    P_t and E_t together are Omega_t, P_t lies in Omega_0, and R_t never meets Omega_t.

    Args:
        interactions: Table, `salient` filled in.
        cells: Table; needed where a followed cell has no interactions at all.
        definition: ``"ends"`` or ``"running"``.

    Returns:
        Table `classes`: effects at step 0 for removed ones, else at the row's step.

    Raises:
        ValueError: Step 0 or a sample is missing somewhere; see `follow`. Or the definition is unknown.

    Source: Zhang et al. 2026 (arXiv 2605.17967) for "running"; "ends" is a choice of this software.
    """
    if definition not in DEFINITIONS:
        raise ValueError(f"definition must be {' or '.join(map(repr, DEFINITIONS))}, but is {definition!r}.")
    interactions = check(interactions, "interactions")
    grid = follow(interactions, cells)
    chosen = interactions[interactions["salient"]].reset_index(drop=True)
    if not len(chosen):
        return empty("classes")
    cell = grid.locate(chosen)
    rank = grid.rank[cell]
    keys = pd.DataFrame({"first": grid.first[cell], "kind": chosen["kind"], "mask": chosen["mask"]})
    term = keys.groupby(["first", "kind", "mask"], sort=False, observed=True).ngroup().to_numpy()
    by_step = np.argsort(rank, kind="stable")
    before = np.empty(len(chosen), dtype=np.int64)
    before[by_step] = pd.Series(term[by_step]).groupby(term[by_step]).cumcount()
    # Salient at as many earlier steps as there are: at all of them.
    always, at_start = before == rank, np.isin(term, term[rank == 0])
    kept = at_start if definition == "ends" else always
    group = np.where(kept, CLASSES.index("preserved"), CLASSES.index("emerged"))
    origin, gone = _removed(grid, cell, rank, term)
    return _table(
        grid,
        chosen.take(np.concatenate([np.arange(len(chosen)), origin])),
        np.concatenate([cell, gone]),
        np.concatenate([group, np.full(len(gone), CLASSES.index("removed"))]),
        np.concatenate([at_start & ~always, np.zeros(len(gone), dtype=bool)]),
    )


def _removed(grid: Grid, cell: np.ndarray, rank: np.ndarray, term: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the row at step 0 of each removed interaction, and the cell in which it is removed."""
    starts = np.flatnonzero(rank == 0)
    bounds = np.array([block.cells.stop for block in grid.blocks])
    block = np.searchsorted(bounds, cell[starts], side="right")
    steps, samples = np.array([b.shape for b in grid.blocks]).T
    origin = np.repeat(starts, steps[block])
    at = np.concatenate([np.arange(steps[b]) for b in block]) if len(block) else starts
    place = cell[origin] + at * np.repeat(samples[block], steps[block])
    size = len(grid.cells)
    gone = ~np.isin(term[origin] * size + place, term * size + cell)
    return origin[gone], place[gone]


def _table(grid: Grid, rows: pd.DataFrame, cell: np.ndarray, group: np.ndarray, back: np.ndarray) -> pd.DataFrame:
    order = np.lexsort((rows["mask"].to_numpy(), rows["kind"].astype("str").to_numpy(dtype=object), group, cell))
    rows, cell, group, back = rows.take(order).reset_index(drop=True), cell[order], group[order], back[order]
    where = grid.cells.take(cell).reset_index(drop=True)
    names = pd.Series(pd.Categorical.from_codes(group, pd.Index(CLASSES))).astype("str")
    table = where.assign(kind=rows["kind"].astype("str"), mask=rows["mask"], effect=rows["effect"])
    table.insert(5, "class", names)
    table["reemerged"] = back
    return identify(table, "classes", grid.runs)


def _check_rule(tau: float, rule: str) -> None:
    if rule not in RULES:
        raise ValueError(f"The rule of salience must be one of {', '.join(RULES)}, but is {rule!r}.")
    if rule in ("max", "initial") and not 0 <= tau < 1:
        raise ValueError(f"With the rule {rule!r}, tau is a share of the largest effect, in [0, 1), but is {tau}.")
    if rule == "absolute" and not (0 <= tau < np.inf):
        raise ValueError(f'With the rule "absolute", tau is an effect >= 0, but is {tau}.')
    if rule == "top" and not (tau >= 0 and float(tau).is_integer()):
        raise ValueError(f'With the rule "top", tau is how many interactions are salient, but is {tau}.')
