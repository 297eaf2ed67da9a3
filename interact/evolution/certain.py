"""Classes with three values: what every near-optimal split says of a fine-tuning, and what it leaves open.

An interaction of one cell is certainly salient (status certain), certainly not (excluded), or open (possible,
undecided). With s and t what is known of it at step 0 and at a later step, by Kleene's three-valued logic::

    removed = s and not t        preserved = s and t        emerged = t and not s

each of them "yes" where both parts are, "no" where one part is not, else "open". Figures of a class have bounds:
certain members count with the least effect of their range, open ones with none or the largest of theirs, whichever
makes the figure smallest, and largest. The effects of a class range on their own, so the bounds may be wider than what
one split of each cell can reach. They say nothing of other texts: that is what bootstrap intervals are for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from interact.evolution.tables import CLASSES
from interact.formats.schema import STATUSES

COLUMNS = ("run", "step", "sample", "kind", "mask", "effect", "salient", "status", "low", "high")
ANSWERS = ("no", "open", "yes")
_TERM = ["run", "sample", "kind", "mask"]
_NO, _OPEN, _YES = range(3)


def certain_classes(known: pd.DataFrame) -> pd.DataFrame:
    """Say of every interaction at every later step whether it is removed, preserved or emerged, or may be.

    Args:
        known: Columns run, step, sample, kind, mask, effect, salient, status, low and high: what `result.certainty()`
            says of the interactions of each cell (`interact.sft.following.certainty_rows` makes it); of one sample
            the same interactions at all steps, step 0 among them.

    Returns:
        One row per interaction and later step: run, step, sample, kind, mask; class by the splits found ("none"
        where it is salient in neither); removed, preserved and emerged, each "yes", "no" or "open"; effect_start,
        low_start, high_start, effect, low, high. Rows of which all three are "no" are left out.

    Raises:
        ValueError: A column or step 0 is missing, a status is unknown, or an interaction is not there at all steps.

    >>> certain_classes(known).groupby("class")[["removed", "preserved", "emerged"]].value_counts()  # doctest: +SKIP
    """
    first, later = _ends(_checked(known))
    s, t = _value(first), _value(later)
    table = later[["run", "step", "sample", "kind", "mask"]].copy()
    both = first["salient"].to_numpy(dtype=bool), later["salient"].to_numpy(dtype=bool)
    found = [both[0] & ~both[1], both[0] & both[1], both[1] & ~both[0]]
    table["class"] = np.select(found, list(CLASSES), default="none")
    answers = {"removed": np.minimum(s, 2 - t), "preserved": np.minimum(s, t), "emerged": np.minimum(t, 2 - s)}
    for name in CLASSES:
        table[name] = np.array(ANSWERS)[answers[name]]
    for name in ("effect", "low", "high"):
        table[f"{name}_start"] = first[name].to_numpy()
    for name in ("effect", "low", "high"):
        table[name] = later[name].to_numpy()
    settled = np.all([answers[name] == _NO for name in CLASSES], axis=0)
    return table[~settled | (table["class"] != "none")].reset_index(drop=True)


def certain_changes(known: pd.DataFrame) -> pd.DataFrame:
    """Say how each interaction changed until each later step in all pairs of near-optimal splits of both ends.

    A pair is a split at step 0 and one at the later step. Each is near-optimal for its own scores, whatever the other
    is, so the pairs are all combinations, and the bounds of a difference are those of both ends together.

    Args:
        known: As in `certain_classes`; with exact ranges (`certainty_rows(..., ranges=True)`) far more is settled.

    Returns:
        One row an interaction and later step: run, step, sample, kind, mask, effect_start, effect; low and high, bounds
        of effect - effect_start; moved, "up" or "down" where that has one sign in all pairs; strength, "stronger" or
        "weaker" where its absolute value grows or shrinks in all; each "open" where it does not; turned, "yes" where
        it is salient at both ends with opposite signs in all pairs, "no" where it is in none, else "open".

    Raises:
        ValueError: As in `certain_classes`.

    >>> certain_changes(known).query("turned == 'yes'")  # doctest: +SKIP
    """
    first, later = _ends(_checked(known))
    table = later[["run", "step", "sample", "kind", "mask"]].copy()
    table["effect_start"], table["effect"] = first["effect"].to_numpy(), later["effect"].to_numpy()
    ends = [(rows["low"].to_numpy(), rows["high"].to_numpy()) for rows in (first, later)]
    table["low"], table["high"] = ends[1][0] - ends[0][1], ends[1][1] - ends[0][0]
    table["moved"] = np.select([table["low"] > 0, table["high"] < 0], ["up", "down"], default="open")
    least = [np.maximum(np.maximum(low, -high), 0.0) for low, high in ends]
    most = [np.maximum(np.abs(low), np.abs(high)) for low, high in ends]
    grown = [least[1] > most[0], most[1] < least[0]]
    table["strength"] = np.select(grown, ["stronger", "weaker"], default="open")
    s, t = _value(first), _value(later)
    opposite = np.sign(table["effect_start"]) * np.sign(table["effect"]) < 0
    alike = ((ends[0][0] >= 0) & (ends[1][0] >= 0)) | ((ends[0][1] <= 0) & (ends[1][1] <= 0))
    # What is certain has the sign of the split that was found.
    alike |= (s == _YES) & (t == _YES) & ~opposite
    never = (s == _NO) | (t == _NO) | alike
    table["turned"] = np.select([(s == _YES) & (t == _YES) & opposite, never], ["yes", "no"], default="open")
    return table


def _ends(known: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what is known at step 0 of the interactions of all later steps, and what is known there.

    Raises:
        ValueError: An interaction is not there at all steps, or twice at one.
    """
    start = known[known["step"] == 0].set_index(_TERM)
    later = known[known["step"] > 0].reset_index(drop=True)
    at = pd.MultiIndex.from_frame(later[_TERM])
    if not at.isin(start.index).all():
        row = later[~at.isin(start.index)].iloc[0]
        raise ValueError(
            f"The interaction {row['kind']} {row['mask']} of {row['sample']!r} in {row['run']!r} is given at step "
            f"{row['step']}, but not at step 0; give the same interactions at all steps."
        )
    if known.duplicated([*_TERM, "step"]).any():
        raise ValueError(
            "An interaction occurs twice at one step of a run and sample; give each interaction once per step."
        )
    steps, there = known.groupby("run")["step"].nunique().to_dict(), known.groupby(_TERM).size()
    short = there[there.to_numpy() != there.index.get_level_values("run").map(steps).to_numpy()]
    if len(short):
        run, sample, kind, mask = (short.index.get_level_values(name)[0] for name in _TERM)
        raise ValueError(
            f"The interaction {kind} {mask} of {sample!r} in {run!r} is known at {short.iloc[0]} of {steps[run]} "
            "steps; give the same interactions at all steps."
        )
    return start.loc[at].reset_index(drop=True), later


