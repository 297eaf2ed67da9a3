"""A study's workers on Ray: one process for each device, on this machine or on many.

1. The driver holds the work list; each worker is an actor with a `Worker`, so its model stays in memory between cells.
2. Results do not travel: workers write them into the store, which all machines share. Ray carries jobs and answers.
3. A worker that dies is replaced, and what it had in work goes back to the list (`interact.study.schedule`).

Moritz et al., Ray: A Distributed Framework for Emerging AI Applications (2018).
"""

from __future__ import annotations

import os
import re
import socket
import time
import uuid
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from interact.formats.extras import require
from interact.models.memory import free_memory
from interact.models.placement import resolved_device
from interact.study.config import StudyConfig
from interact.study.schedule import Report
from interact.study.store import Store
from interact.study.worker import Answer, Job, Worker

_LOOK = 0.5
"""Seconds to wait for news."""
_REACH = 10.0
"""Seconds for a cluster to answer."""
_START = 600.0
"""Seconds for the first worker to start: a shared file system may take minutes to read torch on many machines."""
_STARTS = 3
"""How often a worker, or Ray on this machine, may fail to start."""
_ADDRESS = re.compile(r"local|auto|ray://(?P<host>\[[^]]+\]|[^:/]+):(?P<port>\d{1,5})")


def check_address(address: str) -> None:
    """Check an address and the installation for what a cluster needs, before anything else is done.

    Raises:
        ValueError: It is no address.
        RuntimeError: Ray is not installed.
    """
    if not _ADDRESS.fullmatch(address):
        raise ValueError(
            f"The cluster {address!r} is not an address; give local (processes on this machine), ray://HOST:PORT, or "
            "auto (the Ray cluster that this machine has joined)."
        )
    _ray()


@dataclass
class _Member:
    """A worker as the driver sees it: what it has in work, and the answer that is to come."""

    name: str
    actor: Any
    future: Any
    job: Job | None = None
    ready: bool = False
    starts: int = 1


