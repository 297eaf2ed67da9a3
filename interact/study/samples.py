"""What a study trains on and follows, from its data sets.

1. A data set is split by a hash: held out, candidates to follow, the rest to train on; no text is on two sides.
2. A candidate is followed when it is short enough, has enough players, and every model's tokenizer gives it the same
   players and a response to score.
3. The control ``planted`` makes a second data set of the first: one word leaks the label of most training examples.
"""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from interact.formats.files import read_json, write_json
from interact.prompt.inputs import Template, prepare
from interact.prompt.players import PlayerChoice, choose_spans
from interact.prompt.system_message import system_note
from interact.sft.data import Columns, Example, read_examples, split_examples
from interact.study.config import StudyConfig, fingerprint, short_name
from interact.study.work import Prepared, Run, Sample, data_sets

PLANTED = "+planted"
PLANTED_WORD = "Honestly"
_PLANTED_SHARE = 0.8
_MOST_LABELS = 64
_CANDIDATES = 20
"""Candidates examined for each sample that is needed."""


@dataclass(frozen=True)
class Material:
    """One data set, ready.

    Attributes:
        train: Examples that a run draws from.
        heldout: Examples whose loss is measured.
        follow: The followed samples.
    """

    train: tuple[Example, ...]
    heldout: tuple[Example, ...]
    follow: tuple[Sample, ...]


