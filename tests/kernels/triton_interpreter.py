"""Repairs of Triton's interpreter for tests: bfloat16, assertions, bounds of every access, and NumPy 2.5.

As shipped, the interpreter keeps bfloat16 as raw 16-bit integers and calculates with those; it ignores
`tl.device_assert`; an access outside a tensor reads or kills the process; and before Triton 3.7 it makes an int of an
array with one dimension, which NumPy 2.5 refuses. `install()` makes bfloat16 operations go through float32, switches
assertions on, raises IndexError for an access outside the kernel's arguments, and makes ints of single numbers.
Import this module in a process of its own, before triton: it sets TRITON_INTERPRET.
"""

import dataclasses
import os

os.environ["TRITON_INTERPRET"] = "1"

import numpy as np
import triton.language as tl
from triton.runtime import interpreter


def install() -> None:
    """Repair the interpreter of this process."""
    builder = interpreter.InterpreterBuilder
    builder.cast_impl = _cast(builder.cast_impl)
    builder.binary_op = _binary(builder.binary_op)
    builder.unary_op = _unary(builder.unary_op)
    builder.create_dot = _dot(builder.create_dot)
    shared = interpreter.interpreter_builder
    shared.options = dataclasses.replace(shared.options, debug=True)
    interpreter._interpreter = _BoundsChecked(interpreter._interpreter)
    executor = interpreter.GridExecutor
    executor._init_args_hst = _remembering(executor._init_args_hst)
    interpreter._patch_lang_tensor = _indexing(interpreter._patch_lang_tensor)


def _indexing(plain):
    def patch(tensor, *scope):
        plain(tensor, *scope)
        # Triton takes this back with its own method, which stands in the same place.
        tensor.__index__ = lambda self: self.handle.data.item()

    return patch


def _widened(handle):
    if handle.dtype.scalar != tl.bfloat16:
        return handle
    wide = (np.ascontiguousarray(handle.data).astype(np.uint32) << 16).view(np.float32)
    return interpreter.TensorHandle(wide.reshape(np.shape(handle.data)), tl.float32)


def _narrowed(handle):
    bits = np.ascontiguousarray(handle.data, dtype=np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    narrow = np.where(np.isnan(handle.data), np.uint16(0x7FC0), rounded.reshape(np.shape(handle.data)))
    return interpreter.TensorHandle(narrow, tl.bfloat16)


def _cast(plain):
    def cast(self, source, wanted):
        goal = wanted.scalar
        if source.dtype.scalar == goal == tl.bfloat16 or tl.bfloat16 not in (source.dtype.scalar, goal):
            return plain(self, source, wanted)
        wide = _widened(source)
        if goal == tl.bfloat16:
            return _narrowed(wide if wide.dtype.scalar == tl.float32 else plain(self, wide, tl.float32))
        return wide if goal == tl.float32 else plain(self, wide, wanted)

    return cast


def _binary(plain):
    def binary(self, left, right, operation):
        if left.dtype.scalar != tl.bfloat16 or operation.__name__.startswith("bitwise"):
            return plain(self, left, right, operation)
        result = plain(self, _widened(left), _widened(right), operation)
        return _narrowed(result) if result.dtype.scalar == tl.float32 else result

    return binary


def _unary(plain):
    def unary(self, value, operation):
        if value.dtype.scalar != tl.bfloat16:
            return plain(self, value, operation)
        return _narrowed(plain(self, _widened(value), operation))

    return unary


def _dot(plain):
    def dot(self, a, b, accumulator, *options):
        return plain(self, _widened(a), _widened(b), accumulator, *options)

    return dot


_storages: list[tuple[int, int]] = []


def _remembering(plain):
    def arguments(self, positional, named):
        moved, moved_named = plain(self, positional, named)
        _storages.clear()
        for value in [*moved, *moved_named.values()]:
            if hasattr(value, "data_ptr"):
                storage = interpreter._unwrap_tensor(value).untyped_storage()
                _storages.append((storage.data_ptr(), storage.data_ptr() + storage.nbytes()))
        return moved, moved_named

    return arguments


class _BoundsChecked:
    """The native half of the interpreter, its accesses checked against the storages of the arguments."""

    def __init__(self, module):
        self._module = module

    def __getattr__(self, name):
        return getattr(self._module, name)

    def load(self, pointers, mask, other, dtype):
        _check("load", pointers, mask, np.dtype(dtype).itemsize)
        return self._module.load(pointers, mask, other, dtype)

    def store(self, pointers, values, mask):
        _check("store", pointers, mask, values.dtype.itemsize)
        return self._module.store(pointers, values, mask)

    def atomic_rmw(self, operation, pointers, values, mask, order):
        _check("atomic", pointers, mask, values.dtype.itemsize)
        return self._module.atomic_rmw(operation, pointers, values, mask, order)


def _check(kind, pointers, mask, width):
    pointers = np.atleast_1d(pointers)
    active = pointers[np.broadcast_to(np.atleast_1d(mask), pointers.shape).astype(bool)].astype(np.uint64)
    inside = np.zeros(active.shape, bool)
    for first, last in _storages:
        inside |= (active >= np.uint64(first)) & (active + np.uint64(width) <= np.uint64(last))
    if not inside.all():
        bad = int(active[~inside][0])
        near = min((abs(bad - first), bad - first, last - first) for first, last in _storages)
        raise IndexError(
            f"{kind} outside every argument: {int((~inside).sum())} lanes, the first at byte {near[1]} of a storage "
            f"of {near[2]} bytes, program {interpreter.interpreter_builder.grid_idx}."
        )
