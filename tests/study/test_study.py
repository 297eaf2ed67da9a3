"""A study from end to end, killed and resumed, by one process and by two."""

import contextlib
import copy
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import transformers

import interact
from interact.formats.schema import HYPOTHESES, LOSSES, TABLES, CellKey
from interact.study.conclusions import conclude
from interact.study.config import to_json
from interact.study.run import run_study
from interact.study.samples import materials
from interact.study.status import status
from interact.study.store import Store
from tests.docs.pages import loaded
from tests.study.conftest import assert_same, begin, lay_out, make_config, tables

KEYS = ["run", "step", "sample"]


def start(folder, config, tmp_path):
    """Run the study's command line in another process."""
    file = tmp_path / "config.json"
    file.write_text(json.dumps(to_json(config)))
    line = [sys.executable, "-m", "interact", "study", "run", "--config", str(file), "--store", str(folder)]
    root = Path(interact.__file__).parent.parent
    path = os.pathsep.join([str(root), str(root / "kernels"), os.environ.get("PYTHONPATH", "")])
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(line, env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}, **quiet)


def test_the_tables_hold_what_the_cells_say(finished, config):
    found = tables(finished)
    cells, effects = found["cells"], found["interactions"]
    assert len(cells) == 2 * 3 * 3 and set(cells["step"]) == {0, 1, 4}
    assert effects["mask"].dtype == np.uint64 and effects["salient"].any()
    for row in cells.itertuples():
        result = interact.load(finished / "cells" / f"{row.key}.interactions")
        part = effects[(effects["run"] == row.run) & (effects["step"] == row.step) & (effects["sample"] == row.sample)]
        assert part["effect"].abs().sum() == pytest.approx(sum(np.abs(e).sum() for e in result.effects()))
        assert result.bias == row.bias and result.provenance["step"] == row.step
        salient = {(i.kind, i.mask) for i in result.salient(config.tau)}
        assert salient == set(zip(part[part["salient"]]["kind"], part[part["salient"]]["mask"], strict=True))
    classes = found["classes"]
    assert set(classes["class"]) <= {"removed", "preserved", "emerged"}
    names = set(found["metrics"]["name"])
    assert {"gamma", "rho", "strength", "rho_noise", "rho_permuted", "gamma_permuted", "stop_by_loss"} <= names
    assert {"gain_per_strength_over_matched", "drop_over_matched", "count_permuted_change", "regret_by_loss"} <= names
    assert set(LOSSES) == set(found["losses"]["name"])
    assert cells.loc[cells["step"] == 0, "moved"].eq(0).all() and (cells.loc[cells["step"] > 0, "moved"] > 0).all()
    # One seed and three samples are no ground for a verdict, and are told so.
    verdicts = pd.read_parquet(finished / "verdicts.parquet")
    assert set(verdicts["hypothesis"]) == set(HYPOTHESES) and set(verdicts["verdict"]) == {"untested"}
    assert verdicts["reason"].str.contains("1 runs of 3 held-out samples; a verdict needs 3 of 6").all()
    assert json.loads((finished / "config.json").read_text()) == to_json(config)


