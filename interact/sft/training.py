"""Fine-tuning that can be followed: LoRA or all weights, loss on the response only, checkpoints at chosen steps.

1. The base model gets LoRA adapters on all linear layers, or trains its own weights.
2. transformers' Trainer runs it; at each chosen step held-out losses are measured and the checkpoint moves into place
   in one step, so a killed training leaves whole checkpoints only.
3. The state of the last one (optimizer, schedule, random state) is kept, too: the same call continues from there and
   ends in the same weights.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import transformers
from peft import LoraConfig, TaskType, get_peft_model
from safetensors import SafetensorError
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments, set_seed

from interact.formats.files import seal
from interact.models.adapters import record_base
from interact.models.family import device_of, inspect_model
from interact.models.fingerprint import fingerprint
from interact.sft.data import Example, content_of
from interact.sft.encoding import EncodedExamples, other_ending
from interact.sft.loss_log import LossLog
from interact.sft.measuring import answer_losses, halves
from interact.sft.run_folder import RunFolder
from interact.sft.steps import checked_steps
from interact.sft.undisturbed import kept_random_state, undisturbed

_WRITERS = ("PytorchStreamWriter", "inline_container", "(os error ")
"""What torch and Rust (tokenizers) say of a file that they could not write, in errors that are no OSError."""


@dataclass(frozen=True)
class TrainingOptions:
    """How a model is trained. Defaults are the paper's (docs/sft.md); batch size and warm-up are LLaMA-Factory's.

    Attributes:
        method: ``"lora"`` (adapters on all linear layers) or ``"full"`` (all weights; small models and encoders).
        rank: LoRA rank r.
        alpha: LoRA scale alpha; adapters count alpha / r.
        dropout: LoRA dropout.
        learning_rate: The peak.
        schedule: A schedule's name in transformers, such as ``"cosine"``, ``"linear"`` or ``"constant"``.
        warmup: Share of the steps in which the learning rate rises to its peak.
        batch_size: Examples a forward.
        accumulation: Forwards a step.
        weight_decay: AdamW's weight decay.
        clip: Largest norm of the gradient.
        max_length: Most tokens of prompt and response together.
        precision: ``"float32"``, or ``"bfloat16"`` for mixed precision.
        seed: Seed of the adapters' start, the order of the data and dropout.
    """

    method: str = "lora"
    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0
    learning_rate: float = 1e-4
    schedule: str = "cosine"
    warmup: float = 0.1
    batch_size: int = 8
    accumulation: int = 1
    weight_decay: float = 0.0
    clip: float = 1.0
    max_length: int = 8192
    precision: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (("method", ("lora", "full")), ("precision", ("float32", "bfloat16"))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r} is not known; choose one of {list(known)}.")
        schedules = [kind.value for kind in transformers.SchedulerType]
        if self.schedule not in schedules:
            raise ValueError(f"schedule={self.schedule!r} is not known; choose one of {schedules}.")
        for name in ("rank", "alpha", "batch_size", "accumulation", "max_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, but is {getattr(self, name)}.")
        if not (self.learning_rate > 0 and 0 <= self.warmup < 1 and 0 <= self.dropout < 1):
            raise ValueError(
                f"learning_rate must be positive, warmup and dropout in [0, 1), but they are {self.learning_rate}, "
                f"{self.warmup} and {self.dropout}."
            )


def train(
    model: Any,
    tokenizer: Any,
    examples: Sequence[Example],
    heldout: Sequence[Example],
    folder: str | Path,
    *,
    steps: Iterable[int],
    options: TrainingOptions | None = None,
    log: str | Path | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> list[Path]:
    """Fine-tune a model and keep checkpoints at chosen steps.

    Args:
        model: The base model, causal or a sequence classifier; with LoRA it is given back as it was.
        tokenizer: Its fast tokenizer.
        examples: What to train on.
        heldout: What to measure held-out losses on at the chosen steps; may be empty. By turns they are the validation
            set, on which a stopping rule is chosen, and the test set, on which it is judged.
        folder: Where ``step-N`` folders go.
        steps: Steps at which to keep a checkpoint; step 0 is always kept, the largest is the last of the training.
        options: How to train.
        log: A file for a JSON line a loss: ``{"step", "name", "value", "seconds"}`` with a name of
            `interact.formats.schema.LOSSES`; None for ``losses.jsonl`` in `folder`.
        callbacks: More of transformers' callbacks, such as `interact.InteractionCallback`.

    Returns:
        The checkpoints in the order of their steps. Called again after a kill, it continues from the last one; called
        again after the end, it returns at once. A callback may stop it early.

    Raises:
        ValueError: Something given is wrong, or the folder holds another training; the sentence shows the difference.
        RuntimeError: The folder cannot be written, or the disk is full.

    >>> train(model, tokenizer, split.train, split.heldout, "checkpoints", steps=[10, 100])  # doctest: +SKIP
    """
    options = options or TrainingOptions()
    wanted = checked_steps([0, *steps])
    if wanted[-1] == 0:
        raise ValueError("No step after 0 was asked for; the largest step is the length of the training.")
    folder = Path(folder).expanduser()
    data = EncodedExamples(model, tokenizer, examples, options.max_length)
    held = {name: EncodedExamples(model, tokenizer, part, options.max_length) for name, part in halves(heldout)}
    record = {**asdict(options), "steps": list(wanted), "base": fingerprint(model), "data": _digest(examples, heldout)}
    run = RunFolder(folder, wanted, record)
    run.open()
    if run.finished():
        return run.checkpoints()
    if inspect_model(model).kind == "causal" and (note := other_ending(tokenizer, examples[0].template)):
        warnings.warn(note, stacklevel=2)
    losses = LossLog(Path(log) if log is not None else folder / "losses.jsonl")
    with kept_random_state(), _trainable(model, options) as trained:
        keeper = _Keeper(run, losses, trained, tokenizer, held, options.batch_size)
        trainer = Trainer(
            model=trained,
            args=_arguments(model, run, options),
            train_dataset=data,  # pyright: ignore[reportArgumentType]
            data_collator=data.collate,
            processing_class=tokenizer,
            callbacks=[*callbacks, keeper],
        )
        trainer.remove_callback(PrinterCallback)
        state = run.last_state()
        try:
            losses.cut(int(state.name.rpartition("-")[2]) if state else -1)
            trainer.train(resume_from_checkpoint=None if state is None else str(state))
            run.close(trainer.state.global_step, losses.path)
        except Exception as error:
            # Any other is of the training itself.
            if not isinstance(error, (OSError, SafetensorError)) and not any(sign in str(error) for sign in _WRITERS):
                raise
            told = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise RuntimeError(
                f"The training stopped at step {trainer.state.global_step}, because a file could not be written: "
                f"{told}. Free some space and run it again; it continues from its last checkpoint."
            ) from error
    return run.checkpoints()


class _Keeper(TrainerCallback):
    """Measures the held-out losses and keeps the checkpoint at each chosen step; logs every loss.

    Args:
        run: Where checkpoints go.
        losses: Where losses go.
        model: The model that trains.
        tokenizer: Its tokenizer.
        held: The validation and the test set, by name.
        batch_size: Rows a forward.
    """

    def __init__(
        self,
        run: RunFolder,
        losses: LossLog,
        model: Any,
        tokenizer: Any,
        held: Mapping[str, EncodedExamples],
        batch_size: int,
    ) -> None:
        self._run, self._losses, self._model, self._tokenizer = run, losses, model, tokenizer
        self._held, self._batch_size = held, batch_size

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 0:
            self._measure(0)
            self._run.keep(0, self._save)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step in self._run.steps:
            self._measure(state.global_step)
            control.should_save = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if logs and "loss" in logs:
            self._losses.add(state.global_step, "train_loss", float(logs["loss"]))

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        step = state.global_step
        if step not in self._run.steps:
            return
        seal(self._run.state(step))
        self._run.keep(step, self._save)
        self._run.forget_states_before(step)

    def _measure(self, step: int) -> None:
        with undisturbed(self._model):
            for name, examples in self._held.items():
                found = answer_losses(self._model, examples, batch_size=self._batch_size)
                for kind, value in (
                    ("response_loss", found.response),
                    ("label_loss", found.label),
                    ("end_loss", found.end),
                    ("accuracy", found.accuracy),
                ):
                    # Not every response ends in a token that says so.
                    if kind != "end_loss" or not math.isnan(value):
                        self._losses.add(step, f"{name}_{kind}", value)

    def _save(self, partial: Path) -> None:
        self._model.save_pretrained(partial)
        if hasattr(self._model, "peft_config"):
            record_base(self._model, partial)
        else:
            self._tokenizer.save_pretrained(partial)
        seal(partial)


@contextlib.contextmanager
def _trainable(model: Any, options: TrainingOptions) -> Iterator[Any]:
    """Give the model that trains: the base in adapters, taken off again afterwards, or the base itself."""
    set_seed(options.seed)
    training, frozen = model.training, [p for p in model.parameters() if not p.requires_grad]
    tokens = {name: getattr(model.config, name, None) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    heads = {name: module for name, module in model.named_children() if name in ("classifier", "score")}
    trained = model
    if options.method == "full":
        model.requires_grad_(True)
    else:
        kind = TaskType.CAUSAL_LM if inspect_model(model).kind == "causal" else TaskType.SEQ_CLS
        lora = LoraConfig(
            r=options.rank,
            lora_alpha=options.alpha,
            lora_dropout=options.dropout,
            target_modules="all-linear",
            task_type=kind,
        )
        trained = get_peft_model(model, lora)
    try:
        yield trained
    finally:
        if trained is not model:
            trained.unload()
            # PEFT 0.18 leaves it, and takes it for a second adapter when the model gets its next.
            model.__dict__.pop("peft_config", None)
            for name, module in heads.items():
                setattr(model, name, module)
        model.__dict__.pop("forward", None)
        model.requires_grad_(True)
        for parameter in frozen:
            parameter.requires_grad_(False)
        for name, token in tokens.items():
            # The Trainer writes the tokenizer's special tokens into the model's configuration.
            setattr(model.config, name, token)
        model.train(training)


def _arguments(model: Any, run: RunFolder, options: TrainingOptions) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(run.states),
        max_steps=run.steps[-1],
        per_device_train_batch_size=options.batch_size,
        gradient_accumulation_steps=options.accumulation,
        learning_rate=options.learning_rate,
        lr_scheduler_type=options.schedule,
        warmup_steps=round(options.warmup * run.steps[-1]),
        weight_decay=options.weight_decay,
        max_grad_norm=options.clip,
        bf16=options.precision == "bfloat16",
        seed=options.seed,
        use_cpu=device_of(model).type == "cpu",
        dataloader_pin_memory=device_of(model).type == "cuda",
        remove_unused_columns=False,
        save_strategy="no",
        logging_strategy="steps",
        logging_steps=1,
        report_to="none",
        disable_tqdm=not sys.stderr.isatty(),
    )


def _digest(*sets: Sequence[Example]) -> str:
    content = json.dumps([[content_of(example) for example in examples] for examples in sets], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]
