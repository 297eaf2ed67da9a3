"""Run by test_attention_triton.py in a process of its own: tree attention in the checked interpreter."""

import triton_interpreter

triton_interpreter.install()

from unittest.mock import MagicMock, patch

import torch
from test_attention import random_tree, tensors
from triton.backends.amd.compiler import HIPOptions

from interact_kernels import attention
from interact_kernels.attention import triton as kernels


def check(dtype, heads, sizes, window, softcap, sinks, silent, tolerance, segments=7, scale=None):
    tree = random_tree(3, segments, longest=40, window=window, silent=silent)
    q, k, v = tensors(tree, *heads, *sizes, dtype)
    logits = torch.linspace(-1, 2, heads[0], dtype=dtype) if sinks else None
    options = {"softcap": softcap, "sinks": logits, "scale": scale}
    got = attention.tree_attention(q, k, v, tree, **options, impl="triton")
    options["sinks"] = logits.double() if sinks else None
    truth = attention.tree_attention(q.double(), k.double(), v.double(), tree, **options, impl="reference")
    torch.testing.assert_close(got.double(), truth, rtol=tolerance, atol=tolerance)


def options_of_a_launch(rocm):
    tree = random_tree(3, 2)
    with patch.object(kernels, "tree_kernel", MagicMock()) as kernel, patch.object(torch.version, "hip", rocm):
        attention.tree_attention(*tensors(tree, 1, 1, 128, 128, torch.float16), tree, impl="triton")
    return kernel[0].call_args.kwargs


if __name__ == "__main__":
    # ROCm's compiler refuses options that it does not know, even None.
    assert set(options_of_a_launch("6.4")) <= set(HIPOptions.__dataclass_fields__)
    assert options_of_a_launch(None)["maxnreg"] == 128
    check(torch.float32, (2, 2), (64, 64), None, 0.0, False, 0, 2e-5)
    check(torch.float32, (6, 2), (64, 64), None, 0.0, False, 25, 2e-5)
    check(torch.float32, (4, 2), (17, 33), 7, 5.0, True, 3, 2e-5)
    # One block holds 64 tokens of one head, or 9 of seven; more queries share a head than a small block holds.
    check(torch.float32, (2, 2), (16, 16), 40, 0.0, True, 30, 2e-5, segments=12)
    check(torch.float32, (7, 1), (16, 16), None, 0.0, False, 5, 2e-5)
    check(torch.float32, (20, 1), (16, 16), 20, 0.0, True, 0, 2e-5, segments=3)
    check(torch.bfloat16, (6, 2), (64, 64), None, 0.0, False, 0, 3e-2)
    check(torch.float16, (6, 2), (64, 64), 9, 0.0, True, 0, 3e-3)
    # The cut of heads of 128, whose last channels are not there.
    check(torch.bfloat16, (7, 1), (80, 96), 20, 0.0, False, 40, 3e-2, segments=4)
    # The largest product is not that of the largest score; exponentials overflow where it is taken for it.
    check(torch.float32, (4, 2), (16, 16), None, 0.0, False, 25, 2e-3, segments=12, scale=-200.0)
    check(torch.float32, (4, 2), (16, 16), 9, 5.0, True, 3, 2e-5, scale=-0.4)
    print("all equal")
