"""Run by test_lattice_triton.py in a process of its own: the Triton transforms in the checked interpreter."""

import triton_interpreter

triton_interpreter.install()

import torch
from triton.runtime.errors import InterpreterError

from interact_kernels import lattice
from interact_kernels.lattice import triton as kernels
from interact_kernels.lattice.transform import MOEBIUS


def scores(shape, dtype):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


def check_every_operation():
    transforms = [
        lattice.moebius,
        lattice.zeta,
        lattice.or_moebius,
        lattice.or_zeta,
        lattice.walsh_hadamard,
        lambda x, impl: lattice.zeta(x, adjoint=True, impl=impl),
        lambda x, impl: lattice.moebius(x, adjoint=True, impl=impl),
        lambda x, impl: lattice.kronecker(x, (0.5, 0.25, -1.0, 0.75), impl=impl),
    ]
    for transform in transforms:
        for shape in ((3, 1), (1, 2), (5, 8), (3, 1024)):
            x = scores(shape, torch.float64)
            torch.testing.assert_close(transform(x, impl="triton"), transform(x, impl="reference"))


def check_dtypes_and_sizes():
    for dtype, shape in (
        (torch.float32, (2, 1 << 11)),
        (torch.float32, (1, 1 << 13)),
        (torch.float64, (3, 1 << 12)),
        (torch.bfloat16, (3, 64)),
        (torch.bfloat16, (1, 1 << 12)),
        (torch.float16, (3, 64)),
    ):
        x = scores(shape, dtype)
        if dtype in (torch.bfloat16, torch.float16):
            x = torch.randint(-4, 4, shape, generator=torch.Generator().manual_seed(0)).to(dtype)
        truth = lattice.moebius(x.double(), impl="reference")
        tolerance = 0.0 if dtype == torch.float64 else 2**-7 if dtype == torch.bfloat16 else 1e-3
        torch.testing.assert_close(lattice.moebius(x, impl="triton").double(), truth, rtol=tolerance, atol=1e-4)
    x = scores((1, 1 << 17), torch.float32)  # two passes over columns
    truth = lattice.moebius(x.double(), impl="reference")
    torch.testing.assert_close(lattice.moebius(x, impl="triton").double(), truth, rtol=0, atol=1e-3)


def check_epilogue():
    x, add = scores((3, 32), torch.float32), scores((3, 32), torch.float32)
    epilogue = lattice.Epilogue(0.5, add, 2.0, 0.25)
    y, truth = (lattice.kronecker(x, MOEBIUS, epilogue=epilogue, impl=impl) for impl in ("triton", "reference"))
    torch.testing.assert_close(y, truth)


def check_bounds_are_checked():
    x = scores((64,), torch.float32)
    arguments = (1.0, 0.0, -1.0, 1.0, 1.0, 3, 6, False)
    try:
        kernels.tile_kernel[(2,)](x, x, 128, *arguments)
    except InterpreterError as error:
        assert "outside every argument: 64 lanes" in str(error)
    else:
        raise AssertionError("an access outside the tensor went unnoticed")


if __name__ == "__main__":
    check_every_operation()
    check_dtypes_and_sizes()
    check_epilogue()
    check_bounds_are_checked()
    print("all equal")
