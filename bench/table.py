"""Rows as text: the table in the terminal, the section in RESULTS.md, the comparison with an older run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from bench.run import Row

SCALES = {"s": 1.0, "ms": 1e3, "us": 1e6}


def markdown(rows: Sequence[Row], unit: str) -> str:
    """Return one table: a line a case, each contender's median with its ratio to ours."""
    lines = [
        f"| case | threads | ours, {unit} (spread) | others, {unit} (times ours) | to show |",
        "|---|---|---|---|---|",
    ]
    for (case, threads), group in groupby(rows, key=lambda r: (r.case, r.threads)):
        ours, *others = group
        cells = [
            f"{r.name}: {r.missing}" if r.missing else f"{r.name} {_time(r, unit)} ({r.ratio:.3g}x)" for r in others
        ]
        wanted = [verdict for r in (ours, *others) for verdict in _verdicts(r, unit)]
        mine = f"{_time(ours, unit)} ({_certainty(ours)})"
        if ours.bytes is not None:
            mine += f", {ours.bytes / 1e9:.2f} GB"
        lines.append(f"| {case} | {threads} | {mine} | {', '.join(cells)} | {'; '.join(wanted)} |")
    return "\n".join(lines)


def comparison(rows: Sequence[Row], older: Sequence[Row], unit: str) -> str:
    """Return the change of our times and of our ratios against an older run."""
    old = {(r.entry, r.case, r.threads, r.name): r for r in older}
    lines = []
    for row in rows:
        before = old.get((row.entry, row.case, row.threads, row.name))
        if row.seconds is None or before is None or before.seconds is None:
            continue
        change = 100 * (row.seconds / before.seconds - 1)
        lines.append(
            f"  {row.case}, {row.threads} thread(s), {row.name}: {_time(before, unit)} -> {_time(row, unit)} {unit} "
            f"({change:+.0f} %), ratio {before.ratio:.3g} -> {row.ratio:.3g}"
        )
    return "\n".join(lines) or "  nothing in common with the older run"


def replace_section(text: str, name: str, body: str) -> str:
    """Return `text` with the section ``## name`` replaced, or appended."""
    section = f"## {name}\n\n{body.strip()}\n"
    pattern = re.compile(rf"^## {re.escape(name)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    if pattern.search(text):
        return pattern.sub(lambda _: section + "\n", text).rstrip() + "\n"
    return f"{text.rstrip()}\n\n{section}"


def _certainty(row: Row) -> str:
    if row.rounds is not None and row.rounds < 3:
        return "one call" if row.rounds == 1 else f"{100 * (row.spread or 0):.0f} %, {row.rounds} calls"
    return f"{100 * (row.spread or 0):.0f} %"


def _time(row: Row, unit: str) -> str:
    return f"{(row.seconds or 0.0) * SCALES[unit]:.3g}"


def _verdicts(row: Row, unit: str) -> list[str]:
    verdicts = []
    if row.ratio is not None and row.at_least is not None:
        met = "met" if row.ratio >= row.at_least else "NOT met"
        verdicts.append(f"{row.name} at least {row.at_least:.3g}x: {met}")
    if row.seconds is not None and row.at_most is not None:
        met = "met" if row.seconds <= row.at_most else "NOT met"
        verdicts.append(f"{row.name} at most {row.at_most * SCALES[unit]:.3g} {unit}: {met}")
    if row.bytes is not None and row.most_bytes is not None:
        met = "met" if row.bytes <= row.most_bytes else "NOT met"
        verdicts.append(f"{row.name} at most {row.most_bytes / 1e9:.3g} GB: {met}")
    return verdicts
