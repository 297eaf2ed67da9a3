"""Trainings that were followed right when the reports were tried, and stay so; and what other processes wait for."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import Trainer, TrainerCallback, TrainingArguments

import interact

from .ground import TURN, letters, tiny, told

SAMPLES = [("a witty movie", "good")]


class Steps(TrainerCallback):
    """What a logger such as wandb is handed: the step of each call, in order."""

    def __init__(self):
        self.seen = []

    def on_log(self, args, state, control, **given):
        self.seen.append(state.global_step)


def trained(folder, *callbacks, model=None, resume=None, evaluate=False, **arguments):
    tokenizer = letters(TURN)
    rows = [{"input_ids": i, "labels": i} for i in (tokenizer(x)["input_ids"] for x in ("a good movie", "a poor one"))]
    usual = {
        "max_steps": 2,
        "per_device_train_batch_size": 1,
        "per_device_eval_batch_size": 1,
        "use_cpu": True,
        "report_to": [],
        "save_steps": 1,
    }
    with warnings.catch_warnings():
        # torch's own: of a loader without a card, and of a head that holds no gradient.
        warnings.filterwarnings("ignore", message=".*pin_memory.*")
        warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*is deprecated.*")
        args = TrainingArguments(str(folder), **{**usual, "logging_steps": 1, **arguments})
        sets = {"train_dataset": rows, "eval_dataset": rows}
        trainer = Trainer(model or tiny(tokenizer), args, **sets, processing_class=tokenizer, callbacks=list(callbacks))
        trainer.evaluate() if evaluate else trainer.train(resume_from_checkpoint=resume)
    return trainer


def follow(**more):
    return interact.InteractionCallback(SAMPLES, players=2, steps=[1, 2], **more)


def test_steps_that_a_logger_sees_never_fall(tmp_path):
    first, again = Steps(), Steps()
    trained(tmp_path / "out", first, follow(store=tmp_path / "store"))
    history = trained(
        tmp_path / "out",
        again,
        interact.InteractionCallback(SAMPLES, players=2, steps=[1, 2, 3], store=tmp_path / "store"),
        max_steps=3,
        resume=str(tmp_path / "out" / "checkpoint-2"),
    ).state.log_history
    for steps in (first.seen, again.seen, [row["step"] for row in history]):
        assert steps and steps == sorted(steps)


def test_other_processes_that_wait_too_long_are_told():
    tokenizer = letters(TURN)
    asked = {"model": tiny(tokenizer), "processing_class": tokenizer}
    state = SimpleNamespace(
        is_world_process_zero=True, global_step=0, max_steps=2, epoch=0.0, log_history=[], is_local_process_zero=True
    )
    for processes, patience, wanted in ((2, 0.001, 1), (2, 1800, 0), (1, 0.001, 0)):
        args = SimpleNamespace(world_size=processes, ddp_timeout=patience, fsdp=None)
        with told() as sentences:
            callback = follow()
            callback.on_train_begin(args, state, None, **asked)
            callback.on_step_end(args, SimpleNamespace(**{**vars(state), "global_step": 1}), None, **asked)
        assert len([s for s in sentences if "ddp_timeout" in s]) == wanted


def test_a_callback_serves_a_second_training(tmp_path):
    callback = follow()
    tables = []
    for number in range(2):
        trained(tmp_path / str(number), callback)
        tables.append(callback.interactions)
    assert callback.steps == (0, 1, 2) and tables[0].equals(tables[1])


@pytest.mark.parametrize(
    "arguments",
    [
        {"gradient_accumulation_steps": 2},
        {"gradient_checkpointing": True},
        {"auto_find_batch_size": True},
        {"eval_strategy": "steps", "eval_steps": 1},
    ],
)
def test_ways_to_train_are_followed_like_the_plain_one(arguments, tmp_path):
    callback = follow()
    trainer = trained(tmp_path, callback, **arguments)
    assert callback.steps == (0, 1, 2) and len(callback.cells) == 3
    after = interact.extract(
        trainer.model, letters(TURN), "a witty movie", players=2, target="good", target_tokens=1, kappa=None
    )
    assert callback.cells["total"].iloc[-1] == pytest.approx(after.total, abs=1e-4)


def test_an_adapter_in_training_and_an_evaluation_alone(tmp_path):
    model = get_peft_model(tiny(letters(TURN)), LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    callback = follow()
    trained(tmp_path / "lora", callback, model=model, learning_rate=0.1)
    assert callback.steps == (0, 1, 2) and callback.cells["total"].nunique() > 1
    alone = follow()
    trained(tmp_path / "evaluated", alone, evaluate=True)
    assert alone.steps == () and len(alone.interactions) == 0


@pytest.mark.filterwarnings("ignore:`past_key_values` is deprecated:FutureWarning")
@pytest.mark.parametrize("kind", ["prompt", "prefix"])
def test_virtual_tokens_of_an_adapter_are_refused_or_scored_as_the_model_scores(kind):
    from peft import PrefixTuningConfig, PromptTuningConfig

    config = PromptTuningConfig if kind == "prompt" else PrefixTuningConfig
    torch.manual_seed(1)
    model = get_peft_model(tiny(letters()), config(num_virtual_tokens=2, task_type="CAUSAL_LM")).eval()
    try:
        result = interact.extract(model, letters(), "a witty movie", players=2, target=70)
    except ValueError as error:
        assert str(error).endswith(".") and len(str(error)) > 40
        return
    logits = model(input_ids=torch.tensor([result.provenance["input_ids"]])).logits[0, -1].detach()
    others = torch.cat([logits[:70], logits[71:]]).logsumexp(0)
    assert result.total == pytest.approx(float(logits[70] - others), abs=1e-3)


def test_float16_is_scored_and_has_a_floor():
    exact = interact.extract(tiny(letters()), letters(), "a witty movie", players=2, target=70)
    half = interact.extract(tiny(letters()).half(), letters(), "a witty movie", players=2, target=70)
    assert np.allclose(half.values, exact.values, atol=0.1) and half.provenance["precision"]["dtype"] == "float16"
