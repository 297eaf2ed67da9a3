"""Kernels for AND-OR interactions, as torch sees them: subset-lattice transforms and the certified split."""

from interact_kernels import lattice, sparsify

__all__ = ["lattice", "sparsify"]
