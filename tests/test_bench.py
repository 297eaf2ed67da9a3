"""The bench: figures only behind a green gate, verdicts that say what was missed, a comparison."""

import json
import re
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bench import __main__ as command
from bench import registry, scaling
from bench.registry import Case, Check, Entry, Timed
from bench.run import measure
from bench.table import markdown
from interact.prompt.inputs import Template
from interact.study.schedule import Report
from interact.study.work import Cell, Run, Sample
from interact.study.worker import Answer


def entry(error: float) -> Entry:
    def cases(quick):
        slow, fast = Timed(lambda: time.sleep(0.002)), Timed(lambda: time.sleep(0.0005))
        yield Case("sleep", fast, {"longer": slow, "absent": "not installed"}, {"longer": 1.5}, {"ours": 1e-6})

    return Entry("made", "ms", cases, lambda quick: iter([Check("a check", error, 1.0)]))


def test_every_entry_is_found_and_nothing_else():
    with pytest.raises(ValueError, match="No benchmark is called known_rules; there are: ") as told:
        registry.entries(("known_rules",))
    names = str(told.value).split(": ")[1].rstrip(".").split(", ")
    assert {"certainty", "lattice", "sparsify", "tree"} <= set(names) and "registry" not in names
    assert all("ENTRY = " in (Path(registry.__file__).parent / f"{name}.py").read_text() for name in names)


@pytest.fixture
def run(monkeypatch, capsys):
    def run(error, *arguments):
        monkeypatch.setattr(registry, "entries", lambda names: [entry(error)])
        status = command.main([*arguments, "--quick"])
        return status, capsys.readouterr().out

    return run


def test_a_green_gate_gives_ratios_verdicts_and_a_comparison(run, tmp_path):
    path = tmp_path / "rows.json"
    status, output = run(0.5, "--json", str(path))
    assert status == 0
    assert "longer at least 1.5x: met" in output and "ours at most 0.001 ms: NOT met" in output
    assert "absent: not installed" in output
    rows = {row["name"]: row for row in json.loads(path.read_text())["rows"]}
    assert rows["longer"]["ratio"] > 1.5 and rows["absent"]["seconds"] is None
    _, output = run(0.5, "--compare", str(path))
    assert "sleep, 1 thread(s), longer:" in output and "ratio" in output


@pytest.mark.parametrize("error", [2.0, float("nan")])
def test_a_red_gate_gives_no_figures(run, error):
    status, output = run(error)
    assert status == 1 and "no figures: the correctness gate is red" in output and "| sleep" not in output


def test_a_long_case_is_called_as_often_as_said_and_its_memory_is_weighed():
    called = []

    def ours():
        called.append(bytearray(200_000_000))
        called[-1] = None

    case = Case("one", Timed(ours), {"same": Timed(lambda: None)}, rounds=1, most_bytes=1e8)
    rows = measure("made", case, quick=True)
    line = markdown(rows, "s")
    assert len(called) == 1 and rows[1].rounds == 1
    if sys.platform == "linux":
        assert 1.9e8 < rows[0].bytes < 4e8
        assert "one call" in line and "ours at most 0.1 GB: NOT met" in line


def test_processor_time_counts_work_and_not_waiting(run):
    _, output = run(0.5, "--cpu-time", "--only", "sleep")
    # Both contenders sleep: on the wall one takes four times as long, the processor does nothing for either.
    assert "ours at most 0.001 ms: NOT met" in output
    milliseconds = float(output.split("| sleep | 1 | ")[1].split()[0])
    assert milliseconds < 0.4


def test_an_unknown_name_is_a_sentence():
    with pytest.raises(ValueError, match=r"No benchmark is called nothing; there are: .*lattice"):
        registry.entries(("nothing",))


