"""Where a model's weights go and in which precision: what ``auto`` takes, and what cannot be had here.

1. A device: ``INTERACT_DEVICE`` if it is set, else a GPU that computes one product, else the CPU.
2. A precision: float32 on a CPU, that of the checkpoint on a GPU.
"""

from __future__ import annotations

import os
import re
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from interact.formats.extras import require

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_DEVICE = re.compile(r"(cpu|cuda|mps|xpu)(:\d+)?")
_CARDS = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True)
class Placement:
    """Where weights go.

    Attributes:
        device: A torch device; what `device_map` spreads has no other.
        dtype: ``"auto"``, or a name in `DTYPES`.
        device_map: As transformers takes it, such as ``"auto"``; None for everything on `device`.
        bits: 4 or 8 for weights that bitsandbytes quantises; None for weights as they are.
    """

    device: str
    dtype: str = "auto"
    device_map: str | None = None
    bits: int | None = None

    def options(self, dtype: str) -> dict[str, Any]:
        """Return the options of ``from_pretrained``, so that weights go straight to where they belong."""
        found: dict[str, Any] = {"dtype": DTYPES[dtype]}
        if self.device_map is not None:
            found["device_map"] = self.device_map
        elif torch.device(self.device).type != "cpu":
            found["device_map"] = {"": self.device}
        if self.bits is not None:
            from transformers import BitsAndBytesConfig

            kind: dict[str, Any] = {"load_in_8bit": True}
            if self.bits == 4:
                kind = {"load_in_4bit": True, "bnb_4bit_compute_dtype": DTYPES[dtype]}
            found["quantization_config"] = BitsAndBytesConfig(**kind)
        return found


def placed(dtype: str, device: str, device_map: str | None = None, bits: int | None = None) -> Placement:
    """Check what was asked for, and say what ``device="auto"`` is on this machine.

    Raises:
        ValueError: A name is not known, or two options contradict each other.
        RuntimeError: The device or bitsandbytes is not there.
    """
    if dtype != "auto" and dtype not in DTYPES:
        raise ValueError(f"dtype={dtype!r} is not known; choose one of {['auto', *DTYPES]}.")
    if device_map is not None and device != "auto":
        raise ValueError(
            f"device={device!r} and device_map={device_map!r} both say where weights go; give one of them."
        )
    if bits not in (None, 4, 8):
        raise ValueError(f"bits={bits!r} is not known; choose 4 or 8, or leave it out for weights as they are.")
    place = Placement(resolved_device(device), dtype, device_map, bits)
    if device_map is not None:
        require("study", f"device_map={device_map!r}", "accelerate")
    if bits is not None:
        require("quantized", f"bits={bits}")
        if torch.device(place.device).type != "cuda":
            raise RuntimeError(f"bits={bits} needs a usable GPU, but the device is {place.device}; leave bits out.")
    return place


def check_device(device: str) -> None:
    """Raise ValueError unless `device` is ``"auto"`` or names a device."""
    if device != "auto" and not _DEVICE.fullmatch(device):
        raise ValueError(f"device={device!r} is not known; choose auto, cpu or cuda.")


def resolved_device(device: str) -> str:
    """Return the device that is meant, where ``"auto"`` is a usable GPU, else the CPU.

    A GPU that is there but cannot be used is said in a warning.

    Raises:
        ValueError: The name is not known.
        RuntimeError: A GPU was named and cannot be used.
    """
    check_device(device)
    named = os.environ.get("INTERACT_DEVICE") if device == "auto" else None
    if named and named != "auto":
        if not _DEVICE.fullmatch(named):
            raise ValueError(f"INTERACT_DEVICE is {named!r}, which is not known; set it to auto, cpu or cuda.")
        device = named
    if device == "auto":
        usable, reason = gpu()
        if reason:
            warnings.warn(f"The CPU is used, because the GPU of this machine cannot be: {reason}.", stacklevel=2)
        return "cuda" if usable else "cpu"
    if torch.device(device).type == "cuda":
        usable, reason = gpu()
        if not usable:
            because = f" ({reason})" if reason else ""
            raise RuntimeError(
                f"device={device!r} was requested, but torch finds no usable CUDA device{because}; use device='cpu'."
            )
        number = torch.device(device).index
        if number is not None and number >= torch.cuda.device_count():
            raise RuntimeError(
                f"device={device!r} was requested, but there are {torch.cuda.device_count()} CUDA devices, numbered "
                "from 0; name one of them."
            )
    return device


@lru_cache(maxsize=1)
def gpu() -> tuple[bool, str]:
    """Tell whether a GPU computes, and why one that is there does not ("" where there is none)."""
    with warnings.catch_warnings(record=True) as told:
        # A driver older than the library, or a card that a build of torch left out, is a warning of torch.
        warnings.simplefilter("always")
        if not torch.cuda.is_available():
            return False, _first_line(told[0].message) if told else _unseen()
        try:
            one = torch.ones(2, 2, device="cuda")
            if float((one @ one).sum()) == 8:
                return True, ""
            return False, "it computes 2 x 2 ones wrongly"
        except RuntimeError as error:
            return False, _first_line(error)


def own_dtype(folder: str) -> str:
    """Return the precision in which a model's weights are kept, a name in `DTYPES`; float32 where it names none."""
    config = AutoConfig.from_pretrained(folder)
    text = config.get_text_config()
    for part in (config, text):
        # transformers 4 calls it torch_dtype.
        found = str(getattr(part, "dtype", None) or getattr(part, "torch_dtype", None)).removeprefix("torch.")
        if found in DTYPES:
            return found
    return "float32"


def settled_dtype(dtype: str, device: str, folder: str) -> str:
    """Return the precision that is meant on a device: ``"auto"`` is float32 on a CPU, else the checkpoint's own."""
    if dtype != "auto":
        return dtype
    return "float32" if torch.device(device).type == "cpu" else own_dtype(folder)


def _unseen() -> str:
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") or not (_CARDS.is_dir() and any(_CARDS.iterdir())):
        return ""
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA; install the build for this GPU's driver"
    return f"torch {torch.__version__}, built for CUDA {torch.version.cuda}, does not find it"


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].strip().rstrip(".")[:300]
