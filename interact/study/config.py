"""A study as data: one frozen dataclass is the command line, the file given to ``--config``, and the file kept beside
the results.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from interact.formats.schema import fingerprint as fingerprint
from interact.formats.schema import short_name as short_name
from interact.prompt.template import Template
from interact.sft.steps import log_spaced_steps

Control = Literal["noise", "permuted", "labels", "forecast", "planted"]
CONTROLS: tuple[str, ...] = typing.get_args(Control)
# Fields that came later are written when they are not what they were before, so that older stores keep the hashes of
# their settings.
_LATER = {
    "device_map": None,
    "bits": None,
    "classes": "ends",
    "noise": None,
    "template_arguments": None,
    "certainty": "auto",
    "contrast": "none",
}


@dataclass(frozen=True)
class StudyConfig:
    """What a study trains, follows and compares."""

    models: tuple[str, ...] = ("smollm2", "gemma3-270m")
    """Model folders, hub ids or embedded models. For gamma, each model is compared with the next one."""
    data: tuple[str, ...] = ("reviews",)
    """Data sets: reviews, goemotions, dolly, unilaw, a hub id, or a file or folder."""
    text_column: str | None = None
    """Column of the user's text, for other data sets than those named above."""
    response_column: str | None = None
    """Column of the response, for other data sets than those named above."""
    instruction_column: str | None = None
    """Column of the instruction that stands before the text in the user's message."""
    part: str | None = None
    """The split of a hub set, or the entry of a dataset_info.json."""
    template: str | None = None
    """The user's message; it contains {text} exactly once. Without it: that of the data set."""
    system: str | None = None
    """The system message, for models with a chat template."""
    answer_prefix: str | None = None
    """The beginning of the model's reply, after which the response follows. Without it: that of the data set."""
    chat: bool | None = None
    """Whether to use the tokenizer's chat template. Without it: if there is one."""
    template_arguments: str | None = None
    """Further arguments of the chat template, as JSON, such as {"enable_thinking": false}."""

    task: Literal["causal", "classifier"] = "causal"
    """causal: language models that answer in words. classifier: encoders with a new head that choose a label."""
    method: Literal["lora", "full"] = "lora"
    """lora trains a low-rank adapter, full all weights."""
    train_examples: int = 2000
    """Number of training examples, drawn with the seed of the run."""
    heldout_examples: int = 64
    """Number of held-out examples whose loss is measured at every followed step."""
    max_steps: int = 200
    """Optimiser steps of a training."""
    batch_size: int = 8
    """Examples per step."""
    learning_rate: float = 1e-4
    """Peak of the cosine schedule."""
    training_dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the training; bfloat16 is mixed precision, with weights in float32."""
    seeds: tuple[int, ...] = (0,)
    """One training per seed. The seed determines the examples, their order and the initial adapter."""
    checkpoints: Mapping[str, str] | None = None
    """Folders of existing checkpoints, by model. These models are not trained."""

    steps: tuple[int, ...] | None = None
    """Steps to follow. Without it: step 0 and `followed_steps` - 1 log-spaced ones."""
    followed_steps: int = 8
    """How many steps to follow if `steps` does not list them."""
    samples: int = 20
    """Number of followed samples that are held out from training."""
    training_samples: int = 0
    """Number of followed samples that are also trained on, for the control `labels`."""
    players: Literal["words", "all-words", "sentences", "paragraphs", "marked"] = "words"
    """What the players are."""
    limit: int = 8
    """Number of players of every sample."""
    longest: int = 200
    """Largest number of characters of a followed text."""
    masking: Literal["baseline", "attention", "text"] = "baseline"
    """How an absent player is hidden: embedding replaced, not attended to, or text replaced."""
    contrast: Literal["none", "labels"] = "none"
    """What the label's log-odds are against: all other tokens (none), or the data set's other labels (labels)."""
    baselines: tuple[str, ...] = ("auto",)
    """Masking baselines: auto, unk, pad, eos, mean or token:ID; the conclusions are drawn under each."""
    noise: Literal["soft", "box", "exact"] | None = None
    """How noise of the scores is treated. Without it: soft; box if kappa is given, or for more than 12 players."""
    kappa: float | None = None
    """Price (soft) or bound (box) of the noise, relative to |v(all) - v(none)|. Without it: 0.01 (soft), 0.04 (box)."""
    tau: float = 0.05
    """Salience threshold; `tau_rule` says what it means."""
    tau_rule: Literal["max", "initial", "absolute", "top"] = "max"
    """tau is a share of a cell's largest effect (max), or of that at step 0 (initial), an effect, or a count (top)."""
    classes: Literal["ends", "running"] = "ends"
    """Preserved is what is salient at step 0 and now (ends), or at all followed steps so far (running, published)."""
    certainty: Literal["auto", "yes", "no"] = "auto"
    """Whether to find which interactions are certain; auto does so for cells of at most 8 players (0.2 s each)."""
    controls: tuple[Control, ...] = ("noise", "permuted")
    """Controls to run (docs/study.md explains each)."""
    resamples: int = 1000
    """Number of bootstrap resamples of an interval."""

    engine: str = "auto"
    """How coalitions are scored: auto, flat, tree, reorder or packed."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of the followed models. auto is float32 on a CPU, the checkpoint's own on a GPU; it stays as begun."""
    device: str = "auto"
    """Where models run, such as cpu or cuda. auto takes a usable GPU, else the CPU."""
    device_map: str | None = None
    """auto, instead of --device: spread the followed models over GPUs and memory, as transformers does."""
    bits: Literal[4, 8] | None = None
    """Quantise the followed models while they are loaded (needs bitsandbytes and a GPU)."""
    memory_budget: int | None = None
    """Megabytes that one batch may take. Without it: a quarter of the free memory."""

    def __post_init__(self) -> None:
        _check_choices(self)
        for name in ("models", "data", "seeds", "baselines"):
            given = getattr(self, name)
            if not given:
                raise ValueError(f"{name} is empty; a study needs at least one.")
            if len(set(given)) < len(given):
                raise ValueError(f"{name} contains something twice: {list(given)}.")
        for name in ("models", "data"):
            last = [short_name(given) for given in getattr(self, name)]
            if twice := sorted({n for n in last if last.count(n) > 1}):
                raise ValueError(
                    f"Two {name} end in {twice[0]!r}, so their runs would have the same name; rename one of them."
                )
        known = re.compile(r"auto|unk|pad|eos|mean|token:\d+")
        if wrong := [b for b in self.baselines if not known.fullmatch(b)]:
            raise ValueError(f"The baseline {wrong[0]!r} is not known; choose auto, unk, pad, eos, mean or token:ID.")
        if wrong := [s for s in self.seeds if not 0 <= s < 1 << 32]:
            raise ValueError(f"The seed {wrong[0]} must lie in [0, 2**32).")
        if not re.fullmatch(r"auto|(cpu|cuda|mps|xpu)(:\d+)?", self.device):
            raise ValueError(f"device is {self.device!r}, which is not known; choose auto, cpu or cuda.")
        if self.device_map is not None and self.device != "auto":
            raise ValueError(f"device is {self.device!r} and device_map {self.device_map!r}; give one of them.")
        _check_classifier(self)
        if self.memory_budget is not None:
            _at_least(self, "memory_budget", 1)
        for name in ("train_examples", "heldout_examples", "batch_size", "samples", "limit", "longest", "resamples"):
            _at_least(self, name, 1)
        _at_least(self, "max_steps", 1)
        _at_least(self, "followed_steps", 2)
        if self.limit > 20:
            raise ValueError(f"limit is {self.limit}, but a full lattice holds at most 20 players.")
        if self.kappa is not None and not 0 <= self.kappa < 1:
            raise ValueError(f"kappa is {self.kappa}, but must lie in [0, 1).")
        if self.kappa is not None and (self.noise, self.kappa > 0) in (("soft", False), ("exact", True)):
            raise ValueError(f"noise is {self.noise!r}, which does not fit kappa = {self.kappa}; leave kappa out.")
        _check_salience(self)
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate is {self.learning_rate}, but must be a positive number.")
        if self.template is not None and self.template.count("{text}") != 1:
            raise ValueError(f"The template must hold {{text}} exactly once, but is {self.template!r}.")
        if self.template_arguments is not None:
            Template(arguments=_object(self.template_arguments))
        if self.steps is not None and (self.steps[:1] != (0,) or list(self.steps) != sorted(set(self.steps))):
            raise ValueError(f"steps must rise from 0, the model before training, but are {list(self.steps)}.")
        if self.steps is not None and (len(self.steps) < 2 or self.steps[-1] > self.max_steps):
            raise ValueError(f"steps must hold 0 and more, up to max_steps = {self.max_steps}; got {list(self.steps)}.")
        if ("labels" in self.controls) != (self.training_samples > 0):
            raise ValueError("The control 'labels' and training_samples need each other; give both or neither.")
        if self.training_samples >= self.train_examples:
            raise ValueError(
                f"training_samples is {self.training_samples}, but must be less than train_examples, which is "
                f"{self.train_examples}."
            )
        _check_checkpoints(self)
        if self.masking != "baseline" and self.baselines != ("auto",):
            raise ValueError(f"baselines have no effect under masking={self.masking!r}; leave them out.")

    @property
    def followed(self) -> tuple[int, ...]:
        """The steps to follow: those listed, or 0 and log-spaced ones up to `max_steps`."""
        if self.steps is not None:
            return self.steps
        return log_spaced_steps(self.max_steps, self.followed_steps)


