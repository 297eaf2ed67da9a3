"""The subset-lattice transforms: definitions, identities, bad input."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from interact_kernels import lattice

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
    ],
)
def test_bad_input_is_a_sentence(bad, message):
    with pytest.raises(ValueError, match=message):
        lattice.moebius(bad)


def test_bad_out_and_bad_impl_are_sentences():
    frozen = np.zeros(4)
    frozen.setflags(write=False)
    with pytest.raises(ValueError, match="read-only"):
        lattice.moebius(np.zeros(4), out=frozen)
    with pytest.raises(ValueError, match="out must be like the input"):
        lattice.moebius(torch.zeros(4), out=torch.zeros(8))
    with pytest.raises(ValueError, match="has no implementation 'tritn'"):
        lattice.moebius(torch.zeros(4), impl="tritn")


def test_explicit_choice_never_falls_back():
    with pytest.raises(RuntimeError, match="no kernels for the device type 'meta'"):
        lattice.moebius(torch.zeros(4, device="meta"), impl="native")
    assert "auto takes native" in lattice.explain(torch.zeros(4))