def test_what_is_certain_of_the_cells_is_told_once(finished, config, tmp_path, monkeypatch):
    known = pd.read_parquet(finished / "certainty.parquet")
    effects, metrics = (tables(finished)[name] for name in ("interactions", "metrics"))
    names = ["run", "step", "sample", "kind", "mask"]
    assert set(known["status"]) >= {"certain", "possible", "excluded"} and (known["eps"] == 1e-4).all()
    assert len(known[known["salient"]].merge(effects[effects["salient"]], on=names)) == effects["salient"].sum()
    for (_, step, _), part in known.groupby(["run", "step", "sample"]):
        frame = interact.load(finished / "cells" / f"{part['key'].iloc[0]}.interactions").certainty(every=True)
        truth = frame.set_index(["kind", "mask"])["status"]
        assert [truth[place] for place in zip(part["kind"], part["mask"], strict=True)] == part["status"].tolist()
        assert step == 0 or set(part["mask"]) == set(
            known.loc[(known["sample"] == part["sample"].iloc[0]) & (known["run"] == part["run"].iloc[0]), "mask"]
        )
    table = metrics.set_index(["run", "step", "class", "name"])[["value", "low", "high"]]
    for (run, step, group, name), row in table.xs("count_certain", level="name", drop_level=False).iterrows():
        found = table.loc[(run, step, group, "count"), "value"]
        assert row["value"] <= found and (group == "all" or row["low"] <= found <= row["high"]), (
            run,
            step,
            group,
            name,
        )
    # Nothing is computed twice, also at another number of resamples; another level is.
    store = Path(shutil.copytree(finished, tmp_path / "store"))
    monkeypatch.setattr("interact.study.certainty._told", None)
    run_study(store, replace(config, resamples=30), say=lambda _: None)
    pd.testing.assert_frame_equal(pd.read_parquet(store / "certainty.parquet"), known)
    with pytest.raises(TypeError):
        run_study(store, replace(config, tau=0.2), say=lambda _: None)
    run_study(store, replace(config, tau=0.2, certainty="no"), say=lambda _: None)
    assert not len(pd.read_parquet(store / "certainty.parquet"))
    assert "count_certain" not in set(tables(store)["metrics"]["name"])


def test_a_store_without_the_table_is_exported_with_what_is_certain(finished, tmp_path, monkeypatch):
    results = loaded("results")
    monkeypatch.setitem(sys.modules, "results", results)
    export = loaded("export")
    monkeypatch.setattr(export, "TABLES", tmp_path / "results")
    # A store of before has no such table and its configuration no such field.
    store = Path(shutil.copytree(finished, tmp_path / "store"))
    (store / "certainty.parquet").unlink()
    assert "certainty" not in json.loads((store / "config.json").read_text())
    known = pd.read_parquet(export.export("mine", store) / "certainty.parquet")
    truth = export.outward(pd.read_parquet(finished / "certainty.parquet"))
    single = truth["effect"].astype(np.float32).astype(np.float64)
    others = ["run", "model", "data"]
    pd.testing.assert_frame_equal(known.drop(columns=others), truth.assign(effect=single).drop(columns=others))
    of = results.Evidence(tmp_path / "results" / "mine")
    assert set(of.repeated["among"]) == {"certain"} and len(of.repeated) == len(of.verdicts) > 0
    salient, sure = known["salient"].sum(), (known["status"] == "certain").sum()
    assert f"{sure} of {salient} salient interactions are certain" in results.certain(of)
    (tmp_path / "results" / "mine" / "certainty.parquet").unlink()
    assert "was not asked" in results.certain(results.Evidence(tmp_path / "results" / "mine"))


def test_training_moves_the_cells_and_step_0_is_the_base_model(finished, config):
    cells = tables(finished)["cells"]
    totals = cells.pivot(index=["run", "sample"], columns="step", values="total")
    assert (totals[0] != totals[4]).all()
    sample = json.loads((finished / "samples.json").read_text())["samples"][0]
    from interact.models.load import load_model

    model, tokenizer = load_model(config.models[0])
    template = interact.Template(**sample["template"])
    spans = [tuple(s) for s in sample["spans"]]
    direct = interact.extract(
        model, tokenizer, sample["text"], players=spans, target=sample["response"], template=template, target_tokens=1
    )
    row = cells[(cells["step"] == 0) & (cells["sample"] == sample["id"])].iloc[0]
    assert direct.bias == row["bias"]


def test_a_finished_study_computes_nothing_again(finished, config, monkeypatch):
    monkeypatch.setattr("interact.study.worker.compute", None)
    monkeypatch.setattr("interact.study.worker.train_run", None)
    before = tables(finished)
    run_study(finished, config, say=lambda _: None)
    for name, table in tables(finished).items():
        pd.testing.assert_frame_equal(table, before[name])


