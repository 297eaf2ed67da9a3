"""One of each damage that once went unnoticed or ended in a third party's error; the campaigns try many more."""

import json
import pickle
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import interact
from interact.formats.files import SEAL, TEMPORARY, broken_seal, seal
from interact.models.load import load_model
from interact.sft.checkpoints import load_checkpoint
from interact.sft.loss_log import LossLog, read_losses
from interact.sft.rows import read_rows
from interact.sft.run_folder import RunFolder
from interact.sparse.scores import ScoreCache
from interact.study import samples
from interact.study.conclusions import conclude
from interact.study.report.store import open_study
from interact.study.run import run_study
from interact.study.status import status
from interact.study.store import Store
from tests.faults.ground import differences, smallest, study
from tests.interact.conftest import byte_level_tokenizer, causal
from tests.interact.test_interactions import result
from tests.interact.test_sampled import sparse
from tests.sft.conftest import THIRD_PARTY

pytestmark = [pytest.mark.filterwarnings(w) for w in THIRD_PARTY]


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ground")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    config = smallest(folder)
    study(folder / "finished", config)
    yield folder / "finished", config
    torch.set_num_threads(before)


@pytest.fixture
def store(ground, tmp_path):
    return shutil.copytree(ground[0], tmp_path / "store")


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("make", [result, lambda: sparse(24)])
def test_a_bit_flipped_in_a_number_of_a_result_is_seen(make, tmp_path):
    path = make().save(tmp_path / "x.interactions")
    size = len(path.read_bytes())
    for place in (size - 1, size - 9, size // 2):
        flip(path, place)
        with pytest.raises(ValueError, match="is damaged"):
            interact.load(path)
        flip(path, place)
    interact.load(path)


def test_results_from_before_the_sums_are_read(tmp_path):
    path = result().save(tmp_path / "x.interactions")
    data = path.read_bytes()
    at = data.index(b'"sha256"')
    path.write_bytes(data[: at + 1] + b"before" + data[at + 7 :])
    assert interact.load(path).n == 4


def test_a_hostile_header_is_a_sentence(tmp_path):
    path = tmp_path / "x.interactions"
    meta = {"format": "interact.interactions", "version": "1"}
    players = [["a", 0, 1, 0, 1]]
    good = {"text": "a", "players": players, "provenance": {}, "split": {"primal": 1.0, "dual": 1.0, "gap": 0.0}}
    arrays = {name: np.zeros(2) for name in ("values", "i_and", "i_or", "noise", "certificate")}
    from safetensors.numpy import save_file

    for change in (
        {"text": 5},
        {"provenance": []},
        {"players": players * 60},
        {"players": [["a", 0, 1, 0, "1"]]},
        {"players": 7},
        {"split": {"primal": [], "dual": 1.0, "gap": 0.0}},
        {"bias": "none"},
    ):
        save_file(arrays, path, metadata={**meta, "interact": json.dumps({**good, **change})})
        with pytest.raises(ValueError, match="is damaged"):
            interact.load(path)
    deep = b"[" * 200_000
    path.write_bytes(struct.pack("<Q", len(deep)) + deep)
    with pytest.raises(ValueError, match="its header is damaged"):
        interact.load(path)
    huge = json.dumps({"a": {"dtype": "F64", "shape": [1 << 57], "data_offsets": [0, 1 << 60]}, "__metadata__": meta})
    path.write_bytes(struct.pack("<Q", len(huge)) + huge.encode())
    with pytest.raises(ValueError, match="is damaged"):
        interact.load(path)


def test_a_study_killed_in_its_first_moment_goes_on(ground, tmp_path):
    store = tmp_path / "store"
    (store / "locks").mkdir(parents=True)
    left = store / ".config.json.abc_1234.part"
    left.write_text("{")
    assert TEMPORARY.fullmatch(left.name)
    run_study(store, ground[1], say=lambda _: None)
    assert Store.open(store).config == ground[1] and not left.exists()


def test_what_a_killed_writer_left_is_removed(ground, store):
    cell = next((store / "cells").glob("*.interactions"))
    left = [cell.with_name(f".{cell.name}.abc_1234.part"), store / ".cells.parquet.abc_1234.part"]
    state = store / "checkpoints" / "one" / "reviews.jsonl" / "seed-0" / ".state" / "checkpoint-2"
    cell.unlink()
    for path in left:
        path.write_text("half")
    state.mkdir(parents=True)
    run_study(store, ground[1], say=lambda _: None)
    assert not any(path.exists() for path in (*left, state.parent))
    assert not differences(store, ground[0])


def test_damage_in_the_files_of_a_store_is_a_sentence(ground, store):
    text = json.loads((store / "samples.json").read_text())
    text["samples"][0]["text"] = "another text"
    (store / "samples.json").write_text(json.dumps(text))
    with pytest.raises(ValueError, match=r"samples.json is damaged .*delete it and run the study again"):
        samples.load(store / "samples.json")
    (store / "samples.json").unlink()
    config = json.loads((store / "config.json").read_text())
    (store / "config.json").write_text(json.dumps({**config, "tau": 0.5}))
    with pytest.raises(ValueError, match="is not what the study wrote; run the study again with its configuration"):
        status(store)
    run_study(store, ground[1], say=lambda _: None)
    assert not differences(store, ground[0]) and status(store)


def test_a_damaged_table_draws_nothing(store):
    path = store / "metrics.parquet"
    truth, noticed = open_study(store).metrics, 0
    for place in range(8, 800, 17):
        flip(path, place)
        try:
            # What is not covered by a sum is read by nobody.
            assert open_study(store).metrics.equals(truth)
        except ValueError as error:
            assert "metrics.parquet is damaged" in str(error)
            noticed += 1
        flip(path, place)
    assert noticed > 20


def test_a_damaged_log_of_losses_is_said_and_left_out(ground, store):
    log = store / "training" / "one" / "reviews.jsonl" / "seed-0.jsonl"
    text = log.read_text()
    for damaged in (text.replace("1", "2", 1), text[: text.index("\n") + 1], text.replace('"value"', '"valor"', 1)):
        log.write_text(damaged)
        told: list[str] = []
        found = conclude(Store.open(store), say=told.append)
        assert not len(found["losses"]) and any("The losses of" in line and "are left out" in line for line in told)
    log.write_text(text)
    conclude(Store.open(store), say=told.append)
    assert not differences(store, ground[0])


def test_losses_that_are_no_losses_are_a_sentence(tmp_path):
    path = tmp_path / "losses.jsonl"
    LossLog(path).add(0, "train_loss", 1.5)
    line = path.read_text()
    other = (line.replace("1.5", '"x"'), line.replace("1.5", "1.7"), line.replace("train", "brain"))
    for damaged in ("[1]\n", "{}\n", *other, "[" * 100_000 + "\n"):
        path.write_text(line + damaged)
        with pytest.raises(ValueError, match=r"Line 2 of .* is damaged"):
            read_losses(path)
    # A log of before the sums is read as it was.
    path.write_text('{"step": 0, "name": "train_loss", "value": 1.5, "seconds": 0.1}\n')
    assert read_losses(path)[0]["value"] == 1.5
    path.write_bytes(b"\xff\n")
    with pytest.raises(ValueError, match="cannot be read"):
        read_losses(path)


def test_a_flipped_bit_in_a_checkpoint_is_seen(ground, store):
    checkpoint = store / "checkpoints" / "one" / "reviews.jsonl" / "seed-0" / "step-2"
    for name, place in (("adapter_model.safetensors", -4), ("adapter_config.json", 30), (SEAL, 5)):
        flip(checkpoint / name, place)
        with pytest.raises(ValueError, match=r"step-2 is damaged \(.*remove .*seed-0 to train anew"):
            load_checkpoint(ground[1].models[0], checkpoint)
        flip(checkpoint / name, place)
    load_checkpoint(ground[1].models[0], checkpoint)
    (checkpoint / "README.md").unlink()
    assert broken_seal(checkpoint) == "README.md is missing"


def test_a_training_with_a_damaged_state_begins_anew(tmp_path):
    run = RunFolder(tmp_path, (0, 1), {"a": 1})
    run.open()
    for folder in (run.state(1), run.place(1)):
        folder.mkdir(parents=True)
        (folder / "optimizer.pt").write_bytes(b"moments")
    seal(run.state(1))
    assert run.last_state() == run.state(1)
    flip(run.state(1) / "optimizer.pt", 2)
    with pytest.warns(UserWarning, match="is damaged .*: the training begins anew"):
        assert run.last_state() is None
    assert not run.states.exists()
    (tmp_path / "training.json").write_text("{")
    with pytest.raises(ValueError, match=r"training.json is damaged"):
        run.open()


def test_a_damaged_score_is_asked_again(tmp_path):
    masks = np.eye(9, dtype=bool)
    cache = ScoreCache(tmp_path / "scores", "a model")
    cache.open(9)
    cache.put(masks, np.arange(9.0))
    flip(tmp_path / "scores", len((tmp_path / "scores").read_bytes()) - 6)
    again = ScoreCache(tmp_path / "scores", "a model")
    again.open(9)
    assert again.get(masks)[:8].tolist() == list(range(8)) and np.isnan(again.get(masks)[8])


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.write_text, (self.path, "boom"))


