"""The command line as a user meets it: answers, exit codes, JSON, interrupts."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import transformers

from interact.command import main as cli
from tests.interact.conftest import causal

TEXT = "a gorgeous, witty movie"


@pytest.fixture
def folder(model_folder):
    return model_folder


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return ended.value.code, captured.out, captured.err


def test_extract_prints_saves_and_shows_again(capsys, folder, tmp_path):
    file = tmp_path / "x.interactions"
    code, out, _ = call(
        capsys, "extract", "--model", folder, "--text", TEXT, "--target", "7", "--target-tokens", 1, "--out", file
    )
    assert code == 0 and "gorgeous" in out and file.exists()
    code, shown, _ = call(capsys, "show", file, "--html", tmp_path / "x.html")
    assert code == 0 and shown == out and "<mark" in (tmp_path / "x.html").read_text()
    code, out, _ = call(capsys, "show", file, "--json", "--top", 2)
    answer = json.loads(out)
    assert len(answer["interactions"]) == 2 and answer["players"] == ["gorgeous", "witty", "movie"]


def test_more_players_than_can_be_scored_in_full_are_sampled(capsys, folder, tmp_path):
    text, file = " ".join(f"word{i}" for i in range(24)), tmp_path / "x.interactions"
    asked = ("extract", "--model", folder, "--text", text, "--target", "7", "--target-tokens", 1, "--limit", 24)
    code, out, err = call(capsys, *asked, "--out", file)
    assert code == 2 and "method='sparse'" in err and not out
    asked = (*asked, "--method", "sparse", "--masking", "attention", "--out", file)
    code, _, err = call(capsys, *asked, "--budget", 20)
    assert code == 2 and "budget" in err and not list(tmp_path.iterdir())
    code, out, _ = call(capsys, *asked, "--budget", 130, "--json")
    answer = json.loads(out)
    assert code == 0 and len(answer["players"]) == 24 and [p.name for p in tmp_path.iterdir()] == [file.name]
    code, out, _ = call(capsys, "show", file)
    assert code == 0 and "word0 word1" in out and "error" in out


def test_several_texts_go_to_a_folder_and_are_not_computed_twice(capsys, folder, tmp_path):
    arguments = ("extract", "--model", folder, "--text", TEXT, "not boring", "--json", "--out", tmp_path)
    code, first, _ = call(capsys, *arguments)
    assert code == 0 and len(list(tmp_path.glob("*.interactions"))) == 2
    stamps = [p.stat().st_mtime_ns for p in sorted(tmp_path.iterdir())]
    code, second, _ = call(capsys, *arguments)
    assert second == first and [p.stat().st_mtime_ns for p in sorted(tmp_path.iterdir())] == stamps


def test_results_of_other_weights_under_the_same_name_are_computed_anew(capsys, folder, tmp_path):
    mine = shutil.copytree(folder, tmp_path / "mine")
    out = tmp_path / "results"
    out.mkdir()
    arguments = ("extract", "--model", mine, "--text", TEXT, "--json", "--out", out, "--target", "positive")
    arguments = (*arguments, "--target-tokens", "1")
    first = json.loads(call(capsys, *arguments)[1])
    model = transformers.AutoModelForCausalLM.from_pretrained(mine)
    # In the middle of the file.
    model.model.layers[0].mlp.down_proj.weight.data.mul_(1.5)
    model.save_pretrained(mine)
    second = json.loads(call(capsys, *arguments)[1])
    assert first["total"] != second["total"] and len(list(out.iterdir())) == 2
    assert json.loads(call(capsys, *arguments)[1])["total"] == second["total"] and len(list(out.iterdir())) == 2


def test_one_text_into_an_existing_folder_and_texts_from_a_file(capsys, folder, tmp_path):
    (tmp_path / "texts").write_text(f"{TEXT}\n\nnot boring\n")
    out = tmp_path / "results"
    out.mkdir()
    code, _, _ = call(capsys, "extract", "--model", folder, "--text", "witty film", "--out", out)
    assert code == 0 and len(list(out.iterdir())) == 1
    code, _, _ = call(capsys, "extract", "--model", folder, "--text-file", tmp_path / "texts", "--out", out)
    assert code == 0 and len(list(out.iterdir())) == 3


def test_numbers_and_spans_are_players(capsys, folder):
    for given, expected in ((["2"], 2), (["0"], 0), (["2:10", "12:17"], ["gorgeous", "witty"])):
        code, out, _ = call(capsys, "extract", "--model", folder, "--text", TEXT, "--players", *given, "--json")
        players = json.loads(out)["players"]
        assert code == 0 and (players == expected or len(players) == expected)


def test_a_model_without_its_head_is_refused(capsys, tmp_path, byte_level):
    causal().model.save_pretrained(tmp_path)
    byte_level.save_pretrained(tmp_path)
    code, _, err = call(capsys, "extract", "--model", tmp_path, "--text", "film")
    assert code == 2 and "has no weights for lm_head.weight (1 missing), so its scores would be random" in err
    for name in ("minilm", "reviews"):
        code, _, err = call(capsys, "extract", "--model", name, "--text", "film")
        assert code == 2 and "has no answers to score" in err


def test_fetch_and_show_of_nothing_are_sentences(capsys):
    assert call(capsys, "fetch")[0] == 2 and call(capsys, "show")[0] == 2


def test_listed_phrases_are_players(capsys, folder):
    code, out, _ = call(capsys, "extract", "--model", folder, "--text", TEXT, "--players", "witty movie", "a", "--json")
    assert code == 0 and json.loads(out)["players"] == ["a", "witty movie"]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--text", ""], 2, "The text is empty"),
        (["--text", "film", "--players", "tree"], 2, "does not occur"),
        (["--text", "film", "--target", "zebra"], 2, "several candidates"),
        (["--text", "film", "--baseline", "pad"], 2, "no pad token"),
        (["--text", "film", "--device", "cuda"], 1, "no usable CUDA device"),
        (["--text", "film", "--device", "abacus"], 2, "device='abacus' is not known"),
        (["--text", "film", "--players", "5:9"], 2, "lies outside the text"),
        (["--text"], 2, "No text was given"),
        (["--text", "film", "--seed", "-1"], 2, "seed must be a whole number, 0 or more, but is -1"),
        (["--text", "film", "--text-file", "/nonexistent"], 1, "could not be read or written"),
        (["--text", "film", "--out", "/proc/x/y"], 1, "could not be written to /proc/x/y"),
        (["--text", "film", "--template", "no place"], 2, "exactly once"),
    ],
)
def test_errors_are_one_sentence_and_a_code(capsys, folder, arguments, code, sentence):
    got, out, err = call(capsys, "extract", "--model", folder, *arguments)
    assert got == code and sentence in err and err.startswith("interact: ") and not out and "Traceback" not in err


def test_a_folder_that_is_no_model_is_said(capsys, tmp_path):
    code, _, err = call(capsys, "extract", "--model", tmp_path, "--text", "film")
    assert code == 2 and "has no config.json" in err
    code, _, err = call(capsys, "extract", "--model", tmp_path / "absent", "--text", "film")
    assert code == 2 and "does not exist" in err
    (tmp_path / "config.json").write_text("{}")
    code, _, err = call(capsys, "extract", "--model", tmp_path, "--text", "film")
    assert code == 1 and "could not be loaded" in err


def test_doctor_answers(capsys):
    code, out, _ = call(capsys, "doctor", "--json")
    found = json.loads(out)
    assert code == 0 and "auto takes" in found["lattice"] and "auto takes" in found["split"] and found["cache"]


def test_show_of_a_foreign_file_is_a_sentence(capsys, tmp_path):
    (tmp_path / "x").write_bytes(b"PK" * 50)
    code, _, err = call(capsys, "show", tmp_path / "x")
    assert code == 2 and "not a file of interactions" in err


def test_an_interrupt_keeps_what_is_finished(folder, tmp_path):
    texts = [TEXT, " ".join(f"word{i}" for i in range(16))]
    command = [sys.executable, "-m", "interact", "extract", "--model", folder, "--text", *texts, "--limit", "14"]
    with subprocess.Popen(
        [*command, "--out", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        # A runner started in the background hands down an ignored SIGINT, which no terminal does.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        deadline = time.monotonic() + 300
        while not list(tmp_path.glob("001-*.interactions")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err
    assert [p.name[:3] for p in tmp_path.glob("*.interactions")] == ["001"]
    # What the second text has of scores lies in a hidden file, if it has any.
    kept = [p.name for p in tmp_path.glob(".*.scores")]
    told = "the same command continues from there" if len(err.split("interrupted; ")[1]) > 60 else "is kept"
    assert told in err
    assert len(kept) <= 1 and all(name.startswith(".002-") for name in kept)


def test_an_interrupt_says_where_the_scores_are(capsys, monkeypatch, tmp_path):
    from interact.sparse import Interrupted, ScoreCache

    for path, said in ((tmp_path / "x.scores", "1 scores are in"), (None, "1 scores are lost, because no --out names")):
        cache = ScoreCache(path)
        cache.open(1)
        cache.put(np.ones((1, 1), dtype=bool), np.ones(1))
        monkeypatch.setattr(cli, "run", lambda _, cache=cache: (_ for _ in ()).throw(Interrupted(cache)))
        code, _, err = call(capsys, "doctor")
        assert code == 130 and said in err


def test_sentences_are_opened_from_the_command_line(capsys, folder, tmp_path):
    text = "The old lease began. The tenant paid rent. The heating broke twice."
    line = ["extract", "--model", folder, "--text", text, "--target", "yes", "--target-tokens", 1, "--open", 1]
    code, out, _ = call(capsys, *line, "--method", "sparse", "--players", "sentences", "--out", tmp_path / "x")
    assert code == 0 and "beside its words" in out and [p.name for p in tmp_path.iterdir()] == ["x"]
    code, out, _ = call(capsys, "show", tmp_path / "x", "--html", tmp_path / "x.html")
    assert code == 0 and "beside its words" in out and "values add up" in (tmp_path / "x.html").read_text("utf-8")
    code, _, err = call(capsys, *line)
    assert code == 2 and "--open belongs to --method sparse --players sentences" in err
