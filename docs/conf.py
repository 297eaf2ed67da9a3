"""How Sphinx builds the site: `make docs`, or `sphinx-build -c docs . build/site` in the root of the repository.

1. The pages are the Markdown files where they stand, so that one link serves the site and a forge. README.md is the
   first page and holds the navigation, which is added here: a forge would show it as code.
2. Notebooks are shown as they were executed.
3. docs/reference/*.rst name the modules whose docstrings become the reference.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]

project = "interact"
author = "The interact developers"
project_copyright = author
release = version = version_of("interact-llm")
root_doc = "README"
include_patterns = ["*.md", "bench/*.md", "docs/*.md", "docs/**/*.md", "docs/**/*.rst", "docs/**/*.ipynb"]
exclude_patterns = [".*", "*.egg-info", "build", "csrc", "dist", "interact", "kernels", "runs", "tests"]
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
smartquotes = False
default_role = "py:obj"

NAVIGATION = {
    "Using": (
        "docs/tutorial",
        "docs/notebooks/first-extraction",
        "docs/notebooks/following-a-fine-tuning",
        *(f"docs/howto/{name}" for name in ("own-data", "messages", "many-texts", "long-document", "api-model")),
        "docs/howto/llama-factory",
        "docs/sft",
        "docs/study",
        "docs/cluster",
    ),
    "Gallery": (
        "docs/gallery/index",
        *(f"docs/gallery/{name}" for name in ("sentiment", "negation", "shortcut", "rag", "few-shot", "legal")),
        *(f"docs/gallery/{name}" for name in ("checkpoints", "llama-factory", "early-stopping", "classifier")),
        *(f"docs/gallery/{name}" for name in ("long-document", "shapiq")),
    ),
    "Understanding": (*("docs/meaning", "docs/math", "docs/split", "docs/sampled", "docs/evolution", "docs/indices"),),
    "Reference": ("docs/reference/index", "docs/formats", "docs/models"),
    "Measuring": ("docs/performance", "docs/pictures", "docs/reliability", "bench/RESULTS"),
    "Building": (
        *("docs/architecture", "CONTRIBUTING", "docs/kernels"),
        *(f"docs/howto/own-{part}" for part in ("engine", "kernel", "metric")),
        "CHANGELOG",
    ),
    "Findings": ("docs/results", "docs/protocol"),
    "Notes": tuple(
        f"docs/notes/{name}-2026-11"
        for name in ("log", "kernels", "split", "sampled", "results", "deviations", "reports", "faults", "cluster")
    ),
}
"""The pages by their reader, in the order of the navigation."""

# A word such as `kind` has several places to lead to, and then leads nowhere.
suppress_warnings = ["ref.python"]
nb_execution_mode = "off"
myst_heading_anchors = 4
autodoc_default_options = {"members": True, "show-inheritance": True}
# A function in the tree of pages would make every page longer, and the build a third slower.
toc_object_entries = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True
copybutton_prompt_text = ">>> "

html_theme = "furo"
html_title = f"interact {release}"
html_copy_source = False
# A page that is read from a folder may not fetch the others for their summaries.
html_show_search_summary = False
html_additional_pages = {"index": "first_page.html"}
templates_path = ["templates"]


def add_navigation(_: Any, name: str, source: list[str]) -> None:
    """Take away what only the tests need, and give the first page the navigation."""
    source[0] = re.sub(r"^<!--.*?-->\n*", "", source[0], flags=re.DOTALL | re.MULTILINE)
    if name == root_doc:
        for caption, pages in NAVIGATION.items():
            listed = "\n".join(f"/{page}" for page in pages)
            source[0] += f"\n\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{listed}\n```\n"


def keep_bars(_: Any, kind: str, name: str, what: Any, options: Any, lines: list[str]) -> None:
    """Keep the bars of ``|T|`` in a docstring from being read as a substitution."""
    verbatim = None
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if verbatim is not None and line.strip() and indent <= verbatim:
            verbatim = None
        if verbatim is None and not line.lstrip().startswith(">>>"):
            lines[number] = re.sub(r"``.*?``|`.*?`|(\|)", lambda m: r"\|" if m[1] else m[0], line)
            if line.endswith("::"):
                verbatim = indent


def setup(app: Any) -> None:
    """Connect what is added here to Sphinx."""
    app.connect("source-read", add_navigation)
    app.connect("autodoc-process-docstring", keep_bars)
