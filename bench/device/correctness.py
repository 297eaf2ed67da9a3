"""Every kernel by name against its reference in float64.

Outputs are written over NaN, calls are repeated and must give the same bits, and they are made once more on another
stream, behind slow work, with inputs that only arrive there.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import torch

from bench.device.child import Cases
from bench.device.clock import Target, distance
from bench.device.inputs import Heads, coalition_tree, heads_of, prompt, segment_trees
from bench.device.record import Row
from interact_kernels import attention as attention_operations
from interact_kernels import lattice as lattice_operations
from tests.kernels.test_attention import random_tree, tensors

BF16, F16, F32, F64 = torch.bfloat16, torch.float16, torch.float32, torch.float64
LIMITS = {BF16: 1e-2, F16: 2e-3, F32: 2e-5}
"""Of attention, |error| / |truth|."""
_TRANSFORMS: dict[str, Callable[..., torch.Tensor]] = {
    "moebius": lattice_operations.moebius,
    "zeta": lattice_operations.zeta,
    "or_moebius": lattice_operations.or_moebius,
    "or_zeta": lattice_operations.or_zeta,
    "adjoint": partial(lattice_operations.moebius, adjoint=True),
    "walsh": lattice_operations.walsh_hadamard,
}


@dataclass(frozen=True)
class Vectors:
    """Inputs of a transform: `batch` vectors of 2**n, which begin `shift` numbers behind an aligned address."""

    transform: str
    n: int
    batch: int
    dtype: torch.dtype
    kind: str
    shift: int = 0


def lattice(cases: Cases, impl: str) -> None:
    """Demand exact transforms of whole numbers."""
    if impl == "triton" and not _triton():
        cases.write(Row("Triton", "not run: triton is not installed", False))
        return
    for given in _vectors(impl, cases.target.tiny):
        thing = f"lattice {impl} {given.kind}"
        what = f"{given.transform} n={given.n} x {given.batch} {given.dtype}{' shifted' * given.shift}"
        call = partial(_inexact, cases.target, given, impl)
        cases.case(what, call, group=thing, thing=f"{thing} n={given.n}")


def _vectors(impl: str, tiny: bool) -> Iterator[Vectors]:
    names = list(_TRANSFORMS)
    for n, dtype in product((5, 12) if tiny else (5, 11, 13, 18), (BF16, F16, F32, F64)):
        kind, shift = ("halves", 0) if dtype.itemsize == 2 else ("off 16 bytes", 1)
        yield Vectors("moebius", n, 3, dtype, kind, shift)
    for n, dtype in product((0, 1, 5, 13) if tiny else (*range(23), 24), (F32, F64)):
        batches = (3,) if tiny else (1, 3, 64) if n <= 14 else (1, 3) if n <= 20 else (1,)
        # In Triton each transform is another kernel for each n, so two of them; on the longest vectors one a dtype.
        some = names if impl == "native" and n <= 16 else ["moebius", names[1 + n % 5]]
        for batch, name in product(batches, some if n <= 20 else [some[dtype == F64]]):
            yield Vectors(name, n, batch, dtype, str(dtype))


def _inexact(target: Target, given: Vectors, impl: str) -> tuple[float, float]:
    """Count entries that are not exact: over NaN, in place, and on another stream; and inputs that were changed."""
    # Whole numbers whose sums are exact in float32, or in float64 only: then float32 arithmetic would show.
    most = 1 << 24 if given.dtype == F64 else 4
    source = torch.randint(1 - most, most, (given.batch, 1 << given.n), dtype=F64)
    transform = partial(_TRANSFORMS[given.transform], impl=impl)
    truth = _TRANSFORMS[given.transform](source, impl="reference").to(given.dtype).to(target.device)
    room = torch.empty(source.numel() + given.shift, dtype=given.dtype, device=target.device)
    x = room[given.shift :].view(given.batch, -1).copy_(source)
    kept, place, over, late = x.clone(), x.clone(), torch.full_like(x, torch.nan), torch.full_like(x, torch.nan)
    transform(x, out=over)
    transform(place, out=place)
    with target.other_stream():
        there = transform(late.copy_(kept))
    return float(sum(int((got != truth).sum()) for got in (over, place, there)) + int((x != kept).sum())), 0.0


def attention(cases: Cases, operation: str) -> None:
    """Hold one attention against float64: dtypes, heads, groups, and in turn windows, caps, sinks, silent tokens."""
    target = cases.target
    grid = product((BF16, F16, F32), (128, 64, 256), ((4, False), (1, False), (7, False), (8, False), (4, True)))
    for i, (dtype, size, (group, special)) in list(enumerate(grid))[:: 13 if target.tiny else 1]:
        options = [(None, 30.0), (5, 0.0), (100, 30.0)][(i // 5 + i // 15) % 3] if special else (None, 0.0)
        window, softcap = options
        thing = f"{operation} {dtype} {size}{' with options' * special}"
        what = f"{thing}, group {group}, window {window}, softcap {softcap} #{i}"
        rule = {"window": window, "softcap": softcap, "causal": not special or i // 5 % 2 == 1}
        call = partial(_ATTENTION[operation], target, i, Heads(2 * group, 2, size), dtype, rule)
        cases.case(what, call, group=f"{operation} {dtype}", thing=thing)
    runs = segment_trees(coalition_tree(prompt(200, 6)), 300) if operation == "tree" else []
    for i, tree in enumerate(runs[: 0 if target.rehearsal else 1 if target.tiny else None]):
        parts = heads_of(target, tree.queries, tree.keys, Heads(8, 2, 128), BF16)
        call = partial(_off, target, partial(_tree_call, tree), parts, None)
        cases.case(f"run {i} of a prompt", call, group="a prompt's runs", thing=f"tree {BF16} 128")


def _tree_error(target: Target, i: int, heads: Heads, dtype: torch.dtype, rule: dict[str, Any]) -> tuple[float, float]:
    segments, longest, silent = (3, 9, 5) if target.rehearsal else (4, 30, 17) if target.tiny else (16, 80, 37)
    tree = random_tree(i, segments, longest, window=rule["window"], silent=silent * (i % 4 < 2))
    parts = heads_of(target, tree.queries, tree.keys, heads, dtype)
    return _off(target, partial(_tree_call, tree, softcap=rule["softcap"]), parts, _sinks(target, heads, rule))


def _tree_call(tree: Any, **options: Any) -> Callable[..., torch.Tensor]:
    # A copy has nothing prepared: lists of keys are built where they are used.
    return partial(attention_operations.tree_attention, tree=dataclasses.replace(tree), **options)


def _masked_error(
    target: Target, i: int, heads: Heads, dtype: torch.dtype, rule: dict[str, Any]
) -> tuple[float, float]:
    tokens = 20 if target.rehearsal else 150
    hides = {"coalitions": torch.tensor([0, 255, 77, 130]), "player": torch.arange(tokens) // 17 - 1} if i % 8 else {}
    parts = heads_of(target, tokens, tokens, heads, dtype, batch=(4,))
    call = partial(attention_operations.masked_attention, **hides, **rule)
    return _off(target, lambda: call, parts, _sinks(target, heads, rule))


def _packed_error(
    target: Target, i: int, heads: Heads, dtype: torch.dtype, rule: dict[str, Any]
) -> tuple[float, float]:
    offsets = torch.tensor([0, 1, 6, 6, 20] if target.rehearsal else [0, 1, 70, 70, 200, 333])
    tokens = int(offsets[-1])
    call = partial(attention_operations.packed_attention, offsets=offsets, **rule)
    return _off(target, lambda: call, heads_of(target, tokens, tokens, heads, dtype), _sinks(target, heads, rule))


_ATTENTION = {"tree": _tree_error, "masked": _masked_error, "packed": _packed_error}


def small_trees(cases: Cases, _: str) -> None:
    """Straddle tiles: 64, 18 or one token of a block, keys fewer than a tile, one query and only silent tokens."""
    target = cases.target
    heads = ((1, 1), (32, 32), (28, 4), (9, 3), (64, 8), (40, 1))
    shapes = list(product(enumerate(heads), enumerate(((64, 64), (17, 33), (80, 96), (256, 128)))))
    for (i, (queries, keys)), (j, sizes) in shapes[:: 17 if target.tiny else 1]:
        dtype = (BF16, F32)[(i + j) % 2]

        def worst(
            i: int = i,
            j: int = j,
            queries: int = queries,
            keys: int = keys,
            dtype: torch.dtype = dtype,
            sizes: Any = sizes,
        ) -> tuple[float, float]:
            errors = [0.0]
            for seed in range(2 if target.tiny else 4):
                window, silent = (None, 3, 50)[(i + j) % 3], (0, 9, 40)[seed % 3]
                many, longest = (1 + 2 * seed, 5) if target.rehearsal else (1 + 7 * seed, 1 + 13 * seed)
                tree = random_tree(100 * i + 10 * j + seed, many, longest, window=window, silent=silent)
                parts = [x.to(dtype).to(target.device) for x in tensors(tree, queries, keys, *sizes)]
                errors.append(_off(target, partial(_tree_call, tree), parts, None)[0])
            return max(errors, key=lambda error: (math.isnan(error), error)), LIMITS[dtype]

        cases.case(
            f"{queries}/{keys} heads of {sizes} {dtype}", worst, group="small trees", thing=f"tree {dtype} small"
        )


def _sinks(target: Target, heads: Heads, rule: dict[str, Any]) -> torch.Tensor | None:
    return torch.linspace(-1, 2, heads.queries, device=target.device) if rule["window"] else None


def _off(
    target: Target,
    make: Callable[[], Callable[..., torch.Tensor]],
    parts: list[torch.Tensor],
    sinks: torch.Tensor | None,
) -> tuple[float, float]:
    """Return the distance of a call from the reference, infinite where a repeated call gives other bits; its limit."""
    impl = "triton" if _triton() else "native"
    wide = None if sinks is None else sinks.double().cpu()
    truth = make()(*(x.double().cpu() for x in parts), sinks=wide, impl="reference")
    # Freed at once: the result will lie there.
    torch.full(truth.shape, torch.nan, dtype=parts[0].dtype, device=target.device)
    call = make()
    got, again = (call(*parts, sinks=sinks, impl=impl) for _ in range(2))
    late = [torch.full_like(x, torch.nan) for x in parts]
    with target.other_stream():
        for to, x in zip(late, parts, strict=True):
            to.copy_(x)
        there = make()(*late, sinks=sinks, impl=impl)
    same = torch.equal(got, again) and torch.equal(got, there)
    return distance(got, truth) if same else math.inf, LIMITS[parts[0].dtype]


def _triton() -> bool:
    return importlib.util.find_spec("triton") is not None
