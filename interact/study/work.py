"""The work list: which runs there are, and the cells (run, step, sample) of each.

The key of a cell holds a hash of all that decides its result, so a cell is computed once, whichever run needs it: the
model before training is the same in every run of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from interact.formats.schema import CellKey, Run
from interact.prompt.inputs import Template
from interact.study.config import StudyConfig

_CELL = 1
"""Raised when the same inputs would give another result."""


@dataclass(frozen=True)
class Sample:
    """One followed prompt.

    Attributes:
        id: Name in the tables.
        data: The data set it is from.
        text: The user's text.
        spans: The players' characters in it.
        response: The label, whose first token is scored.
        template: What surrounds the text.
        split: ``"follow"``, or ``"train"`` for a sample that every run trains on.
        contrast: The other labels that its label is held against; none where all other tokens are.
    """

    id: str
    data: str
    text: str
    spans: tuple[tuple[int, int], ...]
    response: str
    template: Template
    split: str = "follow"
    contrast: tuple[str, ...] = ()

    @property
    def players(self) -> list[str]:
        """The players' words."""
        return [self.text[low:high] for low, high in self.spans]


@dataclass(frozen=True)
class Cell:
    """One result to compute.

    Attributes:
        run: The run.
        step: The step.
        sample: The prompt.
        key: Name of its file, see `interact.formats.schema.CellKey`.
        dtype: Precision of the model.
    """

    run: Run
    step: int
    sample: Sample
    key: str
    dtype: str = "float32"


def runs(config: StudyConfig) -> list[Run]:
    """List the runs, those of one training next to each other; of given checkpoints there is one, of no seed's draw."""
    given = config.checkpoints or {}
    return [
        Run(model, data, seed, baseline)
        for model in config.models
        for data in (config.data if model in given else data_sets(config))
        for seed in (config.seeds[:1] if model in given else config.seeds)
        for baseline in config.baselines
    ]


def data_sets(config: StudyConfig) -> tuple[str, ...]:
    """Name the data sets, with the one that leaks the label where that control is asked for."""
    return (*config.data, f"{config.data[0]}+planted") if "planted" in config.controls else config.data


def reference_of(run: Run, config: StudyConfig) -> Run | None:
    """Return the run of another model that gamma compares a run with, if there is one."""
    if len(config.models) < 2:
        return None
    other = config.models[(config.models.index(run.model) + 1) % len(config.models)]
    seed = config.seeds[0] if other in (config.checkpoints or {}) else run.seed
    found = Run(other, run.data, seed, run.baseline)
    return found if found in runs(config) else None


@dataclass(frozen=True)
class Prepared:
    """What a study has fixed before its first cell.

    Attributes:
        samples: The followed samples of all data sets.
        trained_on: For each training, the hash of what decides its checkpoints.
        steps: For each training, the steps to follow.
        dtypes: For each model, the precision that ``"auto"`` took when the study began; empty if it names one.
    """

    samples: tuple[Sample, ...]
    trained_on: Mapping[str, str]
    steps: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str] = field(default_factory=dict)


def cells(config: StudyConfig, prepared: Prepared) -> Iterator[Cell]:
    """Yield the work list."""
    for run in runs(config):
        dtype = prepared.dtypes.get(run.model, config.dtype)
        for step in prepared.steps[run.training]:
            for sample in prepared.samples:
                if sample.data == run.data:
                    identity = _identity(config, run, step, sample, prepared.trained_on[run.training])
                    shared = identity["checkpoint"] is None
                    key = CellKey.of(run, step, sample.id, decided_by={**identity, "dtype": dtype}, shared=shared)
                    yield Cell(run, step, sample, key.stem, dtype)


def _noise(config: StudyConfig) -> dict[str, Any]:
    # Loading torch takes seconds that the work list does not need before.
    from interact_kernels.sparsify import NoiseForm

    form = NoiseForm.of(config.noise, config.kappa)
    # Before there were forms a kappa alone named the box, and cells keep their names.
    return form.record() if form.soft else {"kappa": form.kappa}


def _identity(config: StudyConfig, run: Run, step: int, sample: Sample, trained_on: str) -> dict[str, Any]:
    # The head of a classifier is drawn by the seed; a language model is the same before every training.
    untouched = step == 0 and config.task == "causal" and run.model not in (config.checkpoints or {})
    return {
        "cell": _CELL,
        "model": run.model,
        "checkpoint": None if untouched else [trained_on, step],
        "sample": [sample.text, sample.spans, sample.response, sample.template.content()],
        "masking": [config.masking, run.baseline],
        **_noise(config),
        **({"contrast": list(sample.contrast)} if sample.contrast else {}),
        **({} if config.bits is None else {"bits": config.bits}),
    }
