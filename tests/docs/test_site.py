"""The site: every page is built, every link leads somewhere, nothing is fetched, and docstrings become a reference."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(build, tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    build.write_pages(out)
    return out


def pages(site) -> dict[str, str]:
    return {str(path.relative_to(site)): path.read_text("utf-8") for path in site.rglob("*.html")}


def test_every_page_of_the_repository_is_in_the_navigation(build):
    there = {str(p.relative_to(ROOT / "docs")) for s in ("*.md", "*.ipynb") for p in (ROOT / "docs").rglob(s)}
    assert there == set(build.GUIDE)


def test_every_link_inside_the_site_leads_somewhere(site):
    found = pages(site)
    assert "tutorial.html" in found and "howto/own-data.html" in found and "notebooks/first-extraction.html" in found
    for name, text in found.items():
        for address in re.findall(r'(?:href|src)="([^"]+)"', text):
            target, _, anchor = address.partition("#")
            if re.match(r"(https?|data|mailto):", address) or re.match(r"(\.\./)?api/", target):
                continue
            place = (site / name).parent / target if target else site / name
            assert place.exists(), f"{name} links to {address}"
            assert not anchor or f'id="{anchor}"' in place.read_text("utf-8"), f"{name} links to {address}"


def test_the_pages_fetch_nothing_and_hide_what_tests_need(site):
    for name, text in pages(site).items():
        assert not re.search(r'<(script|link|img|iframe)[^>]+(src|href)="https?:', text), name
        assert "invisible-code-block" not in text and "tiny_model(" not in text, name


def test_results_in_notebooks_are_shown_as_they_were_executed(site):
    text = pages(site)["notebooks/first-extraction.html"]
    assert "<mark style=" in text and "data:image/png;base64," in text


def test_docstrings_become_a_reference(build, tmp_path):
    build.write_reference(tmp_path)
    page = (tmp_path / "api" / "interact.html").read_text("utf-8")
    assert "<h6" in page and "Arguments:" in page and 'id="extract"' in page
    # Powers are no emphasis: 2**n stays as it is written.
    assert "2**n" in page and not re.search(r"2<(strong|em)>", page)
    for name in ("index", "interact.sft.training", "interact.study.config", *build.MODULES):
        assert (tmp_path / "api" / f"{name.replace('.', '/')}.html").is_file(), name
    assert not re.search(r'<(script|link)[^>]+(src|href)="https?:', page)