class Cluster:
    """A team of Ray actors; a context manager.

    Args:
        store: The study's store, on a file system that all machines share under one path.
        address: ``"local"``, ``"auto"`` or ``"ray://HOST:PORT"``.
        workers: How many; None for one for each GPU, or each processor if the study's device is the CPU.

    Raises:
        ValueError: No address, or fewer than one worker.
        RuntimeError: Ray is missing, the cluster does not answer, or it has too few devices.
    """

    def __init__(self, store: Store, address: str, workers: int | None = None) -> None:
        check_address(address)
        if workers is not None and workers < 1:
            raise ValueError(f"workers is {workers}, but must be at least 1.")
        self._ray = _ray()
        self._store, self._address, self._workers = store, address, workers
        self._device = store.config.device
        self._beacon = store.folder.resolve() / "locks" / f"cluster-{uuid.uuid4().hex}"
        self._members: dict[str, _Member] = {}
        self._news: list[Report] = []
        self._mine = False
        self._since = time.monotonic()

    def __enter__(self) -> Cluster:
        self._connect()
        try:
            count = self._count()
            self._beacon.parent.mkdir(parents=True, exist_ok=True)
            self._beacon.touch()
            for number in range(1, count + 1):
                name = f"worker {number}"
                actor = self._actor(count)
                self._members[name] = _Member(name, actor, actor.start.remote())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._beacon.unlink(missing_ok=True)
        for member in self._members.values():
            self._kill(member)
        self._members.clear()
        if self._mine:
            self._ray.shutdown()

    @property
    def size(self) -> int:
        """How many workers have started and live."""
        return sum(member.ready for member in self._members.values())

    def free(self) -> Sequence[str]:
        """Name the workers that wait for a job."""
        return [m.name for m in self._members.values() if m.ready and m.future is None]

    def give(self, worker: str, job: Job) -> None:
        """Send a job to a free worker."""
        member = self._members[worker]
        member.job, member.future = job, member.actor.do.remote(job)

    def reports(self) -> Sequence[Report]:
        """Wait for news, not for long, and return it.

        Raises:
            RuntimeError: No worker starts, or one cannot see the store.
        """
        futures = {m.future: m for m in self._members.values() if m.future is not None}
        ready = self._ray.wait(list(futures), timeout=_LOOK)[0] if futures else []
        for future in ready:
            self._hear(futures[future])
        if self.size:
            self._since = time.monotonic()
        if time.monotonic() - self._since > _START:
            raise RuntimeError(
                f"No worker could start within {_START:.0f} s; check with `ray status` whether others use the devices "
                "of the cluster, or set fewer --workers."
            )
        news, self._news = self._news, []
        return news

    def _hear(self, member: _Member) -> None:
        try:
            said = self._ray.get(member.future)
        except self._ray.exceptions.RayTaskError as error:
            # What the worker's own code raised; the sentence is the same as in a local run.
            cause = getattr(error, "cause", None)
            raise cause if isinstance(cause, Exception) else RuntimeError(str(error)) from error
        except self._ray.exceptions.RayError as error:
            self._lost(member, _first_line(error))
            return
        member.future = None
        if not member.ready:
            member.ready, member.starts = True, 0
            self._news.append(Report(member.name, note=f"{member.name}: {said}"))
            return
        answer, notes = said
        self._news += [Report(member.name, note=f"{member.name} notes: {note}") for note in notes]
        job, member.job = member.job, None
        self._news.append(Report(member.name, job, answer))

    def _lost(self, member: _Member, reason: str) -> None:
        self._kill(member)
        if member.job is not None:
            self._news.append(Report(member.name, member.job, None, reason))
        elif member.starts >= _STARTS:
            del self._members[member.name]
            if not self._members:
                raise RuntimeError(
                    f"No worker could start, the last because: {reason} Install the same interact-llm, Python and Ray "
                    "on all machines of the cluster."
                )
            self._news.append(
                Report(member.name, note=f"{member.name} could not start and is not tried again: {reason}")
            )
            return
        member.actor = self._actor(len(self._members))
        member.job, member.ready, member.future = None, False, member.actor.start.remote()
        member.starts += 1

    def _kill(self, member: _Member) -> None:
        # Dead already, or the cluster is gone.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                self._ray.kill(member.actor)
            except (self._ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError):
                return

    def _connect(self) -> None:
        match = _ADDRESS.fullmatch(self._address)
        remote = match is not None and match["host"] is not None
        try:
            if match is not None and remote:
                # Ray itself would try for a minute.
                socket.create_connection((match["host"].strip("[]"), int(match["port"])), timeout=_REACH).close()
            if self._ray.is_initialized() and not remote:
                # A notebook's own connection; it is left as it is.
                return
            self._init()
        except Exception as error:  # Ray raises no narrower class when its processes do not start.
            hint = (
                "Ray's processes did not start on this machine; free some of its memory and processors, and try again."
                if self._address == "local"
                else "Start one (`ray start --head --ray-client-server-port 10001`) and check host and port; set "
                "RAY_AUTH_MODE=token if it needs a token; or use --cluster local."
            )
            raise RuntimeError(
                f"No Ray cluster can be reached at {self._address!r} ({_first_line(error)}). {hint}"
            ) from error
        self._mine = True

    def _init(self) -> None:
        options: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
        if self._address != "local":
            self._ray.init(self._address, **options)
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        cpus = len(os.sched_getaffinity(0))
        options["num_cpus"] = max(self._workers or cpus, 1 if self._device == "cpu" else cpus)
        # Only jobs and answers travel, so the store of objects may be small.
        options |= {"include_dashboard": False, "object_store_memory": 100 << 20}
        for left in reversed(range(_STARTS)):
            try:
                self._ray.init("local", **options)
                return
            except Exception:  # As above: a stalled machine may take longer than the seconds that Ray waits.
                self._ray.shutdown()
                if not left:
                    raise

    def _count(self) -> int:
        resources = self._ray.cluster_resources()
        if self._device == "auto":
            self._device = "auto" if resources.get("GPU", 0) else "cpu"
        kind = "CPU" if self._device == "cpu" else "GPU"
        there = int(resources.get(kind, 0))
        wanted = self._workers or there
        if not there or wanted > there:
            raise RuntimeError(
                f"The cluster {self._address!r} offers {there} {kind}s, but {max(1, wanted)} workers need one each; "
                "add machines to it, set fewer --workers, or change the study's device."
            )
        return wanted

    def _actor(self, workers: int) -> Any:
        remote = self._ray.remote(_Remote).options(num_cpus=1, num_gpus=int(self._device != "cpu"), max_restarts=0)
        folder, config = self._store.folder.resolve(), self._store.config
        if config.device_map is None:
            config = replace(config, device=self._device)
        return remote.remote(_Place(folder, config, self._beacon, Path.cwd(), workers, _version()))


