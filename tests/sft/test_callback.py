"""Following from inside: nothing changes, everything is logged and kept, and overfitting stops a training."""

import random

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

import interact
from interact.evolution import measure
from interact.formats.schema import CellKey, Run
from interact.sft.data import Example
from interact.sft.encoding import EncodedExamples
from interact.sft.following import FollowOptions, as_examples, cell_row, interaction_rows
from tests.interact.conftest import causal
from tests.sft.conftest import TEMPLATE, examples, small_classifier, tiny

SAMPLES = examples(3, 40)
STEPS = (1, 3)


class State(TrainerCallback):
    """Remembers what a training sees at each step."""

    def __init__(self):
        self.seen = []

    def on_step_end(self, args, state, control, model=None, **_):
        modes = [module.training for module in model.modules()]
        grads = [p.grad is None for p in model.parameters()]
        draws = (random.random(), np.random.rand(), torch.rand(1).item())  # noqa: NPY002
        self.seen.append((modes, grads, draws, model.config.use_cache))


def fit(tokenizer, folder, callbacks, *, model=None, max_steps=4, resume=None, **changes):
    model = model or causal(attention_dropout=0.2)
    data = EncodedExamples(model, tokenizer, examples(12), 100)
    options = {"report_to": "none", "save_strategy": "no", **changes}
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=max_steps,
        per_device_train_batch_size=2,
        learning_rate=1e-2,
        logging_steps=1,
        use_cpu=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        disable_tqdm=True,
        **options,
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=data,
        data_collator=data.collate,
        processing_class=tokenizer,
        callbacks=callbacks,
    )
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def curve(trainer):
    return [(r["step"], r["loss"], r["grad_norm"]) for r in trainer.state.log_history if "loss" in r]


@pytest.fixture(scope="module")
def followed(byte_level, tmp_path_factory):
    folder = tmp_path_factory.mktemp("followed")
    callback = interact.InteractionCallback(
        SAMPLES, players=3, steps=STEPS, reference=(causal(num_hidden_layers=1), byte_level), store=folder / "store"
    )
    state = State()
    trainer = fit(byte_level, folder, [callback, state], report_to="tensorboard", save_strategy="steps", save_steps=2)
    return folder, callback, state, trainer


def test_a_followed_training_is_bit_identical(followed, byte_level, tmp_path):
    _, callback, state, trainer = followed
    alone = State()
    plain = fit(byte_level, tmp_path, [alone])
    assert curve(plain) == curve(trainer) and len(curve(plain)) == 4
    assert alone.seen == state.seen
    assert all(map(torch.equal, plain.model.state_dict().values(), trainer.model.state_dict().values()))
    assert callback.steps == (0, 1, 3)


def test_tables_are_those_of_a_study(followed):
    folder, callback, _, _ = followed
    table, cells = callback.interactions, callback.cells
    assert set(table["step"]) == {0, 1, 3} and len(cells) == 9 and table["salient"].any()
    assert set(callback.classes["class"]) <= {"removed", "preserved", "emerged"}
    files = [interact.load(path) for path in (folder / "store" / "cells").iterdir()]
    assert len(files) == 9
    again = pd.concat([interaction_rows(r) for r in files]).drop(columns="salient")
    keys = ["step", "sample", "kind", "mask"]
    first = table.drop(columns="salient").sort_values(keys, ignore_index=True)
    pd.testing.assert_frame_equal(again.sort_values(keys, ignore_index=True), first)
    rows = pd.DataFrame([cell_row(r) for r in files]).sort_values(["step", "sample"], ignore_index=True)
    assert (rows["total"] == cells.sort_values(["step", "sample"], ignore_index=True)["total"]).all()
    assert {path.stem for path in (folder / "store" / "cells").iterdir()} == set(cells["key"])
    keys = [CellKey.parse(key) for key in cells["key"]]
    assert [(key.model, key.step, key.sample) for key in keys] == list(
        zip(cells["run"], cells["step"], cells["sample"], strict=True)
    )
    assert set(table["asked_baseline"]) == {"auto"} and table["seed"].isna().all()


def test_steps_are_scored_with_the_weights_of_their_moment(followed, byte_level):
    _, callback, _, _ = followed
    before = interact.extract(
        causal(attention_dropout=0.2),
        byte_level,
        SAMPLES[0].text,
        players=3,
        target=SAMPLES[0].response,
        target_tokens=1,
        template=TEMPLATE,
    )
    row = callback.cells.set_index(["step", "sample"])
    assert row.loc[(0, SAMPLES[0].id), "total"] == pytest.approx(before.values[-1])
    assert row.loc[(3, SAMPLES[0].id), "total"] != pytest.approx(before.values[-1], abs=1e-3)


