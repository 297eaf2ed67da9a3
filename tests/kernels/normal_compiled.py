"""Run by test_normal_triton.py in a process of its own: what the gathered matrix needs on each chip."""

import torch
from triton_compiler import SHARED_LIMIT, TARGETS, pointer, resources

from interact_kernels.sparsify import normal_triton as kernels


def main():
    x = pointer(torch.float64)
    for chip in TARGETS:
        need = resources(kernels.gather_kernel, chip, x, x, x, x, 1 << 10, kernels._ROWS, kernels._COLUMNS)
        assert need.shared <= SHARED_LIMIT[chip] and not need.spills, (chip, need)


if __name__ == "__main__":
    main()