def certain_metrics(
    known: pd.DataFrame,
    *,
    classes: pd.DataFrame | None = None,
    reference: pd.DataFrame | None = None,
    bare: Mapping[str, int] | None = None,
) -> pd.DataFrame:
    """Measure every class by the splits that were found, by its certain members, and within its bounds.

    Args:
        known: As in `certain_classes`.
        classes: What `certain_classes` returned, or None to call it.
        reference: The same of another model on the same players, one run; matched by step, sample, kind and mask.
        bare: How many followed samples of each run have no salient interaction at any step, and so no row in `known`:
            a mean is over them, too. None for none.

    Returns:
        One row per run, later step, class and name (count, strength, rho, gamma with a reference; the formulas of
        `measure`): value, by the splits found; certain, the same of certain members alone; low and high, its bounds.

    Raises:
        ValueError: As in `certain_classes`, or the reference has more than one run.
    """
    known = _checked(known)
    classes = certain_classes(known) if classes is None else classes
    samples = known[known["step"] > 0].groupby(["run", "step"])["sample"].nunique().reset_index()
    other = None if reference is None else _reference(reference)
    rows = []
    for run, step, count in samples.itertuples(index=False, name=None):
        own = classes[(classes["run"] == run) & (classes["step"] == step)]
        more = (bare or {}).get(run, 0)
        for group in CLASSES:
            rows += [(run, step, group, *row) for row in _figures(_Members(own, group, other), int(count) + more)]
    return pd.DataFrame(rows, columns=pd.Index(["run", "step", "class", "name", "value", "certain", "low", "high"]))