def test_a_notebook_shows_what_was_followed(followed):
    _, callback, _, _ = followed
    shown = callback._repr_html_()
    assert "3 samples, followed at the steps 0, 1, 3" in shown and "gamma" in shown
    found = callback.metrics.set_index(["step", "class", "name"])["value"]
    assert f"{found.loc[(3, 'preserved', 'strength')]:.3f}" in shown
    assert "not followed yet" in interact.InteractionCallback(["<i>a film</i>"])._repr_html_()


def test_metrics_reach_tensorboard(followed):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder, callback, _, trainer = followed
    (file,) = folder.rglob("events.out.tfevents.*")
    events = EventAccumulator(str(file.parent)).Reload()
    tags = events.Tags()["scalars"]
    metrics = measure(callback.interactions, callback.cells, reference=callback.reference, resamples=0)
    for name in ("removed_count", "preserved_strength", "emerged_strength", "preserved_gamma", "preserved_rho"):
        tag = next(t for t in tags if t.endswith(f"interactions/{name}"))
        group, _, figure = name.partition("_")
        wanted = (
            metrics[(metrics["class"] == group) & (metrics["name"] == figure)]
            .dropna(subset="value")
            .set_index("step")["value"]
        )
        seen = {event.step: event.value for event in events.Scalars(tag)}
        assert seen == pytest.approx(wanted.to_dict(), rel=1e-6)
    logged = [r for r in trainer.state.log_history if "interactions/preserved_rho" in r]
    assert [r["step"] for r in logged] == [0, 1, 3]
    assert callback.metrics["low"].notna().any()


def test_a_resumed_training_reads_what_was_followed(followed, byte_level, tmp_path):
    folder, first, _, _ = followed
    again = interact.InteractionCallback(SAMPLES, players=3, steps=STEPS, store=folder / "store")
    fit(byte_level, folder, [again], resume=str(folder / "checkpoint-2"))
    assert again.steps == (0, 1, 3)
    pd.testing.assert_frame_equal(again.interactions, first.interactions)
    lost = interact.InteractionCallback(SAMPLES, players=3, steps=STEPS)
    with pytest.warns(UserWarning, match="continues from step 2, and step 0 was not followed"):
        fit(byte_level, folder, [lost], resume=str(folder / "checkpoint-2"))
    assert lost.steps == (3,) and len(lost.interactions)


def test_mixed_precision_does_not_reach_the_scores(byte_level, tmp_path):
    callback = interact.InteractionCallback(SAMPLES[:2], players=3, steps=[1])
    trainer = fit(byte_level, tmp_path, [callback], bf16=True, max_steps=1)
    trainer.model.__dict__.pop("forward")
    sample = SAMPLES[0]
    options = {"players": 3, "target": sample.response, "target_tokens": 1, "template": TEMPLATE}
    after = interact.extract(trainer.model, byte_level, sample.text, **options)
    assert callback.cells.set_index(["step", "sample"]).loc[(1, sample.id), "total"] == float(after.values[-1])


def test_plain_texts_keep_the_first_prediction(byte_level, tmp_path):
    options = FollowOptions(template=TEMPLATE, run=Run("org/mine", "reviews", 3, "eos", alias="mine"), baseline="eos")
    callback = interact.InteractionCallback(["a witty movie", ("old jokes", "negative")], steps=[2], options=options)
    fit(byte_level, tmp_path, [callback], model=causal(vocab_size=343), max_steps=2)
    assert set(callback.interactions["sample"]) == {"sample-0", "sample-1"}
    assert set(callback.interactions["run"]) == {"mine"} and callback.steps == (0, 2)
    for table in (callback.interactions, callback.cells, callback.classes, callback.metrics):
        known = table[["model", "data", "seed", "asked_baseline"]].drop_duplicates()
        assert known.to_numpy().tolist() == [["org/mine", "reviews", 3, "eos"]]


def test_a_step_that_cannot_be_scored_is_left_out(byte_level, tmp_path):
    class Break(TrainerCallback):
        def on_step_end(self, args, state, control, model=None, **_):
            if state.global_step == 1:
                with torch.no_grad():
                    model.lm_head.weight.fill_(float("nan"))

    callback = interact.InteractionCallback(SAMPLES, players=2, steps=[1])
    with pytest.warns(UserWarning, match="Step 1 could not be followed and is left out: The model gave NaN"):
        fit(byte_level, tmp_path, [Break(), callback], max_steps=1)
    assert callback.steps == (0,)


def test_a_classifier_is_followed(wordpiece, tmp_path):
    callback = interact.InteractionCallback(SAMPLES, players=2, steps=[1])
    fit(wordpiece, tmp_path, [callback], model=small_classifier(), max_steps=1)
    assert callback.steps == (0, 1)


