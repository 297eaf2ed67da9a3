"""What auto took is part of a study, and models as people have them can be its base."""

import json

import pytest
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from interact.models.load import load_trainable
from interact.results import load
from interact.study.config import to_json
from interact.study.run import run_study
from interact.study.samples import load as load_samples
from interact.study.work import cells
from tests.study.conftest import make_config

SHORT = {"steps": (0, 1), "max_steps": 1, "samples": 1, "controls": ()}


def quietly(folder, config):
    return run_study(folder, config, say=lambda _: None)


def results(folder):
    return {path.stem: load(path) for path in (folder / "cells").glob("*.interactions")}


def test_what_auto_took_is_kept_and_names_the_same_cells(place, tmp_path):
    config = make_config(place, **SHORT, models=(str(place / "one"),))
    assert (config.device, config.dtype) == ("auto", "auto")
    quietly(tmp_path / "store", config)
    known = load_samples(tmp_path / "store" / "samples.json")
    assert known.dtypes == {str(place / "one"): "float32"}
    named = make_config(place, **SHORT, models=(str(place / "one"),), dtype="float32")
    assert {c.key for c in cells(named, known)} == set(results(tmp_path / "store"))


def test_a_study_keeps_its_precision_on_another_machine(place, tmp_path, monkeypatch):
    config = make_config(place, **SHORT, models=(str(place / "one"),))
    half = {str(place / "one"): "bfloat16"}
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("interact.study.trainings._dtypes", lambda _: half)
        elsewhere.setattr("interact.study.run.drive", lambda *_: {})
        elsewhere.setattr("interact.study.run.conclude", lambda *_, **__: None)
        elsewhere.setattr("interact.study.run.summary", lambda _: "")
        quietly(tmp_path / "store", config)
    assert not results(tmp_path / "store")
    quietly(tmp_path / "store", config)
    assert {r.provenance["model"]["dtype"] for r in results(tmp_path / "store").values()} == {"bfloat16"}
    assert load_samples(tmp_path / "store" / "samples.json").dtypes == half


def test_a_store_that_named_its_precision_goes_on_under_auto(place, tmp_path, monkeypatch):
    named = make_config(place, **SHORT, models=(str(place / "one"),), dtype="bfloat16")
    quietly(tmp_path / "store", named)
    monkeypatch.setattr("interact.study.worker.compute", None)
    quietly(tmp_path / "store", make_config(place, **SHORT, models=(str(place / "one"),)))
    assert json.loads((tmp_path / "store" / "config.json").read_text()) == to_json(named)
    other = make_config(place, **SHORT, models=(str(place / "one"),), dtype="float32")
    with pytest.raises(ValueError, match='dtype: "bfloat16" in the store, "float32" now'):
        quietly(tmp_path / "store", other)


def test_an_adapter_is_trained_further(place, tmp_path):
    settings = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    base = AutoModelForCausalLM.from_pretrained(place / "one")
    get_peft_model(base, settings).save_pretrained(tmp_path / "checkpoint-7")
    config = make_config(place, **SHORT, models=(str(tmp_path / "checkpoint-7"),))
    quietly(tmp_path / "store", config)
    found = {r.provenance["step"]: r for r in results(tmp_path / "store").values()}
    assert set(found) == {0, 1} and (found[0].values != found[1].values).all()
    assert type(load_trainable(str(tmp_path / "checkpoint-7"))[0]).__name__ == found[0].provenance["model"]["class"]


def test_a_device_map_may_change_and_bits_may_not(place, tmp_path):
    one = {"models": (str(place / "one"),)}
    config = make_config(place, **SHORT, **one)
    assert not {"device_map", "bits"} & set(to_json(config))
    quietly(tmp_path / "store", config)
    before = results(tmp_path / "store")
    quietly(tmp_path / "store", make_config(place, **SHORT, **one, device_map="auto"))
    assert set(results(tmp_path / "store")) == set(before)
    with pytest.raises(ValueError, match=r"bits: null in the store, 4 now"):
        quietly(tmp_path / "store", make_config(place, **SHORT, **one, bits=4))
    with pytest.raises(ValueError, match="give one of them"):
        make_config(place, device="cpu", device_map="auto")
    quietly(tmp_path / "mapped", make_config(place, **SHORT, **one, device_map="auto"))
    assert {k: r.values.tolist() for k, r in results(tmp_path / "mapped").items()} == {
        k: r.values.tolist() for k, r in before.items()
    }