def test_no_pickle_is_run(ground, store, tmp_path):
    boom = tmp_path / "boom"
    checkpoint = tmp_path / "step-2"
    shutil.copytree(store / "checkpoints" / "one" / "reviews.jsonl" / "seed-0" / "step-2", checkpoint)
    for name in (SEAL, "adapter_model.safetensors"):
        (checkpoint / name).unlink()
    torch.save({"x": _Bomb(boom)}, checkpoint / "adapter_model.bin")
    with pytest.raises(ValueError, match="does not fit"):
        load_checkpoint(ground[1].models[0], checkpoint)
    model = tmp_path / "model"
    causal().save_pretrained(model)
    byte_level_tokenizer().save_pretrained(model)
    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(_Bomb(boom)))
    with pytest.raises(RuntimeError, match="could not be loaded"):
        load_model(str(model))
    assert not boom.exists()


def test_the_code_of_a_model_folder_is_not_run(tmp_path):
    boom = tmp_path / "boom"
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "hostile.py").write_text(f"open({str(boom)!r}, 'w')\n")
    entry = {"AutoConfig": "hostile.Config", "AutoModelForCausalLM": "hostile.Model"}
    (tmp_path / "m" / "config.json").write_text(json.dumps({"model_type": "hostile", "auto_map": entry}))
    with pytest.raises(RuntimeError, match="could not be loaded"):
        load_model(str(tmp_path / "m"))
    assert not boom.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "is not JSON"),
        (b'[{"text": ' + b"9" * 5000 + b"}]", "is not JSON"),
        (b'[{"text": "\xff"}]', "is not UTF-8"),
    ],
)
def test_data_that_python_cannot_hold_is_a_sentence(content, message, tmp_path):
    for suffix in (".json", ".jsonl"):
        (tmp_path / f"x{suffix}").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read_rows(tmp_path / f"x{suffix}")


def test_a_zip_is_no_table(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.parquet", "w") as archive:
        archive.writestr("a", "b")
    with pytest.raises(ValueError, match="is not a Parquet file"):
        read_rows(tmp_path / "x.parquet")
