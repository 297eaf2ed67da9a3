"""Random problems against the C++ kernels under sanitizers: ``python tests/csrc/fuzz.py OPERATION [COUNT] [SEED]``.

g++ builds a fuzzer for all instruction sets, whose inputs are random. With ``--seconds N`` clang's libFuzzer steers the
inputs to new branches for so long instead, through the kernels that every compiler has (Debian: clang, libomp-dev).
"""

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
SOURCES = {
    "lattice": ["csrc/lattice"],
    "sparsify": ["csrc/sparsify", "csrc/lattice"],
    "attention": ["csrc/attention"],
}


def build(operation: str, target: Path, *, count: int = 0) -> Path:
    """Compile one fuzzer: by g++ for so many random inputs, or by clang for libFuzzer."""
    files = [str(path) for room in SOURCES[operation] for path in sorted((ROOT / room).glob("*.cpp"))]
    command = ["g++", f"-DFUZZ_COUNT={count}", *SANITIZE, "-O0", "-Wall"]
    if not count:
        steered = [SANITIZE[0] + ",fuzzer", SANITIZE[1]]
        command = [
            os.environ.get("CLANG", "clang++"),
            *steered,
            "-O1",
            "-Wall",
            "-Wno-unknown-pragmas",
            "-Wno-pass-failed",
        ]
    command += ["-std=c++17", "-fopenmp", "-g", "-Wextra", "-Werror"]
    command += [f"-I{ROOT}/csrc", f"-I{ROOT}/tests/csrc", str(ROOT / f"tests/csrc/fuzz_{operation}.cpp")]
    subprocess.run([*command, str(ROOT / "csrc/isa.cpp"), *files, "-o", str(target)], check=True)
    return target


def main() -> int:
    """Build and run one fuzzer."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("operation", choices=list(SOURCES))
    parser.add_argument("count", type=int, nargs="?", default=1000, help="random inputs")
    parser.add_argument("seed", type=int, nargs="?", default=0)
    parser.add_argument("--seconds", type=int, help="of libFuzzer instead")
    given = parser.parse_args()
    # What the OpenMP runtime keeps for its threads is no leak.
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    with tempfile.TemporaryDirectory() as folder:
        program = build(given.operation, Path(folder, "fuzz"), count=0 if given.seconds else given.count)
        steered = [f"-max_total_time={given.seconds}", f"-seed={given.seed}", "-print_final_stats=1"]
        line = [str(program), *(steered if given.seconds else [str(given.seed)])]
        return subprocess.run(line, env=environment, cwd=folder, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
