"""The AND-OR split in C++: the interior point (a Cholesky an iteration) and the Kronecker ADMM (no matrix).

LAPACK comes from the addresses SciPy publishes for Cython; nothing is linked. Its own threads are switched off
while the solver runs: the batch is what is parallel, one thread per sample, so results have the same bits whatever
the number of threads.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from scipy.linalg import cython_lapack

from interact_kernels import _native
from interact_kernels.sparsify.request import SplitRequest
from interact_kernels.sparsify.result import AndOrSplit, assemble

_SETTERS = ("scipy_openblas_set_num_threads", "openblas_set_num_threads")
_GETTERS = ("scipy_openblas_get_num_threads", "openblas_get_num_threads")
_LONG = 1 << 11
_lock = threading.Lock()
_inside = 0
_threads_before = 1


def interior_point(request: SplitRequest) -> AndOrSplit:
    """Solve by the interior point."""
    v, bound, options = np.ascontiguousarray(request.v), np.ascontiguousarray(request.bound), request.options
    out, start = _buffers(v.shape), []
    if options.start is not None:
        start = _start_buffers(options.start, v.shape)
    with _one_blas_thread():
        _interruptibly(
            _native.split_interior_point,
            (v, bound, start, out),
            v.ctypes.data,
            bound.ctypes.data,
            len(v),
            request.n,
            request.form.soft,
            request.form.ridge,
            [array.ctypes.data for array in start],
            [array.ctypes.data for array in out],
            request.rtol,
            200 if options.max_iterations is None else options.max_iterations,
            options.time_limit,
            options.single_precision,
            options.polish,
            (3 if v.shape[-1] <= 1024 else 8) if options.correctors is None else options.correctors,
            _address("spotrf"),
            _address("dpotrf"),
            torch.get_num_threads(),
        )
    return assemble(request, out[:4], out[4])


def admm(request: SplitRequest) -> AndOrSplit:
    """Solve by the ADMM; the memory is O(2**n)."""
    v, bound, options = np.ascontiguousarray(request.v), np.ascontiguousarray(request.bound), request.options
    out = _buffers(v.shape)
    _interruptibly(
        _native.split_admm,
        (v, bound, out),
        v.ctypes.data,
        bound.ctypes.data,
        len(v),
        request.n,
        request.form.soft,
        request.form.ridge,
        [array.ctypes.data for array in out],
        request.rtol,
        20_000 if options.max_iterations is None else options.max_iterations,
        options.time_limit,
        options.rho,
        torch.get_num_threads(),
    )
    return assemble(request, out[:4], out[4])


def hold_columns(
    request: SplitRequest, families: np.ndarray, sets: np.ndarray, levels: np.ndarray, decision: float
) -> list[np.ndarray]:
    """Split the one sample of a request once for each column that is held at its level.

    Args:
        request: The sample and how to split it.
        families: 0 for an AND effect, 1 for an OR effect, shape [held].
        sets: Its players, shape [held].
        levels: Its level, shape [held].
        decision: A cost; a split ends when its own is known to lie above or below. NaN for none.

    Returns:
        i_and, i_or, noise and y, each of shape [held, 2**n].
    """
    v, bound = np.ascontiguousarray(request.v), np.ascontiguousarray(request.bound)
    kinds = (np.int64, np.int64, np.float64)
    held = [np.ascontiguousarray(part, dtype=k) for part, k in zip((families, sets, levels), kinds, strict=True)]
    out = _buffers((len(held[0]), v.shape[-1]))
    with _one_blas_thread():
        _interruptibly(
            _native.hold_columns,
            (out[0], v, bound, held, out),
            v.ctypes.data,
            bound.ctypes.data,
            request.n,
            request.form.soft,
            request.form.ridge,
            [array.ctypes.data for array in held],
            len(held[0]),
            decision,
            [array.ctypes.data for array in out],
            request.rtol,
            60,
            request.options.time_limit,
            3,
            _address("spotrf"),
            _address("dpotrf"),
            torch.get_num_threads(),
        )
    return out[:4]


def _interruptibly(solve: Callable[..., None], alive: tuple[Any, ...], *arguments: Any) -> None:
    """Solve, and let an interrupt through at once where that can take long.

    Python hears Ctrl-C only between native calls. So a long one runs in a thread that an interrupt leaves behind, with
    the arrays that it writes to kept `alive`; it ends with the process, or at its own limits.
    """
    if alive[0].shape[-1] < _LONG:
        solve(*arguments)
        return
    failed: list[BaseException] = []

    def work(kept: tuple[Any, ...]) -> None:
        try:
            solve(*arguments)
        except BaseException as error:
            failed.append(error)
        del kept

    thread = threading.Thread(target=work, args=(alive,), daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.2)
    if failed:
        raise failed[0]


def _buffers(shape: tuple[int, ...]) -> list[np.ndarray]:
    return [np.zeros(shape) for _ in range(4)] + [np.zeros(shape[0], dtype=np.int64)]


def _start_buffers(start: AndOrSplit, shape: tuple[int, ...]) -> list[np.ndarray]:
    parts = [np.asarray(part, dtype=np.float64) for part in (start.i_and, start.i_or, start.noise, start.certificate)]
    rows = [np.ascontiguousarray(part.reshape(-1, part.shape[-1])) for part in parts]
    if any(part.shape != shape for part in rows):
        raise ValueError(f"options.start must be a split of scores of the same shape {shape}, but is {rows[0].shape}.")
    return [*rows, np.zeros(shape[0], dtype=np.int64)]


def _address(routine: str) -> int:
    capsule = cython_lapack.__pyx_capi__[routine]
    name = ctypes.pythonapi.PyCapsule_GetName
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return int(pointer(capsule, name(capsule)))


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Hold SciPy's OpenBLAS at one thread while any solver runs; other BLAS builds are left alone."""
    global _inside, _threads_before
    library: Any = ctypes.CDLL(cython_lapack.__file__)
    setter = next((getattr(library, name) for name in _SETTERS if hasattr(library, name)), None)
    getter = next((getattr(library, name) for name in _GETTERS if hasattr(library, name)), None)
    with _lock:
        if setter and getter and not _inside:
            _threads_before = getter()
            setter(1)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if setter and getter and not _inside:
                setter(_threads_before)