def _check_choices(config: StudyConfig) -> None:
    """Refuse a value that is none of a field's choices; a file's were checked when it was read, Python's were not."""
    for name, kind in typing.get_type_hints(StudyConfig).items():
        if any(typing.get_origin(part) is Literal for part in (kind, *typing.get_args(kind))):
            given = getattr(config, name)
            _read(list(given) if isinstance(given, tuple) else given, kind, name)


def _check_salience(config: StudyConfig) -> None:
    if config.tau_rule == "top" and not (math.isfinite(config.tau) and float(config.tau).is_integer()):
        raise ValueError(
            f"tau is {config.tau}, but under the rule 'top' it is how many interactions are salient, such as 20."
        )
    if not 0 <= config.tau < math.inf or (config.tau_rule in ("max", "initial") and config.tau >= 1):
        raise ValueError(f"tau is {config.tau}, but under the rule {config.tau_rule!r} it is a share in [0, 1).")


def _check_checkpoints(config: StudyConfig) -> None:
    if unknown := sorted(set(config.checkpoints or {}) - set(config.models)):
        raise ValueError(f"checkpoints are given for {unknown}, but the models are {list(config.models)}.")
    if set(config.models) == set(config.checkpoints or {}) and "planted" in config.controls:
        raise ValueError("The control 'planted' needs a training, but checkpoints are given for all models.")


