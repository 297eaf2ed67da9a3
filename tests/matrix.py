"""Run what meets the dependencies in fresh environments: ``python -m tests.matrix [NAME ...] [--folder FOLDER]``.

1. The tree is copied, so that what is built for one Python is not there for the next.
2. A virtual environment gets the versions of its set; each Python is the ``python3.X`` of INTERACT_PYTHONS (folders
   divided by colons) or of PATH.
3. The tests of kernels, models and fine-tuning run in it, and one extraction of SmolLM2 by the command line. All sets
   share one cache of embedded models, as the environments of one user do.
4. A table says what ran with which versions; the exit status is 1 when anything failed.

`newest-hub` is the set of CI: the environment that runs this, with the newest transformers, peft, trl and tokenizers
laid over it, and the tests of models and fine-tuning alone.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXTRAS = "embedded,shap,shapley,sparse,study,triton"
TOOLS = ("beartype", "hypothesis", "jaxtyping", "jsonschema", "pytest", "pytest-xdist", "tensorboard", "trl")
HUB = ("transformers", "peft", "trl", "tokenizers")
SHOWN = ("torch", "triton", "numpy", "transformers", "tokenizers", "peft", "trl")
TESTS = ("tests/kernels", "tests/interact", "tests/sft")
MODELS = [f"tests/interact/test_{name}.py" for name in "coalitions final_rows model_cache packed reorder tree".split()]
EXTRACTION = ("--text", "a gorgeous, witty, seductive movie", "--target", "positive", "--answer-prefix", "It is")


@dataclass(frozen=True)
class Environment:
    """A set of versions: its Python, what is pinned, and what is tested."""

    python: str
    pins: tuple[str, ...] = ()
    tests: tuple[str, ...] = TESTS


def lowest() -> tuple[str, ...]:
    """Pin each package to the lowest version that pyproject.toml declares."""
    text = (ROOT / "pyproject.toml").read_text()
    return tuple(f"{name}=={low}" for name, low in re.findall(r'"([\w-]+)(?:\[\w+\])?>=([\d.]+)', text) if name in LOW)


LOW = set(re.findall(r'^    "([\w-]+)', (ROOT / "pyproject.toml").read_text().split("[project.optional")[0], re.M))
LOW |= {"accelerate", "jinja2", "markupsafe", "pandas", "peft", "pyarrow", "scikit-learn"}
LOW |= {"gguf", "sentencepiece", "triton", "shap", "shapiq", "lightgbm", "trl"}
LOCK = tuple(line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#"))
GPU_IMAGE = ("torch==2.11.0", "triton==3.6.0", "numpy==2.5.2", "transformers==5.17.0")
SETS = {
    # Newer pyparsing warns of how Matplotlib 3.8 calls it.
    "lowest": Environment("3.10", (*lowest(), "pyparsing<3.3")),
    "locked": Environment("3.11", ("torch==2.13.0", *LOCK)),
    "newest": Environment("3.13"),
    "gpu-image": Environment("3.12", GPU_IMAGE),
    "newest-hub": Environment("", HUB, (*MODELS, "tests/sft")),
}
DEFAULT = ("lowest", "locked", "newest", "gpu-image")


def main(arguments: list[str] | None = None) -> int:
    """Run sets; return 1 when anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {list(SETS)} (default: {' '.join(DEFAULT)})")
    parser.add_argument("--folder", type=Path, help="where to work and to keep everything (default: a temporary one)")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.names) - set(SETS)):
        parser.error(f"{unknown[0]} is no set; choose of {list(SETS)}")
    names = options.names or DEFAULT
    pythons = {name: python_of(name) for name in names}
    if missing := [SETS[name].python for name, path in pythons.items() if path is None]:
        parser.error(f"python{missing[0]} is not on PATH; say where it is by INTERACT_PYTHONS=FOLDER[:FOLDER ...]")
    rows = [
        f"| environment | Python | {' | '.join(SHOWN)} | passed | failed | minutes |",
        "|---" * (len(SHOWN) + 5) + "|",
    ]
    red = False
    with tempfile.TemporaryDirectory(prefix="interact-matrix-") as temporary:
        for name in names:
            folder = (options.folder or Path(temporary)).absolute() / name
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            row, failed = run_set(name, str(pythons[name]), folder)
            rows.append(row)
            red |= failed
            if not options.folder:
                shutil.rmtree(folder)
    print("\n".join(["", *rows]), flush=True)
    return int(red)