class ClockedTeam:
    """Three workers on a clock of their own; those at work together need `slower` times as long for a cell."""

    size = 3

    def __init__(self, slower):
        self.slower, self.now, self.at_work = slower, 0.0, {}

    def free(self):
        return [name for name in ("worker 1", "worker 2", "worker 3") if name not in self.at_work]

    def give(self, worker, job):
        self.at_work[worker] = job

    def reports(self):
        # All began together, so all end together; a note comes with them, which is no cell.
        self.now += 2.0 * (self.slower if len(self.at_work) > 1 else 1.0)
        ended, self.at_work = self.at_work, {}
        return [Report("worker 3", note="awake"), *(Report(w, j, Answer("done", 2.0)) for w, j in ended.items())]


def clocked_turns(slower, cells, workers, tmp_path, monkeypatch):
    team, turns = ClockedTeam(slower), scaling.Turns()
    monkeypatch.setattr(scaling, "time", SimpleNamespace(monotonic=lambda: team.now))
    sample = Sample("a", "reviews", "good", ((0, 4),), "yes", Template("{text}"))
    work = [Cell(Run("model", "reviews", 0), 0, sample, str(number)) for number in range(cells)]
    turns.follow(SimpleNamespace(folder=tmp_path), work, team, workers)
    turns.bare.append(1.0)
    return turns


@pytest.mark.parametrize(("slower", "times", "verdict"), [(1.0, 2.0, "met"), (1.25, 1.6, "NOT met")])
def test_scaling_counts_the_workers_that_take_part(slower, times, verdict, tmp_path, monkeypatch):
    one, two = (clocked_turns(slower, 8, workers, tmp_path, monkeypatch) for workers in (1, 2))
    assert one.working == one.whole == [2.0]
    assert two.working == two.whole == pytest.approx([2.0 / times])
    last = scaling.table({1: one, 2: two}).split("\n")[-1]
    assert f"| {times:.3f}x" in last and f"at least 1.8x: {verdict}" in last


def test_a_worker_that_waits_for_the_last_cell_is_not_counted_as_slow(tmp_path, monkeypatch):
    turns = clocked_turns(1.0, 5, 2, tmp_path, monkeypatch)
    # Three cells in 6 s and two in 4 s: a cell a second while both work, five in 6 s to the end.
    assert turns.working == pytest.approx([1.0]) and turns.whole == pytest.approx([6 / 5])


@pytest.mark.parametrize("given", ["--workers 1 8", "--workers 0", "--cells 0", "--blocks 0", "--rounds -1"])
def test_turns_without_work_for_every_worker_are_refused(given, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["scaling", *given.split()])
    with pytest.raises(SystemExit):
        scaling.main()
    assert re.search(r"error: --(cells|blocks) is .* at least 1", capsys.readouterr().err)


def test_peers_are_compared_on_a_lattice_and_go_on_where_they_were(monkeypatch, capsys, tmp_path):
    from bench.peers import __main__ as peers
    from interact.indices import shapley

    v = np.random.default_rng(0).normal(size=64)
    np.savez(tmp_path / "small.npz", v=v)
    np.testing.assert_allclose(peers.exact_shapley(v), shapley(v), atol=1e-12)
    line = [
        "peers",
        "--budgets",
        "40",
        "--seeds",
        "1",
        "--folder",
        str(tmp_path),
        "--files",
        str(tmp_path / "small.npz"),
    ]
    for _ in range(2):
        monkeypatch.setattr("sys.argv", [*line, "--methods", "ours", "ours, terms"])
        peers.main()
        out = capsys.readouterr().out
        assert "| ours | " in out and "| ours, terms | " in out and "Means over 1 lattices" in out
        kept = tmp_path / "small.jsonl"
        assert [json.loads(row)["method"] for row in kept.read_text().splitlines()] == ["ours", "ours, terms"]
        # Killed while the last row was written: the next run fits it again.
        kept.write_text(kept.read_text()[:-20])
    monkeypatch.setattr("sys.argv", [*line, "--python", str(tmp_path / "none"), "--methods", "ProxySPEX"])
    with pytest.raises(SystemExit, match=r"none is not there\. Make it: python3\.12 -m venv"):
        peers.main()
