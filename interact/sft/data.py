"""Examples to train on and to follow, read from wherever they are.

1. A source becomes rows: embedded reviews, GoEmotions, a hub set, a data file, LLaMA-Factory's dataset_info.json.
2. A column mapping turns a row into the user's text (its words are the players), what surrounds it, the response.
3. A split by hash: the same seed puts a text on the same side, however many others there are.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from interact.models import embedded
from interact.models.embedded.texts import REVIEW_SOURCES
from interact.prompt.inputs import Template
from interact.sft.llama_factory import described_rows
from interact.sft.rows import FORMATS, hub_rows, read_rows, read_text

REVIEW = Template(user="Is this movie review positive or negative?\n\n{text}", answer_prefix="This review is")
EMOTION = Template(user="Which emotion does this comment express?\n\n{text}", answer_prefix="This comment expresses")
_HERE = "{text}"
_WHOLE = 1 << 53
_GOEMOTIONS = "google-research-datasets/go_emotions"


@dataclass(frozen=True)
class Example:
    """One text with its response.

    Attributes:
        id: Its name, unique in its source.
        text: The user's text; its words are the players.
        response: The answer that the model should give.
        template: What surrounds the text.
    """

    id: str
    text: str
    response: str
    template: Template = field(default_factory=Template)


def content_of(example: Example) -> dict[str, Any]:
    """Return an example as JSON values, of which keys and fingerprints are made."""
    return {**asdict(example), "template": example.template.content()}


@dataclass(frozen=True)
class Columns:
    """Which columns of a data set hold what.

    Attributes:
        text: The user's text, whose words are the players. Where a row's text is empty, its instruction is the text.
        response: The answer to train.
        instruction: What stands before the text in the user's message.
        context: What stands behind the text in the user's message.
        system: The system message.
    """

    text: str = "text"
    response: str = "response"
    instruction: str | None = None
    context: str | None = None
    system: str | None = None


@dataclass(frozen=True)
class Split:
    """Examples that share no text: to train on, to measure the held-out loss on, and to follow interactions on."""

    train: tuple[Example, ...]
    heldout: tuple[Example, ...]
    follow: tuple[Example, ...]


_ALPACA = Columns("input", "output", instruction="instruction", system="system")
_HUB = {
    "databricks/databricks-dolly-15k": Columns("instruction", "response", context="context"),
    "Hanscal/Unilaw-R1-Data": Columns("input", "output", instruction="instruction"),
}
_SHORT = {"goemotions": _GOEMOTIONS, "dolly": "databricks/databricks-dolly-15k", "unilaw": "Hanscal/Unilaw-R1-Data"}


def read_examples(
    source: str | Path,
    *,
    columns: Columns | Mapping[str, str] | None = None,
    template: Template | None = None,
    part: str | None = None,
    skip_empty: bool = False,
) -> list[Example]:
    """Read a data set.

    Args:
        source: ``"reviews"`` or ``"imdb"`` (embedded, fetched when missing; the response is "positive" or "negative");
            ``"goemotions"``, ``"dolly"``, ``"unilaw"`` or any ``"owner/name"`` of the hub; a folder with GoEmotions'
            ``train.tsv`` and ``labels.txt``; a JSONL, JSON, CSV, TSV or Parquet file; LLaMA-Factory's
            ``dataset_info.json``.
        columns: Which columns hold what, a `Columns` or a mapping such as ``{"text": "question", "response":
            "answer"}``; not needed where the source's layout is known.
        template: What surrounds each text; None for the source's own (a question for reviews and emotions).
        part: The split of a hub set or GoEmotions folder (``"train"``), or the entry of a ``dataset_info.json``.
        skip_empty: Leave out rows whose text or response is empty instead of refusing them.

    Returns:
        The examples, in the order of the source. GoEmotions: the rows of one label, whose name is the response.

    Raises:
        ValueError: Something given is wrong: an unknown source or format, a missing file or column, an empty response.
        RuntimeError: Reviews or a hub set that are not here cannot be fetched: no network, no package for hub sets.

    >>> read_examples("train.jsonl", columns={"text": "question", "response": "answer"})  # doctest: +SKIP
    """
    name = str(source)
    if is_embedded(name):
        return _reviews(name, template or REVIEW)
    path = Path(source).expanduser()
    if path.is_dir() and (path / "labels.txt").is_file():
        return _goemotions_folder(path, part or "train", template or EMOTION)
    if path.is_dir() and (path / "dataset_info.json").is_file():
        path = path / "dataset_info.json"
    if path.name == "dataset_info.json":
        rows, entry = described_rows(path, part)
        return _mapped(rows, entry, columns or _ALPACA, template, skip_empty)
    if path.is_file() or path.suffix.lower() in FORMATS:
        return _mapped(read_rows(path), path.stem, columns, template, skip_empty)
    if path.exists():
        raise ValueError(
            f"{path} is neither a data file ({', '.join(FORMATS)}) nor a folder with labels.txt (GoEmotions) or "
            "dataset_info.json (LLaMA-Factory)."
        )
    on_hub = hub_name(name)
    if on_hub is None:
        raise ValueError(
            f"The data set {name!r} is not known: no such file exists, and it is none of reviews, imdb, "
            f"{', '.join(_SHORT)} or an owner/name of the hub."
        )
    hub, subset = on_hub
    rows = hub_rows(hub, split=part or "train", subset=subset)
    if hub == _GOEMOTIONS and columns is None:
        return _goemotions(((r["text"], r["labels"], r["id"]) for r in rows), _EMOTIONS, template or EMOTION)
    return _mapped(rows, hub.split("/")[1], columns or _HUB.get(hub), template, skip_empty)


def is_embedded(source: str) -> bool:
    """Whether a data set is among the embedded reviews."""
    return source in (*REVIEW_SOURCES, "reviews")


def hub_name(source: str) -> tuple[str, str | None] | None:
    """Return the hub id of a data set and its configuration there; None for one that is not on the hub."""
    name = _SHORT.get(source, source)
    path = Path(source).expanduser()
    local = is_embedded(source) or path.exists() or path.suffix.lower() in FORMATS
    if local or name.count("/") != 1 or source.startswith((".", "/", "~")):
        return None
    return name, "simplified" if name == _GOEMOTIONS else None


def split_examples(examples: Iterable[Example], *, heldout: int, follow: int, seed: int = 0) -> Split:
    """Split examples by a hash of seed and text, so that no text is on two sides.

    A text keeps its rank when other texts come or go. Among examples of one text the first is followed or held out,
    and none of the others is trained on.

    Args:
        examples: The examples.
        heldout: How many to hold out.
        follow: How many to follow.
        seed: Seed of the hash.

    Raises:
        ValueError: A number is negative, or nothing is left to train on.

    >>> split_examples(examples, heldout=100, follow=20)  # doctest: +SKIP
    """
    if heldout < 0 or follow < 0:
        raise ValueError(f"heldout={heldout} and follow={follow} must not be negative.")
    texts: dict[str, list[Example]] = {}
    for example in examples:
        texts.setdefault(example.text.strip(), []).append(example)
    if heldout + follow >= len(texts):
        raise ValueError(
            f"{len(texts)} different texts cannot give {heldout} held out, {follow} followed and some to train on; "
            "ask for fewer, or give more examples."
        )
    order = sorted(texts, key=lambda text: hashlib.sha256(f"{seed}\n{text}".encode(errors="replace")).digest())
    followed, held, rest = order[:follow], order[follow : follow + heldout], set(order[follow + heldout :])
    return Split(
        train=tuple(example for text, group in texts.items() if text in rest for example in group),
        heldout=tuple(texts[text][0] for text in held),
        follow=tuple(texts[text][0] for text in followed),
    )


def _reviews(name: str, template: Template) -> list[Example]:
    embedded.fetch("reviews")
    source = "rotten_tomatoes" if name == "reviews" else name
    answers = ("negative", "positive")
    return [
        Example(f"{name}-{number}", review.text, answers[review.label], template)
        for number, review in enumerate(embedded.reviews(source))
        if review.text
    ]


def _goemotions_folder(folder: Path, part: str, template: Template) -> list[Example]:
    path = folder / f"{part}.tsv"
    if not path.is_file():
        there = sorted(p.stem for p in folder.glob("*.tsv"))
        raise ValueError(f"The GoEmotions folder {folder} has no {part}.tsv; it has {there}.")
    labels = tuple(read_text(folder / "labels.txt").split())
    rows = []
    # No quoting: the comments hold lone quotation marks.
    for number, line in enumerate(read_text(path).rstrip("\n").split("\n"), start=1):
        cells = line.split("\t")
        known = len(cells) == 3 and all(re.fullmatch(r"[0-9]{1,9}", c) for c in cells[1].split(","))
        if not known or not all(int(c) < len(labels) for c in cells[1].split(",")):
            raise ValueError(
                f"Line {number} of {path} must be text, label numbers, id, with tabs between: {line!r:.80}."
            )
        rows.append((cells[0], [int(c) for c in cells[1].split(",")], cells[2].strip()))
    return _goemotions(rows, labels, template)


def _goemotions(
    rows: Iterable[tuple[str, Sequence[int], str]], labels: Sequence[str], template: Template
) -> list[Example]:
    return [
        Example(f"goemotions-{name}", text.strip(), labels[chosen[0]], template)
        for text, chosen, name in rows
        if len(chosen) == 1 and text.strip()
    ]


def _mapped(
    rows: list[dict[str, Any]],
    name: str,
    columns: Columns | Mapping[str, str] | None,
    template: Template | None,
    skip_empty: bool,
) -> list[Example]:
    wanted = _columns(columns)
    there = {str(column): None for row in rows[:100] for column in row}
    named = {f.name: getattr(wanted, f.name) for f in fields(wanted) if getattr(wanted, f.name) is not None}
    missing = {role: column for role, column in named.items() if rows and column not in there}
    if missing:
        told = ", ".join(f"{column!r} ({role})" for role, column in missing.items())
        raise ValueError(
            f"The data set {name!r} has no column {told}; it has {', '.join(map(repr, there))}. Name its own "
            "columns (columns= in Python; --text-column, --response-column of a study)."
        )
    examples = []
    for number, row in enumerate(rows, start=1):
        example = _example(row, number, name, wanted, template or Template())
        empty = "text" if not example.text else "response" if not example.response.strip() else None
        if empty and not skip_empty:
            raise ValueError(
                f"Row {number} of the data set {name!r} has an empty {empty}; repair the row or leave it out."
            )
        if not empty:
            examples.append(example)
    if not examples:
        raise ValueError(f"The data set {name!r} has no rows with a text and a response; check its columns.")
    return examples


def _columns(columns: Columns | Mapping[str, str] | None) -> Columns:
    if columns is None or isinstance(columns, Columns):
        return columns or Columns()
    known = [f.name for f in fields(Columns)]
    unknown = sorted(set(columns) - set(known))
    if unknown:
        raise ValueError(f"The column mapping names {unknown}, but only {known} are known.")
    return Columns(**columns)


def _example(row: Mapping[str, Any], number: int, name: str, columns: Columns, template: Template) -> Example:
    def cell(column: str | None) -> str:
        value = row.get(column) if column is not None else None
        if isinstance(value, float) and math.isnan(value):
            return ""
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE:
            # pandas makes a column of whole numbers floats where a cell of it is empty.
            return str(int(value))
        if value is not None and not isinstance(value, (str, int, float)):
            raise ValueError(
                f"Row {number} of the data set {name!r} has a {type(value).__name__} in column {column!r}; text is "
                "expected. For conversations, describe the set in a dataset_info.json."
            )
        return "" if value is None else str(value)

    text, instruction, context = cell(columns.text).strip(), cell(columns.instruction), cell(columns.context)
    if not text:
        text, instruction = instruction.strip(), ""
    system = cell(columns.system).strip() or template.system
    around = [part for part in (instruction.strip(), _HERE, context.strip()) if part]
    if len(around) > 1:
        if any(_HERE in part for part in around if part != _HERE) or around.count(_HERE) > 1:
            raise ValueError(
                f"Row {number} of the data set {name!r} holds {_HERE} in its instruction or context, where it would be "
                "taken for the place of the text; remove it."
            )
        template = replace(template, user=template.user.replace(_HERE, "\n".join(around)))
    return Example(f"{name}-{number}", text, cell(columns.response), replace(template, system=system))


_EMOTIONS = tuple(
    "admiration amusement anger annoyance approval caring confusion curiosity desire disappointment disapproval "
    "disgust embarrassment excitement fear gratitude grief joy love nervousness optimism pride realization relief "
    "remorse sadness surprise neutral".split()
)
"""The labels of GoEmotions (Demszky et al., ACL 2020), in the order of the hub set's numbers."""
