"""The documentation stays short enough to be read.

Counted are words with a letter or a digit, tables included, of README.md, CONTRIBUTING.md, docs/*.md and
docs/howto/*.md. Not counted are code blocks, the reference (docs/formats.md, docs/models.md, docstrings), dated notes
(docs/notes/), the gallery, and the tables that `make results` writes.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
REFERENCE = ("formats.md", "models.md")
MOST = 20_000
LEFT_OUT = re.compile(r"<!-- results: .*?<!-- end of results -->|^```.*?^```", re.DOTALL | re.MULTILINE)


def words(page: Path) -> int:
    return len(re.findall(r"\S*[A-Za-z0-9]\S*", LEFT_OUT.sub("", page.read_text("utf-8"))))


def test_all_pages_together_are_short():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    counts = {p.name: words(p) for p in (*pages, *(ROOT / "docs" / "howto").glob("*.md")) if p.name not in REFERENCE}
    longest = sorted(counts, key=counts.__getitem__)[-5:]
    told = f"{sum(counts.values())} words; shorten {longest}, or move measurements to docs/notes/."
    assert sum(counts.values()) < MOST, told


def test_every_page_says_at_its_top_whom_it_is_for():
    pages = [p for p in (ROOT / "docs").glob("*.md") if p.name != "protocol.md"]
    for page in (*pages, *(ROOT / "docs" / "howto").glob("*.md")):
        top = page.read_text("utf-8")[:600]
        assert "\nThis page is for readers" in top, f"{page.relative_to(ROOT)} begins with {top[:80]!r}"
