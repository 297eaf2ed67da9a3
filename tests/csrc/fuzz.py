"""Random problems against the C++ kernels under sanitizers: ``python tests/csrc/fuzz.py OPERATION [COUNT] [SEED]``.

g++ builds a fuzzer for all instruction sets, whose inputs are random. OPERATION is lattice, sparsify or attention.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
SOURCES = {
    "lattice": ["csrc/lattice"],
    "sparsify": ["csrc/sparsify", "csrc/lattice"],
    "attention": ["csrc/attention"],
}


def build(operation: str, target: Path, *, count: int) -> Path:
    """Compile one fuzzer."""
    files = [str(path) for room in SOURCES[operation] for path in sorted((ROOT / room).glob("*.cpp"))]
    command = ["g++", "-std=c++17", "-O0", "-fopenmp", *SANITIZE, "-Wall", "-Wextra", "-Werror"]
    command += [f"-DFUZZ_COUNT={count}", f"-I{ROOT}/csrc", f"-I{ROOT}/tests/csrc"]
    command += [str(ROOT / f"tests/csrc/fuzz_{operation}.cpp"), str(ROOT / "csrc/isa.cpp"), *files, "-o", str(target)]
    subprocess.run(command, check=True)
    return target


def main() -> int:
    """Build and run one fuzzer."""
    operation, count, seed = (*sys.argv[1:], *("", "1000", "0")[len(sys.argv) - 1 :])
    if operation not in SOURCES:
        raise SystemExit(f"{operation!r} is no operation; choose one of {list(SOURCES)}.")
    with tempfile.TemporaryDirectory() as folder:
        program = build(operation, Path(folder, "fuzz"), count=int(count))
        # What the OpenMP runtime keeps for its threads is no leak.
        return subprocess.run([program, seed], env={"ASAN_OPTIONS": "detect_leaks=0"}, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
