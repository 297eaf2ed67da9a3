"""The subset-lattice transforms: definitions, identities, accuracy, bad input."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from interact_kernels import _native, lattice, triton_guard
from interact_kernels.lattice import native
from interact_kernels.lattice.transform import Transform

IMPLEMENTATIONS = ["native", "reference"]


def scores(n: int, batch: tuple[int, ...] = (), dtype=torch.float64, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*batch, 1 << n, dtype=dtype, generator=generator)


def by_definition(x: torch.Tensor, signed: bool, adjoint: bool) -> torch.Tensor:
    size = x.shape[-1]
    y = torch.zeros_like(x)
    for big in range(size):
        for small in range(size):
            if small & big == small:
                sign = (-1) ** (big.bit_count() - small.bit_count()) if signed else 1
                target, source = (small, big) if adjoint else (big, small)
                y[..., target] += sign * x[..., source]
    return y


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("n", range(6))
def test_transforms_equal_their_definition(n, adjoint, impl):
    x = scores(n, (2, 3))
    for transform, signed in ((lattice.moebius, True), (lattice.zeta, False)):
        expected = by_definition(x, signed, adjoint)
        torch.testing.assert_close(transform(x, adjoint=adjoint, impl=impl), expected)


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(n=st.integers(0, 12), batch=st.integers(0, 3), seed=st.integers(0, 99))
def test_zeta_undoes_moebius(n, batch, seed, impl, dtype):
    x = scores(n, (batch,), dtype, seed)
    back = lattice.zeta(lattice.moebius(x, impl=impl), impl=impl)
    torch.testing.assert_close(back, x, rtol=0, atol=2**n * torch.finfo(dtype).eps * 8)


def test_player_zero_is_the_least_significant_bit():
    only_player_zero = torch.tensor([0.0, 1.0, 0.0, 1.0])
    assert lattice.moebius(only_player_zero).tolist() == [0.0, 1.0, 0.0, 0.0]


def test_numpy_in_numpy_out_and_in_place():
    x = np.array([0.0, 1.0, 1.0, 3.0])
    y = lattice.moebius(x)
    assert isinstance(y, np.ndarray) and y.tolist() == [0.0, 1.0, 1.0, 1.0] and x[3] == 3.0
    assert lattice.moebius(x, out=x) is x and x[3] == 1.0


def test_non_contiguous_input_and_output():
    x = scores(4, (6,)).T.contiguous().T
    expected = lattice.moebius(x.contiguous())
    torch.testing.assert_close(lattice.moebius(x), expected)
    assert lattice.moebius(x, out=x) is x
    torch.testing.assert_close(x, expected)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (torch.zeros(3), "last axis must hold 2\\*\\*n values"),
        (torch.zeros(2, 0), "last axis must hold 2\\*\\*n values"),
        (torch.tensor(1.0), "last axis must hold 2\\*\\*n values"),
        (torch.zeros(4, dtype=torch.int64), "float32 or float64"),
        (np.zeros(4, dtype=complex), "float32 or float64"),
        (np.array(["a", "b"]), "float32 or float64"),
        ([0.0, 1.0], "a tensor or a NumPy array, but got list"),
        (torch.zeros(1).expand(1 << 31), "At most 30 players"),
    ],
)
def test_bad_input_is_a_sentence(bad, message):
    with pytest.raises(ValueError, match=message):
        lattice.moebius(bad)


def test_memory_that_cannot_be_written_safely_is_refused():
    x = scores(3, (2,))
    with pytest.raises(ValueError, match="Several elements of out may share memory"):
        lattice.moebius(x, out=torch.zeros(8, dtype=x.dtype).expand(2, 8))
    memory = torch.zeros(24, dtype=x.dtype)
    with pytest.raises(ValueError, match="out overlaps the input's memory in part"):
        lattice.moebius(memory[:16].view(2, 8), out=memory[8:].view(2, 8))
    with pytest.raises(ValueError, match="out= is not differentiable"):
        lattice.moebius(x.clone().requires_grad_(), out=torch.empty_like(x))
    with pytest.raises(ValueError, match="negative strides"):
        lattice.moebius(np.zeros(4), out=np.zeros(4)[::-1])


def test_bad_epilogue_matrix_and_pair_are_sentences():
    with pytest.raises(ValueError, match="matrix must be"):
        lattice.kronecker(torch.zeros(4), (1.0, 2.0))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"epilogue\.add must be like x"):
        lattice.kronecker(torch.zeros(4), lattice.ZETA, epilogue=lattice.Epilogue(add=torch.zeros(8)))
    with pytest.raises(ValueError, match="threshold must be at least 0"):
        lattice.kronecker(torch.zeros(4), lattice.ZETA, epilogue=lattice.Epilogue(threshold=-1.0))
    with pytest.raises(ValueError, match="s and u must be alike"):
        lattice.and_or_moebius(torch.zeros(4), torch.zeros(8))


def on_device(device: torch.device) -> lattice.TransformRequest:
    """A request whose values lie on a device that need not be here."""
    x: Any = SimpleNamespace(device=device)
    return lattice.TransformRequest(x, x, Transform(lattice.MOEBIUS))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_cuda_without_a_device_says_so():
    built = bool(_native.cuda_architectures())
    expected = "no usable CUDA device was found" if built else "the package was built without CUDA"
    assert expected in str(native.refusal(on_device(torch.device("cuda"))))
    reasons = ("no usable CUDA or ROCm device was found", "triton is not installed")
    assert str(triton_guard.refusal(torch.device("cuda"))).startswith(reasons)


@pytest.mark.parametrize("capability", ["7.0", "7.5"])
def test_a_gpu_that_the_library_holds_no_code_for_is_left_to_the_next_implementation(monkeypatch, capability):
    # No V100 or T4 is here: the driver's answers are what it says on one.
    error = "no kernel image is available for execution on the device"
    answers = {"cuda_architectures": "80;90;100+PTX", "cuda_device_count": 1, "cuda_capability": capability}
    for name, answer in {**answers, "cuda_loading_error": error}.items():
        monkeypatch.setattr(_native, name, lambda *_, answer=answer: answer, raising=False)
    monkeypatch.setattr(triton_guard, "refusal", lambda _: "triton is not installed")
    native.loading_refusal.cache_clear()
    request = on_device(torch.device("cuda", 0))
    expected = f"built for 80;90;100+PTX, cannot be loaded on this GPU of compute capability {capability} ({error})"
    assert expected in str(native.refusal(request))
    assert lattice.TRANSFORMS.choose(request).name == "reference"
    with pytest.raises(RuntimeError, match=r"cannot run with impl='native'.*cannot be loaded on this GPU"):
        lattice.TRANSFORMS.choose(request, "native")
    monkeypatch.setattr(_native, "cuda_loading_error", lambda _: "")
    native.loading_refusal.cache_clear()
    assert native.refusal(request) is None
    assert native.refusal(on_device(torch.device("cuda", 3))) == "there is no CUDA device 3 here, only 1"
    native.loading_refusal.cache_clear()


def test_bad_out_and_bad_impl_are_sentences():
    frozen = np.zeros(4)
    frozen.setflags(write=False)
    with pytest.raises(ValueError, match="read-only"):
        lattice.moebius(np.zeros(4), out=frozen)
    with pytest.raises(ValueError, match="out must be like the input"):
        lattice.moebius(torch.zeros(4), out=torch.zeros(8))
    with pytest.raises(ValueError, match="has no implementation 'tritn'"):
        lattice.moebius(torch.zeros(4), impl="tritn")


# The operations.

INSTRUCTION_SETS = ["baseline", "avx2", "avx512"]
EVERY = [
    lattice.moebius,
    lattice.zeta,
    lattice.or_moebius,
    lattice.or_zeta,
    lattice.walsh_hadamard,
    lambda x, **k: lattice.moebius(x, adjoint=True, **k),
    lambda x, **k: lattice.zeta(x, adjoint=True, **k),
    lambda x, **k: lattice.kronecker(x, (0.5, 0.25, -1.0, 0.75), **k),
]


@pytest.fixture(params=INSTRUCTION_SETS)
def instruction_set(request):
    if not _native.use_instruction_set(request.param):
        pytest.skip(f"this machine has no {request.param}")
    yield request.param
    _native.use_instruction_set("auto")


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("n", range(5))
def test_or_transforms_equal_their_definition(n, impl):
    x = scores(n, (2,))
    meets = torch.zeros_like(x)
    for s in range(1 << n):
        meets[:, s] = sum(x[:, t] for t in range(1 << n) if s & t) if s else 0.0
    torch.testing.assert_close(lattice.or_zeta(x, impl=impl), meets)
    effects = -by_definition(x.flip(-1), signed=True, adjoint=False)
    effects[:, 0] = 0
    torch.testing.assert_close(lattice.or_moebius(x, impl=impl), effects)


@pytest.mark.parametrize("n", range(7))
def test_walsh_hadamard_is_the_character_table(n):
    signs = [[(-1.0) ** (s & t).bit_count() for s in range(1 << n)] for t in range(1 << n)]
    x = scores(n)
    torch.testing.assert_close(lattice.walsh_hadamard(x), torch.tensor(signs, dtype=x.dtype) @ x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_instruction_set_equals_the_reference(instruction_set, dtype):
    for n in [*range(15), 17, 18]:
        x = scores(n, (3 if n < 10 else 1,), dtype)
        for transform in EVERY if n < 15 else EVERY[:1]:
            truth = transform(x.double(), impl="reference")
            scale = float(truth.abs().max()) + 1.0
            error = float((transform(x) - truth).abs().max()) / scale
            assert error <= 8 * torch.finfo(dtype).eps, (n, instruction_set)


@pytest.mark.parametrize("n", [3, 10, 13, 17, 20])
def test_the_error_is_below_twice_that_of_plain_torch(n):
    x = scores(n, dtype=torch.float32)
    truth = lattice.moebius(x.double(), impl="reference")
    plain = lattice.moebius(x, impl="reference")
    budget = 2 * float((plain - truth).abs().max()) + 1e-6
    assert float((lattice.moebius(x) - truth).abs().max()) <= budget


@pytest.mark.parametrize(("n", "batch"), [(11, 64), (16, 2), (18, 1)])
def test_threads_do_not_change_the_result(n, batch):
    x, threads = scores(n, (batch,), torch.float32), torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append((lattice.moebius(x), lattice.or_zeta(x), lattice.order_sums(x)))
    finally:
        torch.set_num_threads(threads)
    for one in results[1:]:
        assert torch.equal(one[0], results[0][0]) and torch.equal(one[1], results[0][1])
        torch.testing.assert_close(one[2], results[0][2], rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    x = scores(8, (2,)).to(dtype)
    expected = lattice.moebius(x.float()).to(dtype)
    assert torch.equal(lattice.moebius(x), expected)
    assert torch.equal(lattice.moebius(x, out=x), expected)


@pytest.mark.parametrize("n", [0, 2, 5, 9, 13])
def test_and_or_pair_equals_both_alone(n):
    s, u = scores(n, (3,)), scores(n, (3,), seed=1)
    for first, second in ((s, u), (s.numpy(), u.numpy()), (s.numpy(), s.numpy())):
        i_and, i_or = lattice.and_or_moebius(first, second)
        assert type(i_and) is type(first)
        np.testing.assert_array_equal(np.asarray(i_and), np.asarray(lattice.moebius(first)))
        np.testing.assert_array_equal(np.asarray(i_or), np.asarray(lattice.or_moebius(second)))


@pytest.mark.parametrize("n", [0, 1, 6, 12, 14])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fused_epilogues_equal_separate_steps(n, dtype):
    x, add = scores(n, (2,), dtype), scores(n, (2,), dtype, seed=3)
    y = 0.5 * lattice.moebius(x, impl="reference") - 2.0 * add
    expected = torch.sign(y) * torch.relu(y.abs() - 0.3)
    epilogue = lattice.Epilogue(scale=0.5, add=add, add_scale=-2.0, threshold=0.3)
    got = lattice.kronecker(x, lattice.MOEBIUS, epilogue=epilogue)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-3)
    sums = lattice.order_sums(x)
    assert sums.shape == (2, 2, n + 1) and sums.dtype == torch.float64
    torch.testing.assert_close(sums, lattice.order_sums(x, impl="reference"), rtol=1e-5, atol=1e-3)


def test_infinities_stay_where_they_belong():
    x = torch.zeros(1 << 6)
    x[63] = float("inf")
    y = lattice.zeta(x)
    assert y[63] == float("inf") and not y[:63].any()


# What torch asks of an operation.


@pytest.mark.parametrize("transform", EVERY)
def test_gradients_are_the_adjoint(transform):
    x = scores(4, (2,)).requires_grad_()
    assert torch.autograd.gradcheck(transform, x) and torch.autograd.gradgradcheck(transform, x)


# torch 2.14 reads .grad of what is no leaf in its own check, and warns of that.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.parametrize("numbers", [(1, 0, -1, 1, 1, 0, 0), (0, 1, 1, -1, -1, 1, 0), (1, 1, 1, 0, 1, 0, 1)])
def test_opcheck(numbers):
    for x in (scores(3, (2,)).requires_grad_(), torch.zeros(0, 8), torch.randn(8, 3).T[:, :4]):
        torch.library.opcheck(torch.ops.interact.lattice.default, (x, [float(k) for k in numbers], "auto"))


def test_vmap_over_any_axis():
    x = scores(4, (3, 5))
    for axis in (0, 1):
        torch.testing.assert_close(torch.vmap(lattice.or_zeta, axis, axis)(x), lattice.or_zeta(x))
    columns = torch.vmap(lattice.moebius, in_dims=1, out_dims=1)(x[0].T.contiguous())
    torch.testing.assert_close(columns.T, lattice.moebius(x[0]))


@pytest.mark.filterwarnings("ignore")
def test_compile_without_a_graph_break():
    def effects(x):
        return lattice.or_moebius(lattice.zeta(x) * 2.0, impl="native")

    x = scores(5, (2,)).requires_grad_()
    compiled = torch.compile(effects, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), effects(x))
    (gradient,) = torch.autograd.grad(compiled(x).sum(), x)
    torch.testing.assert_close(gradient, torch.autograd.grad(effects(x).sum(), x)[0])


def test_read_only_and_reversed_numpy_input():
    x = np.array([0.0, 1.0, 1.0, 3.0])
    expected = lattice.moebius(x[::-1].copy())
    x.setflags(write=False)
    np.testing.assert_array_equal(lattice.moebius(x[::-1]), expected)
    np.testing.assert_array_equal(lattice.moebius(x.astype(">f8")), lattice.moebius(x))
    assert x[3] == 3.0


def test_explicit_choice_never_falls_back():
    with pytest.raises(RuntimeError, match="no kernels for the device type 'meta'"):
        lattice.moebius(torch.zeros(4, device="meta"), impl="native")
    assert "auto takes native" in lattice.explain(torch.zeros(4))
