"""Run the examples of docs/gallery/ and write what they print and draw into it: `make gallery`.

1. A page's `python` blocks run from top to bottom in one namespace, in an empty folder.
2. What a block prints becomes the `text` block behind it.
3. The SVG files that a page leaves in the folder become its pictures.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl

import interact

FOLDER = Path(__file__).parent / "gallery"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.stem != "index")
_BLOCK = re.compile(r"```python\n(.*?)```\n(?:\n```text\n.*?```\n)?", re.DOTALL)


def run(page: Path) -> str:
    """Run a page in the current folder, into which it draws; return the page with what it prints."""
    namespace = {"__name__": "__main__"}

    def block(found: re.Match[str]) -> str:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(found[1], page.name, "exec"), namespace)
        output = "\n".join(line.rstrip() for line in printed.getvalue().splitlines())
        return f"```python\n{found[1]}```\n" + (f"\n```text\n{output}\n```\n" if output else "")

    settings = {"svg.hashsalt": "interact", "svg.fonttype": "none"}
    with mpl.rc_context(settings), _dated("0"):
        return _BLOCK.sub(block, page.read_text("utf-8"))


@contextlib.contextmanager
def _dated(second: str) -> Iterator[None]:
    """Let matplotlib write one date into every picture."""
    before = os.environ.get("SOURCE_DATE_EPOCH")
    os.environ["SOURCE_DATE_EPOCH"] = second
    try:
        yield
    finally:
        os.environ.pop("SOURCE_DATE_EPOCH")
        if before is not None:
            os.environ["SOURCE_DATE_EPOCH"] = before


@contextlib.contextmanager
def _inside(folder: str) -> Iterator[None]:
    """Work in a folder; `contextlib.chdir` needs Python 3.11."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def main(names: list[str]) -> None:
    """Run the pages of these names, or all."""
    load = interact.load_model
    # One model serves all pages that ask for it.
    once = functools.cache(load)
    interact.load_model = lambda name, **more: once(name) if name == "smollm2" and not more else load(name, **more)
    for page in [FOLDER / f"{name}.md" for name in names] or PAGES:
        with tempfile.TemporaryDirectory() as folder:
            with _inside(folder):
                text = run(page)
            for picture in Path(folder).glob("*.svg"):
                shutil.copy(picture, FOLDER)
        page.write_text(text, "utf-8")
        print(f"wrote {page}")


if __name__ == "__main__":
    main(sys.argv[1:])
