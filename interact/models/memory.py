"""How much memory there is, and how its end looks."""

from __future__ import annotations

from pathlib import Path

import torch

from interact_kernels.memory import out_of_memory

__all__ = ["free_memory", "out_of_memory", "size_in_words"]


def free_memory(device: torch.device) -> int:
    """Return the free bytes of a device, or of the machine for the CPU."""
    if device.type == "cuda":
        # What torch's allocator holds and nobody uses is free, too.
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + held
    try:
        with Path("/proc/meminfo").open() as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return 8 << 30


def size_in_words(count: int) -> str:
    """Say a number of bytes in a unit that people read.

    >>> size_in_words(1_340_000_000)
    '1.3 GB'
    """
    if count < 1_000_000:
        return "under 1 MB"
    return f"{count / 1e6:.0f} MB" if count < 1_000_000_000 else f"{count / 1e9:.1f} GB"
