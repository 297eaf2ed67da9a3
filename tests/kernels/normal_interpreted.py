"""Run by test_normal_triton.py in a process of its own: the gathered matrix, interpreted, against torch."""

import triton_interpreter

triton_interpreter.install()

import torch

from interact_kernels.sparsify import normal, normal_triton


def main():
    generator = torch.Generator().manual_seed(0)
    for n in (0, 1, 3, 5, 6, 8):
        upper, lower, root = (torch.rand(2, 1 << n, dtype=torch.float64, generator=generator) for _ in range(3))
        found = normal_triton.scaled_matrix(upper, lower, root)
        assert torch.equal(found, normal._gather(upper, lower, root)), n


if __name__ == "__main__":
    main()
