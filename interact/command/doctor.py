"""What runs on this machine, and why the rest does not."""

from __future__ import annotations

import importlib.util
import os
import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from interact.models import embedded
from interact.models.placement import gpu
from interact_kernels import attention, lattice, native_build, sparsify

_EXTRAS = {
    "embedded": ("accelerate", "gguf", "sentencepiece"),
    "hub": ("datasets",),
    "triton": ("triton",),
    "sparse": ("lightgbm", "sklearn"),
    "shapley": ("shapiq",),
    "shap": ("shap",),
    "cluster": ("ray", "grpc"),
    "quantized": ("bitsandbytes",),
}


def examine() -> dict[str, str]:
    """Return findings by name, each one line of text."""
    found = {"interact": f"{_version('interact-llm')} on Python {platform.python_version()}, {platform.platform()}"}
    found["torch"] = f"{torch.__version__}, {torch.get_num_threads()} threads of {os.cpu_count()} processors"
    found["transformers"] = _version("transformers")
    found["native build"] = native_build()
    usable, reason = gpu()
    missing = f"torch finds no usable CUDA device{f': {reason}' if reason else ''}"
    found["CUDA"] = torch.cuda.get_device_name(0) if usable else missing
    found["lattice"] = lattice.explain(torch.zeros(2))
    if usable:
        found["lattice on CUDA"] = lattice.explain(torch.zeros(2, device="cuda"))
    found["split"] = sparsify.explain()
    found["tree attention"] = attention.explain(torch.zeros(1, 1, 1))
    for extra, modules in _EXTRAS.items():
        missing = [m for m in modules if importlib.util.find_spec(m) is None]
        found[f"extra {extra}"] = (
            f'no, missing {", ".join(missing)}: pip install "interact-llm[{extra}]"' if missing else "installed"
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
