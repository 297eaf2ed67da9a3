"""A text as a tree of parts (document, paragraphs, sentences, words), whose values add up to those of their parents."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from interact.formats.labels import shortened, written

KINDS = ("document", "paragraph", "sentence", "word", "rest")


@dataclass(frozen=True)
class Part:
    """A part of a text and what it adds to the score.

    Attributes:
        kind: ``"document"``, ``"paragraph"``, ``"sentence"``, ``"word"``; or ``"rest"``, what a sentence adds beside
            its words: the words are judged with all other sentences present, the sentence over all choices of them.
        text: Its words.
        value: Its Shapley value among its siblings; the children's values add up to it.
        error: Standard error of the value; None where it is not known.
        r2: How much of the scores behind the children's values is explained, on held-out coalitions where there are
            any; None without children of its own fit.
        scores: How many scores these are.
        children: Its parts, in text order.
    """

    kind: str
    text: str
    value: float
    error: float | None = None
    r2: float | None = None
    scores: int = 0
    children: tuple[Part, ...] = ()

    def record(self) -> dict[str, Any]:
        """Return the tree as JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Part:
        """Return the tree of a `record`.

        Raises:
            ValueError: It is none.
        """
        try:
            own = {**record, "children": tuple(cls.of(child) for child in record["children"])}
            part = cls(**own)
            whole = isinstance(part.text, str) and part.kind in KINDS and isinstance(part.value, (int, float))
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"This record is not a part of a text: {record!r:.80}.") from error
        if not whole:
            raise ValueError(f"This record is not a part of a text: {record!r:.80}.")
        return part

    def lines(self, depth: int = 0, largest: float | None = None) -> list[str]:
        """Write the tree as lines of text; `largest` is the largest value in it, None of this part and its children."""
        largest = self._largest() if largest is None else largest
        value = f"{written(self.value, largest, '+'):>9}{self._error(largest)}"
        own = f"{'  ' * depth}{value}  {self._name()}{self._fit()}"
        return [own, *(line for child in self.children for line in child.lines(depth + 1, largest))]

    def html(self, largest: float | None = None) -> str:
        """Write the tree as an HTML fragment that opens and closes, every text escaped; `largest` is as in `lines`."""
        largest = self._largest() if largest is None else largest
        value = f"<b>{written(self.value, largest, '+')}</b>{self._error(largest)}"
        own = f'{value} <span dir="auto">{html.escape(self._name())}</span>{self._fit()}'
        if not self.children:
            return f"<li>{own}</li>"
        inner = "".join(child.html(largest) for child in self.children)
        shown = " open" if self.kind in ("document", "paragraph") else ""
        return f"<li><details{shown}><summary>{own}</summary><ul>{inner}</ul></details></li>"

    def _name(self) -> str:
        return self.text if self.kind == "word" else shortened(self.text, 80)

    def _largest(self) -> float:
        return max([abs(self.value), *(abs(child.value) for child in self.children)])

    def _error(self, largest: float) -> str:
        return "" if self.error is None else f" ± {written(self.error, largest)}"

    def _fit(self) -> str:
        return "" if self.r2 is None else f" (R^2 {self.r2:.2f} of {self.scores} scores)"


def parts_of(result: Any) -> Part | None:
    """Return the tree of a result that `interact.sparse.document` made, None of others."""
    record = result.provenance.get("parts")
    return None if record is None else Part.of(record)
