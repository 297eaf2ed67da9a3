"""Build the documentation into build/site, to be read offline: `make docs`.

1. The schema of a store is written into docs/formats.md (`interact.formats.schema.page`).
2. Pictures whose tables have changed are drawn again (docs/figures.py).
3. Sphinx makes the site of the pages, notebooks and docstrings; docs/conf.py says how. A warning is an error.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.cmd.build import build_main

ROOT = Path(__file__).parent.parent


def write_schema() -> None:
    """Write the tables of a store into their page."""
    from interact.formats.schema.page import with_schema

    page = ROOT / "docs" / "formats.md"
    page.write_text(with_schema(page.read_text("utf-8")), "utf-8")


def write_site(out: Path, *, kept: Path) -> int:
    """Write the site into `out`; `kept` holds what a later build need not read again. Return 0 without warnings."""
    places = ["-c", ROOT / "docs", "-d", kept, ROOT, out]
    return build_main(["-q", "-W", "--keep-going", *map(str, places)])


if __name__ == "__main__":
    import figures

    write_schema()
    figures.write()
    site = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "site"
    failed = write_site(site, kept=ROOT / "build" / "doctrees")
    print(f"open {site / 'index.html'}")
    sys.exit(failed)