def only_certain(interactions: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """Return the table `interactions` with only the certain ones marked salient, for `verdicts` and `measure`.

    Args:
        interactions: Table, `salient` filled in.
        known: As in `certain_classes`.

    Raises:
        ValueError: A column is missing or a status unknown.
    """
    known = _checked(known)
    names = ["run", "step", "sample", "kind", "mask"]
    sure = pd.MultiIndex.from_frame(known.loc[known["status"] == "certain", names].astype({"mask": "uint64"}))
    plain = interactions[names].astype({"run": "str", "sample": "str", "kind": "str", "mask": "uint64"})
    return interactions.assign(salient=interactions["salient"] & pd.MultiIndex.from_frame(plain).isin(sure))


class _Members:
    """The possible members of one class at one step: bounds of their effects, and whether each is one."""

    def __init__(self, rows: pd.DataFrame, group: str, other: pd.DataFrame | None) -> None:
        rows = rows[(rows[group] != "no") | (rows["class"] == group)]
        end = "_start" if group == "removed" else ""
        self.sample = rows["sample"].to_numpy(dtype=object)
        self.effect = rows[f"effect{end}"].to_numpy()
        self.low, self.high = rows[f"low{end}"].to_numpy(), rows[f"high{end}"].to_numpy()
        self.sure, self.found = (rows[group] == "yes").to_numpy(), (rows["class"] == group).to_numpy()
        self.maybe = (rows[group] != "no").to_numpy()
        inside = (self.low <= 0) & (self.high >= 0)
        self.least = np.where(inside, 0.0, np.minimum(np.abs(self.low), np.abs(self.high))) * self.sure
        self.most = np.maximum(np.abs(self.low), np.abs(self.high)) * self.maybe
        self.general = self.general_found = None
        if other is not None:
            step = np.zeros(len(rows), dtype=np.int64) if group == "removed" else rows["step"].to_numpy()
            keys = pd.MultiIndex.from_arrays([step, rows["sample"], rows["kind"], rows["mask"]])
            there = other.reindex(keys)
            alike = np.sign(there["effect"].fillna(0.0).to_numpy()) == np.sign(self.effect)
            value = _value(there.fillna({"status": "undecided"}))
            # One sign is known of what is certain on both sides.
            self.general = np.where(value == _YES, np.where(self.sure, 2 * alike, _OPEN), value)
            self.general_found = alike & there["salient"].eq(True).to_numpy()

    def sides(self) -> tuple[np.ndarray, np.ndarray]:
        """Return bounds of the sums of positive and of negative effects, each float64 [samples, 2 (least, most)]."""
        _, place = np.unique(self.sample.astype(str), return_inverse=True)
        size = int(place.max(initial=-1)) + 1
        up = (self.low > 0) * self.least, self.maybe * np.maximum(self.high, 0.0)
        down = (self.high < 0) * self.least, self.maybe * np.maximum(-self.low, 0.0)
        both = [np.stack([np.bincount(place, part, minlength=size) for part in side], 1) for side in (up, down)]
        return both[0], both[1]


def _figures(own: _Members, samples: int) -> list[tuple[Any, ...]]:
    """Return name, value, certain, low and high of each figure."""
    size = np.abs(own.effect)
    certain = size * own.sure
    low, high = _rho_bounds(*own.sides())
    rows = [
        (
            "count",
            own.found.sum() / samples,
            own.sure.sum() / samples,
            own.sure.sum() / samples,
            own.maybe.sum() / samples,
        ),
        (
            "strength",
            size[own.found].sum() / samples,
            certain.sum() / samples,
            own.least.sum() / samples,
            own.most.sum() / samples,
        ),
        ("rho", _rho(own, own.found), _rho(own, own.sure), low, high),
    ]
    if own.general is not None and own.general_found is not None:
        matched = own.least[own.general == _YES].sum(), own.most[own.general != _NO].sum()
        others = own.least[own.general == _NO].sum(), own.most[own.general != _YES].sum()
        found = [_share(size[part & own.general_found].sum(), size[part].sum()) for part in (own.found, own.sure)]
        low = _share(matched[0], matched[0] + others[1])
        rows.append(("gamma", *found, low, _share(matched[1], matched[1] + others[0])))
    return rows


def _rho(own: _Members, chosen: np.ndarray) -> float:
    sums = pd.Series(own.effect[chosen]).groupby(own.sample[chosen]).sum().abs().sum()
    return _share(float(sums), float(np.abs(own.effect[chosen]).sum()))


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else float("nan")


def _rho_bounds(up: np.ndarray, down: np.ndarray) -> tuple[float, float]:
    """Return the least and the largest sum |P - N| / sum (P + N), P and N of each sample within their bounds.

    Dinkelbach's method: for a ratio r the sums |P - N| - r (P + N) are extreme at corners, or where P = N.
    """
    least, most = np.maximum(up[:, 0], down[:, 0]), np.minimum(up[:, 1], down[:, 1])
    meet = [np.where(least <= most, point, np.nan) for point in (least, most)]
    pairs = [(up[:, i], down[:, j]) for i in (0, 1) for j in (0, 1)] + [(point, point) for point in meet]
    above = np.stack([np.abs(p - n) for p, n in pairs])
    below = np.stack([p + n for p, n in pairs])
    if not np.nansum(below) > 0:
        return float("nan"), float("nan")
    ends = []
    for way in (1.0, -1.0):
        ratio = _share(above[3].sum(), below[3].sum())
        for _ in range(50):
            value = np.where(np.isnan(above), np.inf, way * (above - ratio * below))
            at = np.argmin(value, 0), np.arange(above.shape[1])
            if not below[at].sum() > 0 or value[at].sum() >= -1e-12 * below[at].sum():
                break
            ratio = _share(above[at].sum(), below[at].sum())
        ends.append(ratio)
    return ends[0], ends[1]


def _value(rows: pd.DataFrame) -> np.ndarray:
    status = rows["status"].to_numpy(dtype=object)
    return np.where(status == "certain", _YES, np.where(status == "excluded", _NO, _OPEN))


def _reference(table: pd.DataFrame) -> pd.DataFrame:
    table = _checked(table)
    if table["run"].nunique() > 1:
        raise ValueError(f"The reference must be one run, but holds {table['run'].nunique()}; choose one of them.")
    return table.set_index(["step", "sample", "kind", "mask"])


def _checked(known: pd.DataFrame) -> pd.DataFrame:
    if missing := [name for name in COLUMNS if name not in known.columns]:
        raise ValueError(
            f"A table of the certainty of interactions must have the columns {', '.join(COLUMNS)}, but "
            f"{missing[0]!r} is missing; make it with interact.sft.following.certainty_rows."
        )
    if strange := sorted(set(known["status"]) - set(STATUSES)):
        raise ValueError(f"The column status must hold {', '.join(STATUSES)}, but holds {strange[0]!r}.")
    if len(known) and (late := set(known["run"]) - set(known.loc[known["step"] == 0, "run"])):
        raise ValueError(
            f"Classes are defined from step 0, at which the run {min(late)!r} was not followed; follow it there, too."
        )
    return known
