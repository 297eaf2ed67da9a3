"""A study of two tiny models on a tiny data set, everything in one folder."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from interact.study.config import StudyConfig
from interact.study.run import run_study
from tests.interact.conftest import byte_level, causal
from tests.sft.conftest import THIRD_PARTY, examples, one_thread

__all__ = ["byte_level", "one_thread"]

HERE = Path(__file__).parent
TABLES = ("interactions", "cells", "samples", "losses", "classes", "metrics", "certainty")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(HERE):
            for warning in THIRD_PARTY:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture(scope="session")
def place(tmp_path_factory, byte_level):
    return lay_out(tmp_path_factory.mktemp("study"), byte_level)


def lay_out(folder, tokenizer):
    """Fill a folder with two model folders and a data file."""
    for number, name in enumerate(("one", "two")):
        # Of other sizes, so that they differ.
        model = causal(hidden_size=32 + 16 * number)
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    lines = [json.dumps({"text": e.text, "response": e.response}) for e in examples(60)]
    (folder / "reviews.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="session")
def config(place):
    return make_config(place)


def make_config(place, **changes) -> StudyConfig:
    return StudyConfig(
        **{
            "models": (str(place / "one"), str(place / "two")),
            "data": (str(place / "reviews.jsonl"),),
            "template": "Review: {text}",
            "answer_prefix": "This review is",
            "chat": False,
            "train_examples": 20,
            "heldout_examples": 4,
            "max_steps": 4,
            "batch_size": 4,
            "learning_rate": 1e-2,
            "steps": (0, 1, 4),
            "samples": 3,
            "limit": 3,
            "resamples": 20,
            **changes,
        }
    )


def begin(folder, config):
    """Begin a study and stop it at its first training."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("interact.study.worker.train_run", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        run_study(folder, config, say=lambda _: None)


@pytest.fixture(scope="session")
def finished(place, config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "store"
    run_study(folder, config, say=lambda _: None)
    return folder


def tables(folder):
    found = {name: pd.read_parquet(folder / f"{name}.parquet") for name in TABLES}
    # Time and the clock are the only things that two runs of one study may differ in.
    found["cells"] = found["cells"].drop(columns="seconds")
    return found


def assert_same(one, other):
    first, second = tables(one), tables(other)
    for name in TABLES:
        pd.testing.assert_frame_equal(first[name], second[name], check_exact=True)