def test_tables_say_what_runs_are_and_cells_are_named_by_it(finished, config):
    found = tables(finished)
    for name, table in TABLES.items():
        if table.identity and name not in ("labels", "verdicts"):
            rows = found[name][found[name]["run"] == "two/reviews.jsonl/seed-0"]
            assert set(rows["model"]) == {config.models[1]} and set(rows["data"]) == {config.data[0]}
            assert set(rows["seed"]) == {0} and set(rows.get("asked_baseline", {"auto"})) == {"auto"}
            assert list(found[name].columns) == [
                c.name for c in table.columns if (name, c.name) != ("cells", "seconds")
            ]
    for row in found["cells"].itertuples():
        key = CellKey.parse(row.key)
        assert (key.model, key.step, key.sample) == (Path(row.model).name, row.step, row.sample)
        # The model before training is the same in every training of it.
        assert (key.data, key.seed) == (("", None) if row.step == 0 else ("reviews.jsonl", 0))


def test_a_store_of_version_1_goes_on_and_is_of_the_newest_version_then(finished, config, tmp_path, monkeypatch):
    store = tmp_path / "store"
    shutil.copytree(finished, store)
    for path in (store / "cells").iterdir():
        path.rename(path.with_stem(CellKey.parse(path.stem).content))
    manifest = json.loads((store / "manifest.json").read_text())
    (store / "manifest.json").write_text(json.dumps({**manifest, "version": 1}))
    monkeypatch.setattr("interact.study.worker.compute", None)
    assert str(status(store)).startswith("18 of 18 cells are done.")
    run_study(store, config, say=lambda _: None)
    before, now = tables(finished), tables(store)
    assert (store / "cells" / f"{now['cells']['key'][0]}.interactions").is_file()
    for name, table in before.items():
        pd.testing.assert_frame_equal(
            now[name].drop(columns="key", errors="ignore"), table.drop(columns="key", errors="ignore")
        )
    assert json.loads((store / "manifest.json").read_text())["version"] == 2


def test_a_study_killed_at_many_points_ends_in_the_same_tables(finished, config, tmp_path):
    store = tmp_path / "store"
    wanted = len(list((finished / "cells").glob("*.interactions")))
    kills = 0
    for _ in range(40):
        process = start(store, config, tmp_path)
        before = len(list((store / "cells").glob("*.interactions")))
        # At another moment each time: in a training, in a cell, between cells.
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            done = len(list((store / "cells").glob("*.interactions")))
            if done >= min(wanted, before + 5) or (kills % 2 == 0 and (store / "checkpoints").exists()):
                break
            time.sleep(0.01)
        if process.poll() is not None:
            process.communicate()
            break
        time.sleep(0.05 * kills)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
        if kills == 3:
            break
    assert kills >= 2
    run_study(store, config, say=lambda _: None)
    assert_same(store, finished)


def test_two_processes_share_a_store(finished, config, tmp_path):
    store = tmp_path / "store"
    processes = [start(store, config, tmp_path) for _ in range(2)]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert_same(store, finished)


def test_status_says_what_is_left(finished, config, tmp_path):
    told = status(finished)
    assert str(told).startswith("18 of 18 cells are done.") and all(r.trained for r in told.runs)
    begin(tmp_path / "new", config)
    assert str(status(tmp_path / "new")).startswith("0 of 18 cells are done.")
    with pytest.raises(ValueError, match="holds no study; run `interact study run --store"):
        status(tmp_path / "none")


def test_another_configuration_is_refused_and_the_difference_shown(finished, place):
    with pytest.raises(ValueError, match=r"(?s)begun with another configuration:\n  samples: 3 in the store, 2 now"):
        run_study(finished, make_config(place, samples=2))


def test_a_store_of_another_version_is_refused(finished, config, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**manifest, "version": 9}))
    with pytest.raises(ValueError, match="has version 9, but this program reads up to version 2"):
        run_study(copy, config)
    (copy / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match=r"manifest\.json is damaged"):
        run_study(copy, config)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    (copy / "config.json").write_text(json.dumps({**to_json(config), "limit": 2}))
    with pytest.raises(ValueError, match="was changed after the study began"):
        status(copy)


