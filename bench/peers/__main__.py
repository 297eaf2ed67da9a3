"""Run what is missing of the comparison, and print its table."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench import lattices
from bench.sparse_peers import r2
from interact import SampledInteractions, sparse
from interact.indices import shapley as shapley_of

Cell = tuple[str, int, int]
"""A method, its budget and its seed."""
OURS = {
    "ours": sparse.SparseOptions(bootstraps=0, stop=2.0),
    "ours, drawn": sparse.SparseOptions(bootstraps=0, stop=2.0, adaptive=False),
    "ours, all sizes": sparse.SparseOptions(bootstraps=0, stop=2.0, design="balanced"),
    "ours, terms": sparse.SparseOptions(bootstraps=0, stop=2.0, estimator="terms"),
}
THEIRS = ("ProxySPEX", "ProxySHAP", "SPEX", "LeverageSHAP", "RegressionMSR", "PolySHAP", "OddSHAP")
_MISSING = (
    "{0} is not there. Make it: python3.12 -m venv runs/shapiq && runs/shapiq/bin/pip install shapiq==1.8.0 lightgbm "
    "xgboost-cpu sparse-transform; or name another Python by --python."
)


def ours(v: np.ndarray, cell: Cell) -> dict[str, Any]:
    """Explain a lattice from a sample and judge it."""
    method, budget, seed = cell
    n, start = len(v).bit_length() - 1, time.process_time()
    ask = partial(_looked_up, v)
    found = sparse.explain(ask, n, budget=budget, seed=seed, options=OURS[method], progress=False)
    values = _shapley(found)
    row = {"method": method, "budget": budget, "seed": seed, "seconds": time.process_time() - start}
    row |= {"calls": len(found.values), "shapley": values.tolist()}
    return row | {"r2 whole": r2(v, found.predict(lattices.everyone(n)))}


def _shapley(found: SampledInteractions) -> np.ndarray:
    if found.provenance["gaussian"] is None:
        return np.asarray(shapley_of(found))
    return sparse.posterior(found).effects("shapley", [{i} for i in range(found.n)])[0]


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


def theirs(file: Path, cells: list[Cell], python: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of shapiq's methods, from a process of its own."""
    if not python.exists():
        raise SystemExit(_MISSING.format(python))
    script = Path(__file__).parent / "theirs.py"
    command, environment = [str(python), str(script), str(file)], {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    print(f"shapiq runs as a process of its own: {' '.join(command)}", flush=True)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("".join(json.dumps(cell) + "\n" for cell in cells))
        process.stdin.close()
        for line in process.stdout:
            yield json.loads(line)
    if process.returncode:
        raise SystemExit(f"The process of shapiq ended with the code {process.returncode}; what it gave is kept.")


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
    given.folder.mkdir(parents=True, exist_ok=True)
    for file in given.files:
        v, kept = lattices.read(file), given.folder / f"{file.stem}.jsonl"
        known = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
        done = {(row["method"], row["budget"], row["seed"]) for row in known}
        wanted = [(m, b, s) for s in range(given.seeds) for b in given.budgets for m in given.methods]
        missing = [cell for cell in wanted if cell not in done]
        by_them = [cell for cell in missing if cell[0] in THEIRS]
        made = (ours(v, cell) for cell in missing if cell[0] in OURS)
        for source in (made, theirs(file, by_them, given.python) if by_them else ()):
            for row in source:
                known.append(row)
                with kept.open("a") as stream:
                    stream.write(json.dumps(row) + "\n")
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