def _check_classifier(config: StudyConfig) -> None:
    if config.task != "classifier":
        return
    if config.device_map is not None or config.bits is not None:
        raise ValueError("device_map and bits are for language models; leave them out for a classifier.")
    if config.contrast != "none":
        raise ValueError("A classifier compares nothing but labels, so contrast has no effect; leave it out.")


def to_json(config: StudyConfig) -> dict[str, Any]:
    """Return the configuration as JSON holds it."""
    given = {k: v for k, v in asdict(config).items() if k not in _LATER or v != _LATER[k]}
    return json.loads(json.dumps(given))


def from_json(content: Any, *, where: str = "The configuration") -> StudyConfig:
    """Read a configuration from what `to_json` returned; missing fields take their defaults.

    Raises:
        ValueError: An unknown field or value; the sentence names it and the nearest that is known.
    """
    if not isinstance(content, dict):
        raise ValueError(f"{where} must be a JSON object of a study's fields, but is {type(content).__name__}.")
    kinds = typing.get_type_hints(StudyConfig)
    values = {}
    for name, value in content.items():
        if name == "template_arguments" and isinstance(value, dict):
            # A file of JSON may hold the object itself.
            value = json.dumps(value)
        if name not in kinds:
            raise ValueError(f"{where} has the unknown field {name!r}{nearest(name, kinds)}")
        values[name] = _read(value, kinds[name], f"{where}: {name}")
    return StudyConfig(**values)


def load(path: Path) -> StudyConfig:
    """Read a configuration file.

    Raises:
        ValueError: It is missing, is not JSON, or `from_json` refuses it.
    """
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise ValueError(f"The configuration {path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"The configuration {path} is not JSON: {error}.") from error
    return from_json(content, where=str(path))


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say which fields of two configurations differ, one line per field."""
    names = [f.name for f in fields(StudyConfig)] + sorted((set(before) | set(now)) - set(StudyConfig.__annotations__))
    changed = [name for name in names if before.get(name) != now.get(name)]
    return [f"{name}: {json.dumps(before.get(name))} in the store, {json.dumps(now.get(name))} now" for name in changed]


def nearest(name: object, known: typing.Iterable[object]) -> str:
    """End the sentence about a wrong name or number with the known one nearest to it."""
    of_text = {str(one): one for one in known}
    close = difflib.get_close_matches(str(name), list(of_text), n=1, cutoff=0.5)
    known = of_text.values()
    return f"; did you mean {of_text[close[0]]!r}?" if close else f"; known are {', '.join(map(repr, known))}."


def _object(given: str) -> Any:
    """Read an object of JSON that a field holds as text."""
    try:
        return json.loads(given)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"template_arguments are not JSON ({error}): {given!r:.80}.") from error


def _at_least(config: StudyConfig, name: str, least: int) -> None:
    if getattr(config, name) < least:
        raise ValueError(f"{name} is {getattr(config, name)}, but must be at least {least}.")


def _read(value: Any, kind: Any, where: str) -> Any:
    """Check a JSON value by a field's type."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        return _read(value, next(k for k in inner if k is not type(None)), where)
    if origin is Literal:
        if value not in inner:
            raise ValueError(f"{where} is {value!r}, which is not known{nearest(value, inner)}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{where} must be a list, but is {value!r:.60}.")
        return tuple(_read(v, inner[0], where) for v in value)
    if origin is not None:
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            raise ValueError(f"{where} must be an object of strings, but is {value!r:.60}.")
        return value
    wanted = (int, float) if kind is float else kind
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{where} must be {kind.__name__}, but is {value!r:.60}.")
    if kind is float and isinstance(value, int) and abs(value) > sys.float_info.max:
        raise ValueError(f"{where} must be a number that a float holds, but has {len(str(value))} digits.")
    return kind(value)
