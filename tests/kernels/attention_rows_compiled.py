"""Run by test_attention_triton.py in a process of its own: what masked and packed attention need, as JSON."""

import json
from dataclasses import asdict

import torch
from triton_compiler import SHARED_LIMIT, TARGETS, pointer, resources

from interact_kernels.attention import triton_rows as kernels
from interact_kernels.attention.triton import PRECISION


def main():
    report = {}
    # All options at once need most registers.
    masked, packed = (False, False, True, True), (True, True, False, False)
    every = [name for name in TARGETS if name.startswith("sm_")]
    for dtype, size, kind, chips in (
        (torch.bfloat16, 64, masked, every),
        (torch.bfloat16, 128, masked, every),
        (torch.bfloat16, 128, packed, every),
        (torch.bfloat16, 256, masked, ["sm_80"]),
        (torch.float32, 64, masked, ["sm_90"]),
    ):
        for chip in chips:
            x, ints = pointer(dtype), pointer(torch.int64)
            strides = (1 << 33, 4096, 4096) * 3
            block_m, key_block = kernels.blocks(dtype, 4, 4096, size)
            tail = (4, size, size, size, size, block_m, key_block, *kind, True, True, True, PRECISION)
            need = resources(
                kernels.rows_kernel, chip, x, x, x, x, x, *[ints] * 6, 100, 7, *strides, 32, 64, 0.1, 5.0, *tail,
                num_warps=kernels.warps(block_m, size),
            )  # fmt: skip
            assert need.shared <= SHARED_LIMIT[chip]
            name = "masked" if kind == masked else "packed"
            report[f"{name} {chip} {dtype} {size} {block_m}"] = asdict(need)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
