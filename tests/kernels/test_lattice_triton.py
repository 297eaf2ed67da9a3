"""The Triton transforms without a device: interpreted with checks, and compiled for four chips."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from interact_kernels import lattice

HERE = Path(__file__).parent
triton = pytest.mark.skipif(
    subprocess.run([sys.executable, "-c", "import triton"], capture_output=True).returncode != 0,
    reason="triton is not installed",
)


def run_script(name: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        [sys.executable, str(HERE / name)], capture_output=True, text=True, env=environment, timeout=300
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


@triton
def test_interpreted_kernels_equal_the_reference():
    assert "all equal" in run_script("lattice_interpreted.py")


@triton
def test_compiled_kernels_do_not_spill():
    report = json.loads(run_script("lattice_compiled.py"))
    assert len(report) == 4 * 3 * 2
    for name, need in report.items():
        assert need["spills"] == 0, name
        assert 0 < need["registers"] <= 255, name


def test_without_a_device_triton_says_why(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(RuntimeError, match="triton: no, "):
        lattice.moebius(torch.zeros(4), impl="triton")


def test_nothing_imports_triton_eagerly():
    code = "import sys, interact_kernels.lattice; print('interact_kernels.lattice.triton' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert output.stdout.strip() == "False"
