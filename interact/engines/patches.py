"""What a model calls beside the forward of its own classes: hooks, and forwards that something put in their place.

A steering vector, an ablation or a wrapper of another library changes scores and what an engine may do, but no weight.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import torch
from torch.nn.modules import module as torch_module

from interact.engines.function_hash import function_hash


def patches(model: Any) -> str | None:
    """Return a hash of a model's hooks and replaced forwards, by content; None where there are none."""
    found: list[tuple[str, str, str]] = []
    for name, module in model.named_modules():
        called = {"hook": module._forward_hooks, "pre-hook": module._forward_pre_hooks}
        found += [(name, kind, _content(one)) for kind, hooks in called.items() for one in hooks.values()]
        if "forward" in vars(module):
            found.append((name, "forward", _content(vars(module)["forward"])))
    for kind in ("_global_forward_hooks", "_global_forward_pre_hooks"):
        found += [("", kind, _content(one)) for one in getattr(torch_module, kind, {}).values()]
    return sha256(repr(found).encode()).hexdigest()[:16] if found else None


def forwards(model: Any) -> dict[str, str]:
    """Return a hash of the forward of each class in a model, by the class: it may have been replaced, too."""
    return {
        f"{kind.__module__}.{kind.__qualname__}": _content(kind.forward) for kind in {type(m) for m in model.modules()}
    }


def _content(function: Any) -> str:
    # Weights are hashed elsewhere, and a hook may hold the whole model.
    return function_hash(function, without=torch.nn.Module)
