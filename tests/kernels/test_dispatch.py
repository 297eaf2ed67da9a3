"""One dispatch for all operations: an implementation from one file, `auto` and what fails, names that raise."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from interact_kernels import attention, lattice, sparsify
from interact_kernels.attention import reference as attend
from interact_kernels.dispatch import Implementation, Operation
from interact_kernels.lattice import reference as butterflies
from interact_kernels.lattice.transform import Transform
from interact_kernels.sparsify import reference as highs

Q = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
TREE = attention.SegmentTree(
    *(torch.tensor(x) for x in ([0, 2], [2, 1], [-1, 0], [0, 1, 2], [0, 0, 0])),
    queries=3,
)
SCORES = np.array([0.0, 1.0, 1.0, 3.0])

# Each operation with its reference, and a call of its public door.
OPERATIONS = {
    "lattice": (lattice.TRANSFORMS, butterflies.run, lambda impl: lattice.moebius(torch.as_tensor(SCORES), impl=impl)),
    "tree": (attention.TREE, attend.tree_attention, lambda impl: attention.tree_attention(Q, Q, Q, TREE, impl=impl)),
    "masked": (
        attention.MASKED,
        attend.row_attention,
        lambda impl: attention.masked_attention(Q[None], Q[None], Q[None], impl=impl),
    ),
    "packed": (
        attention.PACKED,
        attend.row_attention,
        lambda impl: attention.packed_attention(Q, Q, Q, torch.tensor([0, 1, 3]), impl=impl),
    ),
    "split": (
        sparsify.SPLIT,
        highs.solve,
        lambda impl: torch.as_tensor(sparsify.and_or_split(SCORES, impl=impl).primal),
    ),
}
EXPLAIN = {
    "lattice": lambda: lattice.explain(SCORES),
    "tree": lambda: attention.explain(Q),
    "masked": lambda: attention.explain(Q, "masked_attention"),
    "packed": lambda: attention.explain(Q, "packed_attention"),
    "split": lambda: sparsify.explain(SCORES),
}
every = pytest.mark.parametrize("name", OPERATIONS)


@contextmanager
def registered(operation, implementation, **place):
    operation.register(implementation, **place)
    try:
        yield
    finally:
        operation.unregister(implementation.name)


class Toy:
    """The reference, which counts its calls and fails when told to."""

    def __init__(self, run):
        self.truth, self.calls = run, 0
        self.error: BaseException | None = None

    def run(self, request):
        self.calls += 1
        if self.error is not None:
            raise self.error
        return self.truth(request)


@every
def test_an_implementation_of_a_user_runs_by_name_and_is_explained(name):
    operation, truth, call = OPERATIONS[name]
    toy = Toy(truth)
    with registered(operation, Implementation("toy", toy.run)):
        expected = call("native")
        assert not toy.calls
        torch.testing.assert_close(call("toy"), expected, rtol=1e-3, atol=1e-5)
        assert toy.calls == 1
        assert "toy: could run" in EXPLAIN[name]()
    with pytest.raises(ValueError, match="has no implementation 'toy'"):
        call("toy")
    assert "toy" not in EXPLAIN[name]()


@every
def test_auto_takes_a_users_implementation_that_stands_first_unless_it_refuses(name):
    operation, truth, call = OPERATIONS[name]
    toy, reasons = Toy(truth), []
    with registered(operation, Implementation("toy", toy.run, lambda _: "; ".join(reasons) or None), before="native"):
        call("auto")
        assert toy.calls == 1 and "auto takes toy (toy: runs; native: could run" in EXPLAIN[name]()
        reasons.append("it is Sunday")
        call("auto")
        assert toy.calls == 1 and "auto takes native (toy: no, it is Sunday; native: runs" in EXPLAIN[name]()
        with pytest.raises(RuntimeError, match=r"cannot run with impl='toy' here.*toy: no, it is Sunday; native: runs"):
            call("toy")


@every
def test_auto_goes_round_what_fails_with_one_warning_and_a_name_raises(name):
    operation, truth, call = OPERATIONS[name]
    toy, expected = Toy(truth), call("native")
    toy.error = RuntimeError("out of resource: shared memory, Required: 245760, Hardware limit: 232448\nand so on")
    with registered(operation, Implementation("toy", toy.run), before="native"):
        message = f"{operation.name} runs with native, because toy failed here .RuntimeError: out of resource: shared"
        with pytest.warns(RuntimeWarning, match=message) as caught:
            torch.testing.assert_close(call("auto"), expected)
        assert len(caught) == 1 and "and so on" not in str(caught[0].message)
        torch.testing.assert_close(call("auto"), expected)  # Warnings are errors: there is no second one.
        assert toy.calls == 1
        with pytest.raises(RuntimeError, match="Hardware limit"):
            call("toy")
        assert toy.calls == 2


def test_explain_tells_of_a_failure_and_another_kind_of_request_is_tried():
    toy = Toy(butterflies.run)
    toy.error = RuntimeError("does not compile")
    with registered(lattice.TRANSFORMS, Implementation("toy", toy.run), before="native"):
        with pytest.warns(RuntimeWarning, match="does not compile"):
            lattice.moebius(torch.zeros(4))
        words = "auto takes native (toy: no, it failed here (RuntimeError: does not compile); native: runs"
        assert words in lattice.explain(torch.zeros(4)) and "auto takes toy" in lattice.explain(torch.zeros(8))
        lattice.moebius(torch.zeros(8))  # The same reason: it is tried, and not told again.
        assert toy.calls == 2
        toy.error = RuntimeError("does not launch")
        with pytest.warns(RuntimeWarning, match="does not launch"):
            lattice.moebius(torch.zeros(16))
    with registered(lattice.TRANSFORMS, Implementation("toy", Toy(butterflies.run).run), before="native"):
        assert "auto takes toy" in lattice.explain(torch.zeros(4))


@pytest.mark.parametrize(
    "error",
    [
        ValueError("the matrix has three rows"),
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
        RuntimeWarning("an overflow, which the user wants to be an error"),
        KeyboardInterrupt(),
    ],
)
def test_what_is_the_users_or_memorys_fault_is_raised(error):
    toy = Toy(butterflies.run)
    toy.error = error
    with registered(lattice.TRANSFORMS, Implementation("toy", toy.run), before="native"):
        for _ in range(2):
            with pytest.raises(type(error)) as caught:
                lattice.moebius(torch.zeros(4))
            assert caught.value is error
        assert "auto takes toy" in lattice.explain(torch.zeros(4))


def test_a_failure_in_place_does_not_go_on_with_spoiled_values():
    def spoil(request):
        request.y.fill_(7.0)
        raise RuntimeError("the second launch failed")

    x = torch.tensor([0.0, 1.0, 1.0, 3.0])
    with registered(lattice.TRANSFORMS, Implementation("toy", spoil), before="native"):
        with pytest.raises(
            RuntimeError, match=r"failed in place with toy .*may be spoiled.*From now on auto takes nat"
        ):
            lattice.moebius(x, out=x)
        x = torch.tensor([0.0, 1.0, 1.0, 3.0])
        assert lattice.moebius(x, out=x).tolist() == [0.0, 1.0, 1.0, 1.0]


def test_a_failure_without_another_implementation_is_raised_each_time():
    toy, x = Toy(butterflies.run), torch.zeros(4)
    toy.error = RuntimeError("no kernel")
    alone = Operation("alone", [Implementation("toy", toy.run)])
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"^no kernel$"):
            alone.run(lattice.TransformRequest(x, torch.empty(4), Transform(lattice.MOEBIUS)))
    with registered(lattice.TRANSFORMS, Implementation("toy", toy.run), before="native"):
        meta = torch.zeros(4, device="meta")
        with pytest.warns(RuntimeWarning, match="lattice runs with reference, because toy failed here"):
            assert lattice.moebius(meta).shape == (4,)


def test_halves_are_computed_in_single_where_an_implementation_asks_for_it():
    seen = []

    @lattice.in_single
    def run(request):
        seen.append(request.x.dtype)
        butterflies.run(request)

    with registered(lattice.TRANSFORMS, Implementation("toy", run)):
        x = torch.tensor([0.0, 1.0, 1.0, 3.0])
        for dtype in (torch.bfloat16, torch.float32):
            found = lattice.moebius(x.to(dtype), impl="toy")
            assert found.dtype == dtype and found.tolist() == [0.0, 1.0, 1.0, 1.0]
    assert seen == [torch.float32, torch.float32]


def test_gradients_and_vmap_go_through_an_implementation_of_a_user():
    toy = Toy(butterflies.run)
    with registered(lattice.TRANSFORMS, Implementation("toy", toy.run)):
        x = torch.randn(2, 8, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x: lattice.or_moebius(x, impl="toy"), x)
        y = torch.vmap(lambda row: lattice.zeta(row, impl="toy"))(x.detach())
        torch.testing.assert_close(y, lattice.zeta(x.detach()))
    assert toy.calls > 3


def test_what_goes_first_for_a_request_takes_along_what_stands_before_it():
    n13 = np.zeros(1 << 13)
    names = [Implementation(f"before {name}", highs.solve) for name in ("native", "admm")]
    with registered(sparsify.SPLIT, names[0], before="native"), registered(sparsify.SPLIT, names[1], before="admm"):
        assert "auto takes before native (before native: runs; native: could" in sparsify.explain(SCORES)
        assert "auto takes before admm (before admm: runs; admm: could" in sparsify.explain(n13, kappa=0.0)


def test_bad_registrations_are_sentences():
    toy = Implementation("toy", butterflies.run)
    for name in ("auto", "native"):
        with pytest.raises(ValueError, match=f"lattice already has an implementation '{name}'; choose another name"):
            lattice.TRANSFORMS.register(replace(toy, name=name))
    with pytest.raises(ValueError, match="lattice has no implementation 'fast'; choose 'auto' or one of"):
        lattice.TRANSFORMS.register(toy, before="fast")
    with pytest.raises(ValueError, match="lattice has no implementation 'toy'"):
        lattice.TRANSFORMS.unregister("toy")


def test_an_epilogue_under_vmap_is_that_of_each_row():
    x = torch.randn(3, 8)
    epilogue = lattice.Epilogue(threshold=0.5)
    rows = torch.vmap(lambda row: lattice.kronecker(row, lattice.MOEBIUS, epilogue=epilogue))(x)
    torch.testing.assert_close(rows, lattice.kronecker(x, lattice.MOEBIUS, epilogue=epilogue))
