"""Run what is missing of the comparison, and print its table."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench import lattices
from bench.peers.judging import r2
from bench.peers.methods import OURS, THEIRS, Contest
from bench.peers.process import Process, Refused
from bench.peers.rows import Rows

Cell = tuple[str, int, int]
"""A method, its budget and its seed."""


def judged(v: np.ndarray, cell: Cell, peers: Process) -> dict[str, Any]:
    """Explain a lattice from a sample and judge it on all scores."""
    method, budget, seed = cell
    row: dict[str, Any] = {"method": method, "budget": budget, "seed": seed}
    n = len(v).bit_length() - 1
    try:
        fit = Contest(partial(_looked_up, v), n, budget, seed, peers, both=True).fit(method)
    except Refused as error:
        return {**row, "refused": str(error)}
    assert fit.values is not None
    row |= {"seconds": fit.seconds, "calls": fit.calls, "shapley": fit.values.tolist()}
    return row | {f"r2 {name}": r2(v, predict(lattices.everyone(n))) for name, predict in fit.predictors.items()}


def _looked_up(values: np.ndarray, masks: np.ndarray) -> np.ndarray:
    return values[masks @ (1 << np.arange(masks.shape[1]))]


def exact_shapley(v: np.ndarray) -> np.ndarray:
    """Return the Shapley values of a lattice."""
    n = len(v).bit_length() - 1
    masks, sizes = np.arange(len(v)), lattices.everyone(n).sum(axis=1)
    weight = np.array([1 / (n * _choose(n - 1, k)) for k in range(n)])
    without = [masks[masks >> i & 1 == 0] for i in range(n)]
    return np.array([weight[sizes[low]] @ (v[low | 1 << i] - v[low]) for i, low in enumerate(without)])


def _choose(n: int, k: int) -> float:
    return float(np.prod([(n - j) / (j + 1) for j in range(k)]))


def table(rows: list[dict[str, Any]], budgets: list[int]) -> str:
    """Return the means over lattices and seeds as a table: R^2, error of Shapley values, CPU seconds, by budget."""
    lines = ["| method | R^2 | error of Shapley values | CPU s of the fit |", "|---|---|---|---|"]
    names = [(m, key) for m in (*OURS, *THEIRS) for key in ("r2 whole", "r2 FBII", "")]
    for method, key in names:
        own = [row for row in rows if row["method"] == method and "refused" not in row]
        has = {k for row in own for k in row if k.startswith("r2")}
        if not own or (key and key not in has) or (not key and has):
            continue
        cells = [[row for row in own if row["budget"] == budget] for budget in budgets]
        share = _joined(cells, key, "{:.3f}") if key else "-"
        label = f"{method}, FBII of order 3" if key == "r2 FBII" and len(has) > 1 else method
        rest = [_joined(cells, name, form) for name, form in (("error", "{:.3f}"), ("seconds", "{:.1f}"))]
        lines.append(f"| {' | '.join([label, share, *rest])} |")
    return "\n".join(lines)


def _joined(cells: list[list[dict[str, Any]]], key: str, form: str) -> str:
    return " / ".join(form.format(np.mean([row[key] for row in rows])) if rows else "-" for rows in cells)


def main() -> None:
    """Run what is missing, then print everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--python", type=Path, default=Path("runs/shapiq/bin/python"), help="with shapiq 1.8")
    parser.add_argument("--budgets", nargs="+", type=int, default=[100, 200, 400])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", choices=(*OURS, *THEIRS), default=[*OURS, *THEIRS])
    parser.add_argument("--folder", type=Path, default=Path("runs/peers"), help="where rows are kept")
    parser.add_argument("--files", nargs="+", type=Path, default=sorted(lattices.FOLDER.glob("*.npz")))
    given, rows = parser.parse_args(), []
    for file in given.files:
        v, kept = lattices.read(file), Rows(given.folder / f"{file.stem}.jsonl")
        wanted = [(m, b, s) for s in range(given.seeds) for b in given.budgets for m in given.methods]
        with Process(given.python) as peers:
            for method, budget, seed in wanted:
                if not kept.has({"method": method, "budget": budget, "seed": seed}):
                    kept.add(judged(v, (method, budget, seed), peers))
        known = kept.known
        truth = exact_shapley(v)
        for row in known:
            if "shapley" in row:
                row["error"] = float(np.linalg.norm(np.array(row["shapley"]) - truth) / np.linalg.norm(truth))
        mine = [row for row in known if (row["method"], row["budget"], row["seed"]) in set(wanted)]
        refused = {(row["method"], row["budget"]): row["refused"] for row in mine if "refused" in row}
        print(f"\n{file.stem}, n = {len(v).bit_length() - 1}\n\n{table(mine, given.budgets)}")
        print("".join(f"\n{m} at {b} refused: {reason}" for (m, b), reason in refused.items()), flush=True)
        rows += mine
    print(f"\nMeans over {len(given.files)} lattices, budgets {given.budgets}\n\n{table(rows, given.budgets)}")


if __name__ == "__main__":
    main()
