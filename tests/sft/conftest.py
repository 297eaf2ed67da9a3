"""Tiny models and examples to train on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from interact.prompt.inputs import Template
from interact.sft.data import Example
from tests.interact.conftest import byte_level, causal, classifier, wordpiece

__all__ = ["byte_level", "wordpiece"]

HERE = Path(__file__).parent
TEMPLATE = Template(user="Review: {text}", answer_prefix="This review is")
_WORDS = "gorgeous witty seductive movie boring quiet moving thin plot old jokes film".split()


def examples(count: int, start: int = 0) -> list[Example]:
    """Make reviews of three words whose answer depends on the first."""
    found = []
    for i in range(start, start + count):
        words = [_WORDS[(i * k + k) % len(_WORDS)] for k in (1, 5, 7)]
        found.append(Example(f"e{i}", " ".join(words), ("negative", "positive")[i % 2], TEMPLATE))
    return found


def tiny():
    """Build the same tiny causal model each time."""
    return causal()


def small_classifier():
    """Build the same tiny classifier each time."""
    return classifier()


# What peft, TRL and transformers say to each other; nothing here can answer.
THIRD_PARTY = [
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning",
    "ignore:`gradient_checkpointing` is deprecated:FutureWarning",
    "ignore:`use_return_dict` is deprecated:FutureWarning",
    # PEFT 0.18 looks for the vocabulary of a base that has no name.
    "ignore:Could not find a config file in:UserWarning",
]


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(HERE):
            for warning in THIRD_PARTY:
                item.add_marker(pytest.mark.filterwarnings(warning))


# Sums of another number of threads differ in their last bits.
@pytest.fixture(scope="package", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
