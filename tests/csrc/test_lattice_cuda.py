"""The CUDA transforms without a device: run in the simulator, checked by sanitizers, compiled for three chips."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KERNELS = ROOT / "csrc" / "lattice" / "butterfly_cuda.h"
SANITIZE = {
    "none": ["-O1"],
    "thread": ["-O1", "-g", "-DSIM_OS_THREADS", "-fsanitize=thread"],
    "address": ["-O1", "-g", "-DSIM_OS_THREADS", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
}


def compile_simulator(folder: Path, program: str, sanitizer: str = "none", kernels: Path = KERNELS) -> Path:
    target = folder / f"{program}_{sanitizer}"
    command = ["g++", "-std=c++20", *SANITIZE[sanitizer], "-Wall", "-Wextra", "-Wno-unknown-pragmas", "-Werror"]
    command += ["-DINTERACT_SIM", f'-DINTERACT_KERNELS="{kernels}"', f"-I{ROOT}/tests/csrc", f"-I{ROOT}/csrc"]
    command += [str(ROOT / "tests/csrc" / f"{program}.cpp"), "-o", str(target), "-pthread"]
    subprocess.run(command, check=True, timeout=300)
    return target


def simulate(program: Path, *arguments: str, order: int = 0) -> subprocess.CompletedProcess:
    environment = {**os.environ, "SIM_ORDER": str(order), "TSAN_OPTIONS": "halt_on_error=1"}
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, env=environment, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    return compile_simulator(tmp_path_factory.mktemp("simulator"), "lattice_sim")


def test_every_kernel_equals_the_plain_loop(simulator):
    result = simulate(simulator)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("order", [1, 7])
def test_the_order_of_threads_does_not_matter(simulator, order):
    result = simulate(simulator, "few", order=order)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("sanitizer", ["none", "thread", "address"])
def test_sanitizers_find_nothing(tmp_path, sanitizer):
    result = simulate(compile_simulator(tmp_path, "lattice_race", sanitizer), order=1)
    assert result.returncode == 0, result.stdout + result.stderr[-2000:]


@pytest.mark.parametrize("barrier", [0, 1, 2, 3])
def test_a_removed_barrier_is_caught(tmp_path, barrier):
    text = KERNELS.read_text()
    places = [found.start() for found in re.finditer(r"__syncthreads\(\);", text)]
    assert len(places) == 4
    at = places[barrier]
    broken = tmp_path / "broken.h"
    broken.write_text(text[:at] + text[at + len("__syncthreads();") :])
    raced = simulate(compile_simulator(tmp_path, "lattice_race", "thread", broken))
    assert "data race" in raced.stderr and raced.returncode != 0
    if barrier % 2 == 0:  # the values are read before they are written: wrong under a changed order, too
        wrong = simulate(compile_simulator(tmp_path, "lattice_race", "none", broken), order=1)
        assert wrong.returncode == 1 and ", not" in wrong.stdout


def test_a_barrier_that_not_all_reach_is_a_deadlock(tmp_path):
    source = tmp_path / "deadlock.cpp"
    source.write_text(
        '#include "cuda_sim.h"\n'
        "void kernel() { if (threadIdx.x) __shfl_xor_sync(~0u, 1, 1); else __syncthreads(); }\n"
        "int main() { try { INTERACT_LAUNCH(kernel, 1, 64, nullptr); }\n"
        "catch (const std::exception& error) { std::puts(error.what()); return 3; } }\n"
    )
    program = tmp_path / "deadlock"
    subprocess.run(["g++", "-std=c++20", f"-I{ROOT}/tests/csrc", str(source), "-o", str(program)], check=True)
    result = simulate(program)
    assert result.returncode == 3 and "deadlock" in result.stdout


def nvcc() -> str | None:
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    found = [Path(home, "bin/nvcc") for home in homes if home]
    return next((str(path) for path in found if path.exists()), shutil.which("nvcc"))


@pytest.mark.skipif(nvcc() is None, reason="no nvcc: set CUDA_HOME to a CUDA 13 toolkit")
def test_compiles_for_three_chips_without_spills(tmp_path):
    command = [str(nvcc()), "-O3", "-std=c++17", "-Werror", "all-warnings", f"-I{ROOT}/csrc", "-Xptxas", "-v"]
    for chip in (80, 90, 100):
        command += ["-gencode", f"arch=compute_{chip},code=sm_{chip}"]
    source = ROOT / "tests/csrc/lattice_resources.cu"
    command += ["-c", str(source), "-o", str(tmp_path / "kernels.o")]
    report = subprocess.run(command, capture_output=True, text=True, timeout=400, check=True)
    text = report.stdout + report.stderr
    registers = [int(count) for count in re.findall(r"Used (\d+) registers", text)]
    assert len(registers) == 3 * 5
    # 65,536 registers an SM: two blocks of 128 threads, each thread with 32 loads under way.
    assert max(registers) <= 240
    assert text.count("0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads") == 3 * 5
