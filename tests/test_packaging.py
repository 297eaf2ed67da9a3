"""The sdist builds a wheel in isolation, which installs into an empty environment and runs."""

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


def test_the_wheel_of_the_sdist_installs_into_an_empty_environment_and_runs(tmp_path):
    # As pip builds an sdist: a file that it lacks is found here.
    run(sys.executable, "-m", "build", "--outdir", tmp_path, ROOT, INTERACT_CUDA="0")
    assert len(list(tmp_path.glob("*.tar.gz"))) == 1
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--no-compile"]
    # The torch that is here, because an unpinned one may bring gigabytes of CUDA libraries.
    run(*install, f"torch=={version('torch').split('+')[0]}")
    run(*install, wheel)
    assert "without CUDA" in run(python, "-c", PROGRAM)
    assert "lattice" in run(tmp_path / "env" / "bin" / "interact", "doctor")
