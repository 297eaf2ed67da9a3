"""A hash of a function: its code, and all that it takes from elsewhere.

Scores in a file belong to what gave them. A function of the user's has the same name and code in the next cell of a
notebook, but may use another variable: so the values it reaches count, by content. Two hashes that differ cost a new
run; two that agree by mistake would give wrong numbers.
"""

from __future__ import annotations

import hashlib
import re
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def function_hash(function: Any) -> str:
    """Return 16 hexadecimal digits that change with what a function, or an object that can be called, computes."""
    return hashlib.sha256(repr(_content(function, ())).encode()).hexdigest()[:16]


def _content(part: Any, above: tuple[int, ...]) -> Any:
    """Return what a value is made of, as text and tuples; `above` are those that hold it."""
    if id(part) in above:
        return "itself"
    inner = partial(_content, above=(*above, id(part)))
    if isinstance(part, torch.Tensor):
        data = part.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        return str(part.dtype), tuple(part.shape), hashlib.sha256(data.tobytes()).hexdigest()
    if isinstance(part, np.ndarray) and not part.dtype.hasobject:
        return str(part.dtype), part.shape, hashlib.sha256(part.tobytes()).hexdigest()
    if isinstance(part, CodeType):
        return part.co_code, part.co_names, [inner(constant) for constant in part.co_consts]
    if isinstance(part, FunctionType):
        names = sorted(_names(part.__code__) & part.__globals__.keys())
        used = [(name, inner(part.__globals__[name])) for name in names]
        held = [inner(cell.cell_contents) for cell in part.__closure__ or ()]
        return inner(part.__code__), held, inner(part.__defaults__), inner(part.__kwdefaults__), used
    if isinstance(part, MethodType):
        return inner(part.__func__), inner(part.__self__)
    if isinstance(part, partial):
        return inner(part.func), inner(part.args), inner(part.keywords)
    if isinstance(part, (ModuleType, type)):
        return part.__name__
    if isinstance(part, (list, tuple)):
        return [inner(one) for one in part]
    if isinstance(part, (set, frozenset)):
        return sorted(repr(inner(one)) for one in part)
    if isinstance(part, dict):
        return [(inner(key), inner(value)) for key, value in part.items()]
    if isinstance(part, torch.nn.Module):
        return type(part).__qualname__, repr(part), inner(dict(part.state_dict())), inner(type(part).forward)
    if hasattr(part, "__dict__"):
        own = vars(type(part)).get("__call__")
        return type(part).__qualname__, inner(vars(part)), inner(own) if isinstance(own, FunctionType) else None
    return _ADDRESS.sub("", repr(part))


def _names(code: CodeType) -> set[str]:
    inside = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return {*code.co_names, *(name for one in inside for name in _names(one))}