def test_a_folder_of_something_else_is_left_alone(config, tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match="is not empty and holds no study"):
        run_study(tmp_path, config)


def test_a_damaged_cell_is_named_and_computed_again(finished, config, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    cell = next((copy / "cells").glob("*.interactions"))
    cell.write_bytes(cell.read_bytes()[:200])
    with pytest.raises(ValueError, match=f"{cell.name}.* Run the study again"):
        conclude(Store.open(copy))
    told = []
    run_study(copy, config, say=told.append)
    assert any(cell.name in line and "computed again" in line for line in told)
    assert_same(copy, finished)


def test_a_start_that_fails_leaves_nothing(place, config, finished, tmp_path):
    store, empty, missing = tmp_path / "store", tmp_path / "empty.jsonl", str(place / "nothere")
    empty.write_text("\n")
    starts = [
        ({"data": (missing + ".jsonl",)}, r"nothere\.jsonl"),
        ({"data": (str(empty),)}, "no rows"),
        ({"models": (missing,)}, "nothere does not exist"),
        ({"limit": 5}, "can be followed"),
        ({"checkpoints": {config.models[0]: missing}}, "nothere"),
    ]
    for changes, sentence in starts:
        with pytest.raises(ValueError, match=sentence):
            run_study(store, make_config(place, **changes), say=lambda _: None)
        assert not store.exists()
    # What the mended configuration began can be read, reported, and gone on with.
    begin(store, config)
    assert Store.open(store).config == config
    run_study(store, config, say=lambda _: None)
    assert_same(store, finished)
    conclude(Store.open(store))


def test_a_study_that_began_in_a_box_goes_on_in_it(config, tmp_path):
    """The default was a box of 0.04 before noise had forms, and the same command line goes on."""
    store = tmp_path / "store"
    begin(store, replace(config, kappa=0.04))
    (store / "cells").mkdir(exist_ok=True)
    (store / "cells" / "bound.interactions").touch()
    assert Store.open(store, config).config.kappa == 0.04
    with pytest.raises(ValueError, match="begun with another configuration"):
        Store.open(store, replace(config, noise="exact"))


def test_before_the_first_cell_another_configuration_takes_the_store(place, config, finished, tmp_path):
    store = tmp_path / "store"
    other = make_config(place, learning_rate=3e-2)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        # Its first model is trained, and nothing is followed yet.
        patch.setattr("interact.study.worker.compute", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        run_study(store, other, say=lambda _: None)
    trained = "checkpoints/one/reviews.jsonl/seed-0"
    assert (store / trained / "finished.json").is_file() and Store.open(store).config == other
    # What was trained otherwise is set aside, not lost, and not taken for a training of this study.
    run_study(store, config, say=lambda _: None)
    assert (store / "set-aside" / "1" / trained / "finished.json").is_file()
    assert_same(store, finished)
    with pytest.raises(ValueError, match=r"(?s)begun with another configuration:\n  learning_rate"):
        run_study(store, other, say=lambda _: None)


def test_a_model_folder_is_not_taken_for_a_store(place, config, tmp_path):
    for kept in ({"config.json", "model.safetensors"}, {"config.json"}):
        folder = tmp_path / str(len(kept))
        folder.mkdir()
        for name in kept:
            shutil.copy(place / "one" / name, folder / name)
        with pytest.raises(ValueError, match="is not empty and holds no study"):
            run_study(folder, config, say=lambda _: None)
        assert {p.name for p in folder.iterdir()} == kept


def test_a_truncated_adapter_is_a_sentence(finished, config, place, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished / "checkpoints" / "one" / "reviews.jsonl" / "seed-0", run)
    weights = run / "step-4" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    model = config.models[0]
    cut = make_config(place, models=(model,), checkpoints={model: str(run)}, steps=(0, 4))
    with pytest.raises(RuntimeError, match="step-4 is damaged"):
        run_study(tmp_path / "store", cut, say=lambda _: None)


def test_scores_that_are_nan_cost_their_cell_only(place, tmp_path, monkeypatch):
    config = make_config(place, models=(str(place / "one"),), steps=(0, 4))
    from interact.study import worker

    honest, seen = worker.follow_sample, []

    def sometimes(*arguments, **options):
        seen.append(arguments[2].id)
        if seen[-1] == seen[0]:
            raise ValueError("The model gave NaN or infinite scores for 8 of 8 coalitions.")
        return honest(*arguments, **options)

    monkeypatch.setattr(worker, "follow_sample", sometimes)
    with pytest.raises(RuntimeError, match=r"2 cells could not be followed; the first, .* step 0, .*NaN"):
        run_study(tmp_path / "store", config, say=lambda _: None)
    assert len(tables(tmp_path / "store")["cells"]) == 4
    monkeypatch.setattr(worker, "follow_sample", honest)
    run_study(tmp_path / "store", config, say=lambda _: None)
    assert len(tables(tmp_path / "store")["cells"]) == 6


def test_a_full_disk_costs_nothing_that_was_done(finished, config, tmp_path, monkeypatch):
    from interact.study import conclusions

    def full(*_):
        raise RuntimeError("metrics.parquet could not be written: No space left on device. What was finished is kept.")

    monkeypatch.setattr(conclusions, "write_table", full)
    with pytest.raises(RuntimeError, match="No space left on device"):
        run_study(finished, config, say=lambda _: None)
    monkeypatch.undo()
    run_study(finished, config, say=lambda _: None)


def test_existing_checkpoints_need_no_training(finished, config, place, tmp_path):
    model = config.models[0]
    folder = finished / "checkpoints" / "one" / "reviews.jsonl" / "seed-0"
    again = make_config(place, models=(model,), checkpoints={model: str(folder)}, steps=None, followed_steps=3)
    run_study(tmp_path / "store", again, say=lambda _: None)
    before = tables(finished)["cells"]
    columns = [*KEYS, "bias", "total", "primal"]
    mine = tables(tmp_path / "store")["cells"][columns]
    assert not (tmp_path / "store" / "checkpoints").exists()
    pd.testing.assert_frame_equal(mine, before[before["run"] == mine["run"][0]][columns].reset_index(drop=True))
    wrong = make_config(place, models=(config.models[1],), checkpoints={config.models[1]: str(folder)}, steps=(0, 4))
    with pytest.raises((ValueError, RuntimeError), match="was trained on the base model"):
        run_study(tmp_path / "wrong", wrong, say=lambda _: None)
    missing = make_config(place, models=(model,), checkpoints={model: str(folder)}, steps=(0, 2))
    with pytest.raises(ValueError, match=r"has checkpoints of the steps \[0, 1, 4\], but \[2\] are needed"):
        run_study(tmp_path / "missing", missing)


def test_planted_word_labels_seeds_and_baselines(place, tmp_path):
    config = make_config(
        place,
        models=(str(place / "one"),),
        steps=(0, 2),
        max_steps=2,
        seeds=(0, 1),
        samples=2,
        training_samples=2,
        baselines=("auto", "mean"),
        controls=("planted", "labels", "forecast"),
    )
    told = []
    run_study(tmp_path / "store", config, say=told.append)
    found = tables(tmp_path / "store")
    assert any(
        "'forecast' was not run: A forecast that leaves a run and its sister seeds out needs at least" in line
        for line in told
    )
    planted = found["samples"][found["samples"]["sample"].str.contains("planted")]
    assert len(planted) and all(row[0] == "Honestly" for row in planted["players"])
    metrics = found["metrics"].set_index(["run", "name"])
    share = metrics.xs("planted_share", level="name")
    assert share["value"].between(0, 1).all() and len(share) >= 8
    runs = set(found["metrics"]["run"])
    assert {"one/reviews.jsonl/seeds", "one/reviews.jsonl/seeds/mean"} <= runs
    assert set(found["samples"]["split"]) == {"follow", "train"}
    assert (tmp_path / "store" / "labels.parquet").is_file()


def test_too_few_texts_are_said(place, tmp_path):
    with pytest.raises(ValueError, match=r"Only 0 of \d+ texts .* can be followed.*the text has 3 players, not 5"):
        run_study(tmp_path / "store", make_config(place, limit=5))
    with pytest.raises(ValueError, match="has no column 'words'"):
        run_study(tmp_path / "other", make_config(place, text_column="words"))


def test_many_held_out_leave_fewer_candidates(place):
    tokenizers = {"one": transformers.AutoTokenizer.from_pretrained(place / "one")}
    # Of 12 texts: half are candidates; all but those to train on; half of what is left.
    for held, train, left in ((4, 20, 2), (7, 1, 1), (7, 20, 2)):
        found = materials(make_config(place, heldout_examples=held, train_examples=train), tokenizers).popitem()[1]
        assert len(found.heldout) == held and len(found.follow) == 3 and len({e.text for e in found.train}) == left


def test_verdicts_are_of_the_classes_that_the_study_asks_for(finished, config, tmp_path, monkeypatch):
    store, asked = Path(shutil.copytree(finished, tmp_path / "store")), []
    for module in ("conclusions", "certainty"):
        judge = importlib.import_module(f"interact.study.{module}").verdicts

        def noted(*tables, definition="ends", judge=judge, **given):
            asked.append(definition)
            return judge(*tables, definition=definition, **given)

        monkeypatch.setattr(f"interact.study.{module}.verdicts", noted)
    run_study(store, replace(config, classes="running"), say=lambda _: None)
    assert asked == ["running"]
    names = tables(store)["metrics"].groupby("name")["class"].agg(set)
    # Which classes are certain is told by the two ends alone.
    assert names["count_certain"] == {"all"} and "strength_certain" not in names.index


def test_two_holders_of_one_lock(config, tmp_path):
    store, other = (Store.open(tmp_path / "store", config) for _ in range(2))
    with store.claimed("cell-x") as mine, contextlib.ExitStack() as stack:
        assert mine and not stack.enter_context(other.claimed("cell-x"))
    with store.claimed("cell-x") as mine:
        assert mine


def test_a_notebook_shows_the_study_and_its_progress(finished, config, tmp_path):
    shown = Store.open(finished)._repr_html_()
    assert "steps 0, 1, 4" in shown and "18 cells are done" in shown
    metrics = pd.read_parquet(finished / "metrics.parquet")
    row = metrics[(metrics["step"] == 4) & (metrics["class"] == "emerged") & (metrics["name"] == "strength")]
    assert len(row) == 2 and all(f"{value:.3f}" in shown for value in row["value"])
    assert "18 of 18 cells are done" in status(finished)._repr_html_()
    begin(tmp_path / "<b>new</b>", config)
    begun = Store.open(tmp_path / "<b>new</b>")
    assert "0 cells are done" in begun._repr_html_() and "<b>new" not in begun._repr_html_()
    assert "0 of 18 cells are done" in status(begun.folder)._repr_html_() and "&lt;b&gt;" in begun._repr_html_()


def test_a_prompt_that_prints_the_time_is_one_for_all_cells_and_models(byte_level, tmp_path):
    """Two models of one tokenizer are asked the same; a run that goes on later too."""
    tokenizer = copy.deepcopy(byte_level)
    tokenizer.chat_template = "{{ strftime_now('%H:%M:%S.%f') }} " + tokenizer.chat_template
    place = lay_out(tmp_path, tokenizer)
    changes = {"chat": None, "samples": 1, "limit": 2, "steps": (0, 1), "max_steps": 1, "train_examples": 4}
    for _ in range(2):
        run_study(tmp_path / "store", make_config(place, **changes), say=lambda _: None)
        found = [interact.load(path) for path in sorted((tmp_path / "store" / "cells").glob("*.interactions"))]
        assert len({tuple(result.provenance["input_ids"]) for result in found}) == 1 and len(found) >= 4
        # Done again a moment later, as after a kill.
        sorted((tmp_path / "store" / "cells").glob("*.interactions"))[0].unlink()
