"""Run by test_attention_triton.py in a process of its own: what tree attention needs on each chip, as JSON."""

import json
from dataclasses import asdict

import torch
from triton_compiler import SHARED_LIMIT, TARGETS, pointer, resources

from interact_kernels.attention import triton as kernels


def main():
    report = {}
    # On gfx942 about thirty scalar registers spill (to lanes of vector registers), so it is not asserted.
    for chip in (name for name in TARGETS if name.startswith("sm_")):
        for dtype, shapes in ((torch.bfloat16, ((64, 32), (128, 32), (256, 16))), (torch.float32, ((64, 16),))):
            for size, block_m in shapes:
                x, ints = pointer(dtype), pointer(torch.int64)
                strides = (1 << 33, 4096, 1 << 33, 4096, 1 << 33, 4096)
                tail = (4, size, size, size, size, block_m, kernels.block_n(dtype), True, True, kernels.PRECISION)
                need = resources(
                    kernels.tree_kernel, chip, x, x, x, x, x, *[ints] * 7, *strides, 3, 32, 0.1, 5.0, *tail
                )
                assert need.shared <= SHARED_LIMIT[chip]
                report[f"{chip} {dtype} {size} {block_m}"] = asdict(need)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
