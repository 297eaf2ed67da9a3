"""Tables of the rows of `bench.peers.texts`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bench.peers.rows import Row

_COLUMNS = {"half": "R^2, half", "all": "R^2, all sizes", "removal": "removal", "insertion": "insertion"}
_ENOUGH = 4
"""Texts from which an interval is given."""


def tables(rows: Sequence[Row], factors: Sequence[float]) -> str:
    """Return a table a group: means over its texts, by budget; then ours less the best peer, with an interval."""
    parts = []
    for group in dict.fromkeys(row["group"] for row in rows):
        own = [row for row in rows if row["group"] == group]
        texts = {row["text"]: row for row in own}
        sizes = sorted(row["n"] for row in texts.values())
        tokens = sorted(row["tokens"] for row in texts.values())
        told = f"{group}: {len(texts)} texts, n = {sizes[0]} to {sizes[-1]}, {tokens[0]} to {tokens[-1]} tokens"
        each = ", ".join(f"{f:g} ({len({r['text'] for r in own if r['factor'] == f})} texts)" for f in factors)
        parts.append(f"\n{told}; budgets in n log2(n): {each}\n\n{_table(own, factors)}\n")
        parts += [f"{line}\n" for line in (*_gains(own, factors), *_refusals(own))]
    return "\n".join(parts)


def _table(rows: Sequence[Row], factors: Sequence[float]) -> str:
    planted = any("terms" in row for row in rows)
    most = {factor: len({row["text"] for row in rows if row["factor"] == factor}) for factor in factors}
    heads = ["method", *_COLUMNS.values(), *(["terms right", "false"] if planted else []), "CPU s of the fit"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method and "refused" not in row]
        if not own:
            continue
        cells = [_joined(own, most, lambda row, name=name: row.get(name), "{:.3f}") for name in _COLUMNS]
        if planted:
            # Of all planted terms, those found, as a share; and false terms a game.
            cells.append(
                _joined(own, most, lambda r: r["terms"][1] / r["terms"][0] if "terms" in r else None, "{:.2f}")
            )
            cells.append(_joined(own, most, lambda r: r["terms"][2] if "terms" in r else None, "{:.1f}"))
        cells.append(_joined(own, most, lambda row: row["seconds"], "{:.1f}"))
        lines.append(f"| {' | '.join([method, *cells])} |")
    return "\n".join(lines)


def _joined(rows: Sequence[Row], most: dict[float, int], of: Any, form: str) -> str:
    """Return the means by budget, in brackets of how many texts where others have more."""
    said = []
    for factor, texts in most.items():
        good = [of(row) for row in rows if row["factor"] == factor and of(row) is not None]
        fewer = f" [{len(good)}]" if 0 < len(good) < texts else ""
        said.append(form.format(np.mean(good)) + fewer if good else "-")
    return " / ".join(said) if set(said) != {"-"} else "-"


def _gains(rows: Sequence[Row], factors: Sequence[float]) -> Iterator[str]:
    """Yield ours less the peer of the best mean, on the texts of both, with a 95 % bootstrap interval over texts."""
    rng = np.random.default_rng(0)
    for factor in factors:
        for name, head in _COLUMNS.items():
            found: dict[str, dict[str, float]] = {}
            for row in rows:
                if row["factor"] == factor and name in row:
                    found.setdefault(row["method"], {})[row["text"]] = row[name]
            ours = found.pop("ours", {})
            peers = {m: own for m, own in found.items() if not m.startswith("ours") and own.keys() >= ours.keys()}
            if not peers or len(ours) < _ENOUGH:
                continue
            best = max(peers, key=lambda method: float(np.mean([peers[method][text] for text in ours])))
            gains = np.array([ours[text] - peers[best][text] for text in ours])
            means = rng.choice(gains, (10_000, len(gains))).mean(axis=1)
            low, high = np.quantile(means, (0.025, 0.975))
            yield (
                f"{factor:g} n log2(n), {head}: ours less {best} {gains.mean():+.3f} [{low:+.3f}, {high:+.3f}], "
                f"ahead on {(gains > 0).sum()} of {len(gains)}"
            )


def _refusals(rows: Sequence[Row]) -> Iterator[str]:
    for method in dict.fromkeys(row["method"] for row in rows if "refused" in row):
        own = [row for row in rows if row["method"] == method and "refused" in row]
        yield f"{method} refused {len(own)} times, first: {own[0]['refused'][:200]}"


def curve(rows: Sequence[Row]) -> str:
    """Return a line a text: R^2 measured by budget, and what the outlook of one budget expected of the next."""
    lines = ["| text | players, tokens | scores | R^2, half | R^2, all sizes | expected from the budget before |"]
    lines.append("|---" * 6 + "|")
    for text in dict.fromkeys(row["text"] for row in rows):
        own = sorted((r for r in rows if r["text"] == text and "half" in r), key=lambda row: row["budget"])
        before: Row | None = None
        for row in own:
            expected = "-" if before is None else _expected(before.get("outlook"), row["budget"])
            cells = [text, f"{row['n']}, {row['tokens']}", row["budget"], f"{row['half']:.3f}", f"{row['all']:.3f}"]
            lines.append(f"| {' | '.join(map(str, [*cells, expected]))} |")
            before = row
    return "\n".join(lines)


def _expected(outlook: Row | None, budget: int) -> str:
    """Return what an outlook says of a budget, between those it names; nothing beyond them."""
    if outlook is None or budget > outlook["budgets"][-1] * 1.01:
        return "-"
    return f"{np.interp(budget, outlook['budgets'], outlook['r2']):.3f}"
