"""The gathered matrix of the batched split in Triton without a device: interpreted, and compiled for four chips."""

from tests.kernels.test_lattice_triton import run_script, triton


@triton
def test_interpreted_matrix_equals_that_of_torch():
    run_script("normal_interpreted.py")


@triton
def test_compiled_matrix_does_not_spill():
    run_script("normal_compiled.py")
