"""A study on a local Ray cluster ends as it does in one process, whatever happens to workers."""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
import warnings
from pathlib import Path

import pytest

from interact.study.run import run_study
from tests.study.conftest import assert_same

# Ray says these as it is imported or starts; nothing here can answer.
pytestmark = pytest.mark.filterwarnings("default::ResourceWarning", "default::FutureWarning")
PROCESS = re.compile(r"worker \d+: process (\d+) on ")


@pytest.fixture(scope="module")
def cluster():
    """A cluster of two processors, whatever this machine has."""
    ray = pytest.importorskip("ray", reason="Ray is not installed (extra cluster)")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    options = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    for left in (2, 1, 0):
        try:
            ray.init("local", num_cpus=2, object_store_memory=100 << 20, **options)
            break
        except Exception:
            # Ray waits 30 s for its processes, which a stalled machine may need.
            ray.shutdown()
            if not left:
                raise
    yield "local"
    with warnings.catch_warnings():
        # Ray leaves its daemons to end by themselves, which Python says of each when its object goes.
        warnings.simplefilter("ignore", ResourceWarning)
        ray.shutdown()
        gc.collect()


def test_two_workers_one_of_them_killed_make_the_same_tables(finished, config, tmp_path, cluster):
    told, processes = [], []

    def say(line):
        told.append(line)
        if found := PROCESS.match(line):
            processes.append(int(found[1]))
        if "step 0 followed" in line and len(processes) == 2:
            os.kill(processes[0], signal.SIGKILL)
            processes.append(0)

    run_study(tmp_path / "store", config, say=say, cluster=cluster, workers=2)
    assert 0 in processes and os.getpid() not in processes
    assert any(re.match(r"worker \d died in .*/seed-0", line) for line in told), told
    assert any(re.match(r"18 cells at .* cells/s; \d+ worker-seconds spent", line) for line in told), told
    assert_same(tmp_path / "store", finished)
    assert not list((tmp_path / "store" / "locks").glob("cluster-*"))


def test_an_interrupt_leaves_a_store_that_goes_on_without_the_cluster(finished, config, tmp_path, cluster):
    store = tmp_path / "store"

    def interrupt(line):
        if "followed" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(store, config, say=interrupt, cluster=cluster, workers=1)
    there = len(list((store / "cells").glob("*.interactions")))
    assert 0 < there < 18 and not (store / "cells.parquet").exists()
    run_study(store, config, say=lambda _: None)
    assert_same(store, finished)


def test_workers_that_do_not_see_the_store_say_so(config, tmp_path, cluster, monkeypatch):
    # The driver's mark in the store is what a worker looks for.
    monkeypatch.setattr(Path, "touch", lambda *_, **__: None)
    with pytest.raises(RuntimeError, match=r"worker on .* does not see the store .*store; put it on a file system"):
        run_study(tmp_path / "store", config, say=lambda _: None, cluster=cluster, workers=1)


def test_too_many_workers_are_refused(config, tmp_path, cluster):
    with pytest.raises(RuntimeError, match="offers 2 CPUs, but 3 workers need one each"):
        run_study(tmp_path / "store", config, say=lambda _: None, cluster=cluster, workers=3)


def test_a_finished_study_needs_no_cluster(finished, config):
    run_study(finished, config, say=lambda _: None, cluster="ray://localhost:1")


def test_without_ray_the_extra_is_named(config, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RuntimeError, match=r'ray, which is not installed; run: pip install "interact-llm\[cluster\]"'):
        run_study(tmp_path / "store", config, cluster="local")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("options", "kind", "sentence"),
    [
        ({"cluster": "host:10001"}, ValueError, r"'host:10001' is not an address; give local .* ray://HOST:PORT"),
        ({"cluster": "ray://host"}, ValueError, "'ray://host' is not an address"),
        ({"cluster": "local", "workers": 0}, ValueError, "workers is 0, but must be at least 1"),
        ({"workers": 2}, ValueError, "workers is 2, but there is no cluster"),
        ({"cluster": "ray://127.0.0.1:1"}, RuntimeError, r"No Ray cluster can be reached at 'ray://127.0.0.1:1' \(.*"),
    ],
)
def test_what_is_no_cluster_is_a_sentence(config, tmp_path, options, kind, sentence):
    pytest.importorskip("ray", reason="Ray is not installed (extra cluster)")
    with pytest.raises(kind, match=sentence):
        run_study(tmp_path / "store", config, say=lambda _: None, **options)
