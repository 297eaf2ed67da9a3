"""Giving the work list of a study to its workers.

1. A run is trained before its cells are followed; a cell that several runs share is computed once.
2. A free worker gets a cell of the checkpoint it has loaded, or else of its model, or else of any. All workers but one
   may train while cells wait, since a training opens cells for all.
3. What another process holds is asked for again later.
4. What was in work when a worker died goes to another one, a few times; then the sentence names it.

Who the workers are is the team's business: `Here` is one in this process, `interact.study.cluster` has processes on
many machines.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from interact.study.progress import Progress
from interact.study.work import Cell, Run
from interact.study.worker import Answer, Job, Worker

ATTEMPTS = 3
"""How many workers may die of one job."""
_PATIENCE = 0.5
"""Seconds before what another process holds is asked for again."""

_Place = tuple[str, str, int]
"""Model, training and step: what a worker has loaded."""


@dataclass(frozen=True)
class Report:
    """News of a team.

    Attributes:
        worker: Who it is about.
        job: What the worker had in work, if anything.
        answer: What became of it; None when the worker died.
        note: Something to tell the user, or why the worker died.
    """

    worker: str
    job: Job | None = None
    answer: Answer | None = None
    note: str = ""


class Team(Protocol):
    """Workers that do jobs."""

    @property
    def size(self) -> int:
        """How many workers there are now, free or not."""
        ...

    def free(self) -> Sequence[str]:
        """Name the workers that wait for a job."""
        ...

    def give(self, worker: str, job: Job) -> None:
        """Give a free worker a job."""
        ...

    def reports(self) -> Sequence[Report]:
        """Wait for news, not for long, and return it."""
        ...


class Here:
    """A team of one, in this process."""

    size = 1

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._job: Job | None = None

    def free(self) -> Sequence[str]:
        """Name the workers that wait for a job."""
        return ["here"] if self._job is None else []

    def give(self, worker: str, job: Job) -> None:
        """Take a job."""
        self._job = job

    def reports(self) -> Sequence[Report]:
        """Do the job."""
        job, self._job = self._job, None
        return [] if job is None else [Report("here", job, self._worker.do(job))]


class Queue:
    """What is left of the work list, and who has what.

    Args:
        work: The cells that are missing, in the order of their runs.
        untrained: The runs whose checkpoints are missing.
    """

    def __init__(self, work: Sequence[Cell], untrained: Sequence[Run]) -> None:
        self._untrained = deque(untrained)
        self._cells: dict[_Place, deque[Cell]] = {}
        self._waiting: dict[str, list[Cell]] = {run.training: [] for run in untrained}
        self._held: deque[tuple[float, Job]] = deque()
        self._at: dict[str, _Place] = {}
        self.in_work: dict[str, Job] = {}
        first: dict[str, Cell] = {}
        for cell in work:
            first.setdefault(cell.key, cell)
        for cell in first.values():
            if cell.run.training in self._waiting:
                self._waiting[cell.run.training].append(cell)
            else:
                self.put(cell)

    def __bool__(self) -> bool:
        return any((self._untrained, self._cells, self._held, self.in_work, *self._waiting.values()))

    def put(self, job: Job, *, after: float = 0.0) -> None:
        """Put a job in, to be taken after so many seconds."""
        if after:
            self._held.append((time.monotonic() + after, job))
        elif isinstance(job, Run):
            self._untrained.append(job)
        else:
            self._cells.setdefault(_place(job), deque()).append(job)

    def trained(self, run: Run) -> None:
        """Open the cells of a run."""
        for cell in sorted(self._waiting.pop(run.training, []), key=lambda c: c.step):
            self.put(cell)

    def take(self, worker: str, size: int) -> Job | None:
        """Take the best job for a worker of a team of this size; None when there is nothing for it now."""
        while self._held and self._held[0][0] <= time.monotonic():
            self.put(self._held.popleft()[1])
        training = sum(isinstance(job, Run) for job in self.in_work.values())
        if self._untrained and (not self._cells or training < size - 1):
            job: Job = self._untrained.popleft()
            # A training takes the model out of memory.
            self._at.pop(worker, None)
        elif self._cells:
            job = self._cell(worker)
        else:
            return None
        self.in_work[worker] = job
        return job

    def leave(self, worker: str, *, died: bool) -> None:
        """Note that a worker has nothing in work any more, and if it died, nothing loaded."""
        self.in_work.pop(worker, None)
        if died:
            self._at.pop(worker, None)

    def _cell(self, worker: str) -> Cell:
        here = self._at.get(worker)
        others = Counter(self._at[w] for w in self.in_work if w in self._at and w != worker)
        place = min(self._cells, key=lambda p: (p != here, here is None or p[0] != here[0], others[p]))
        cell = self._cells[place].popleft()
        if not self._cells[place]:
            del self._cells[place]
        self._at[worker] = place
        return cell


def drive(queue: Queue, team: Team, progress: Progress) -> dict[str, str]:
    """Do all that a queue holds.

    Returns:
        The cells that could not be followed, by name, with the reason.

    Raises:
        ValueError: A training cannot begin.
        RuntimeError: The machine lacks something, or several workers died of one training.
    """
    failed: dict[str, str] = {}
    deaths: Counter[str] = Counter()
    while queue:
        for worker in team.free():
            job = queue.take(worker, team.size)
            if job is not None:
                if isinstance(job, Run):
                    progress.say(f"{job.training}: training")
                team.give(worker, job)
        reports = team.reports()
        if not reports and not queue.in_work:
            time.sleep(_PATIENCE)
        for report in reports:
            _settle(report, queue, failed, deaths, progress)
        progress.spend(team.size)
    return failed


def named(job: Job) -> str:
    """Name a job for the user."""
    if isinstance(job, Run):
        return f"the training of {job.training}"
    return f"{job.run.name}, step {job.step}, sample {job.sample.id}"


def _settle(report: Report, queue: Queue, failed: dict[str, str], deaths: Counter[str], progress: Progress) -> None:
    job, answer = report.job, report.answer
    if job is None:
        progress.say(report.note)
        return
    queue.leave(report.worker, died=answer is None)
    name = named(job)
    if answer is None:
        deaths[name] += 1
        progress.say(f"{report.worker} died in {name}: {report.note}")
        if deaths[name] < ATTEMPTS:
            queue.put(job)
            return
        reason = (
            f"{ATTEMPTS} workers died while working on it, the last of: {report.note} If memory ran out, set a smaller "
            "memory_budget or fewer workers per machine, and run the same command again; the rest is kept."
        )
        if isinstance(job, Run):
            raise RuntimeError(f"{name[0].upper()}{name[1:]} could not be finished: {reason}")
        failed[name] = reason
        progress.done(job, failed=True)
        return
    progress.worked(answer.seconds, following=not isinstance(job, Run))
    if answer.state == "held":
        queue.put(job, after=_PATIENCE)
    elif isinstance(job, Run):
        queue.trained(job)
    else:
        if answer.state == "failed":
            failed[name] = answer.reason
        progress.done(job, failed=answer.state == "failed")


def _place(cell: Cell) -> _Place:
    return cell.run.model, cell.run.training, cell.step
