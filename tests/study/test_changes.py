"""What changes under a study that has begun: the weights of a model, its adapters, the data."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers

from interact.formats.files import SEAL
from interact.study.run import run_study
from interact.study.store import Store
from interact.study.trainings import weights_before
from tests.interact.conftest import causal
from tests.study.conftest import begin, make_config


def test_other_weights_under_the_same_name_are_refused(place, byte_level, tmp_path):
    folder = shutil.copytree(place / "one", tmp_path / "mine")
    changes = {"models": (str(folder),), "steps": (0, 1), "max_steps": 1, "certainty": "no"}
    config, store = make_config(place, **changes), tmp_path / "store"
    run_study(store, config, say=lambda _: None)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(1.5)
    model.save_pretrained(folder)
    other = r"weights of .*mine' are not those that the study in .*store began with; put those back, or use another"
    # A cell of step 0 that is lost is not computed from other weights.
    next((store / "cells").glob("*step-0*")).unlink()
    with pytest.raises(RuntimeError, match=other):
        run_study(store, config, say=lambda _: None)
    # What was killed before its training is not trained from other weights.
    for cell in (store / "cells").glob("*step-1*"):
        cell.unlink()
    shutil.rmtree(store / "checkpoints")
    with pytest.raises(ValueError, match=other):
        run_study(store, config, say=lambda _: None)
    # Another configuration begins anew, with what weights it finds.
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("interact.study.worker.compute", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        shutil.rmtree(store / "cells")
        run_study(store, make_config(place, **{**changes, "learning_rate": 3e-2}), say=lambda _: None)
    # Before there is anything of the old ones, the study is one of the new ones.
    for part in ("cells", "checkpoints"):
        shutil.rmtree(store / part, ignore_errors=True)
    run_study(store, config, say=lambda _: None)


def test_weights_of_a_store_without_their_record_are_those_of_its_adapters(finished, config, tmp_path):
    folder = Path(config.models[0])
    store = Store(Path(shutil.copytree(finished, tmp_path / "store")), config)
    known = json.loads((store.folder / "weights.json").read_text())
    assert set(known) == set(config.models)
    (store.folder / "weights.json").unlink()
    with pytest.raises(ValueError, match="are not those that the study in"):
        store.check_weights(str(folder), "0123456789abcdef")
    store.check_weights(str(folder), known[str(folder)])
    assert json.loads((store.folder / "weights.json").read_text()) == {str(folder): known[str(folder)]}
    store.check_weights(str(folder), None)


def test_float16_has_no_hash_that_others_share():
    model = causal()
    assert weights_before(model) == weights_before(model.to(torch.bfloat16)) and weights_before(model.half()) is None


def test_adapters_of_another_base_are_refused_without_our_record(finished, config, place, tmp_path):
    """As Trainer, TRL and LLaMA-Factory leave them: no record of ours, no step 0."""
    for step in (1, 4):
        folder = tmp_path / "run" / f"checkpoint-{step}"
        shutil.copytree(finished / "checkpoints" / "one" / "reviews.jsonl" / "seed-0" / f"step-{step}", folder)
        for ours in ("interact_base.json", SEAL):
            (folder / ours).unlink()
    wrong = make_config(
        place, models=(config.models[1],), checkpoints={config.models[1]: str(tmp_path / "run")}, steps=(0, 1)
    )
    with pytest.raises((ValueError, RuntimeError), match=r"was trained on '.*one', but the base model given is"):
        run_study(tmp_path / "store", wrong, say=lambda _: None)


def test_data_that_changed_is_refused(place, tmp_path):
    data = tmp_path / "data.jsonl"
    lines = (place / "reviews.jsonl").read_text().splitlines()
    data.write_text("\n".join(lines))
    config = make_config(place, models=(str(place / "one"),), data=(str(data),), steps=(0, 1), max_steps=1)
    begin(tmp_path / "store", config)
    data.write_text("\n".join(lines[:-9]))
    with pytest.raises(ValueError, match="have changed since it began"):
        run_study(tmp_path / "store", config, say=lambda _: None)