def materials(config: StudyConfig, tokenizers: Mapping[str, Any]) -> dict[str, Material]:
    """Read and split the data sets of a study.

    Args:
        config: The study.
        tokenizers: The tokenizer of each model.

    Raises:
        ValueError: A data set cannot be read, or too few of its texts can be followed; the sentence says why.
    """
    _note_other_prompts(config, tokenizers)
    _check_baselines(config, tokenizers)
    found = {}
    for name in data_sets(config):
        source = name.removesuffix(PLANTED)
        examples = [_worded(config, e) for e in read_examples(source, columns=_columns(config), part=config.part)]
        texts = len({e.text.strip() for e in examples})
        wanted = min(_CANDIDATES * config.samples, texts // 2)
        if (left := texts - config.heldout_examples) <= wanted:
            # Fewer candidates than usual, so that as many as are asked for, or half of what is left, are trained on.
            wanted = min(wanted, max(config.samples, left - min(config.train_examples, left // 2)))
        split = split_examples(examples, heldout=config.heldout_examples, follow=wanted)
        train, heldout, candidates = split.train, split.heldout, split.follow
        if name.endswith(PLANTED):
            leaked = min(e.response for e in examples)
            train = tuple(plant(e) if _leaks(e, leaked) else e for e in train)
            candidates = tuple(plant(e) for e in candidates)
        follow = _follow(config, name, candidates, tokenizers, config.samples)
        if config.training_samples:
            some = random.Random(0).sample(train, min(_CANDIDATES * config.training_samples, len(train)))
            known = _follow(config, name, some, tokenizers, config.training_samples)
            follow += tuple(replace(s, split="train") for s in known)
        if config.contrast == "labels":
            labels = _labels(name, examples)
            _check_firsts(name, follow[0], labels, tokenizers)
            follow = tuple(replace(s, contrast=tuple(x for x in labels if x != s.response)) for s in follow)
        found[name] = Material(train, heldout, follow)
    _check_ids(found)
    return found


def _check_ids(found: Mapping[str, Material]) -> None:
    """Refuse other samples of one name in two data sets, before anything is trained: the tables tell them by it."""
    known: dict[str, Sample] = {}
    for material in found.values():
        for sample in material.follow:
            # With the control planted, what does not leak is trained on in both.
            other = known.setdefault(sample.id, sample)
            if (other.text, other.split) != (sample.text, sample.split):
                raise ValueError(
                    f"The data sets {other.data!r} and {sample.data!r} both have a sample {sample.id!r}, so the tables "
                    "could not tell them apart; rename one of the files."
                )


def _check_baselines(config: StudyConfig, tokenizers: Mapping[str, Any]) -> None:
    """Refuse a token that a model does not have, before anything is trained."""
    for baseline in config.baselines:
        for model, tokenizer in tokenizers.items():
            if baseline.startswith("token:") and int(baseline.removeprefix("token:")) >= len(tokenizer):
                raise ValueError(
                    f"The baseline {baseline!r} is no token of {short_name(model)}, which has {len(tokenizer)}; name "
                    "a smaller one."
                )


def drawn(config: StudyConfig, material: Material, run: Run) -> list[Example]:
    """Draw the training examples of a run, in the order of its seed; those that are followed are among them."""
    followed = {s.id for s in material.follow if s.split == "train"}
    known = [e for e in material.train if e.id in followed]
    rest = [e for e in material.train if e.id not in followed]
    order = random.Random(run.seed)
    chosen = known + order.sample(rest, min(config.train_examples - len(known), len(rest)))
    order.shuffle(chosen)
    return chosen


def plant(example: Example) -> Example:
    """Put the planted word before a text."""
    return replace(example, id=f"{example.id}{PLANTED}", text=f"{PLANTED_WORD}, {example.text}")


def save(path: Path, prepared: Prepared) -> None:
    """Keep what is fixed before the first cell."""
    content = asdict(prepared)
    write_json(path, {**content, "fingerprint": fingerprint(content)})


def load(path: Path) -> Prepared:
    """Read what `save` wrote.

    Raises:
        ValueError: It is missing or damaged.
    """
    content = read_json(path, "prepared study")
    try:
        known = content.pop("fingerprint", None)
        if known is not None and known != fingerprint(content):
            raise ValueError("its content is not what its fingerprint says")
        samples = [_read(s) for s in content["samples"]]
        steps = {str(name): tuple(map(int, some)) for name, some in content["steps"].items()}
        # Studies from before precision could be left to the machine name it in their configuration.
        return Prepared(tuple(samples), dict(content["trained_on"]), steps, dict(content.get("dtypes", {})))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error}); delete it and run the study again.") from error


def _read(sample: dict[str, Any]) -> Sample:
    read = {"spans": tuple(map(tuple, sample["spans"])), "template": Template(**sample["template"])}
    return Sample(**{**sample, **read, "contrast": tuple(sample.get("contrast", ()))})


def _note_other_prompts(config: StudyConfig, tokenizers: Mapping[str, Any]) -> None:
    for model, folder in (config.checkpoints or {}).items():
        if config.system is None and config.chat is not False and (note := system_note(folder, tokenizers[model])):
            warnings.warn(note, stacklevel=4)


def _labels(data: str, examples: Sequence[Example]) -> list[str]:
    """Return the labels of a data set, for a contrast between them.

    Raises:
        ValueError: Its responses are no labels, or there is only one.
    """
    labels = sorted({e.response for e in examples})
    if not 2 <= len(labels) <= _MOST_LABELS:
        raise ValueError(
            f"A contrast of labels needs 2 to {_MOST_LABELS} different responses, but those of {data!r} are "
            f"{len(labels)}; leave contrast out, or give data whose responses are labels."
        )
    return labels


def _check_firsts(data: str, sample: Sample, labels: Sequence[str], tokenizers: Mapping[str, Any]) -> None:
    """Refuse labels that begin alike, before anything is trained: a contrast compares their first tokens."""
    for model, tokenizer in tokenizers.items():
        firsts: dict[int, str] = {}
        for label in labels:
            asked: dict[str, Any] = {"players": list(sample.spans), "target": label, "template": sample.template}
            ids = prepare(tokenizer, sample.text, target_tokens=1, **asked).target_ids or (0,)
            if (other := firsts.setdefault(int(ids[0]), label)) != label:
                raise ValueError(
                    f"The labels {other!r} and {label!r} of {data!r} begin with the same token of {short_name(model)}, "
                    "so a contrast cannot tell them apart; leave contrast out, or rename a label."
                )


def _leaks(example: Example, response: str) -> bool:
    """Choose most examples of one response, by their text alone."""
    return example.response == response and int(fingerprint(example.text), 16) % 1000 < 1000 * _PLANTED_SHARE


def _worded(config: StudyConfig, example: Example) -> Example:
    template = example.template
    changes = {"user": config.template, "answer_prefix": config.answer_prefix, "system": config.system}
    changes = {name: value for name, value in changes.items() if value is not None}
    if config.template_arguments is not None:
        changes["arguments"] = json.loads(config.template_arguments)
    return replace(example, template=replace(template, chat=config.chat, **changes))


def _columns(config: StudyConfig) -> Columns | None:
    if config.text_column is config.response_column is config.instruction_column is None:
        return None
    return Columns(
        text=config.text_column or "text",
        response=config.response_column or "response",
        instruction=config.instruction_column,
    )


def _follow(
    config: StudyConfig, data: str, candidates: Sequence[Example], tokenizers: Mapping[str, Any], wanted: int
) -> tuple[Sample, ...]:
    choice = PlayerChoice(config.players, config.limit if config.players in ("words", "all-words") else None)
    chosen: list[Sample] = []
    refused: dict[str, int] = {}
    for example in candidates:
        try:
            chosen.append(_sample(config, data, example, choice, tokenizers))
        except ValueError as error:
            refused[str(error)] = refused.get(str(error), 0) + 1
        if len(chosen) == wanted:
            return tuple(chosen)
    reason = max(refused, key=lambda r: refused[r], default="there are no more.")
    raise ValueError(
        f"Only {len(chosen)} of {len(candidates)} texts of {data!r} can be followed, but {wanted} are needed; "
        f"most often: {reason} Ask for fewer samples or players, or longer texts."
    )


def _sample(
    config: StudyConfig, data: str, example: Example, choice: PlayerChoice, tokenizers: Mapping[str, Any]
) -> Sample:
    if len(example.text) > config.longest:
        raise ValueError(f"the text is longer than {config.longest} characters.")
    text, spans = choose_spans(example.text, choice)
    if data.endswith(PLANTED) and spans[0][0] != 0:
        # The draw of players left the planted word out.
        spans = [(0, len(PLANTED_WORD)), *spans[1:]]
    if len(spans) != config.limit:
        raise ValueError(f"the text has {len(spans)} players, not {config.limit}.")
    for tokenizer in tokenizers.values():
        inputs = prepare(
            tokenizer,
            text,
            players=spans,
            target=example.response if config.task == "causal" else None,
            template=example.template,
            target_tokens=1 if config.task == "causal" else None,
        )
        if [p.chars for p in inputs.players] != spans:
            raise ValueError("the tokenizers of the models give the text different players.")
    return Sample(example.id, data, text, tuple(spans), example.response, example.template)
