"""Run by test_attention_triton.py in a process of its own: what tree attention needs on each chip, as JSON."""

import json
from dataclasses import asdict
from itertools import product

import torch
from triton_compiler import SHARED_LIMIT, TARGETS, pointer, resources

from interact_kernels.attention import triton as kernels
from interact_kernels.attention.key_lists import MOST_TOKENS

# Heads of 256 channels in float32 spill about 2 KB wherever tried: no model that runs on a card has them.
CASES = [
    *product((torch.bfloat16,), (64, 128, 256), (4,)),
    (torch.bfloat16, 128, 7),
    *product((torch.float32,), (64, 128), (4,)),
]


def main():
    report = {}
    # On gfx942 a few scalar registers spill (to lanes of vector registers), so it is not asserted.
    for chip in (name for name in TARGETS if name.startswith("sm_")):
        for dtype, size, group in CASES:
            cut = kernels.tiling(dtype, size, group, int(chip.removeprefix("sm_")) // 10)
            x, ints = pointer(dtype), pointer(torch.int32)
            strides = (1 << 33, 4096, 1 << 33, 4096, 1 << 33, 4096, 4096)
            tail = (group, size, size, size, size, min(MOST_TOKENS, cut.rows // group), cut.rows, cut.keys)
            need = resources(
                kernels.tree_kernel, chip, *[x] * 5, *[ints] * 4, *strides, 4099, 32, 0.1, 5.0, *tail, True, True,
                kernels.PRECISION, num_warps=cut.warps, num_stages=cut.stages, maxnreg=cut.registers,
            )  # fmt: skip
            assert need.shared <= SHARED_LIMIT[chip], (chip, size, need)
            report[f"{chip} {dtype} {size} {group}"] = asdict(need)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
