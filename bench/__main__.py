"""Measure our kernels against their peers: ``python -m bench [names] [--quick] [--json FILE] [--compare FILE]``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from bench import registry, run, table, verify

RESULTS_HEAD = """# Results

Medians of one operation; spread is the interquartile range over the median; ratios are medians over interleaved
rounds in one process. Each section is rewritten by `python -m bench NAME --results` and names its command, commit
and machine.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks; return 1 when a correctness gate is red."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", help="entries to run (default: all)")
    parser.add_argument("--quick", action="store_true", help="small inputs, few repeats")
    parser.add_argument("--only", metavar="TEXT", default="", help="only cases whose name holds this text")
    parser.add_argument("--cpu-time", action="store_true", help="processor seconds, of all threads, not the wall's")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every row with the machine line")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="print changes against an older --json")
    parser.add_argument("--results", action="store_true", help="rewrite the sections of bench/RESULTS.md")
    options = parser.parse_args(arguments)
    try:
        chosen = registry.entries(tuple(options.names))
    except ValueError as error:
        parser.error(str(error))
    older = _read(options.compare) if options.compare else []
    line = run.machine()
    clock = time.process_time if options.cpu_time else time.perf_counter
    print(line, flush=True)
    red = False
    rows: list[run.Row] = []
    for entry in chosen:
        print(f"\n{entry.name}", flush=True)
        if verify.red_checks(entry, options.quick, print):
            print("  no figures: the correctness gate is red")
            red = True
            continue
        mine: list[run.Row] = []
        for case in entry.cases(options.quick):
            if options.only not in case.name:
                continue
            print(f"  measuring {case.name}, {case.threads} thread(s)", file=sys.stderr, flush=True)
            mine += run.measure(entry.name, case, options.quick, clock)
            del case
        rows += mine
        print(table.markdown(mine, entry.unit))
        if older:
            print(table.comparison(mine, older, entry.unit))
        if options.results:
            _write_results(entry, mine, line, options)
    if options.json:
        options.json.write_text(json.dumps({"machine": line, "rows": [asdict(r) for r in rows]}, indent=1) + "\n")
    return 1 if red else 0


def _read(path: Path) -> list[run.Row]:
    return [run.Row(**row) for row in json.loads(path.read_text())["rows"]]


def _write_results(entry: registry.Entry, rows: list[run.Row], line: str, options: argparse.Namespace) -> None:
    path = Path(__file__).with_name("RESULTS.md")
    text = path.read_text() if path.exists() else RESULTS_HEAD
    chosen = (" --quick" if options.quick else "") + (" --cpu-time" if options.cpu_time else "")
    chosen += f' --only "{options.only}"' if options.only else ""
    command = f"`python -m bench {entry.name}{chosen} --results`"
    note = " Times are processor seconds of all threads." if options.cpu_time else ""
    body = f"{command} on {line}.{note}\n\n{table.markdown(rows, entry.unit)}"
    section = entry.name + (f", only “{options.only}”" if options.only else "")
    path.write_text(table.replace_section(text, section, body))


if __name__ == "__main__":
    raise SystemExit(main())
