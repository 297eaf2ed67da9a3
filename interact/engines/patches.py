"""What a model calls beside the forward of its own classes: hooks, and forwards that something put in their place.

A steering vector, an ablation or a wrapper of another library changes scores and what an engine may do, but no weight.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from hashlib import sha256
from typing import Any

from torch.nn.modules import module as torch_module

from interact.engines.function_hash import function_hash, is_installed

_RECORDING = ("torch", "transformers", "accelerate")
Found = tuple[str, str, Callable[..., Any]]
"""Where a function is called, as what, and the function."""


def hooks(model: Any) -> list[Found]:
    """Return a model's hooks and the forwards of its own modules, those of libraries among them."""
    found: list[Found] = []
    for name, module in model.named_modules():
        called = {"hook": module._forward_hooks, "pre-hook": module._forward_pre_hooks}
        found += [(name, kind, one) for kind, some in called.items() for one in some.values()]
        if "forward" in vars(module):
            found.append((name, "forward", vars(module)["forward"]))
    for kind in ("_global_forward_hooks", "_global_forward_pre_hooks"):
        found += [("", kind, one) for one in getattr(torch_module, kind, {}).values()]
    return found


def patches(model: Any) -> str | None:
    """Return a hash of a model's hooks and replaced forwards, by content; None where there are none.

    Hooks of torch, transformers and accelerate record and place, and change no score, so they do not count.
    """
    # Of the model's own weights there is another hash.
    own = {id(module) for module in model.modules()}
    found = [
        (name, kind, _content(one, own))
        for name, kind, one in hooks(model)
        if kind == "forward" or _home(one).partition(".")[0] not in _RECORDING
    ]
    found += [(kind, "class", told) for kind, told in forwards(model).items() if told]
    return sha256(repr(found).encode()).hexdigest()[:16] if found else None


def forwards(model: Any) -> dict[str, str]:
    """Return a hash of the forward of each class in a model, by the class; ``""`` for a library's own."""
    kinds = sorted({type(module) for module in model.modules()}, key=lambda kind: (kind.__module__, kind.__qualname__))
    return {f"{kind.__module__}.{kind.__qualname__}": _of_class(kind, kind.forward) for kind in kinds}


@cache
def _of_class(kind: type, forward: Callable[..., Any]) -> str:
    came = forward.__module__ in {base.__module__ for base in kind.__mro__}
    return "" if came and is_installed(forward) else _content(forward, frozenset())


def _content(function: Callable[..., Any], without: Any) -> str:
    try:
        return function_hash(function, without=without)
    except Exception:
        # Whatever a function holds: one that cannot be read is like no other.
        return str(id(function))


def _home(function: Any) -> str:
    """Return the module of a function, of what a partial or a bound method calls, or of an object's class."""
    if isinstance(function, partial):
        return _home(function.func)
    called = getattr(function, "__func__", function)
    return str((called if hasattr(called, "__code__") else type(called)).__module__)
