"""The commands of a study: run, status, report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from interact.study.config import StudyConfig, load


@dataclass(frozen=True)
class StudyRun:
    """Train and follow models. After an interruption, the same command continues."""

    store: Path
    """The study's folder; everything is kept in it."""
    config: Path | None = None
    """A configuration file. Options given in addition override it."""
    cluster: str | None = None
    """Use Ray: local (processes on this machine), ray://HOST:PORT, or auto (the cluster this machine has joined)."""
    workers: int | None = None
    """Number of processes on the cluster. Without it: one per GPU, or per processor if there are none."""
    study: StudyConfig = field(default_factory=StudyConfig)


@dataclass(frozen=True)
class StudyStatus:
    """Say how much of a study is done and what is left."""

    store: Path
    """The study's folder."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class StudyReport:
    """Make the tables, figures and page of a study, from its folder alone."""

    store: Path
    """The study's folder."""
    out: Path | None = None
    """Where to write the figures and the page. Without it: STORE/report."""


_OTHERS = (
    Annotated[StudyStatus, tyro.conf.subcommand("status")] | Annotated[StudyReport, tyro.conf.subcommand("report")]
)


@dataclass(frozen=True)
class Study:
    """Follow interactions through supervised fine-tuning."""

    action: Annotated[StudyRun, tyro.conf.subcommand("run")] | _OTHERS


def study_type(arguments: Sequence[str]) -> Any:
    """Return `Study` as the command line shall parse it: a configuration file gives its defaults.

    Raises:
        ValueError: The configuration file cannot be read.
    """
    if list(arguments[:2]) != ["study", "run"]:
        return Study
    for i, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name == "--config":
            path = Path(value or (arguments[i + 1] if i + 1 < len(arguments) else ""))
            default = StudyRun(store=tyro.MISSING, config=path, study=load(path))
            # The defaults are known only now, so the type is made now.
            action = Annotated[StudyRun, tyro.conf.subcommand("run", default=default)] | _OTHERS
            return make_dataclass("Configured", [("action", action)], bases=(Study,), frozen=True)
    return Study


def run(command: Study) -> None:
    """Run a parsed command; errors are left to `interact.command.main.main`."""
    action = command.action
    if isinstance(action, StudyRun):
        from interact.study.run import run_study

        run_study(action.store, action.study, say=_say, cluster=action.cluster, workers=action.workers)
    elif isinstance(action, StudyStatus):
        from interact.study.status import status

        found = status(action.store)
        _say(json.dumps(found.as_json()) if action.json else str(found))
    else:
        from interact.study.conclusions import conclude
        from interact.study.report import write
        from interact.study.store import Store

        conclude(Store.open(action.store))
        _say(f"page: {write(action.store, action.out)}")


def _say(line: str) -> None:
    print(line, flush=True)
