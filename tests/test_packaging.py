"""sdist and wheel build in isolation, install into empty environments, and run."""

import os
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROGRAM = """
import interact, interact_kernels, torch
x = torch.tensor([0.0, 1.0, 1.0, 3.0])
assert interact_kernels.lattice.moebius(x, impl="native").tolist() == [0.0, 1.0, 1.0, 1.0]
inputs = interact.CoalitionInputs([1, 2, 3], [(0, 1)], [1])
from transformers import LlamaConfig, LlamaForCausalLM
sizes = dict(vocab_size=16, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
v = interact.coalition_values(LlamaForCausalLM(LlamaConfig(**sizes, eos_token_id=0)), inputs, baseline=3)
assert v.shape == (2,)
print(interact_kernels.native_build())
"""

pytestmark = pytest.mark.packaging


def run(*command: str | Path, **changes: str) -> str:
    hidden = ("PYTHONPATH", "INTERACT_CUDA", "VIRTUAL_ENV")
    environment = {k: v for k, v in os.environ.items() if k not in hidden} | changes
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=environment, cwd="/")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    place = tmp_path_factory.mktemp("dist")
    # The wheel is built from the sdist, so a file that the sdist lacks is found here.
    run(sys.executable, "-m", "build", "--outdir", place, ROOT, INTERACT_CUDA="0")
    return {path.suffix: path for path in place.iterdir()}


def test_both_install_into_an_empty_environment_and_run(distributions, tmp_path):
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--no-compile"]
    # The torch that is here, because an unpinned one may bring gigabytes of CUDA libraries.
    run(*install, f"torch=={version('torch').split('+')[0]}")
    run(*install, distributions[".whl"])
    assert "without CUDA" in run(python, "-c", PROGRAM)
    assert "lattice" in run(tmp_path / "env" / "bin" / "interact", "doctor")
    run(python, "-m", "pip", "uninstall", "--quiet", "--yes", "interact-llm")
    # In isolation it was built above, through the wheel; here against the torch that is there, as `pip install` needs
    # it for CUDA.
    run(*install, "setuptools>=77", "pybind11>=2.13")
    run(*install, "--no-deps", "--no-build-isolation", distributions[".gz"], INTERACT_CUDA="0")
    assert "without CUDA" in run(python, "-c", PROGRAM)
