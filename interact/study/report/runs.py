"""Which runs a study has, and which are shown beside which."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from interact.formats.schema import Run, runs_in, short_name
from interact.study.report.store import Study


@dataclass(frozen=True)
class Panel:
    """The runs that one column of a figure shows: a main run, and the same with other seeds."""

    main: Run
    others: tuple[Run, ...]


@dataclass(frozen=True)
class Setting:
    """What one figure compares: the models trained on one data set and masked in one way.

    Attributes:
        title: Data set and baseline.
        panels: One per model.
    """

    title: str
    panels: tuple[Panel, ...]


def runs_of(study: Study) -> list[Run]:
    """List the runs of a study in the order of its tables."""
    # Metrics may also describe several runs together, so they name runs only where nothing else does.
    for tables in ((study.cells, study.interactions, study.classes), (study.losses, study.metrics)):
        found: dict[str, Run] = {}
        for table in tables:
            for name, run in runs_in(table).items():
                found.setdefault(name, run)
        if found:
            break
    return list(found.values())


def losses_of(study: Study, run: Run) -> pd.DataFrame:
    """Return the losses of the training that a run follows, in the order of the steps."""
    # A second baseline follows the same training, which is logged under the name without it.
    known = runs_in(study.losses)
    same = [name for name, one in known.items() if (one.model, one.data, one.seed) == (run.model, run.data, run.seed)]
    rows = study.losses[study.losses["run"].isin([run.name] if run.name in known else same)]
    return rows.sort_values("step", kind="stable")


def steps_of(study: Study, run: str) -> list[int]:
    """List the followed steps of a run."""
    steps: set[int] = set()
    for table in (study.cells, study.interactions, study.metrics):
        # A stage is a row of the metrics at step -1.
        steps |= {int(step) for step in table.loc[table["run"] == run, "step"] if step >= 0}
    return sorted(steps)


def settings_of(runs: Iterable[Run]) -> list[Setting]:
    """Group runs by data set and baseline, each with one panel a model; the smallest seed is the main run."""
    groups: dict[tuple[str, str], dict[str, list[Run]]] = {}
    for run in runs:
        groups.setdefault((short_name(run.data), run.second_baseline), {}).setdefault(run.model, []).append(run)
    settings = []
    for (data, baseline), models in groups.items():
        panels = []
        for members in models.values():
            ordered = sorted(members, key=lambda run: (run.seed is None, run.seed or 0))
            panels.append(Panel(ordered[0], tuple(ordered[1:])))
        title = (data or "runs") + (f", baseline {baseline}" if baseline else "")
        settings.append(Setting(title, tuple(panels)))
    return settings


def beside(runs: Sequence[Run]) -> tuple[int, int | None]:
    """Choose two runs to show side by side: two models on one data set, else two baselines, else two seeds."""
    first = runs[0]

    def likeness(other: Run) -> tuple[bool, ...]:
        same = (other.data == first.data, other.baseline == first.baseline, other.seed == first.seed)
        return (other.model != first.model, *same)

    others = range(1, len(runs))
    return 0, max(others, key=lambda i: likeness(runs[i]), default=None)
