"""Attention in Triton without a device: interpreted with bounds checks, and compiled for three chips."""

import json

import pytest
import torch

from interact_kernels import attention
from tests.kernels.test_attention import random_tree, tensors
from tests.kernels.test_lattice_triton import run_script, triton


@triton
def test_interpreted_kernel_equals_the_reference():
    assert "all equal" in run_script("attention_interpreted.py")


@triton
def test_compiled_kernel_does_not_spill():
    report = json.loads(run_script("attention_compiled.py"))
    assert len(report) == 3 * 6
    # Some versions of Triton keep some numbers of float32's three products (at most 224 bytes), of heads of 256, and of
    # any on sm_100 outside registers. Heads of 128 spill on purpose from sm_90 on: 4 blocks a multiprocessor are worth
    # more (measured on an H200).
    some = {name: " 256 " in name or name.startswith("sm_100") for name in report}
    few = {name: " 128 " in name and not name.startswith("sm_80") for name in report}
    allowed = {name: 256 if "float32" in name else 128 if few[name] else 32 * some[name] for name in report}
    assert not {name: need for name, need in report.items() if need["spills"] > allowed[name]}
    for name, need in report.items():
        if name.startswith("sm_90 torch.bfloat16"):
            # Warp groups multiply, and keys and values arrive while they do.
            assert need["wgmma"] > 0 and need["mma"] == 0 and need["copies"] > 0, name


@triton
def test_interpreted_masked_and_packed_kernels_equal_the_reference():
    assert "all equal" in run_script("attention_rows_interpreted.py")


@triton
def test_compiled_masked_and_packed_kernels_do_not_spill():
    report = json.loads(run_script("attention_rows_compiled.py"))
    assert len(report) == 3 * 3 + 2
    # Of packed heads of 128, Triton 3.6 keeps 16 bytes outside registers on sm_80, 3.7.1 keeps 8 on later cards, and
    # 3.9 keeps none.
    assert not {name: need for name, need in report.items() if need["spills"] > 16 * name.startswith("packed")}


def test_without_a_device_triton_says_why(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    tree = random_tree(1, 3)
    with pytest.raises(RuntimeError, match="triton: no, "):
        attention.tree_attention(*tensors(tree, 2, 1, 16, 16, torch.float32), tree, impl="triton")
    q = torch.ones(1, 2, 3, 16)
    with pytest.raises(RuntimeError, match="triton: no, "):
        attention.masked_attention(q, q, q, impl="triton")
