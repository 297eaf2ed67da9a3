"""The findings as the tables of RESULTS.md: a section for each table, then correctness, stages and what is wrong."""

from __future__ import annotations

from bench.device.record import Findings, worst

SECTIONS = {
    "ceilings": "Medians of GPU events. What follows is held against them.",
    "attention, one run": "32 query and 8 key heads of 128, bfloat16; one run of about 4,096 queries. Ratios "
    "are times over the tree's: FlexAttention is compiled with the same mask, its block mask made before; dense is "
    "scaled_dot_product_attention with a mask in memory.",
    "attention, all coalitions": "One layer of the same heads, all coalitions, in runs as the project cuts them. The "
    "roof is the larger of two times: the useful multiply-adds at the measured rate of the matrix product, and the "
    "bytes of queries, keys, values and results at the measured rate of a copy.",
    "whole models": "Random weights, all coalitions, baseline masking, seconds. Flat is one batch of as many rows as "
    "stand there, scaled to all coalitions; ratios are times over the tree's in runs as the project cuts them.",
    "whole models against float32": "Log-odds of some coalitions against the flat forward in float32 with the same "
    "weights. Right where the tree's standard deviation is at most twice flat's.",
    "linear layers": "All linear layers of all tokens of the tree, alone, held against the measured rate of the matrix "
    "product and against the whole tree forward.",
    "card and host": "One scoring by the tree: kernels, copies to the card, how long the card was busy.",
    "parts of a scoring": "Medians of 7 laps, each part to its end on the card; in a scoring they overlap.",
    "end to end": "Seconds of each step of an extraction, after one that warmed up; the sum has the soft split on "
    "the CPU.",
    "CUDA graphs": "All runs of a tree whose inputs lie on the card: as the project computes them, and replayed from "
    "one graph, which gives the same bits.",
    "CUDA graphs in the product": "A scoring of all coalitions, the mean over 3 prompts whose lengths differ by 1: as "
    "ever, in padded runs, and inside `cuda_graphs`, which must give the numbers of padded runs.",
    "lattice": "Times are held against a copy that reads and writes as many bytes: ms = copies.",
    "split": "AND-OR splits, gap 1e-3 (box) or 1e-6 (soft), each certified by `verify`; ratios are times "
    "over those of the card.",
    "Cholesky": "Factorizations of as many matrices as a batch of splits holds, against cholesky_ex.",
    "tilings": "Tree attention of one layer by other cuts (rows, keys, warps, stages); ratios are times over "
    "the shipped cut's.",
}
"""Tables in their order, and what their figures are held against."""


def markdown(found: dict[str, Findings], rehearsal: bool) -> str:
    """Return all tables."""
    rows = [row for findings in found.values() for row in findings.rows]
    parts = ["## device"]
    if rehearsal:
        parts.append("A rehearsal on a CPU: its figures say nothing.")
    parts += [f"`python -m bench.device` on {row.result}." for row in rows if row.what == "machine"]
    for section, words in SECTIONS.items():
        lines = [row.table[1] for row in rows if row.table is not None and row.table[0] == section]
        if lines:
            parts += [f"### {section}", words, _table(lines)]
    checked = [line for name, findings in found.items() for line in _correctness(name, findings)]
    if checked:
        parts += ["### correctness", "Cases of a kind in one line, with the worst of them.", _table(checked)]
    states = [{"stage": n, "state": f.state[:200], "seconds": f"{f.seconds:.1f}"} for n, f in found.items()]
    parts += ["### stages", _table(states)]
    wrong = [f"- {name}: {row.what}: {(row.result or '')[:200]}" for name, f in found.items() for row in f.red()]
    wrong += [f"- {name}: {f.state[:300]}" for name, f in found.items() if not f.whole()]
    parts += [f"Wrong or not run to the end: {len(wrong)}", "\n".join(wrong[:30])]
    return "\n\n".join(part for part in parts if part) + "\n"


def _correctness(name: str, findings: Findings) -> list[dict[str, str]]:
    """Return a line for each group of cases, and one for each case alone that says whether it is right."""
    lines = []
    for group in dict.fromkeys(row.group or row.what for row in findings.rows if row.ok is not None):
        rows = [row for row in findings.rows if (row.group or row.what) == group and row.ok is not None]
        far = worst(rows)
        said = far.result or ""
        if len(rows) > 1:
            said = f"{far.what}: {said}"
        count = sum(row.ok is False for row in rows)
        lines.append({"stage": name, "what": group, "cases": str(len(rows)), "wrong": str(count), "worst": said[:250]})
    return lines


def _table(lines: list[dict[str, str]]) -> str:
    """Return lines of cells under their heads as one table; heads in the order in which they first stand."""
    heads = list(dict.fromkeys(head for line in lines for head in line))
    text = [heads, ["---"] * len(heads)]
    text += [[line.get(head, "").replace("|", "/").replace("\n", " ") for head in heads] for line in lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in text)
