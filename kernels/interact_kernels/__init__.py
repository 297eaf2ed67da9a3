"""Kernels for AND-OR interactions, as torch sees them: subset-lattice transforms and the certified split."""

from interact_kernels import _native, attention, lattice, sparsify

__all__ = ["attention", "lattice", "native_build", "sparsify"]


def native_build() -> str:
    """Say what the compiled extension holds, in one line."""
    architectures = _native.cuda_architectures()
    if not architectures:
        return "C++ without CUDA (no toolkit at build time, or INTERACT_CUDA=0)"
    return f"C++ and CUDA for {architectures}, {_native.cuda_device_count()} usable devices"
