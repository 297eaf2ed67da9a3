"""Who gets what, with workers that only say that they did it."""

from __future__ import annotations

import itertools

import pytest

from interact.prompt.inputs import Template
from interact.study.progress import Progress
from interact.study.schedule import ATTEMPTS, Queue, Report, drive
from interact.study.work import Cell, Run, Sample
from interact.study.worker import Answer

MODELS = ("a", "b")


def sample(name):
    return Sample(name, "d", "one two", ((0, 3),), "yes", Template())


def cell(model, step, name):
    return Cell(Run(model, "d", 0), step, sample(name), f"{model}-{step}-{name}")


WORK = [cell(m, step, f"s{i}") for m in MODELS for step in (0, 1, 2) for i in range(4)]
TRAININGS = [Run(m, "d", 0) for m in MODELS]


class Team:
    """Workers that answer in turn; `fate` may say another answer, or None for a death."""

    def __init__(self, size, fate=lambda *_: "done"):
        self.size, self.fate = size, fate
        self.jobs = {f"w{i}": None for i in range(size)}
        self.log = []

    def free(self):
        return [w for w, job in self.jobs.items() if job is None]

    def give(self, worker, job):
        assert self.jobs[worker] is None
        self.jobs[worker] = job

    def reports(self):
        worker = next((w for w, job in self.jobs.items() if job is not None), None)
        if worker is None:
            return []
        job = self.jobs.pop(worker)
        # The others come first next time.
        self.jobs[worker] = None
        state = self.fate(worker, job, self.log)
        self.log.append((worker, job, state))
        return [Report(worker, job, state and Answer(state, 1.0, "bad scores" * (state == "failed")), "it was killed.")]


def driven(team, work=WORK, untrained=TRAININGS):
    told = []
    with Progress(work, work, told.append) as progress:
        failed = drive(Queue(work, untrained), team, progress)
    return failed, told


def followed(team):
    return [job for _, job, state in team.log if isinstance(job, Cell) and state == "done"]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_every_job_is_done_once_and_no_cell_before_its_training(size):
    team = Team(size)
    failed, told = driven(team)
    assert not failed and sorted(c.key for c in followed(team)) == sorted(c.key for c in WORK)
    trained = set()
    for _, job, _ in team.log:
        if isinstance(job, Run):
            trained.add(job.training)
        else:
            assert job.run.training in trained
    assert sum("followed (" in line for line in told) == 6
    assert "24 cells at" in told[-1] and "worker-seconds spent" in told[-1]


def test_the_rate_counts_the_seconds_of_cells_and_not_of_trainings():
    told = driven(Team(2))[1]
    # Each cell and each training says it took a second.
    assert told[-1].startswith("24 cells at 2 cells/s")
    assert any(line.startswith("a/d/seed-0: step 0 followed (2 cells/s, ") for line in told)


def test_one_worker_follows_a_run_before_it_trains_the_next():
    team = Team(1)
    driven(team)
    models = [(job if isinstance(job, Run) else job.run).model for _, job, _ in team.log]
    assert models == ["a"] * 13 + ["b"] * 13


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_worker_stays_with_its_checkpoint_while_that_has_cells(size):
    team = Team(size)
    driven(team, untrained=())
    for worker in team.jobs:
        places = [(job.run.model, job.step) for w, job, _ in team.log if w == worker]
        left = [p for i, p in enumerate(places) if i and p != places[i - 1]]
        assert len(left) <= 6 and len(set(left)) == len(left)
    if size == 2:
        models = [[job.run.model for w, job, _ in team.log if w == worker] for worker in team.jobs]
        assert all(sum(x != y for x, y in itertools.pairwise(m)) <= 1 for m in models)


def test_a_shared_cell_is_computed_once_and_counts_for_each_run():
    shared = [cell("a", 0, "s0"), Cell(Run("a", "d", 1), 0, sample("s0"), "a-0-s0")]
    team = Team(2)
    failed, told = driven(team, shared, ())
    assert not failed and len(followed(team)) == 1
    assert any(line.startswith("2 cells at") for line in told)
    assert sum("step 0 followed" in line for line in told) == 2


def test_a_job_whose_worker_died_is_done_by_another():
    deaths = []

    def once(worker, job, log):
        if job == WORK[5] and not deaths:
            deaths.append(worker)
            return None
        return "done"

    team = Team(3, once)
    failed, told = driven(team)
    assert not failed and len(followed(team)) == len(WORK) and deaths
    assert any("died in a/d/seed-0, step 1, sample s1: it was killed." in line for line in told)


def test_a_cell_that_kills_its_workers_is_named_and_the_rest_is_done():
    team = Team(2, lambda worker, job, log: None if job == WORK[5] else "done")
    failed, told = driven(team)
    assert told[-1].startswith("23 cells at")
    assert len(followed(team)) == len(WORK) - 1
    assert sum(job == WORK[5] for _, job, _ in team.log) == ATTEMPTS
    [(name, reason)] = failed.items()
    assert name == "a/d/seed-0, step 1, sample s1"
    assert "3 workers died while working on it" in reason and "it was killed" in reason


def test_a_training_that_kills_its_workers_ends_the_study_with_its_name():
    team = Team(2, lambda worker, job, log: None if job == TRAININGS[1] else "done")
    message = r"^The training of b/d/seed-0 could not be finished: 3 workers died while working on it"
    with pytest.raises(RuntimeError, match=message):
        driven(team)


def test_what_another_process_holds_is_asked_for_again():
    def busy(worker, job, log):
        return "held" if job in (WORK[0], TRAININGS[1]) and all(j != job for _, j, _ in log) else "done"

    team = Team(2, busy)
    failed, _ = driven(team)
    assert not failed and len(followed(team)) == len(WORK)
    assert sum(state == "held" for _, _, state in team.log) == 2


def test_a_cell_that_fails_is_named_and_costs_nothing_else():
    team = Team(2, lambda worker, job, log: "failed" if job == WORK[3] else "done")
    failed, _ = driven(team)
    assert failed == {"a/d/seed-0, step 0, sample s3": "bad scores"} and len(followed(team)) == len(WORK) - 1