@dataclass(frozen=True)
class _Place:
    """What a worker is told about the driver: its store, a file in that, its folder, its team and its version."""

    folder: Path
    config: StudyConfig
    beacon: Path
    cwd: Path
    workers: int
    version: str


class _Remote:
    """What runs in a worker's process."""

    def __init__(self, place: _Place) -> None:
        self._place = place
        self._noted: set[str] = set()

    def start(self) -> str:
        """Look around, and say where this is.

        Raises:
            RuntimeError: The store is not there, or another version is installed.
        """
        host, place, config = socket.gethostname(), self._place, self._place.config
        if _version() != place.version:
            raise RuntimeError(
                f"The worker on {host} has interact-llm {_version()}, but here is {place.version}; install the same "
                "one on all machines of the cluster."
            )
        if not place.beacon.is_file():
            raise RuntimeError(
                f"The worker on {host} does not see the store {place.folder}; put it on a file system that all "
                "machines of the cluster share under the same path."
            )
        if place.cwd.is_dir():
            # So that relative paths of models and data mean what they mean to the driver.
            os.chdir(place.cwd)
        # Ray shows a worker its own device only.
        device = resolved_device(config.device.partition(":")[0])
        # A device map spreads a model over the device that Ray shows to this worker, and memory.
        config = replace(config, device="auto" if config.device_map else device)
        if device == "cpu":
            # One thread each, so that a cell's last bits do not depend on how many workers there are.
            torch.set_num_threads(1)
            if config.memory_budget is None:
                share = free_memory(torch.device("cpu")) // (4 * self._neighbours())
                config = replace(config, memory_budget=max(1, share >> 20))
        self._worker = Worker(Store(place.folder, config))
        return f"process {os.getpid()} on {host}, {device}"

    def do(self, job: Job) -> tuple[Answer, list[str]]:
        """Do a job; with the answer come warnings not given before."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            answer = self._worker.do(job)
        known = (DeprecationWarning, FutureWarning, PendingDeprecationWarning, ResourceWarning)
        notes = {str(w.message) for w in caught if not issubclass(w.category, known)} - self._noted
        self._noted |= notes
        return answer, sorted(notes)

    def _neighbours(self) -> int:
        """Return how many workers may share this machine's memory."""
        ray = _ray()
        here = ray.get_runtime_context().get_node_id()
        processors = sum(int(n["Resources"].get("CPU", 1)) for n in ray.nodes() if n["NodeID"] == here)
        return max(1, min(self._place.workers, processors))


def _ray() -> Any:
    require("cluster", "A cluster")
    import ray

    return ray


def _version() -> str:
    return version("interact-llm")


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    # A heading says nothing without what it announces.
    return (f"{lines[0]} {lines[-1]}" if lines[0].endswith(":") else lines[0])[:300]
