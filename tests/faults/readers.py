"""Any bytes and any text at all, given to every reader: it returns something, or says a sentence.

``python -m tests.faults.readers [NAME ...] [-runs=N]`` steers the bytes to new branches with atheris (extra ``fuzz``).
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    import atheris

    with atheris.instrument_imports(include=["interact"]):
        pass

from interact.interactions import load
from interact.players import PlayerChoice, choose_spans, map_to_tokens
from interact.sft.data import read_examples
from interact.sft.llama_factory import described_rows
from interact.sft.loss_log import read_losses
from interact.sft.rows import read_rows
from interact.sparse.scores import ScoreCache
from interact.study import samples
from interact.study.config import load as load_config
from tests.faults.ground import judge


def _scores(path: Path) -> None:
    ScoreCache(path, "a").open(12)


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
        players, _ = map_to_tokens(plain, spans, 7, offsets)
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


def fuzz(arguments: list[str]) -> None:
    """Run atheris on the readers named, or on all of them and on the players."""
    names = [a for a in arguments[1:] if not a.startswith("-")] or [*READERS, "players"]
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    units = ["words", "all-words", "sentences", "paragraphs", "marked"]

    def one(data: bytes) -> None:
        given = atheris.FuzzedDataProvider(data)
        name = names[given.ConsumeIntInRange(0, len(names) - 1)]
        if name == "players":
            edges = given.ConsumeIntList(given.ConsumeIntInRange(0, 12), 1)
            unit, limit = units[given.ConsumeIntInRange(0, 4)], given.ConsumeIntInRange(0, 20) or None
            map_players(given.ConsumeUnicodeNoSurrogates(200), unit, limit, edges)
        else:
            read(name, given.ConsumeBytes(4096), folder)

    atheris.Setup([arguments[0], *(a for a in arguments[1:] if a.startswith("-"))], one)
    atheris.Fuzz()


if __name__ == "__main__":
    fuzz(sys.argv)
