"""Which runs a study has, read from their names MODEL/DATA/seed-S[/BASELINE], and which are shown beside which."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from interact.report.store import Study

CLASSES = ("removed", "preserved", "emerged")
STAGES = ("denoising_end", "overfitting_start")

# A model's name may hold slashes (an organisation of the hub, a folder), so the seed is the landmark.
_NAME = re.compile(r"(?P<model>.+)/(?P<data>[^/]+)/seed-(?P<seed>\d+)(?:/(?P<baseline>.+))?", re.DOTALL)


@dataclass(frozen=True)
class Run:
    """One fine-tuning that was followed.

    Attributes:
        name: As in the tables.
        model: Which model; the whole name where it has another form.
        data: Which data set; empty where the name has another form.
        seed: The seed, or None.
        baseline: The second masking baseline it is followed under; empty for the first.
    """

    name: str
    model: str
    data: str = ""
    seed: int | None = None
    baseline: str = ""

    @property
    def short_model(self) -> str:
        """The last part of the model's name."""
        return self.model.rstrip("/").rsplit("/", 1)[-1] or self.model

    @property
    def label(self) -> str:
        """The run in words."""
        parts = [self.data, None if self.seed is None else f"seed {self.seed}"]
        parts.append(self.baseline and f"baseline {self.baseline}")
        return ", ".join([self.short_model, *(part for part in parts if part)])


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
        panels: One a model.
    """

    title: str
    panels: tuple[Panel, ...]


def parse_run(name: str) -> Run:
    """Read a run's name; one of another form is its own model.

    >>> parse_run("org/tiny/reviews/seed-1/eos").label
    'tiny, reviews, seed 1, baseline eos'
    """
    found = _NAME.fullmatch(name)
    if not found:
        return Run(name, name)
    return Run(name, found["model"], found["data"], int(found["seed"]), found["baseline"] or "")


def runs_of(study: Study) -> list[Run]:
    """List the runs of a study in the order of its tables."""
    # Metrics may also speak of several runs together, so they name runs only where nothing else does.
    for tables in ((study.cells, study.interactions, study.classes), (study.losses, study.metrics)):
        names: dict[str, None] = {}
        for table in tables:
            names |= dict.fromkeys(table["run"].tolist())
        if names:
            break
    return [parse_run(name) for name in names]


def losses_of(study: Study, run: Run) -> pd.DataFrame:
    """Return the losses of the training that a run follows, in the order of the steps."""
    # A second baseline follows the same training, which is logged under the name without it.
    own = study.losses["run"] == run.name
    training = run.name.removesuffix(f"/{run.baseline}") if run.baseline else run.name
    rows = study.losses[own if own.any() else study.losses["run"] == training]
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
        groups.setdefault((run.data, run.baseline), {}).setdefault(run.model, []).append(run)
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
