"""Run by test_lattice_triton.py in a process of its own: what the Triton transforms need on each chip, as JSON."""

import json
from dataclasses import asdict

import torch
from triton_compiler import SHARED_LIMIT, TARGETS, pointer, resources

from interact_kernels.lattice import triton as kernels

MOEBIUS, GENERAL = (1.0, 0.0, -1.0, 1.0), (0.5, 0.25, -1.0, 0.75)


def main():
    report = {}
    for chip in TARGETS:
        for dtype, matrix in ((torch.float32, MOEBIUS), (torch.bfloat16, MOEBIUS), (torch.float64, GENERAL)):
            double, bits = dtype == torch.float64, kernels.TILE_BITS
            x = pointer(dtype)
            name = f"{chip} {dtype}"
            tail = (1.0, bits, bits, double)
            tile = resources(kernels.tile_kernel, chip, x, x, 1 << 33, *matrix, *tail)
            report[f"{name} tile"] = asdict(tile)
            levels = kernels.COLUMN_LEVELS
            shape = (levels, 1 << (bits - levels), double)
            columns = resources(kernels.columns_kernel, chip, x, x, 1 << 20, *matrix, *shape)
            report[f"{name} columns"] = asdict(columns)
            for need in (tile, columns):
                assert need.shared <= SHARED_LIMIT[chip]
    print(json.dumps(report))


if __name__ == "__main__":
    main()
