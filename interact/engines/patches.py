"""What a model calls beside the forward of its own classes: hooks, and forwards that something put in their place.

A steering vector, an ablation or a wrapper of another library changes scores and what an engine may do, but no weight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from hashlib import sha256
from typing import Any

import torch
from torch.nn.modules import module as torch_module

from interact.engines.function_hash import function_hash, is_installed

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
    """Return a hash of a user's hooks and forwards, by content; None where there are none.

    What libraries hook up, such as transformers for hidden states, changes no score. A forward of a class counts where
    its code is no library's.
    """
    # Of the model's own weights there is another hash.
    own = {id(module) for module in model.modules()}
    found = [(name, kind, _content(one, own)) for name, kind, one in hooks(model) if not _of_library(one)]
    found += [(kind, "class", told) for kind, told in forwards(model).items() if told]
    return sha256(repr(found).encode()).hexdigest()[:16] if found else None


def forwards(model: Any) -> dict[str, str]:
    """Return a hash of the forward of each class in a model whose code is no library's, by the class; else ``""``."""
    kinds = sorted({type(module) for module in model.modules()}, key=lambda kind: (kind.__module__, kind.__qualname__))
    return {f"{kind.__module__}.{kind.__qualname__}": _of_class(kind.forward) for kind in kinds}


@cache
def _of_class(forward: Callable[..., Any]) -> str:
    return "" if _of_library(forward) else _content(forward, frozenset())


def _content(function: Callable[..., Any], without: Any) -> str:
    try:
        return function_hash(function, without=without)
    except Exception:
        # Whatever a function holds: one that cannot be read is like no other.
        return str(id(function))


def _of_library(function: Any) -> bool:
    return all(is_installed(one) for one in _inside(function))


def _inside(function: Any) -> Iterator[Any]:
    """Yield the functions that a partial, a bound method or an object is called by."""
    if isinstance(function, partial):
        yield from _inside(function.func)
    elif isinstance(function, torch.nn.Module):
        yield type(function).forward
    else:
        yield getattr(function, "__func__", function if hasattr(function, "__code__") else type(function).__call__)
