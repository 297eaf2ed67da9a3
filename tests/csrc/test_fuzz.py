"""Random problems against the C++ kernels under address and undefined-behaviour sanitizers (docs/reliability.md)."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
SOURCES = {
    "lattice": ["csrc/lattice"],
    "sparsify": ["csrc/sparsify", "csrc/lattice"],
    "attention": ["csrc/attention"],
}


def build(operation: str, target: Path, *, count: int) -> Path:
    """Compile one fuzzer with g++ (its inputs are random), for all instruction sets."""
    files = [str(path) for room in SOURCES[operation] for path in sorted((ROOT / room).glob("*.cpp"))]
    command = ["g++", "-std=c++17", "-O1", "-fopenmp", *SANITIZE, "-Wall", "-Wextra", "-Werror"]
    command += [f"-DFUZZ_COUNT={count}", f"-I{ROOT}/csrc", f"-I{ROOT}/tests/csrc"]
    command += [str(ROOT / f"tests/csrc/fuzz_{operation}.cpp"), str(ROOT / "csrc/isa.cpp"), *files, "-o", str(target)]
    subprocess.run(command, check=True, timeout=1200)
    return target


def fuzz(program: Path, seed: int) -> subprocess.CompletedProcess[str]:
    # What the OpenMP runtime keeps for its threads is no leak.
    return subprocess.run(
        [program, str(seed)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={"ASAN_OPTIONS": "detect_leaks=0", "OMP_WAIT_POLICY": "passive"},
    )


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
def test_random_splits_disturb_no_memory_and_rebuild_the_scores(tmp_path):
    done = fuzz(build("sparsify", tmp_path / "fuzz", count=150), 0)
    assert done.returncode == 0 and "150 inputs" in done.stdout, done.stdout + done.stderr[-3000:]
