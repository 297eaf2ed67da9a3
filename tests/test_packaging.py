"""The sdist builds a wheel in isolation, which installs into an empty environment and runs."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
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
    run(python, "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps", wheel)
    # What the project needs is taken from here, which takes no minutes; `.ci/run` installs it by pip.
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    assert str(site) in run(python, "-c", "import interact; print(interact.__file__)")
    assert "without CUDA" in run(python, "-c", PROGRAM)
    assert "lattice" in run(tmp_path / "env" / "bin" / "interact", "doctor")


# What the library holds follows from what was asked for: a tiny library, built by the project's own setup.py.


@pytest.fixture
def clone(tmp_path):
    """Give a clone under a path with a space, its native code cut down to a kernel, so that a build takes seconds."""
    folder = tmp_path / "a clone"
    (folder / "csrc").mkdir(parents=True)
    (folder / "kernels" / "interact_kernels").mkdir(parents=True)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "csrc" / "bindings.cpp").write_text(
        "#include <pybind11/pybind11.h>\nPYBIND11_MODULE(_native, module) { (void)module; }\n"
        "[[gnu::used]] static const char build_key[] = INTERACT_BUILD_KEY;\n"
    )
    (folder / "csrc" / "kernel.cu").write_text("__global__ void kernel(float* x) { x[0] = 1.f; }\n")
    return folder


def build(clone, cuda, archs="80", **changes):
    environment = os.environ | {"INTERACT_CUDA": cuda, "INTERACT_CUDA_ARCHS": archs} | changes
    command = [sys.executable, "setup.py", "build_ext"]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=clone)


def gpu_code(clone):
    """Say for which machines the library of a clone holds code: the number stands in every fat binary's entry."""
    (library,) = clone.glob("build/lib.*/interact_kernels/_native*.so")
    names = set(re.findall(rb"\x50\xed\x55\xba\x01\x00\x10\x00.{40}", library.read_bytes(), re.DOTALL))
    return {int.from_bytes(found[-4:], "little") for found in names}, library.stat().st_mtime_ns


@pytest.mark.skipif(not Path("/usr/local/cuda/bin/nvcc").exists(), reason="no CUDA toolkit")
def test_gpu_code_is_exactly_where_it_was_asked_for_in_one_clone(clone):
    seen = []
    for cuda, archs, expected in [("0", "80", set()), ("1", "80", {80}), ("1", "90", {90}), ("0", "80", set())]:
        done = build(clone, cuda, archs)
        assert done.returncode == 0, done.stderr[-2000:]
        found, when = gpu_code(clone)
        assert found == expected
        seen.append(when)
    # The same again is not built again.
    assert build(clone, "0").returncode == 0 and gpu_code(clone)[1] == seen[-1] and len(set(seen)) == 4


@pytest.mark.skipif(not Path("/usr/local/cuda/bin/nvcc").exists(), reason="no CUDA toolkit")
def test_a_toolkit_that_leaves_an_architecture_out_fails_the_build(clone, tmp_path):
    home = tmp_path / "a toolkit"
    (home / "bin").mkdir(parents=True)
    for part in ("include", "lib64"):
        (home / part).symlink_to(Path("/usr/local/cuda") / part)
    wrapper = home / "bin" / "nvcc"
    wrapper.write_text(
        '#!/bin/bash\nexec /usr/local/cuda/bin/nvcc "${@/#arch=compute_90,code=sm_90/arch=compute_80,code=sm_80}"\n'
    )
    wrapper.chmod(0o755)
    done = build(clone, "1", "80;90", CUDA_HOME=str(home))
    assert done.returncode == 1 and "nvcc left out ['sm_90']; set CUDA_HOME" in done.stderr.splitlines()[-1]
    assert not list(clone.glob("build/lib.*/interact_kernels/_native*.so"))


@pytest.mark.parametrize(
    ("cuda", "archs", "sentence"),
    [("yes", "80", "INTERACT_CUDA is 'yes', but must be 0, 1 or auto."), ("1", "12", "INTERACT_CUDA=1 was set, but ")],
)
def test_a_build_that_cannot_be_as_asked_is_a_sentence(clone, cuda, archs, sentence):
    done = build(clone, cuda, archs)
    assert done.returncode == 1 and sentence in done.stderr.splitlines()[-1]
