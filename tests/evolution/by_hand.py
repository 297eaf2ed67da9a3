"""Tables made by hand, and at random, for the tests of an evolution."""

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from interact.evolution import mark_salient

AND, OR = "and", "or"
CELL_COLUMNS = ["run", "step", "sample", "n", "bias", "total"]


def interactions(rows, run="m/d/seed-0"):
    """rows: (step, sample, kind, mask, effect); everything that is not zero is salient."""
    table = pd.DataFrame(
        [(run, step, sample, kind, mask, mask.bit_count(), effect) for step, sample, kind, mask, effect in rows],
        columns=["run", "step", "sample", "kind", "mask", "order", "effect"],
    ).astype({"run": "str", "sample": "str", "kind": "str", "mask": "uint64", "order": "int64", "effect": "float64"})
    return mark_salient(table, tau=0.0, rule="absolute")


def cells(rows, run="m/d/seed-0", n=3):
    """rows: (step, sample, bias, total)."""
    table = [(run, step, sample, n, bias, total) for step, sample, bias, total in rows]
    return pd.DataFrame(table, columns=CELL_COLUMNS).astype({"bias": "float64", "total": "float64"})


# One sample at steps 0, 10, 20. {a}: preserved throughout. {b, c} AND: removed at 10, back at 20: re-emerged, by the
# two ends preserved, by the running intersection emerged. {a, b} OR: removed for good. {c}: emerged at 20.
STORY = interactions(
    [
        (0, "x", AND, 1, 2.0),
        (0, "x", AND, 6, -1.0),
        (0, "x", OR, 3, 0.5),
        (10, "x", AND, 1, 3.0),
        (20, "x", AND, 1, 4.0),
        (20, "x", AND, 6, -2.0),
        (20, "x", AND, 4, -1.0),
    ]
)
STORY_CELLS = cells([(0, "x", -1.0, 1.0), (10, "x", -2.0, 2.0), (20, "x", 0.0, 5.0)])


@st.composite
def evolutions(draw, samples=3):
    """An evolution of up to two runs, all cells followed, with its cells; some cells without interactions."""
    steps = sorted(draw(st.sets(st.integers(1, 50), min_size=1, max_size=3)) | {0})
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    density = draw(st.sampled_from([0.0, 0.2, 0.7, 1.0]))
    tables, scores = [], []
    for run in ["m/d/seed-0", "m/d/seed-1"][: draw(st.integers(1, 2))]:
        every = [(t, f"s{s}", k, m) for t in steps for s in range(samples) for k in (AND, OR) for m in range(1, 8)]
        rows = [(*place, effect) for place in every if rng.random() < density and (effect := rng.normal())]
        tables.append(interactions(rows, run))
        scores.append(cells([(t, f"s{s}", *rng.normal(size=2)) for t in steps for s in range(samples)], run))
    tau = draw(st.sampled_from([0.0, 0.3, 0.9]))
    return mark_salient(pd.concat(tables, ignore_index=True), tau=tau), pd.concat(scores, ignore_index=True)


def value(metrics, step, group, name, column="value"):
    """One figure of the table metrics."""
    found = metrics[(metrics["step"] == step) & (metrics["class"] == group) & (metrics["name"] == name)]
    assert len(found) == 1, (step, group, name, len(found))
    return float(found[column].iloc[0])
