"""A short turn of each campaign, in one process of its own that forks while no thread is alive."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def told():
    line = [sys.executable, "-m", "tests.faults", "kills", "fetches", "studies", "limits", "--count", "3", "--short"]
    path = os.pathsep.join([str(ROOT), str(ROOT / "kernels"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode in (0, 1), done.stderr[-3000:]
    return done.stdout


def test_kills_and_faults_lose_nothing(told):
    assert told.rstrip().endswith("nothing was lost"), told


def test_every_campaign_did_something(told):
    assert "studies finished alike" in told and "kills of fetches" in told
    assert "step-1 removed: sentence" in told and "no file beyond" in told
    assert "study with a damaged file: " in told
