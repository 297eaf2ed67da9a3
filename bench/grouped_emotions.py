"""GoEmotions grouped into five classes, as many comments of each: the second data set of docs/protocol.md.

    python -m bench.grouped_emotions --folder GOEMOTIONS --out five-emotions.jsonl

The folder holds ``train.tsv`` and ``labels.txt`` as published. Comments of one label alone are taken, and grouped as
Demszky et al. 2020 (arXiv:2005.00547) group them by Ekman's emotions; their disgust (few) and neutral (none of the six)
are left out. Each class gets its first comments in the order of the file, as many as the smallest has.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from interact.sft.data import EMOTION, Example, read_examples

GROUPS = {
    "joy": "joy amusement approval excitement gratitude love optimism relief pride admiration desire caring",
    "anger": "anger annoyance disapproval",
    "sadness": "sadness disappointment embarrassment grief remorse",
    "surprise": "surprise realization confusion curiosity",
    "fear": "fear nervousness",
}


def grouped(examples: list[Example]) -> list[dict[str, str]]:
    """Return rows of ``id``, ``text`` and ``label``, as many of each class, in the order of the examples."""
    group_of = {emotion: group for group, emotions in GROUPS.items() for emotion in emotions.split()}
    classes: dict[str, list[int]] = {group: [] for group in GROUPS}
    for number, example in enumerate(examples):
        if example.response in group_of:
            classes[group_of[example.response]].append(number)
    most = min(map(len, classes.values()))
    chosen = {number: group for group, found in classes.items() for number in found[:most]}
    return [{"id": examples[i].id, "text": examples[i].text, "label": chosen[i]} for i in sorted(chosen)]


def config(data: Path) -> dict[str, object]:
    """Return what a study must be told of this file."""
    assert EMOTION.user is not None
    told = {"text_column": "text", "response_column": "label"}
    return {"data": [str(data)], **told, "template": EMOTION.user, "answer_prefix": EMOTION.answer_prefix}


def main() -> None:
    """Write the rows, and print what a study's configuration must say of them."""
    given = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    given.add_argument("--folder", type=Path, required=True, help="GoEmotions: train.tsv and labels.txt")
    given.add_argument("--out", type=Path, required=True)
    options = given.parse_args()
    rows = grouped(read_examples(options.folder))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    print(json.dumps(config(options.out), indent=1))


if __name__ == "__main__":
    main()
