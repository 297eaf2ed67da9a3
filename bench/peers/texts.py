"""Ours beside peers on real texts without a lattice, and on planted games; see `bench.peers`.

1. The scores of each text are kept on disk by coalition, so that an interrupted run goes on and a fit is a cheap step.
2. A row a group, text, budget and method is appended to ``rows.jsonl`` as it comes; the tables are made of these rows.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bench.peers.cases import GROUPS, Case, cases
from bench.peers.judging import counted, insertion, judges, r2, removal
from bench.peers.methods import FITS, THEIRS, Contest
from bench.peers.process import Process, Refused
from bench.peers.rows import Row, Rows
from bench.peers.tables import tables
from interact import sparse
from interact.formats.progress import in_words

METHODS = ("ours", "ours, all sizes", "ours, terms", *FITS, *THEIRS)
_MOST_OF_AN_OUTLOOK = 1000
"""With more scores than these an outlook takes longer than a fit."""


def budget_of(n: int, factor: float) -> int:
    """Return factor n log2(n), or the least that a design of ours needs."""
    return max(sparse.least_budget(n), math.ceil(factor * n * math.log2(n)))


def missing(
    found: Sequence[Case], factors: Sequence[float], methods: Sequence[str], count: int, rows: Rows
) -> list[tuple[Case, float, list[str]]]:
    """Return what is not in the rows: game, multiple of n log2(n), and methods; small budgets first."""
    work = []
    for factor in factors:
        for case in found:
            left = [m for m in methods if not rows.has(_key(case, factor, m, count))]
            work += [(case, factor, left)] if left else []
    return work


def _key(case: Case, factor: float, method: str, count: int) -> Row:
    told = {"group": case.group, "text": case.name, "dtype": case.dtype}
    return {**told, "factor": factor, "method": method, "judges": count}


def compared(case: Case, factor: float, methods: Sequence[str], count: int, peers: Process) -> Iterator[Row]:
    """Yield a row a method: what it predicts of coalitions it never saw, what it would remove, and what it took.

    Yields:
        ``half`` and ``all``, R^2 on judges of density 1/2 and of all sizes; ``removal`` and ``insertion``, see
        `bench.peers.judging`; ``calls``; ``seconds`` of the fit; ``terms``, of a planted game; ``outlook``, of ours. Or
        ``refused``, in the method's words.
    """
    ask, judge = case.open()
    held = judges(case.n, count)
    truth, empty = judge(held), float(judge(np.zeros((1, case.n), dtype=bool))[0])
    contest = Contest(ask, case.n, budget_of(case.n, factor), 0, peers)
    for method in methods:
        row = {**_key(case, factor, method, count), "n": case.n, "tokens": case.tokens, "budget": contest.budget}
        try:
            fit = contest.fit(method)
        except Refused as error:
            yield {**row, "refused": str(error)}
            continue
        row |= {"calls": fit.calls, "seconds": fit.seconds}
        for predict in list(fit.predictors.values())[:1]:
            rebuilt, half = predict(held), len(held) // 2
            row |= {"half": r2(truth[:half], rebuilt[:half]), "all": r2(truth[half:], rebuilt[half:])}
        ranked = fit.ranked(empty)
        row |= {"removal": removal(judge, ranked, case.n), "insertion": insertion(judge, ranked, case.n)}
        if case.truth is not None and fit.effects is not None:
            row["terms"] = counted(case.truth, fit.effects)
        if method == "ours" and fit.result is not None and fit.calls <= _MOST_OF_AN_OUTLOOK:
            told = sparse.outlook(fit.result)
            row["outlook"] = {"budgets": told.budgets, "r2": told.r2}
        yield row


def _in_words(row: Row) -> str:
    told = f"{row['group']} {row['text']}, n={row['n']}, {row['budget']} scores, {row['method']}: "
    if "refused" in row:
        return f"{told}refused: {row['refused'][:100]}"
    shares = f"R^2 {row['half']:.3f} and {row['all']:.3f}, " if "half" in row else ""
    changes = f"removal {row['removal']:.2f}, insertion {row['insertion']:.2f}"
    return f"{told}{shares}{changes}, {row['calls']} calls, {row['seconds']:.1f} CPU s"


def run(given: argparse.Namespace) -> Rows:
    """Fit what is missing and return all rows."""
    rows = Rows(given.folder / "rows.jsonl")
    if given.only_table:
        return rows
    work = []
    for group in given.groups:
        found = cases(group, given.texts, given.folder, given.dtype)
        work += missing(found, given.budgets, given.methods, given.judges, rows)
    # What a cell costs is taken to grow with its scores and their tokens.
    costs = [len(left) * budget_of(case.n, factor) * (case.tokens or 1) for case, factor, left in work]
    begun, done = time.monotonic(), 0
    with Process(given.python) as peers:
        for number, (case, factor, left) in enumerate(work):
            if not number:
                print(f"{sum(len(left) for *_, left in work)} fits are missing", flush=True)
            for row in compared(case, factor, left, given.judges, peers):
                rows.add(row)
                print(_in_words(row), flush=True)
            done += costs[number]
            seconds = (time.monotonic() - begun) * (sum(costs) - done) / done
            print(f"{number + 1} of {len(work)} done; {in_words(seconds)} to go", flush=True)
    return rows


def parser() -> argparse.ArgumentParser:
    """Return the arguments, which the curve of documents shares."""
    made = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    made.add_argument("--python", type=Path, default=Path("runs/shapiq/bin/python"), help="with shapiq 1.8")
    made.add_argument("--budgets", nargs="+", type=float, default=[1, 2, 4, 8], help="in multiples of n log2(n)")
    made.add_argument("--groups", nargs="+", choices=GROUPS, default=GROUPS)
    made.add_argument("--texts", type=int, default=20, help="most texts of a group; the shortest first")
    made.add_argument("--judges", type=int, default=200, help="coalitions that no method sees")
    made.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of the model's forwards")
    made.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    made.add_argument("--folder", type=Path, default=Path("runs/peers/texts"), help="where scores and rows are kept")
    made.add_argument("--only-table", action="store_true", help="of the rows that are there")
    return made


def main() -> None:
    """Run what is missing, then print everything."""
    given = parser().parse_args()
    try:
        rows = run(given)
    except KeyboardInterrupt:
        sys.exit(f"\nInterrupted; rows and scores are kept in {given.folder}. The same line goes on.")
    mine = [
        row
        for row in rows.known
        if row["group"] in given.groups
        and row["factor"] in given.budgets
        and row["method"] in given.methods
        and row["judges"] == given.judges
        and row["dtype"] in (given.dtype, "float64")
    ]
    print(tables(mine, given.budgets))


if __name__ == "__main__":
    main()
