"""Draw the pictures of docs/pictures.md from stored tables: `make figures`.

1. Speed: the tables of bench/RESULTS.md, which `python -m bench NAME --results` writes.
2. Certainty: the table of docs/split.md.
3. Evolution: the tables of the studies in docs/results/.

A picture holds the hash of what it was drawn from and of this file, so one that is out of date is told by its text.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

DOCS = Path(__file__).resolve().parent
OUT = DOCS / "figures"
BLUE, ORANGE, GREEN, GREY = "#1e6edc", "#c44e00", "#00795a", "#767d86"
_TREE = re.compile(
    r"Qwen2 8x512, tail 8, (\d+) tokens, n=10, baseline.*?\| 1 \| ([\d.e+]+) \(.*?"
    r"flat batch ([\d.e+]+) .*?prefix tree of stock caches ([\d.e+]+) "
)
_CARD = re.compile(r"^\| A: 8B, bfloat16 \| (\d+) \| \d+ \| \d+ \| ([\d.]+) = 1.00x \| ([\d.]+) = ", re.MULTILINE)
_SPLIT = re.compile(r"^\| planted n=(\d+) kappa=0.04 \| 1 \| ([\d.e+]+) \([^|]*\| ([^|]*)\|", re.MULTILINE)


def speed_table() -> dict[str, list[list[float]]]:
    """Return the points of each curve of the picture of speed: ``[[tokens or players, seconds], ...]``."""
    text = (DOCS.parent / "bench" / "RESULTS.md").read_text("utf-8")
    curves: dict[str, list[list[float]]] = {}

    def add(name: str, x: str, seconds: float) -> None:
        curves.setdefault(name, []).append([float(x), seconds])

    for tokens, *seconds in _TREE.findall(text):
        for name, found in zip(("tree", "flat", "stock"), seconds, strict=True):
            add(f"cpu {name}", tokens, float(found))
    for tokens, *seconds in _CARD.findall(text):
        for name, found in zip(("tree", "flat"), seconds, strict=True):
            add(f"card {name}", tokens, float(found))
    for players, ours, others in _SPLIT.findall(text):
        add("split ours", players, float(ours) / 1000)
        for name, words in (
            ("torch", "torch float64"),
            ("HiGHS", "HiGHS"),
            ("SGD", "published SGD, 2000 of 10000 steps"),
        ):
            if found := re.search(rf"{words} ([\d.e+]+)", others):
                add(f"split {name}", players, float(found[1]) / 1000)
    return {name: sorted(points) for name, points in curves.items()}


def certainty_table() -> dict[str, list[float]]:
    """Return the shares of certain interactions of each form, at eps 1e-5, 1e-4 and 1e-3."""
    text = (DOCS / "split.md").read_text("utf-8")
    rows = re.search(r"eps 1e-5 \| 1e-4 \| 1e-3 \|\n\|[-|]+\n((?:\|.*\n)+)", text)
    if rows is None:
        raise ValueError("docs/split.md has no table with the columns eps 1e-5, 1e-4 and 1e-3; give it back.")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in rows[1].splitlines()]
    return {form: [float(share) for share in shares] for form, _, *shares in cells}


def speed(curves: dict[str, list[list[float]]]) -> Figure:
    """Draw seconds over tokens (scores) and over players (the split), both axes logarithmic where they are counts."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    looks: dict[str, tuple[Any, str, str, str]] = {
        "cpu flat": (left, ORANGE, "o-", "flat batch"),
        "cpu stock": (left, GREY, "s-", "stock caches, as a tree"),
        "cpu tree": (left, BLUE, "o-", "coalition tree"),
        "card flat": (middle, ORANGE, "o-", "flat batch"),
        "card tree": (middle, BLUE, "o-", "coalition tree"),
        "split HiGHS": (right, GREY, "s-", "HiGHS, exact"),
        "split SGD": (right, ORANGE, "o", "published fit, 2,000 of 10,000 steps"),
        "split torch": (right, GREEN, "o-", "the same method in torch"),
        "split ours": (right, BLUE, "o-", "ours, certified"),
    }
    for name, (axis, colour, mark, words) in looks.items():
        x, seconds = zip(*curves[name], strict=True)
        axis.plot(x, seconds, mark, color=colour, label=words, markersize=4)
        axis.set_yscale("log")
        axis.legend(frameon=False, fontsize=6.5)
    for axis, title in ((left, "1,024 coalitions, one CPU core"), (middle, "1,024 coalitions, 8B, one H200")):
        axis.set_xscale("log", base=2)
        axis.set_xticks([64, 256, 1024], ["64", "256", "1,024"])
        axis.set_xlabel("tokens of the prompt", fontsize=8)
        axis.set_title(title, fontsize=9)
    right.set_xticks([8, 10, 12])
    right.set_xlabel("players", fontsize=8)
    right.set_title("one split, one CPU core", fontsize=9)
    left.set_ylabel("seconds", fontsize=8)
    for axis in (left, middle, right):
        axis.tick_params(labelsize=7)
    return figure


