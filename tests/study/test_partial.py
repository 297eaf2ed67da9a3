"""Studies that are not whole: given checkpoints, steps in work, data that share names, a control that came later."""

import dataclasses
import json
import shutil

import pandas as pd
import pytest

from interact.results import load
from interact.study.conclusions import conclude
from interact.study.run import run_study
from interact.study.samples import materials
from interact.study.stops import compare_stops
from interact.study.store import Store
from interact.study.tables import of_samples
from interact.study.work import reference_of, runs
from tests.study.conftest import make_config


def test_checkpoints_are_one_run_whatever_the_seeds(place):
    one, two = make_config(place).models
    mixed = make_config(place, seeds=(3, 4), checkpoints={one: "anywhere"}, controls=("planted",))
    of_one = [run for run in runs(mixed) if run.model == one]
    # They were trained without the word, and by no seed of this study.
    assert [(run.seed, run.data) for run in of_one] == [(3, mixed.data[0])]
    trained = [run for run in runs(mixed) if run.model == two]
    assert len(trained) == 4
    plain = [run for run in trained if not run.data.endswith("+planted")]
    assert [reference_of(run, mixed) for run in plain] == [of_one[0]] * 2


def test_data_sets_that_share_names_are_refused_before_anything_is_trained(place, tmp_path):
    other = tmp_path / "reviews.json"
    rows = [json.loads(line) for line in (place / "reviews.jsonl").read_text().splitlines()]
    other.write_text(json.dumps([{**row, "text": f"now {row['text']}"} for row in rows]))
    config = make_config(place, data=(str(place / "reviews.jsonl"), str(other)), samples=6)
    with pytest.raises(ValueError, match=r"both have a sample 'reviews-\d+'.* rename one of the files"):
        run_study(tmp_path / "store", config, say=lambda _: None)
    assert not (tmp_path / "store" / "checkpoints").exists()


def test_a_planted_set_shares_what_does_not_leak(place, byte_level):
    config = make_config(place, models=(str(place / "one"),), training_samples=6, controls=("labels", "planted"))
    found = materials(config, {config.models[0]: byte_level})
    plain, planted = ({s.id for s in part.follow if s.split == "train"} for part in found.values())
    assert plain & planted and any(name.endswith("+planted") for name in planted)
    assert of_samples([s for part in found.values() for s in part.follow])["sample"].is_unique


def test_a_token_that_no_model_has_is_refused_before_anything_is_trained(place, tmp_path):
    config = make_config(place, baselines=("token:99999999",))
    with pytest.raises(ValueError, match="'token:99999999' is no token of one, which has"):
        run_study(tmp_path / "store", config, say=lambda _: None)
    assert not (tmp_path / "store" / "checkpoints").exists()


def test_a_control_with_data_of_its_own_cannot_come_later(finished, config, place, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "store")
    with pytest.raises(ValueError, match="begun without the control 'planted', which trains on data of its own"):
        run_study(folder, make_config(place, controls=("noise", "planted")), say=lambda _: None)
    # And leaves the store as it was.
    assert Store.open(folder).config.controls == config.controls


@pytest.fixture(scope="module")
def labelled(place, tmp_path_factory):
    folder = tmp_path_factory.mktemp("labelled") / "store"
    model = make_config(place).models[0]
    config = make_config(place, models=(model,), samples=6, training_samples=2, controls=("labels",))
    run_study(folder, config, say=lambda _: None)
    return folder


def without(folder, place, count):
    """Copy a study without its last cells, as one that is at work has them."""
    copy = shutil.copytree(folder, place)
    cells = sorted(copy.glob("cells/*step-4*"), key=lambda path: load(path).provenance["sample"])
    split = pd.read_parquet(copy / "samples.parquet").set_index("sample")["split"]
    last = sorted(cells, key=lambda path: split[load(path).provenance["sample"]] == "train")
    for path in last[len(last) - count :]:
        path.unlink()
    return copy


@pytest.mark.parametrize("count", [2, 4])
def test_a_step_in_work_ends_no_report(labelled, tmp_path, count):
    store, said = Store.open(without(labelled, tmp_path / "store", count)), []
    found = conclude(store, say=said.append)
    # The samples that are not followed yet are named, and nothing else is lost.
    assert sum("was left out" in sentence for sentence in said) == count
    assert set(found["metrics"]["step"]) >= {0, 1, 4} and found["classes"]["sample"].nunique() == 8 - count


def test_what_is_not_done_at_step_0_has_no_threshold(labelled, tmp_path):
    folder = shutil.copytree(labelled, tmp_path / "store")
    first = next(path for path in sorted(folder.glob("cells/*step-0*")))
    lost = load(first).provenance["sample"]
    first.unlink()
    said = []
    config = dataclasses.replace(Store.open(folder).config, tau_rule="initial")
    found = conclude(Store(folder, config), say=said.append)
    assert any(lost in sentence for sentence in said) and lost not in set(found["classes"]["sample"])


def test_a_rule_chooses_among_followed_steps(labelled):
    store = Store.open(labelled)
    metrics, losses = (pd.read_parquet(store.table(name)) for name in ("metrics", "losses"))
    whole = compare_stops(metrics, losses, runs(store.config)).set_index("name")["value"]
    assert whole["stop_by_end"] == 4
    early = compare_stops(metrics[metrics["step"] < 4], losses, runs(store.config)).set_index("name")["value"]
    assert early["stop_by_end"] == 1 >= early["stop_by_interactions"]
