"""The documentation stays short enough to be read.

Counted as `wc -w` counts: README.md, CONTRIBUTING.md, docs/*.md and docs/howto/*.md, code and tables too.
Not counted: the reference (docs/formats.md, docs/models.md, docstrings), dated notes (docs/notes/) and the gallery.
"""

from pathlib import Path

ROOT = Path(__file__).parents[2]
REFERENCE = ("formats.md", "models.md")
MOST = 20_000


def test_all_pages_together_are_short():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    pages += (ROOT / "docs" / "howto").glob("*.md")
    words = {p.relative_to(ROOT): len(p.read_text("utf-8").split()) for p in pages if p.name not in REFERENCE}
    longest = sorted(words.items(), key=lambda item: -item[1])[:5]
    assert sum(words.values()) < MOST, (
        f"{sum(words.values())} words; shorten {longest}, or move measurements to docs/notes."
    )


def test_every_page_says_at_its_top_whom_it_is_for():
    pages = [p for p in (ROOT / "docs").glob("*.md") if p.name not in (*REFERENCE, "protocol.md")]
    for page in (*pages, *(ROOT / "docs" / "howto").glob("*.md")):
        _, _, first, *_ = page.read_text("utf-8").split("\n", 3)
        assert first.startswith("This page is for readers"), f"{page.relative_to(ROOT)} begins with {first!r}"
