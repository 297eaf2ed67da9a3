"""Examples as a model in training sees them: the prompt carries no loss, the response does.

The prompt and the response come from `interact.prompt.inputs`, so the first token that is trained is the token whose
score is followed. Behind the response stands the end-of-sequence token, where there is room.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from interact.models.family import inspect_model, label_index, takes_types
from interact.prompt.inputs import encode_answer, prepare
from interact.prompt.template import Rendered, Template, prints_the_time
from interact.sft.data import Example

IGNORED = -100
_MARK = "\u241fanswer\u241f"


class EncodedExamples:
    """Examples as token ids and labels, encoded when they are asked for.

    Args:
        model: The model to train: causal, or a sequence classifier.
        tokenizer: Its fast tokenizer.
        examples: The examples.
        max_length: Most tokens of prompt and response together; a longer response is cut at its end.

    Raises:
        ValueError: There are no examples, or a response is empty or not a label of a classifier.
    """

    def __init__(self, model: Any, tokenizer: Any, examples: Sequence[Example], max_length: int) -> None:
        if not examples:
            raise ValueError("There are no examples; give at least one.")
        for example in examples:
            if not example.response.strip():
                raise ValueError(f"The example {example.id!r} has an empty response; leave it out or repair it.")
        family = inspect_model(model)
        self._tokenizer, self._examples = tokenizer, examples
        self._length = min(max_length, family.context or max_length)
        self._labels = None
        self._cut = False
        self._rendered: dict[int, Rendered] = {}
        self._dated = prints_the_time(tokenizer)
        self._typed = takes_types(model, family)
        if family.kind == "classifier":
            self._labels = [label_index(model, example.response.strip()) for example in examples]
        pads = (tokenizer.pad_token_id, getattr(model.config, "pad_token_id", None), tokenizer.eos_token_id)
        self._pad = next((int(i) for i in pads if isinstance(i, int)), 0)

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> dict[str, list[int] | int]:
        example, fixed = self._examples[index], partial(self._first_prompt, index)
        if self._labels is not None:
            inputs = prepare(self._tokenizer, example.text, players=[], template=example.template, fixed=fixed)
            ids, types = list(inputs.input_ids), inputs.type_ids
            self._check_room(example, len(ids))
            typed = {} if types is None or not self._typed else {"token_type_ids": list(types)}
            return {"input_ids": ids, **typed, "labels": self._labels[index]}
        prompt, answer = encode_answer(self._tokenizer, example.text, example.response, example.template, fixed=fixed)
        self._check_room(example, len(prompt) + 1)
        end = self._tokenizer.eos_token_id
        if len(prompt) + len(answer) > self._length and not self._cut:
            self._cut = True
            warnings.warn(
                f"The response of {example.id!r} ends after {len(prompt) + len(answer)} tokens, but at most "
                f"{self._length} fit (max_length, or the model's context), so it is learned without its end, and "
                "others may be too; raise max_length, or leave long examples out.",
                stacklevel=2,
            )
        ids = [*prompt, *answer, *([] if end is None else [end])][: self._length]
        return {"input_ids": ids, "labels": [IGNORED] * len(prompt) + ids[len(prompt) :]}

    def collate(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Pad rows on the right: ids, mask, labels, int64 [rows, longest] (labels of a classifier: [rows])."""
        longest = max(len(row["input_ids"]) for row in rows)
        gaps = [longest - len(row["input_ids"]) for row in rows]
        pairs = list(zip(rows, gaps, strict=True))
        labels = [r["labels"] if isinstance(r["labels"], int) else r["labels"] + [IGNORED] * gap for r, gap in pairs]
        return {
            "input_ids": torch.tensor([row["input_ids"] + [self._pad] * gap for row, gap in pairs]),
            "attention_mask": torch.tensor([[1] * (longest - gap) + [0] * gap for gap in gaps]),
            "labels": torch.tensor(labels),
            **(
                {"token_type_ids": torch.tensor([row["token_type_ids"] + [0] * gap for row, gap in pairs])}
                if "token_type_ids" in rows[0]
                else {}
            ),
        }

    def _first_prompt(self, index: int, fresh: Rendered) -> Rendered:
        """Return a prompt as it was first rendered: a template that prints the time writes another one each epoch."""
        return self._rendered.setdefault(index, fresh) if self._dated else fresh

    def ends(self, row: dict[str, list[int] | int]) -> bool:
        """Tell whether a row of this set ends in the end-of-sequence token: it has one, and there was room for it."""
        labels, end = row["labels"], self._tokenizer.eos_token_id
        return isinstance(labels, list) and end is not None and labels[-1] == end

    def _check_room(self, example: Example, needed: int) -> None:
        if needed > self._length:
            raise ValueError(
                f"The example {example.id!r} needs {needed} tokens before its response ends, but at most "
                f"{self._length} fit (max_length, or the model's context); shorten it or leave it out."
            )


def other_ending(tokenizer: Any, template: Template) -> str | None:
    """Say that a chat template ends an answer otherwise than training does, or None.

    A model that learns to stop by one token and is asked in chats that stop by another goes on talking.
    """
    if template.chat is False or not getattr(tokenizer, "chat_template", None) or tokenizer.eos_token_id is None:
        return None
    said = [{"role": "user", "content": "x"}, {"role": "assistant", "content": _MARK}]
    named = {"chat_template": template.chat} if isinstance(template.chat, str) else {}
    try:
        whole = tokenizer.apply_chat_template(said, tokenize=False, **named, **template.arguments)
    except Exception:
        # A template is a program of a stranger; what it cannot write says nothing.
        return None
    behind = tokenizer(whole.partition(_MARK)[2], add_special_tokens=False)["input_ids"]
    control = next((i for i in behind if i in tokenizer.all_special_ids), None)
    if control is None or control == tokenizer.eos_token_id:
        return None
    name = tokenizer.convert_ids_to_tokens(control)
    return (
        f"The chat template ends an answer with {name!r}, but the model learns to end it with the tokenizer's "
        f"end-of-sequence token {tokenizer.eos_token!r}, so in a chat it may not stop; set tokenizer.eos_token = "
        f"{name!r} before training, unless you stop it yourself."
    )
