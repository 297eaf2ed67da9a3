"""A hash of a function: its code, and all that it takes from elsewhere.

Scores in a file belong to what gave them. A function of the user's has the same name and code in the next cell of a
notebook, but may use another variable: so the values it reaches count, by content. Two hashes that differ cost a new
run; two that agree by mistake would give wrong numbers.
"""

from __future__ import annotations

import hashlib
import re
import sysconfig
from collections.abc import Collection
from functools import partial
from logging import Logger
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def is_installed(function: Any) -> bool:
    """Say whether a function's code is that of an installed package, which changes with its version alone."""
    code = getattr(function, "__code__", None)
    return code is None or code.co_filename.startswith(_LIBRARIES)


def function_hash(function: Any, *, without: Collection[int] = ()) -> str:
    """Return 16 hexadecimal digits that change with what a function, or an object that can be called, computes.

    Args:
        function: It.
        without: Objects with these identities count by their type alone.
    """
    return hashlib.sha256(repr(_Contents(without).of(function)).encode()).hexdigest()[:16]


class _Contents:
    """What values are made of, as text and tuples; a value that is met again is named by its number."""

    def __init__(self, without: Collection[int] = ()) -> None:
        self._without = without
        # The values are held, so that no two of them have one identity.
        self._seen: dict[int, tuple[int, Any]] = {}

    def of(self, part: Any) -> Any:
        """Return the content of a value."""
        if part is None or isinstance(part, (bool, int, float, complex, str, bytes)):
            return part
        if id(part) in self._seen:
            return "again", self._seen[id(part)][0]
        self._seen[id(part)] = (len(self._seen), part)
        if id(part) in self._without:
            return type(part).__qualname__
        if isinstance(part, Logger):
            return part.name
        if isinstance(part, torch.Tensor):
            if part.is_meta or part.layout != torch.strided:
                return str(part.dtype), tuple(part.shape), _ADDRESS.sub("", repr(part))
            data = part.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            return str(part.dtype), tuple(part.shape), hashlib.sha256(data.tobytes()).hexdigest()
        if isinstance(part, np.ndarray) and not part.dtype.hasobject:
            return str(part.dtype), part.shape, hashlib.sha256(part.tobytes()).hexdigest()
        if isinstance(part, (ModuleType, type)):
            return part.__name__
        if isinstance(part, FunctionType):
            return self._function(part)
        if isinstance(part, CodeType):
            return part.co_code, part.co_names, [self.of(constant) for constant in part.co_consts]
        if isinstance(part, MethodType):
            return self.of(part.__func__), self.of(part.__self__)
        if isinstance(part, partial):
            return self.of(part.func), self.of(part.args), self.of(part.keywords)
        if isinstance(part, (list, tuple)):
            return [self.of(one) for one in part]
        if isinstance(part, (set, frozenset)):
            return sorted(_ADDRESS.sub("", repr(one)) for one in part)
        if isinstance(part, dict):
            return [(self.of(key), self.of(value)) for key, value in part.items()]
        return self._object(part)

    def _function(self, part: FunctionType) -> Any:
        if part.__code__.co_filename.startswith(_LIBRARIES):
            # What is installed changes with its version alone.
            return part.__module__, part.__qualname__, self._held(part)
        names = sorted(_names(part.__code__) & part.__globals__.keys())
        used = [(name, self.of(part.__globals__[name])) for name in names]
        held = self._held(part)
        return self.of(part.__code__), held, self.of(part.__defaults__), self.of(part.__kwdefaults__), used

    def _held(self, part: FunctionType) -> list[Any]:
        found = []
        for cell in part.__closure__ or ():
            try:
                found.append(self.of(cell.cell_contents))
            except ValueError:
                found.append("bound later")
        return found

    def _object(self, part: Any) -> Any:
        if isinstance(part, torch.nn.Module):
            forwards = [self.of(type(one).forward) for one in part.modules()]
            return type(part).__qualname__, repr(part), self.of(dict(part.state_dict())), forwards
        if hasattr(part, "__dict__"):
            methods = [value for value in vars(type(part)).values() if isinstance(value, FunctionType)]
            return type(part).__qualname__, self.of(vars(part)), [self.of(one) for one in methods]
        return _ADDRESS.sub("", repr(part))


def _names(code: CodeType) -> set[str]:
    inside = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return {*code.co_names, *(name for one in inside for name in _names(one))}
