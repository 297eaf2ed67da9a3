"""The site: built without a warning, every link leads somewhere, nothing is fetched, and the reference is complete."""

import importlib
import importlib.util
import re
import warnings
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.docs.pages import loaded

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "bench" / "RESULTS.md"]
PAGES += [path for pattern in ("*.md", "*.ipynb") for path in (ROOT / "docs").rglob(pattern)]


class Page(HTMLParser):
    """What a page links to, loads, and can be linked to by."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links, self.loaded, self.anchors = set(), set(), {""}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        address = values.get("href") or values.get("src")
        if address:
            (self.links if tag == "a" else self.loaded).add(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    with warnings.catch_warnings():
        # Of Sphinx and its extensions, which are theirs to heed.
        warnings.simplefilter("ignore")
        assert loaded("build").write_site(out / "site", kept=out / "kept") == 0
    return out / "site"


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path.read_text("utf-8")) for path in site.rglob("*.html")}


def test_every_page_of_the_repository_is_in_the_navigation():
    listed = [page for group in loaded("conf").NAVIGATION.values() for page in group]
    assert len(listed) == len(set(listed))
    there = {str(path.relative_to(ROOT).with_suffix("")) for path in PAGES} - {"README"}
    assert there == {page for page in listed if page != "docs/reference/index"}


def test_every_link_and_anchor_inside_the_site_leads_somewhere(site, pages):
    assert site / "docs" / "howto" / "own-data.html" in pages and site / "index.html" in pages
    for here, page in pages.items():
        for address in page.links | page.loaded:
            if re.match("https?:|data:|mailto:", address):
                continue
            target, _, anchor = address.partition("#")
            place = (here.parent / unquote(target.partition("?")[0])).resolve() if target else here
            assert place.is_file(), f"{here.relative_to(site)} links to {address}"
            if place.suffix == ".html":
                assert unquote(anchor) in pages[place].anchors, f"{here.relative_to(site)} links to {address}"


def test_the_pages_fetch_nothing_and_hide_what_tests_need(site, pages):
    for here, page in pages.items():
        assert not [address for address in page.loaded if re.match("(https?:)?//", address)], here
        assert "invisible-code-block" not in here.read_text("utf-8"), here
    styles = "".join(path.read_text("utf-8") for path in (site / "_static").rglob("*.css"))
    assert not re.search(r"(@import|url\()[\s'\"]*(https?:)?//", styles)


def test_the_search_works_from_a_folder_and_the_version_is_shown(site, pages):
    # The index is a script and not a file that is fetched, which a browser forbids to pages of a folder.
    assert "searchindex.js" in pages[site / "search.html"].loaded
    assert "SHOW_SEARCH_SUMMARY: false" in (site / "_static" / "documentation_options.js").read_text()
    index = (site / "searchindex.js").read_text("utf-8")
    assert index.startswith("Search.setIndex(") and '"docs/split"' in index and "certainti" in index
    assert f"interact {loaded('conf').release}" in (site / "README.html").read_text("utf-8")


def test_results_in_notebooks_are_shown_as_they_were_executed(site, pages):
    here = site / "docs" / "notebooks" / "first-extraction.html"
    assert "<mark style=" in here.read_text("utf-8")
    assert any(address.endswith(".png") for address in pages[here].loaded)


def test_docstrings_become_a_reference(site, pages):
    reference = {path.stem: page for path, page in pages.items() if path.parent.name == "reference"}
    anchors = set().union(*(page.anchors for page in reference.values()))
    text = "".join((site / "docs" / "reference" / f"{name}.html").read_text("utf-8") for name in reference)
    # What a module of the reference offers is there, or on the page of the package where `interact` offers it, too.
    named = re.findall(r"automodule:: (\S+)", "".join(p.read_text() for p in (ROOT / "docs").rglob("*.rst")))
    doors = set(importlib.import_module("interact").__all__)
    for module in map(importlib.import_module, named):
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            if getattr(thing, "__doc__", None) and callable(thing) and not (name in doors and module is not doors):
                assert f"{module.__name__}.{name}" in anchors, f"{module.__name__}.{name}"
    assert {f"interact.{name}" for name in doors - {"indices", "sparse"}} <= anchors
    # So is what the pages import.
    for path in PAGES:
        for module, names in re.findall(r"^from (interact[\w.]*) import ([\w, ]+)$", path.read_text("utf-8"), re.M):
            for name in map(str.strip, re.sub(r" as \w+", "", names).split(",")):
                known = {f"{module}.{name}", f"interact.{name}", f"module-{module}.{name}"}
                if not callable(getattr(importlib.import_module(module), name)):
                    # A constant stands on its module's page without an entry of its own.
                    known.add(f"module-{module}")
                assert known & anchors, f"{path.name} imports {module}.{name}"
    # Arguments are a list, names are links, and powers and bars stay as they are written.
    assert "Parameters" in text and 'title="interact.sparse.explain"' in text
    assert "2**n" in text and "|T|" in text and "|T| = 1" in text
    assert not re.search(r'class="problematic"|system-message', text)