def certainty(shares: dict[str, list[float]]) -> Figure:
    """Draw the share of salient interactions that are certain, by form of the split and by eps."""
    figure = Figure(figsize=(5.4, 2.8), layout="constrained")
    axis = figure.subplots()
    places = np.arange(len(shares))
    for number, (eps, colour) in enumerate(zip(("1e-5", "1e-4", "1e-3"), (BLUE, GREEN, ORANGE), strict=True)):
        axis.bar(
            places + 0.26 * (number - 1), [s[number] for s in shares.values()], 0.24, color=colour, label=f"eps {eps}"
        )
    axis.set_xticks(places, [form.replace(", ", ",\n") for form in shares], fontsize=8)
    axis.set_ylim(0, 1)
    axis.set_ylabel("certain of the salient", fontsize=8)
    axis.legend(frameon=False, fontsize=8, loc="upper center", ncols=3)
    return figure


def evolution(folder: Path) -> Figure:
    """Draw strength and rho of the three classes over the steps of a study: the mean over runs, and their range."""
    from results import Evidence

    metrics = Evidence(folder).metrics
    figure = Figure(figsize=(7.4, 2.8), layout="constrained")
    for axis, name, words in zip(
        figure.subplots(1, 2),
        ("strength", "rho"),
        ("strength per sample, nats", "rho (1: effects agree in sign)"),
        strict=True,
    ):
        for group, colour in (("removed", GREY), ("preserved", BLUE), ("emerged", ORANGE)):
            part = metrics[(metrics["class"] == group) & (metrics["name"] == name) & (metrics["step"] > 0)]
            over = part.groupby("step")["value"]
            low, mean, high = over.min(), over.mean(), over.max()
            axis.fill_between(mean.index, low, high, color=colour, alpha=0.15, linewidth=0)
            axis.plot(mean.index, mean, "o-", color=colour, label=group, markersize=4)
        axis.set_xscale("log")
        axis.set_xlabel("training step", fontsize=8)
        axis.set_ylabel(words, fontsize=8)
        axis.tick_params(labelsize=7)
    axis.legend(frameon=False, fontsize=8)
    return figure


def wanted() -> dict[Path, tuple[str, Callable[[], Figure]]]:
    """Return each picture with the hash of what it is drawn from, and how it is drawn."""
    curves, shares = speed_table(), certainty_table()
    found: dict[Path, tuple[str, Callable[[], Figure]]] = {
        OUT / "speed.svg": (_hash(json.dumps(curves).encode()), lambda: speed(curves)),
        OUT / "certainty.svg": (_hash(json.dumps(shares).encode()), lambda: certainty(shares)),
    }
    for config in sorted((DOCS / "results").glob("*/config.json")):
        tables = b"".join(path.read_bytes() for path in sorted(config.parent.glob("*.parquet")))
        found[config.parent / "evolution.svg"] = (_hash(tables), lambda folder=config.parent: evolution(folder))
    return found


def drawn_from(picture: Path) -> str | None:
    """Return the hash that a picture holds, or None where there is no such picture."""
    mark = re.search("drawn from ([0-9a-f]{64})", picture.read_text("utf-8")) if picture.is_file() else None
    return mark[1] if mark else None


def write() -> list[Path]:
    """Draw what is out of date, and return it."""
    out_of_date = [path for path, (source, _) in wanted().items() if drawn_from(path) != source]
    with mpl.rc_context({"svg.hashsalt": "interact", "svg.fonttype": "none"}):
        for path in out_of_date:
            source, draw = wanted()[path]
            draw().savefig(path, metadata={"Date": None, "Description": f"drawn from {source}"})
    return out_of_date


def _hash(data: bytes) -> str:
    return hashlib.sha256(data + Path(__file__).read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.path.insert(0, str(DOCS))
    for path in write():
        print(f"drew {path}")
