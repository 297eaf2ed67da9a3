"""Arrays of the host on their way to a device."""

from __future__ import annotations

import torch


def to_device(x: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a tensor of the CPU to a device; on CUDA and ROCm the host does not wait for it.

    An ordinary copy from pageable memory stops the host until the device has worked off all that was queued before.
    From pinned memory it is queued like a kernel, so the host prepares the next run meanwhile.
    """
    if device.type != "cuda":
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)
