import json
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.peers import texts
from bench.peers.cases import Case
from bench.peers.curve import main as curve
from bench.peers.judging import counted, insertion, judges, moebius, predicted, removal
from bench.peers.methods import Contest
from bench.peers.process import Process, Refused
from bench.peers.rows import Rows
from bench.peers.tables import tables

ROOT = Path(__file__).parents[1]

WEIGHTS = np.array([4.0, -3.0, 2.0, 1.0, 0.5, 0.25, 0.0, 0.0])
# shapiq's names, as far as they are used: what asks for singles and fits players by differences from nothing.
STAND_IN = """
import numpy as np
class Found:
    def __init__(self, values):
        self.interaction_lookup = {(i,): i for i in range(len(values))}
        self.values = values
class ProxySHAP:
    def __init__(self, n, random_state, **options):
        self.n = n
    def approximate(self, budget, game):
        print("words that are no answer")
        return Found(game(np.eye(self.n, dtype=int)))
class KernelSHAP(ProxySHAP):
    def approximate(self, budget, game):
        raise ValueError("not with this budget")
class SPEX(ProxySHAP):
    def approximate(self, budget, game):
        import os
        os._exit(7)
ProxySPEX = LeverageSHAP = RegressionMSR = PolySHAP = OddSHAP = ProxySHAP
"""


def additive(masks):
    return 1.5 + masks @ WEIGHTS


@pytest.fixture
def peers(tmp_path):
    (tmp_path / "shapiq.py").write_text(STAND_IN)
    script = Path(texts.__file__).parent / "theirs.py"
    run = f"import runpy, sys; sys.path.insert(0, {str(tmp_path)!r}); "
    run += f"runpy.run_path({str(script)!r}, run_name='__main__')"
    with Process(Path("none"), [sys.executable, "-c", run]) as process:
        yield process


def test_the_process_of_shapiq_asks_over_a_pipe_refuses_and_ends(peers):
    contest = Contest(additive, 8, 48, 0, peers, both=True)
    fit = contest.fit("ProxySHAP")
    assert fit.calls == 8 and fit.coalitions.tolist() == np.eye(8, dtype=bool).tolist()
    masks = judges(8, 40)
    np.testing.assert_allclose(fit.predictors["FBII"](masks), additive(masks))
    np.testing.assert_allclose(fit.values, WEIGHTS)
    # Values alone rank players by their sum.
    alone = contest.fit("OddSHAP")
    assert not alone.predictors and removal(additive, alone.ranked(1.5), 8) == pytest.approx((4 + 7 + 7.75) / 3)
    with pytest.raises(Refused, match="ValueError: not with this budget"):
        contest.fit("KernelSHAP")
    with pytest.raises(SystemExit, match="ended with the code 7; what it gave is kept"):
        contest.fit("SPEX")


def test_removal_and_insertion_of_an_additive_function():
    # One: 4. Three, each the largest change of what was changed so far: 4, 2, 1. Five: and 0.5, 0.25.
    assert removal(additive, additive, 8) == pytest.approx((4 + 7 + 7.75) / 3)
    assert insertion(additive, additive, 8) == pytest.approx((4 + 7 + 7.75) / 3)
    backwards = predicted({frozenset({i}): w for i, w in enumerate(WEIGHTS[::-1])}, 0.0)
    assert removal(additive, backwards, 8) == pytest.approx((0 + 0.75 + 3.75) / 3)


def test_terms_are_counted_in_one_vocabulary():
    truth = moebius({frozenset({0}): 1.0}, {frozenset({1, 2}): 2.0})
    assert truth == {frozenset({0}): 1.0, frozenset({1}): 2.0, frozenset({2}): 2.0, frozenset({1, 2}): -2.0}
    found = {frozenset(): 9.0, frozenset({0}): 1.2, frozenset({1}): -2.0, frozenset({1, 2}): -0.6, frozenset({3}): 0.7}
    assert counted(truth, {**found, frozenset({4}): 0.4}) == (4, 2, 1)


@pytest.fixture
def command(monkeypatch, tmp_path, capsys):
    """Run the command on one small game; return what it printed and how many scores it asked for."""
    asked = []

    def value(masks):
        asked.append(len(masks))
        return additive(masks) + 0.5 * masks[:, :2].all(axis=1)

    def cases(group, count, folder, dtype):
        return [Case(group, "7", 8, 30, dtype, lambda: (value, value))]

    monkeypatch.setattr(texts, "cases", cases)

    def run(*more, main=texts.main):
        asked.clear()
        given = ["--groups", "documents", "--judges", "40", "--folder", str(tmp_path), "--methods", "ours", "LIME"]
        monkeypatch.setattr("sys.argv", ["texts", *given, *more])
        main()
        return capsys.readouterr().out, sum(asked)

    return run


