"""The bench of a GPU, rehearsed on a CPU: its stages end, what is wrong or late is said, and nothing is lost."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.device import __main__ as command
from bench.device import plan
from bench.device.child import Cases
from bench.device.clock import Target, Time, clock
from bench.device.plan import Stage
from bench.device.record import Findings, Row
from bench.device.tables import SECTIONS, markdown

ROOT = Path(__file__).parents[1]
BARE = "tyro platformdirs gguf shapiq lightgbm accelerate matplotlib pandas peft pyarrow sentencepiece sklearn"


def test_a_rehearsal_ends_in_tables(tmp_path, capsys):
    stages = "card,lattice-native,lattice-speed,split-speed,model-135m"
    status = command.main(["--rehearse", "--only", stages, "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert status == 0, printed
    text = (tmp_path / "device.md").read_text()
    assert text in printed and "Wrong or not run to the end: 0" in text
    shown = ("ceilings", "lattice", "split", "whole models", "linear layers", "end to end", "correctness", "stages")
    assert all(f"### {section}\n" in text for section in shown)
    known = json.loads((tmp_path / "device.json").read_text())["stages"]
    assert sorted(known) == sorted(stages.split(","))
    assert all(stage["state"] == "done" and stage["rows"] for stage in known.values())
    assert "======== model-135m" in (tmp_path / "device.log").read_text()


def test_every_table_has_its_words_and_every_stage_its_function():
    source = "".join(path.read_text() for path in (ROOT / "bench/device").glob("*.py"))
    for section in SECTIONS:
        assert source.count(f'"{section}"') >= 2, section
    assert [stage.group for stage in plan.STAGES] == sorted(stage.group for stage in plan.STAGES)
    build = next(stage for stage in plan.STAGES if stage.name == "build")
    assert all(stage.group > build.group for stage in plan.STAGES if stage.name not in ("card", "build"))


def test_unknown_stages_are_a_sentence(capsys):
    with pytest.raises(SystemExit):
        command.main(["--only", "card,nothing"])
    assert "No stage is called nothing; there are: card, build," in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_without_a_card_the_stage_says_so(tmp_path, capsys):
    assert command.main(["--only", "packed", "--out", str(tmp_path)]) == 1
    assert "No usable CUDA device was found; --rehearse runs" in capsys.readouterr().out


FATAL = """
import os, time

def run(cases, argument):
    cases.case("right", lambda: (0.5, 1.0), group="a kind")
    cases.case("wrong", lambda: (2.0, 1.0), group="a kind")
    cases.case("raises", lambda: 1 / 0)
    cases.case("deadly", lambda: os._exit(9))
    cases.case("behind it", lambda: ("said", True))


def hang(cases, argument):
    cases.case("endless", lambda: time.sleep(600))
"""


@pytest.fixture
def fatal(tmp_path, monkeypatch, capsys):
    (tmp_path / "fatal.py").write_text(FATAL)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    started = subprocess.Popen

    def run(function, deadline):
        stage = f"Stage('fatal', 'fatal:{function}', 1, 0)"
        script = "import sys, fatal, bench.device.child as c; sys.modules['bench.device.fatal'] = fatal\n"
        script += f"from bench.device.plan import Stage; c.STAGES = ({stage},); c.main()"
        monkeypatch.setattr(command.plan, "STAGES", (Stage("fatal", f"fatal:{function}", 1, 0),))

        def popen(arguments, **options):
            # The child's own list of stages is in its process.
            return started([arguments[0], "-c", script, *arguments[3:]], **options)

        monkeypatch.setattr("bench.device.supervisor.subprocess.Popen", popen)
        assert command.main(["--rehearse", "--deadline", deadline, "--out", str(tmp_path / "out")]) == 1
        return capsys.readouterr().out

    return run


def test_what_kills_or_is_wrong_costs_only_itself(fatal):
    text = fatal("run", "300")
    assert "| fatal | done, after 1 cases that ended its process |" in text
    assert "| fatal | a kind | 2 | 1 | wrong: 2 of at most 1 |" in text
    assert "- fatal: raises: ZeroDivisionError: division by zero" in text
    assert "- fatal: deadly: its process ended in it" in text and "| behind it | 1 | 0 | said |" in text


def test_what_hangs_is_stopped(fatal):
    assert "- fatal: stopped at its limit of 9 s in: " in fatal("hang", "9")


def test_a_half_written_row_is_left_out_and_a_later_one_stands(tmp_path):
    first, second = Row("case", "died", False, begun=1), Row("case", "fine", True)
    (tmp_path / "rows").write_text(f"{first.line()}\n{second.line()}\n{second.line()[:20]}")
    found = Findings()
    found.read(tmp_path / "rows")
    assert [row.result for row in found.rows] == ["fine"] and found.begun == (1, "case") and not found.red()
    assert "| stage | skipped:" in markdown({"stage": found}, rehearsal=False)


def test_cases_know_errors_verdicts_and_lines(tmp_path):
    cases = Cases(Target("cpu", True), tmp_path / "rows", behind=1)
    assert cases.case("left out", lambda: (9.0, 1.0)) is None
    cases.case("nan", lambda: (float("nan"), 1.0))
    cases.case("no row", lambda: None)
    cases.line("a", "lattice", {"case": "n | 1"})
    found = Findings()
    found.read(tmp_path / "rows")
    assert [(row.what, row.ok) for row in found.rows] == [("nan", False), ("lattice: a", None)]
    assert "| n / 1 |" in markdown({"stage": found}, rehearsal=True)


def test_a_clock_warms_up_before_it_chooses_how_many_calls_make_a_lap():
    called = []
    time = clock(Target("cpu", True), called.append, [[0], [1]])
    assert called[:4] == [0, 1, 0, 1] and time.laps == 2 and time.least <= time.ms <= time.most
    assert Time(2.0, 1, 2.0, 2.0).scaled(3).against(Time(2.0, 1, 2.0, 2.0)) == "6 = 3.00x"


def test_scoring_needs_torch_and_transformers_alone():
    lines = [
        f"import sys; sys.modules.update(dict.fromkeys({BARE.split()}))",
        "import interact.games.coalition_values, interact.engines.tree, interact.engines.flat",
        "import interact.engines.precision",
        "import bench.device.models, bench.device.speed, bench.device.algebra",
    ]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "kernels"), os.environ.get("PYTHONPATH", "")])
    command_line = [sys.executable, "-W", "ignore", "-c", "\n".join(lines)]
    done = subprocess.run(command_line, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths})
    assert done.returncode == 0, done.stderr
