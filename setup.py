"""Build `interact_kernels._native`: C++ always, CUDA when a toolkit is found (INTERACT_CUDA=0|1|auto).

The library carries the hash of all that decides it: another hash, another build. A CUDA build reads what code it holds.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import pybind11
from pybind11.setup_helpers import ParallelCompile
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

MODE = os.environ.get("INTERACT_CUDA", "auto").lower()
ARCHITECTURES = (os.environ.get("INTERACT_CUDA_ARCHS") or "80;90;100+PTX").replace(";", " ").split()
# Warnings are errors in our own builds only: a user's newer compiler may know new warnings.
STRICT = os.environ.get("INTERACT_WERROR") == "1"
FLAGS = ("CC", "CXX", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS")
EMPTY_KERNEL = "#include <cuda_runtime.h>\n__global__ void probe(float* x) { x[threadIdx.x] *= 2.f; }\n"
# How a fat binary begins: its magic number, version 1, a header of 16 bytes.
FAT_BINARY = bytes.fromhex("50ed55ba01001000")


def cuda_home() -> Path | None:
    # The nvcc on PATH may be a wrapper script, so it is asked where its home is.
    candidates = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH")]
    if nvcc := shutil.which("nvcc"):
        asked = subprocess.run([nvcc, "--dryrun", "-x", "cu", os.devnull], capture_output=True, text=True)
        if top := re.search(r"^#\$ TOP=(.+)$", asked.stderr, re.MULTILINE):
            candidates.append(os.path.normpath(top[1].strip()))
    candidates += ["/usr/local/cuda", *(str(Path(p) / "nvidia" / "cu13") for p in sys.path)]
    homes = (Path(c) for c in candidates if c)
    return next((h for h in homes if (h / "bin/nvcc").exists() and cudart(h)), None)


def cudart(home: Path) -> Path | None:
    places = (home / folder / "libcudart_static.a" for folder in ("lib64", "lib", "targets/x86_64-linux/lib"))
    return next((place for place in places if place.exists()), None)


def code_asked_for() -> set[str]:
    numbers = {a: a.removesuffix("+PTX").replace(".", "") for a in ARCHITECTURES}
    return {f"sm_{n}" for n in numbers.values()} | {f"compute_{n}" for a, n in numbers.items() if a.endswith("+PTX")}


def nvcc_command(home: Path) -> list[str]:
    command = [f"{home}/bin/nvcc", *"-O3 -std=c++17 -cudart static -Xcompiler -fPIC,-fvisibility=hidden".split()]
    command += [f"-I{home}/include", f"-I{home}/include/cccl", "-Icsrc", *(["-Werror", "all-warnings"] * STRICT)]
    for code in sorted(code_asked_for()):
        command += ["-gencode", f"arch=compute_{code.partition('_')[2]},code={code}"]
    return command


def usable_cuda() -> Path | None:
    if MODE not in ("0", "1", "auto"):
        raise SystemExit(f"interact: INTERACT_CUDA is {MODE!r}, but must be 0, 1 or auto.")
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


def code_held(library: Path, home: Path) -> set[str]:
    """Read which code a library holds: sm_90 is machine code for 9.0 (or 9.0a), compute_90 its PTX."""
    if (tool := home / "bin/cuobjdump").exists():
        asked = [subprocess.run([tool, f"--list-{k}", library], capture_output=True, text=True) for k in ("elf", "ptx")]
        machine, ptx = (re.findall(r"\.sm_(\d+)[af]?\.", done.stdout) for done in asked)
        return {f"sm_{n}" for n in machine} | {f"compute_{n}" for n in ptx}
    data, found = library.read_bytes(), set()
    for start in re.finditer(re.escape(FAT_BINARY), data):
        at = start.end() + 8
        end = at + struct.unpack_from("<Q", data, start.end())[0]
        while at < end:
            kind, header, length, number = struct.unpack_from("<H2xIQ12xI", data, at)
            found.add(f"{'compute' if kind == 1 else 'sm'}_{number}")
            at += header + length
    return found


class BuildNative(build_ext):
    def build_extension(self, ext: Extension) -> None:
        home = usable_cuda()
        library = Path(self.get_ext_fullpath(ext.name))
        key = self.key(ext, home)
        if library.exists() and key.encode() in library.read_bytes():
            return
        self.force, self.build_temp = True, str(Path(self.build_temp) / key)
        ext.define_macros.append(("INTERACT_BUILD_KEY", f'"{key}"'))
        if home:
            self.compile_cuda(ext, home)
        super().build_extension(ext)
        if home and (missing := {c.rstrip("af") for c in code_asked_for()} - code_held(library, home)):
            library.unlink()
            raise SystemExit(f"interact: {home}/bin/nvcc left out {sorted(missing)}; set CUDA_HOME to another toolkit.")

    def key(self, ext: Extension, home: Path | None) -> str:
        nvcc = [*nvcc_command(home), subprocess.check_output([home / "bin/nvcc", "--version"])] if home else []
        flags = [ext.extra_compile_args, ext.extra_link_args, *map(os.environ.get, FLAGS)]
        digest = hashlib.sha256(repr([nvcc, flags, pybind11.__version__]).encode())
        for path in sorted([*ext.sources, *ext.depends]):
            digest.update(f"\n{path}\n".encode() + Path(path).read_bytes())
        return f"interact-build-{digest.hexdigest()[:16]}"

    def compile_cuda(self, ext: Extension, home: Path) -> None:
        for source in sorted(Path("csrc").rglob("*.cu")):
            target = Path(self.build_temp) / source.with_suffix(".cu.o")
            target.parent.mkdir(parents=True, exist_ok=True)
            if subprocess.run([*nvcc_command(home), "-c", str(source), "-o", str(target)]).returncode:
                raise SystemExit(f"interact: {home}/bin/nvcc could not compile {source}; what it says stands above.")
            ext.extra_objects.append(str(target))
        ext.extra_objects.append(str(cudart(home)))
        ext.define_macros.append(("INTERACT_WITH_CUDA", f'"{";".join(ARCHITECTURES)}"'))
        ext.libraries += ["dl", "rt", "pthread"]


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
