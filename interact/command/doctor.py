"""What runs on this machine, and why the rest does not."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from interact.formats.extras import EXTRAS, missing
from interact.models import embedded
from interact.models.placement import gpu
from interact_kernels import attention, lattice, native_build, sparsify


def examine() -> dict[str, str]:
    """Return findings by name, each one line of text."""
    found = {"interact": f"{_version('interact-llm')} on Python {platform.python_version()}, {platform.platform()}"}
    found["torch"] = f"{torch.__version__}, {torch.get_num_threads()} threads of {os.cpu_count()} processors"
    found["transformers"] = _version("transformers")
    found["native build"] = native_build()
    usable, reason = gpu()
    no_gpu = f"torch finds no usable CUDA device{f': {reason}' if reason else ''}"
    found["CUDA"] = torch.cuda.get_device_name(0) if usable else no_gpu
    found["lattice"] = lattice.explain(torch.zeros(2))
    if usable:
        found["lattice on CUDA"] = lattice.explain(torch.zeros(2, device="cuda"))
    found["split"] = sparsify.explain()
    found["tree attention"] = attention.explain(torch.zeros(1, 1, 1))
    for extra in EXTRAS:
        lacking = missing(extra)
        found[f"extra {extra}"] = (
            f'no, missing {", ".join(lacking)}: pip install "interact-llm[{extra}]"' if lacking else "installed"
        )
    found["cache"] = str(embedded.cache_folder())
    for name in embedded.NAMES:
        found[f"embedded {name}"] = str(embedded.find(name) or f"not fetched: interact fetch {name}")
    return found


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed as a package"