def test_texts_go_on_where_they_were_and_print_the_table_of_all_rows(command, tmp_path):
    out, asked = command("--budgets", "2")
    assert asked and "1 of 1 done" in out and "| ours | 1.0" in out and "| LIME |" in out
    file = tmp_path / "rows.jsonl"
    kept = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(row["method"], row["budget"]) for row in kept] == [("ours", 48), ("LIME", 48)]
    # Killed while the last row was written: it alone is fitted again, to the coalitions that ours asks for.
    whole = file.read_text()
    file.write_text(whole[:-20])
    again, asked = command("--budgets", "2")
    assert asked and "1 fits are missing" in again
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["half"] for row in rows] == pytest.approx([row["half"] for row in kept])
    assert command("--budgets", "2")[1] == 0
    out, asked = command("--budgets", "2", "4", "--only-table")
    assert not asked and "2 (1 texts), 4 (0 texts)" in out
    # Scores of another precision are another function's.
    out, asked = command("--budgets", "2", "--dtype", "bfloat16")
    assert asked and "2 fits are missing" in out and out.count("| ours |") == 1


def test_the_curve_shows_what_the_budget_before_expected(command):
    command("--budgets", "2")
    out, _ = command("--budgets", "2", "3", main=curve)
    lines = [line for line in out.splitlines() if line.startswith("| 7 |")]
    assert [line.split(" | ")[2] for line in lines] == ["48", "72"]
    assert lines[0].endswith("| - |") and float(lines[1].split("|")[-2]) > 0.9


def test_an_interval_is_of_the_differences_of_the_same_texts():
    def row(text, method, half):
        same = {"group": "g", "factor": 1, "n": 9, "tokens": 30, "removal": 1.0, "insertion": 1.0, "seconds": 1.0}
        return {**same, "text": text, "method": method, "half": half, "all": half}

    rows = [row(str(i), "ours", 0.8 + i / 100) for i in range(4)] + [row(str(i), "SPEX", 0.7) for i in range(4)]
    # Of fewer texts, so it is not the best peer.
    rows += [row("0", "ProxySPEX", 0.99), {"group": "g", "text": "1", "factor": 1, "method": "LIME", "refused": "no"}]
    rows[-1] |= {"n": 9, "tokens": 30}
    out = tables(rows, [1])
    assert "g: 4 texts, n = 9 to 9, 30 to 30 tokens; budgets in n log2(n): 1 (4 texts)" in out
    assert "| ours | 0.815 | 0.815 | 1.000 | 1.000 | 1.0 |" in out
    assert "| ProxySPEX | 0.990 [1] | 0.990 [1] |" in out
    assert "1 n log2(n), R^2, half: ours less SPEX +0.115 [" in out and "ahead on 4 of 4" in out
    assert "LIME refused 1 times, first: no" in out
    assert "ours less" not in tables(rows[:3] + rows[4:7], [1])


@pytest.fixture(scope="module")
def kept():
    return [row for row in Rows(ROOT / "bench/peers/kept/rows.jsonl").known if "half" in row]


@pytest.mark.parametrize("columns", [("half", "all"), ("removal", "insertion")])
def test_the_page_says_what_the_kept_rows_say(kept, columns):
    page = (ROOT / "docs/sampled.md").read_text("utf-8").replace("*", "")
    names = {"ours, listed terms": "ours, listed terms alone", "pairwise": "pairwise ridge"}
    methods = ("ours", "ours, listed terms", "ProxySPEX", "ProxySHAP", "pairwise", "LIME")
    cells: dict[str, list[str]] = {method: [] for method in methods}
    for group in ("reviews-30-60", "reviews-100-128", "documents", "question"):
        own = [row for row in kept if row["group"] == group and row["factor"] == 1]
        by = {method: {row["text"]: row for row in own if row["method"] == method} for method in methods}
        texts = set.intersection(*map(set, by.values()))
        assert texts
        for method in methods:
            means = [np.mean([by[method][text][name] for text in texts]) for name in columns]
            cells[method].append(" / ".join(f"{mean:.3f}" for mean in means))
    for method in methods:
        assert f"| {names.get(method, method)} | {' | '.join(cells[method])} |" in page


def test_the_page_says_what_more_scores_gave(kept):
    page = " ".join((ROOT / "docs/sampled.md").read_text("utf-8").split())

    def said(group, method, factor):
        own = [row for row in kept if (row["group"], row["method"], row["factor"]) == (group, method, factor)]
        return " / ".join(f"{np.mean([row[name] for row in own]):.3f}".removeprefix("0") for name in ("half", "all"))

    twice = [said("reviews-30-60", "ours", 2), said("reviews-30-60", "ProxySPEX", 2), said("documents", "ours", 2)]
    asked = [said("question", "ours", 2), said("question", "ProxySPEX", 2)]
    assert f"becomes {twice[0]} (short; ProxySPEX {twice[1]}), {twice[2]} (documents)" in page
    assert f"{asked[0]} (question; ProxySPEX {asked[1]})" in page
    assert f"four times as many {said('documents', 'ours', 4)} (documents, each at least .84 at half)" in page
    fourth = [row["half"] for row in kept if (row["group"], row["method"], row["factor"]) == ("documents", "ours", 4)]
    assert min(fourth) >= 0.84
