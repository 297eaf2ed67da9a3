"""Build `interact_kernels._native`: C++ always, CUDA when a toolkit is found (INTERACT_CUDA=0|1|auto)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pybind11
from pybind11.setup_helpers import ParallelCompile
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

MODE = os.environ.get("INTERACT_CUDA", "auto").lower()
ARCHITECTURES = os.environ.get("INTERACT_CUDA_ARCHS", "80;90;100+PTX").replace(" ", ";").split(";")
# Warnings are errors in our own builds only: a user's newer compiler may know new warnings.
STRICT = os.environ.get("INTERACT_WERROR") == "1"
EMPTY_KERNEL = "#include <cuda_runtime.h>\n__global__ void probe(float* x) { x[threadIdx.x] *= 2.f; }\n"


def cuda_home() -> Path | None:
    # The nvcc on PATH may be a wrapper script, so it is asked where its home is.
    candidates = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH")]
    if nvcc := shutil.which("nvcc"):
        asked = subprocess.run([nvcc, "--dryrun", "-x", "cu", os.devnull], capture_output=True, text=True)
        if top := re.search(r"^#\$ TOP=(\S+)", asked.stderr, re.MULTILINE):
            candidates.append(os.path.normpath(top[1]))
    candidates += ["/usr/local/cuda", *(str(Path(p) / "nvidia" / "cu13") for p in sys.path)]
    homes = (Path(c) for c in candidates if c)
    return next((h for h in homes if (h / "bin/nvcc").exists() and (h / "include/cuda_runtime.h").exists()), None)


def nvcc_command(home: Path) -> list[str]:
    command = f"{home}/bin/nvcc -O3 -std=c++17 -cudart static -Xcompiler -fPIC,-fvisibility=hidden".split()
    command += [f"-I{home}/include", f"-I{home}/include/cccl", "-Icsrc", *(["-Werror", "all-warnings"] * STRICT)]
    for architecture in ARCHITECTURES:
        number = architecture.removesuffix("+PTX").replace(".", "")
        command += ["-gencode", f"arch=compute_{number},code=sm_{number}"]
        if architecture.endswith("+PTX"):
            command += ["-gencode", f"arch=compute_{number},code=compute_{number}"]
    return command


def usable_cuda() -> Path | None:
    home = None if MODE == "0" else cuda_home()
    why = "INTERACT_CUDA=0" if MODE == "0" else "no CUDA toolkit was found"
    if home:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "probe.cu").write_text(EMPTY_KERNEL)
            probe = [*nvcc_command(home), "-c", f"{folder}/probe.cu", "-o", f"{folder}/probe.o"]
            if subprocess.run(probe, capture_output=True).returncode == 0:
                print(f"interact: building with CUDA for {', '.join(ARCHITECTURES)} from {home}", flush=True)
                return home
        why = f"{home}/bin/nvcc cannot compile an empty kernel for {', '.join(ARCHITECTURES)}"
    if MODE == "1":
        raise SystemExit(f"interact: INTERACT_CUDA=1 was set, but {why}; set CUDA_HOME to a CUDA 13 toolkit.")
    print(f"interact: building WITHOUT CUDA ({why})", flush=True)


class BuildNative(build_ext):
    def build_extension(self, ext: Extension) -> None:
        if home := usable_cuda():
            for source in sorted(Path("csrc").rglob("*.cu")):
                target = Path(self.build_temp) / source.with_suffix(".cu.o")
                target.parent.mkdir(parents=True, exist_ok=True)
                subprocess.check_call([*nvcc_command(home), "-c", str(source), "-o", str(target)])
                ext.extra_objects.append(str(target))
            libraries = [home / d for d in ("lib64", "lib", "targets/x86_64-linux/lib")]
            ext.extra_objects.append(str(next(d for d in libraries if d.exists()) / "libcudart_static.a"))
            ext.define_macros.append(("INTERACT_WITH_CUDA", f'"{";".join(ARCHITECTURES)}"'))
            ext.libraries += ["dl", "rt", "pthread"]
        super().build_extension(ext)


native = Extension(
    "interact_kernels._native",
    sorted(str(p) for p in Path("csrc").rglob("*.cpp")),
    include_dirs=[pybind11.get_include(), "csrc"],
    depends=sorted(str(p) for p in [*Path("csrc").rglob("*.h"), *Path("csrc").rglob("*.cu")]),
    language="c++",
    extra_compile_args="-O3 -std=c++17 -fopenmp -fvisibility=hidden -g0 -Wall -Wextra".split() + ["-Werror"] * STRICT,
    extra_link_args=["-fopenmp", "-Wl,--exclude-libs,ALL"],
)
ParallelCompile("INTERACT_JOBS").install()
setup(ext_modules=[native], cmdclass={"build_ext": BuildNative})
