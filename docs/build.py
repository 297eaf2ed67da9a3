"""Build the documentation into build/site, to be read offline: pages, notebooks, and the reference of all functions.

1. README.md becomes index.html and docs/PAGE.md becomes PAGE.html, by the Markdown renderer that pdoc brings.
2. Notebooks are shown as they were executed, by nbconvert.
3. The reference is made of the docstrings, by pdoc, in api/.

Before, the schema of a store is written into docs/formats.md (`interact.formats.schema.page`).
"""

from __future__ import annotations

import html
import os
import re
import shutil
import sys
from pathlib import Path

import jinja2
import pdoc
import pdoc.render
import pdoc.render_helpers
from nbconvert import HTMLExporter
from pygments.formatters import HtmlFormatter

ROOT = Path(__file__).parent.parent
GUIDE = (
    "tutorial.md",
    *(
        "howto/own-data.md",
        "howto/llama-factory.md",
        "howto/messages.md",
        "howto/many-texts.md",
        "howto/long-document.md",
        "howto/api-model.md",
    ),
    *("howto/own-engine.md", "howto/own-kernel.md", "howto/own-metric.md"),
    *("notebooks/first-extraction.ipynb", "notebooks/following-a-fine-tuning.ipynb"),
    *("sft.md", "study.md", "cluster.md", "indices.md", "math.md", "evolution.md", "split.md", "formats.md"),
    *("models.md", "kernels.md", "reliability.md", "results.md", "protocol.md", "sampled.md"),
    *("meaning.md", "performance.md", "architecture.md"),
    *(
        f"notes/{name}-2026-11.md"
        for name in ("cluster", "faults", "kernels", "log", "reports", "results", "sampled", "split")
    ),
)
"""The pages in the order of the navigation."""
MODULES = (
    *("interact", "interact.evolution", "interact.formats.schema", "interact.results", "interact.sft"),
    *("interact.sparse", "interact.study", "interact_kernels"),
)
"""The parts of the reference in the order of the navigation; each has the modules inside it on its own page."""
_PAGE = jinja2.Template(
    """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }} - interact</title><style>
body { font: 16px/1.55 system-ui, sans-serif; margin: 0; display: flex; flex-wrap: wrap; color: #222 }
nav { flex: 0 0 15em; padding: 1.5em; background: #f6f6f4; font-size: 14px }
nav a { display: block; padding: 2px 0; color: inherit; text-decoration: none } nav a:hover { color: #1e6edc }
nav a[aria-current] { font-weight: 600 }
main { flex: 1 1 30em; min-width: 0; max-width: 56em; padding: 1em 2.5em 4em }
pre { overflow-x: auto; padding: .8em; background: #f6f6f4; border-radius: 4px } pre, code { font-size: 13px }
img { max-width: 100% } table { border-collapse: collapse; display: block; overflow-x: auto }
td, th { padding: 3px 10px; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top }
.prompt, .anchor-link { display: none }
{{ style }}
</style></head><body><nav>
{%- for address, words in navigation %}
<a href="{{ up }}{{ address }}"{% if address == here %} aria-current="page"{% endif %}>{{ words | e }}</a>
{%- endfor %}
<a href="{{ up }}api/index.html"><b>Reference</b></a>
{%- for module in modules %}
<a href="{{ up }}api/{{ module | replace('.', '/') }}.html">{{ module }}</a>
{%- endfor %}</nav><main>{{ content }}</main></body></html>
"""
)


def write_schema() -> None:
    """Write the tables of a store into their page."""
    from interact.formats.schema.page import with_schema

    page = ROOT / "docs" / "formats.md"
    page.write_text(with_schema(page.read_text("utf-8")), "utf-8")


def write_pages(out: Path) -> None:
    """Write the pages and notebooks."""
    sources = {"index.html": ROOT / "README.md"}
    sources |= {re.sub(r"\.\w+$", ".html", name): ROOT / "docs" / name for name in GUIDE}
    navigation = [(address, _title(path)) for address, path in sources.items()]
    for address, path in sources.items():
        place = out / address
        place.parent.mkdir(parents=True, exist_ok=True)
        words = {"navigation": navigation, "modules": MODULES, "here": address, "title": html.escape(_title(path))}
        words |= {"up": "../" * address.count("/"), "content": _content(path)}
        # markdown2 and nbconvert name highlighted code differently.
        words["style"] = HtmlFormatter().get_style_defs([".codehilite", ".highlight"])
        place.write_text(_PAGE.render(**words), "utf-8")
    for figure in (ROOT / "docs").rglob("*.svg"):
        place = out / figure.relative_to(ROOT / "docs")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(figure, place)


def write_reference(out: Path) -> None:
    """Write the reference of all public functions."""
    import interact

    for name in interact.__all__:
        # The package loads its rooms on demand, and pdoc looks only at what is loaded.
        setattr(interact, name, getattr(interact, name))
    pdoc.render.configure(docformat="google", footer_text="interact")
    pdoc.render.env.filters["to_markdown"] = _to_markdown
    # What a package names as public is found by pdoc already.
    further = [name for name in MODULES if name.removeprefix("interact.") not in interact.__all__]
    pdoc.pdoc(*further, output_directory=out / "api")


def _title(path: Path) -> str:
    return re.search(r"# ([^\n\"\\]+)", path.read_text("utf-8"))[1].strip()


def _content(path: Path) -> str:
    if path.suffix == ".ipynb":
        content, _ = HTMLExporter(template_name="basic").from_filename(str(path))
    else:
        # What only the tests need is no part of the page.
        content = pdoc.render_helpers.to_html(re.sub(r"<!--.*?-->\n*", "", path.read_text("utf-8"), flags=re.DOTALL))
    return re.sub(r'(href|src)="([^"#:]+)(#[^"]*)?"', lambda match: _linked(path, match), content)


def _linked(path: Path, match: re.Match[str]) -> str:
    """Turn a link to a file of the repository into a link inside the site, or leave its name where there is none."""
    name, target, anchor = match[1], (path.parent / match[2]).resolve(), match[3] or ""
    here = ROOT if path.parent == ROOT else path.parent
    if target.is_relative_to(ROOT / "docs"):
        base = ROOT / "docs"
        start = base if here == ROOT else here
        address = re.sub(r"\.(md|ipynb)$", ".html", os.path.relpath(target, start))
        return f'{name}="{address}{anchor}"'
    if target == ROOT / "README.md":
        return f'{name}="{os.path.relpath(ROOT / "docs" / "index.html", here)}{anchor}"'
    return f'title="{html.escape(os.path.relpath(target, ROOT))}, in the repository"'


@jinja2.pass_context
def _to_markdown(context: jinja2.runtime.Context, docstring: str) -> str:
    """Keep powers such as 2**n from being read as emphasis; code stays as it is."""
    kept = r"``[^`]*``|`[^`]*`|^\s*(?:>>>|\.\.\.).*$"
    escaped = re.sub(rf"({kept})|(?<=\w)\*\*(?=[\w(])", lambda m: m[1] or r"\*\*", docstring, flags=re.MULTILINE)
    return pdoc.render_helpers.to_markdown_with_context(context, escaped)


if __name__ == "__main__":
    site = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "site"
    shutil.rmtree(site, ignore_errors=True)
    write_schema()
    write_pages(site)
    write_reference(site)
    print(f"open {site / 'index.html'}")