def python_of(name: str) -> str | None:
    """Return the interpreter of a set, or None."""
    if not SETS[name].python:
        return sys.executable
    places = os.pathsep.join(filter(None, (os.environ.get("INTERACT_PYTHONS"), os.environ["PATH"])))
    return shutil.which(f"python{SETS[name].python}", path=places)


def run_set(name: str, python: str, folder: Path) -> tuple[str, bool]:
    """Make the environment of a set and run its tests; return its row of the table and whether it is red."""
    began = time.monotonic()
    layered = name == "newest-hub"
    tree, bin, tests = ROOT if layered else folder / "tree", folder / "venv" / "bin", SETS[name].tests
    surroundings = os.environ | {"INTERACT_CACHE": str(folder.parent / "cache"), "INTERACT_CUDA": "0"}
    surroundings |= {"OMP_WAIT_POLICY": "passive", "TOKENIZERS_PARALLELISM": "false"}
    surroundings = {k: v for k, v in surroundings.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def call(*command: str | Path) -> tuple[bool, str]:
        line = [str(part) for part in command]
        print(f"\n[{name}] {' '.join(line)}"[:300], flush=True)
        done = subprocess.run(
            line, cwd=tree, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        print(done.stdout[-20_000:], flush=True)
        return done.returncode == 0, done.stdout

    if not layered:
        copy_tree(tree)
    install = layer if layered else fresh
    ready = install(call, python, folder, SETS[name].pins)
    passed, failed = 0, int(not ready)
    if ready:
        options = ("-m", "not gpu and not packaging", "-p", "no:cacheprovider", "--durations", "25")
        options += ("--numprocesses", "2", "--dist", "worksteal")
        if not layered:
            failed += not call(bin / "interact", "fetch", "smollm2")[0]
        good, said = call(bin / "python", "-m", "pytest", "-q", *options, *tests)
        counts = {kind: int(count) for count, kind in re.findall(r"(\d+) (passed|failed|error)", said[-400:])}
        passed = counts.get("passed", 0)
        failed += counts.get("failed", 0) + counts.get("error", 0) or int(not good)
        if not layered:
            out = ("--out", folder / "one.interactions")
            good, said = call(bin / "interact", "extract", "--model", "smollm2", *EXTRACTION, *out)
            passed, failed = passed + good, failed + (not good)
    cells = versions(bin / "python") if ready else ["-"] * (len(SHOWN) + 1)
    minutes = (time.monotonic() - began) / 60
    return f"| {' | '.join([name, *cells, str(passed), str(failed), f'{minutes:.0f}'])} |", failed > 0


def copy_tree(target: Path) -> None:
    """Copy what git knows or would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in filter(None, subprocess.check_output(command, cwd=ROOT, text=True).split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def fresh(call, python: str, folder: Path, pins: tuple[str, ...]) -> bool:
    """Install a set in an environment of its own; torch first, whose libraries the rest must suit."""
    pinned = folder / "constraints.txt"
    pinned.write_text("\n".join(pins))
    pip = (folder / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet", "--constraint", pinned)
    tree = f"{folder / 'tree'}[{EXTRAS}]"
    return (
        call(python, "-m", "venv", folder / "venv")[0]
        and call(*pip, "--upgrade", "pip")[0]
        and call(*pip, "torch", "numpy", "setuptools>=77", "pybind11>=2.13")[0]
        and call(*pip, "--no-build-isolation", *TOOLS, "--editable", tree)[0]
    )


def layer(call, python: str, folder: Path, pins: tuple[str, ...]) -> bool:
    """Lay the newest of some packages over the environment that runs this."""
    below = sysconfig.get_paths()["purelib"]
    if not call(python, "-m", "venv", folder / "venv")[0]:
        return False
    site = next((folder / "venv" / "lib").glob("python*")) / "site-packages"
    (site / "below.pth").write_text(f"import site; site.addsitedir({below!r})\n")
    return call(folder / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet", "--upgrade", *pins)[0]


def versions(python: Path) -> list[str]:
    """Return the versions of Python and of `SHOWN` in an environment."""
    script = f"""
import importlib.metadata as m, platform
print(platform.python_version())
for name in {SHOWN!r}:
    try: print(m.version(name))
    except m.PackageNotFoundError: print("-")
"""
    return subprocess.check_output([str(python), "-c", script], text=True).split()


if __name__ == "__main__":
    sys.exit(main())
