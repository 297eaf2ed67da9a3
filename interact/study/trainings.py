"""The trainings of a study: what each learns from, its checkpoints, and their models."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from interact.models.fingerprint import fingerprint as weights_fingerprint
from interact.models.fingerprint import kept_otherwise
from interact.models.load import dtype_for, load_trainable
from interact.models.placement import resolved_device
from interact.models.sources import weight_files
from interact.sft.checkpoints import find_checkpoints, fresh_classifier, load_checkpoint, put_adapter, swap_checkpoint
from interact.sft.data import content_of
from interact.sft.run_folder import is_finished
from interact.sft.training import TrainingOptions, train
from interact.study.config import StudyConfig, fingerprint
from interact.study.samples import Material, drawn
from interact.study.store import Store
from interact.study.work import Prepared, Run


def prepare(config: StudyConfig, runs: list[Run], found: Mapping[str, Material]) -> Prepared:
    """Fix the samples, the steps, and what each training learns from.

    Raises:
        ValueError: Checkpoints that exist already are missing, or lack a step that is needed.
    """
    trained_on, steps = {}, {}
    for run in runs:
        folder = (config.checkpoints or {}).get(run.model)
        if folder is None:
            steps[run.training] = config.followed
            examples = [content_of(e) for e in (*drawn(config, found[run.data], run), *found[run.data].heldout)]
            content = [run.model, config.task, asdict(_options(config, run)), config.max_steps, examples]
            trained_on[run.training] = fingerprint(content)
        else:
            known = find_checkpoints(folder)
            steps[run.training] = _chosen(config, folder, set(known))
            trained_on[run.training] = fingerprint([[step, weight_files(path)] for step, path in known.items()])
    samples = tuple(s for material in found.values() for s in material.follow)
    return Prepared(samples, trained_on, steps, _dtypes(config))


def is_trained(store: Store, run: Run) -> bool:
    """Say whether the checkpoints of a run are there: its training is finished, or they existed already."""
    given = run.model in (store.config.checkpoints or {})
    return given or (store.training(run.training) / "finished.json").is_file()


def tidy(store: Store, run: Run) -> None:
    """Remove what a kill may have left of a finished training: the state from which it would have gone on."""
    if run.model not in (store.config.checkpoints or {}):
        is_finished(store.training(run.training))


def train_run(store: Store, run: Run, material: Callable[[str], Material]) -> None:
    """Train what a run needs, or continue where it stopped; nothing to do for checkpoints that exist already."""
    config = store.config
    if run.model in (config.checkpoints or {}) or is_finished(store.training(run.training)):
        return
    data = material(run.data)
    model, tokenizer = base(config, run, data, dtype="float32")
    store.check_weights(run.model if config.task == "causal" else run.training, weights_before(model))
    train(
        model,
        tokenizer,
        drawn(config, data, run),
        data.heldout,
        store.training(run.training),
        steps=config.followed,
        options=_options(config, run),
        log=store.losses(run.training),
    )
    del model
    gc.collect()


def base(config: StudyConfig, run: Run, data: Material | None, *, dtype: str) -> tuple[Any, Any]:
    """Load a model before training, with its tokenizer."""
    if config.task == "causal":
        return load_trainable(run.model, dtype=dtype, device=config.device)
    assert data is not None and run.seed is not None
    labels = sorted({example.response for example in (*data.train, *data.heldout)})
    return fresh_classifier(run.model, labels, seed=run.seed, dtype=dtype, device=config.device)


def weights_before(model: Any) -> str | None:
    """Return a hash of a model's weights before training; None where they are offloaded, quantised or in float16."""
    return None if kept_otherwise(model) else weights_fingerprint(model)


class Loaded:
    """The model in work; another checkpoint of the same model only swaps the adapter."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._at: tuple[str, int] | None = None
        self._of: str | None = None
        self._refused: dict[str, str] = {}
        self._model: Any = None
        self._tokenizer: Any = None

    def at(self, run: Run, step: int, dtype: str) -> tuple[Any, Any]:
        """Return the model of a run at a step, in eval mode and of a precision, and its tokenizer.

        Raises:
            ValueError: The checkpoint is missing, damaged, or of another base model; or the model before training has
                other weights than when the study began.
        """
        if self._at != (run.training, step):
            self._at = None
            self._load(run, step, dtype)
            self._at = (run.training, step)
        return self._model, self._tokenizer

    def _load(self, run: Run, step: int, dtype: str) -> None:
        config = self._store.config
        checkpoint = self._checkpoint(run, step)
        adapter = checkpoint is not None and (checkpoint / "adapter_config.json").is_file()
        if checkpoint is not None and adapter and self._of == run.model and config.task == "causal":
            wrapped = hasattr(self._model, "peft_config")
            self._model = (swap_checkpoint if wrapped else put_adapter)(self._model, checkpoint)
            return
        # Given back before another is loaded, so that two never lie in memory.
        self._model = self._tokenizer = self._of = None
        gc.collect()
        place: dict[str, Any] = {"device": config.device, "device_map": config.device_map, "bits": config.bits}
        if checkpoint is None:
            if run.model in self._refused:
                raise ValueError(self._refused[run.model])
            self._model, self._tokenizer = load_trainable(run.model, dtype=dtype, **place)
            try:
                self._store.check_weights(run.model, weights_before(self._model))
            except ValueError as error:
                # Said of each cell, without loading the model for each.
                self._refused[run.model] = str(error)
                raise
        else:
            self._model, self._tokenizer = load_checkpoint(run.model, checkpoint, dtype=dtype, **place)
        self._of = run.model if checkpoint is None or adapter else None

    def _checkpoint(self, run: Run, step: int) -> Path | None:
        """Return the folder of a checkpoint; None for a language model before training."""
        config = self._store.config
        given = (config.checkpoints or {}).get(run.model)
        if given is not None:
            found = find_checkpoints(given)
            if step not in found and step > 0:
                raise ValueError(f"The checkpoint of step {step} is gone from {given}; put it back.")
            return found.get(step)
        if step == 0 and config.task == "causal":
            return None
        folder = self._store.training(run.training) / f"step-{step}"
        if not folder.is_dir():
            raise ValueError(
                f"The checkpoint {folder} is gone; remove {folder.parent} and run the study again to train anew."
            )
        return folder


def _dtypes(config: StudyConfig) -> dict[str, str]:
    """Return what precision ``"auto"`` is for each model where the study begins; it keeps that on every machine."""
    if config.dtype != "auto":
        return {}
    device = resolved_device(config.device)
    return {model: dtype_for(model, "auto", device) for model in config.models}


def _options(config: StudyConfig, run: Run) -> TrainingOptions:
    # Only several runs together have no seed.
    assert run.seed is not None
    return TrainingOptions(
        method=config.method,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        precision=config.training_dtype,
        seed=run.seed,
    )


def _chosen(config: StudyConfig, folder: str, known: set[int]) -> tuple[int, ...]:
    """Choose steps of checkpoints that exist already: those listed, or as many as asked for, dense at the start."""
    there = sorted(known | {0})
    if config.steps is not None:
        if missing := sorted(set(config.steps) - set(there)):
            raise ValueError(
                f"{folder} has checkpoints of the steps {there}, but {missing} are needed, too; add them, or name "
                "other steps."
            )
        return config.steps
    count = config.followed_steps
    if count >= len(there):
        return tuple(there)
    return tuple(there[i] for i in sorted({round((len(there) - 1) * (i / (count - 1)) ** 2) for i in range(count)}))
