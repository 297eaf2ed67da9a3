"""Compile Triton kernels ahead of time for chips that are not here, and read registers, spills, shared memory.

Import this module in a process of its own, without TRITON_INTERPRET.
"""

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

os.environ.pop("TRITON_INTERPRET", None)

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import MockTensor

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
# Bytes of shared memory that one block may have.
SHARED_LIMIT = {"sm_80": 166_912, "sm_90": 232_448, "sm_100": 232_448, "gfx942": 65_536}


@dataclass(frozen=True)
class Resources:
    """What one thread (registers, spilled bytes) and one block (shared bytes) of a compiled kernel need.

    `wgmma`, `mma` and `copies` count the instructions of its text: products of warp groups, of warps, and asynchronous
    copies of 16 bytes.
    """

    registers: int
    spills: int
    shared: int
    wgmma: int = 0
    mma: int = 0
    copies: int = 0


class _Driver:
    def __init__(self, target):
        self._target = target

    def get_current_target(self):
        return self._target

    def get_current_device(self):
        return (self._target.backend, self._target.arch)  # a cache for each target

    def get_current_stream(self, device=None):
        return 0

    def get_active_torch_device(self):
        return torch.device("cpu")


def pointer(dtype: torch.dtype) -> MockTensor:
    """Return what stands for a tensor argument."""
    return MockTensor(dtype)


def resources(kernel, chip: str, *arguments, **options) -> Resources:
    """Compile `kernel` for `chip` and report what it needs."""
    driver.set_active(_Driver(TARGETS[chip]))
    compiled = kernel.warmup(*arguments, grid=(1,), **options)
    shared = compiled.metadata.shared
    if "ptx" not in compiled.asm:
        text = compiled.asm["amdgcn"]
        spilled = _number(text, r"\.vgpr_spill_count:\s+(\d+)") + _number(text, r"\.sgpr_spill_count:\s+(\d+)")
        private = _number(text, r"\.private_segment_fixed_size:\s+(\d+)")
        return Resources(_number(text, r"\.vgpr_count:\s+(\d+)"), spilled + private, shared)
    folder = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    name = "ptxas-blackwell" if (folder / "ptxas-blackwell").exists() else "ptxas"
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "kernel.ptx")
        source.write_text(compiled.asm["ptx"])
        goal = re.search(r"\.target\s+(\w+)", compiled.asm["ptx"])[1]
        command = [folder / name, "-v", "--gpu-name", goal, source, "-o", Path(scratch, "kernel.cubin")]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    spilled = sum(int(count) for count in re.findall(r"(\d+) bytes spill", text))
    counts = [compiled.asm["ptx"].count(name) for name in ("wgmma.mma_async", "mma.sync", "cp.async.cg")]
    return Resources(_number(text, r"Used (\d+) registers"), spilled, shared, *counts)


def _number(text: str, pattern: str) -> int:
    found = re.search(pattern, text)
    return int(found[1]) if found else 0