def test_trl_takes_both_callbacks(byte_level, tmp_path):
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    rows = [{"prompt": f"Review: {e.text}", "completion": f" {e.response}"} for e in examples(6)]
    callback = interact.InteractionCallback(SAMPLES, players=2, steps=[1])
    arguments = trl.SFTConfig(
        output_dir=str(tmp_path),
        max_steps=2,
        per_device_train_batch_size=2,
        use_cpu=True,
        bf16=False,
        dataloader_pin_memory=False,
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
    )
    trainer = trl.SFTTrainer(
        model=tiny(),
        args=arguments,
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=byte_level,
        callbacks=[callback, interact.InteractionEarlyStopping()],
    )
    trainer.train()
    assert callback.steps == (0, 1)
    assert any("interactions/preserved_rho" in r for r in trainer.state.log_history)


def scripted(monkeypatch, signs):
    """Let a callback see an evolution in which interactions emerge at each step, with effects of these signs."""

    def follow(self, args, state, control, **_):
        step = state.global_step
        rows = []
        for sample in self.samples:
            effects = [5.0, *(sign * (1.0 + 0.01 * k) for k, sign in enumerate(signs[step]))]
            for mask, effect in enumerate(effects, start=1):
                order = int(mask).bit_count()
                rows.append(("run", step, sample.id, "and", mask, order, effect, False))
        names = ["run", "step", "sample", "kind", "mask", "order", "effect", "salient"]
        self._rows[step] = pd.DataFrame(rows, columns=names).astype({"mask": "uint64"})
        self._cells[step] = [
            {"run": "run", "step": step, "sample": s.id, "n": 5, "bias": 0.0, "total": 5.0} for s in self.samples
        ]

    monkeypatch.setattr(interact.InteractionCallback, "_follow", follow)


@pytest.mark.parametrize("first", ["follower", "stopper"])
def test_a_training_stops_when_late_interactions_cancel(byte_level, tmp_path, monkeypatch, caplog, first):
    scripted(monkeypatch, {0: [], 1: [1, 1], 2: [1, 1, 1], 3: [1, -1] * 6, 4: [1, -1] * 9})
    callback = interact.InteractionCallback(SAMPLES, steps=[1, 2, 3, 4])
    stopper = interact.InteractionEarlyStopping()
    pair = [callback, stopper] if first == "follower" else [stopper, callback]
    trainer = fit(byte_level, tmp_path, pair, max_steps=6)
    late = 0 if first == "follower" else 1
    assert stopper.stopped_at == trainer.state.global_step == 3 + late
    assert stopper.go_back_to == 2 and "emerged interactions grow while their rho" in stopper.reason
    assert stopper.reason in caplog.text


def test_a_training_whose_interactions_agree_goes_on(byte_level, tmp_path, monkeypatch):
    scripted(monkeypatch, {0: [], 1: [1, 1], 2: [1, 1, 1], 3: [1] * 6, 4: [1] * 9})
    stopper = interact.InteractionEarlyStopping(interact.InteractionCallback(SAMPLES, steps=[1, 2, 3, 4]))
    trainer = fit(byte_level, tmp_path, [stopper._given, stopper], max_steps=5)
    assert trainer.state.global_step == 5 and stopper.stopped_at is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "There are no samples"),
        (([5],), r"an Example, a text, or a pair \(text, response\), but is 5"),
        (([Example("1", "a", "b"), Example("1", "c", "d")],), "have the same id"),
        ((["a"], 3), r"The reference must be \(model, tokenizer\) or a table `interactions`, but is 3"),
    ],
)
def test_bad_samples_are_sentences(arguments, message):
    samples, *reference = arguments
    with pytest.raises(ValueError, match=message):
        interact.InteractionCallback(samples, reference=reference[0] if reference else None)


def test_bad_trainers_are_sentences(byte_level, tmp_path):
    with pytest.raises(
        ValueError, match="needs one InteractionCallback among the trainer's callbacks, but there are 0"
    ):
        fit(byte_level, tmp_path, [interact.InteractionEarlyStopping()])
    with pytest.raises(ValueError, match="follow at least 2 samples"):
        fit(byte_level, tmp_path, [interact.InteractionCallback(SAMPLES[:1]), interact.InteractionEarlyStopping()])
    with pytest.raises(ValueError, match="patience counts followed steps"):
        interact.InteractionEarlyStopping(patience=0)
    (tmp_path / "store").write_text("")
    with pytest.raises(RuntimeError, match="could not be written"):
        interact.InteractionCallback(SAMPLES, store=tmp_path / "store")
    assert [e.response for e in as_examples(["a"])] == [""]
