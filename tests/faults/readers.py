"""Any bytes and any text at all, given to every reader: it returns something, or says a sentence.

Hypothesis makes some of them in the tests (`test_readers`); atheris steers more of them to new branches (`fuzz`).
"""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from interact.prompt.inputs import Template
from interact.prompt.players import PlayerChoice, choose_spans, map_to_tokens
from interact.results import load
from interact.sft.data import read_examples
from interact.sft.llama_factory import described_rows
from interact.sft.loss_log import LossLog, read_losses
from interact.sft.rows import read_rows
from interact.sparse.scores import ScoreCache
from interact.study import samples
from interact.study.config import load as load_config
from interact.study.work import Prepared, Sample
from tests.faults.ground import judge
from tests.interact.test_sampled import sparse

SCORED = "a model and a text"
"""What the kept scores are of."""


def _scores(path: Path) -> None:
    ScoreCache(path, SCORED).open(12)


def _emotions(path: Path) -> None:
    (path.parent / "labels.txt").write_text("joy\nfear\n")
    (path.parent / "train.tsv").write_bytes(path.read_bytes())
    read_examples(path.parent, part="train")


READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "result": ("x.interactions", load),
    "jsonl": ("x.jsonl", read_rows),
    "json": ("x.json", read_rows),
    "csv": ("x.csv", read_rows),
    "tsv": ("x.tsv", read_rows),
    "parquet": ("x.parquet", read_rows),
    "examples": ("x.jsonl", read_examples),
    "emotions": ("x.tsv", _emotions),
    "described": ("dataset_info.json", lambda path: described_rows(path, None)),
    "configuration": ("study.json", load_config),
    "samples": ("samples.json", samples.load),
    "losses": ("x.jsonl", read_losses),
    "scores": ("x.scores", _scores),
}


def whole_files(folder: Path) -> dict[str, Path]:
    """Write a file for each of `READERS`, which takes it in the same folder; return them by the reader's name."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}{Path(file).suffix}" for name, (file, _) in READERS.items()}
    sparse(24).save(paths["result"])
    rows = [{"text": f"witty film {i} é", "response": "positive", "number": i} for i in range(12)]
    for name in ("jsonl", "examples"):
        paths[name].write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    paths["json"].write_text(json.dumps(rows), "utf-8")
    pq.write_table(pa.Table.from_pylist(rows), paths["parquet"])
    for name, separator in (("csv", ","), ("tsv", "\t")):
        with paths[name].open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["text", "response", "number"], delimiter=separator)
            writer.writeheader()
            writer.writerows(rows)
    paths["emotions"].write_text("so glad\t0\ta\noh no\t1\tb\nwell\t0,1\tc\n")
    columns = {"prompt": "text", "query": "number", "response": "response"}
    paths["described"].write_text(json.dumps({"d": {"file_name": paths["json"].name, "columns": columns}}))
    paths["configuration"].write_text(json.dumps({"models": ["one"], "tau": 0.25, "steps": [0, 1, 2]}))
    sample = Sample("a", "reviews", "a witty film", ((2, 7), (8, 12)), "positive", Template("{text}"))
    samples.save(
        paths["samples"], Prepared((sample,), {"one/reviews/seed-0": "f" * 16}, {"one/reviews/seed-0": (0, 1)})
    )
    paths["losses"].unlink(missing_ok=True)
    losses = LossLog(paths["losses"])
    for step in range(3):
        losses.add(step, "train", 0.5)
    paths["scores"].unlink(missing_ok=True)
    scores = ScoreCache(paths["scores"], SCORED)
    scores.open(12)
    rng = np.random.default_rng(0)
    scores.put(rng.random((64, 12)) < 0.5, rng.normal(size=64))
    return paths


def without_sums(content: bytes) -> bytes:
    """Rename the sums in a file, so that its reader takes changed content, as of files from before the sums."""
    return content.replace(b'"sha256"', b'"no-sum"').replace(b'"fingerprint"', b'"no-sum"').replace(b'"crc"', b'"no"')


def read(name: str, content: bytes, folder: Path) -> bool:
    """Give a reader these bytes; return whether it took them.

    Raises:
        AssertionError: It said no sentence of ours.
    """
    file, reader = READERS[name]
    path = folder / file
    path.write_bytes(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader(path)
    except Exception as error:
        # Whatever it is, it is judged.
        assert judge(error) == "sentence", f"{name}: {type(error).__name__}: {error!s:.300}"
        return False
    return True


def map_players(text: str, unit: str, limit: int | None, edges: list[int]) -> bool:
    """Choose players in a text and map them to tokens that end at `edges`; return whether there are any.

    Raises:
        AssertionError: A player is not where it says, two overlap, or an error is no sentence.
    """
    try:
        plain, spans = choose_spans(text, PlayerChoice(unit, limit))
        cuts = sorted({0, len(plain), *(edge % (len(plain) + 1) for edge in edges)})
        offsets = [(low + 7, high + 7) for low, high in pairwise(cuts)]
        players, _ = map_to_tokens(plain, spans, [(low + 7, high + 7) for low, high in spans], offsets)
    except ValueError as error:
        assert judge(error) == "sentence", f"{type(error).__name__}: {error!s:.300}"
        return False
    assert all(low < high and plain[low:high].strip() for low, high in spans)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))
    assert all(plain[slice(*player.chars)] == player.text for player in players)
    assert all(a.tokens[1] <= b.tokens[0] for a, b in pairwise(players))
    covered = [
        offsets[p.tokens[0]][0] - 7 <= p.chars[0] and p.chars[1] <= offsets[p.tokens[1] - 1][1] - 7 for p in players
    ]
    assert all(covered) and {p.chars[0] for p in players} <= {low for low, _ in spans}
    return True
