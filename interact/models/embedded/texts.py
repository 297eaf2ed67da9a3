"""The embedded movie reviews, read from the fetched CSV file."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from interact.models.embedded.cache import cache_folder, find
from interact.models.embedded.sources import SOURCES

REVIEW_SOURCES: tuple[str, ...] = ("rotten_tomatoes", "imdb")
_LONGEST_FIELD = 1 << 24
_LINE_BREAK = re.compile(r"\s*(?:<br\s*/?>\s*)+", re.IGNORECASE)


@dataclass(frozen=True)
class Review:
    """One review: its text, and its label, 1 when it is positive and 0 when it is negative."""

    text: str
    label: int


def reviews(source: str = "rotten_tomatoes", *, cache: Path | None = None) -> list[Review]:
    """Read the fetched movie reviews, in the order of the file.

    Args:
        source: "rotten_tomatoes" (8,530 sentences) or "imdb" (25,000 long reviews); both are balanced.
        cache: the cache folder; `cache_folder()` when None.

    Returns:
        The reviews, their `<br />` tags replaced by spaces.

    Raises:
        ValueError: the source is neither of the two.
        RuntimeError: the reviews have not been fetched.
    """
    if source not in REVIEW_SOURCES:
        raise ValueError(f"There are no reviews from {source!r}: choose one of {', '.join(REVIEW_SOURCES)}.")
    folder = find("reviews", cache=cache)
    if folder is None:
        raise RuntimeError(
            f"The movie reviews are not in the cache folder {cache or cache_folder()}: run `interact fetch "
            "reviews` once, and read them again."
        )
    # The limit is one for the whole process, so it is given back.
    limit = csv.field_size_limit(_LONGEST_FIELD)
    try:
        with (folder / SOURCES["reviews"].payload_name).open(encoding="utf-8", newline="") as stream:
            rows = csv.DictReader(stream)
            return [Review(_plain(row["text"]), int(row["label"])) for row in rows if row["source"] == source]
    finally:
        csv.field_size_limit(limit)


def _plain(text: str) -> str:
    return _LINE_BREAK.sub(" ", text).strip()
