"""The gallery: every page runs, prints what it says it prints, and draws its picture, which is small."""

import functools
import importlib.util
import re
from pathlib import Path

import pytest

import interact
from interact.models import embedded
from tests.sft.conftest import THIRD_PARTY, one_thread

__all__ = ["one_thread"]

ROOT = Path(__file__).parents[2]
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
LARGEST = 60_000


def loaded(name: str):
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


gallery = loaded("gallery")
LOAD = interact.load_model
ONCE = functools.cache(LOAD)


def load_once(name, **more):
    return ONCE(name) if name == "smollm2" and not more else LOAD(name, **more)


def test_the_first_page_leads_to_every_example_and_says_what_the_model_is():
    text = (gallery.FOLDER / "index.md").read_text("utf-8")
    assert set(re.findall(r"\]\(([\w-]+\.md)\)", text)) == {page.name for page in gallery.PAGES}
    assert len(gallery.PAGES) == 12 and "Q4_1" in text


@pytest.mark.parametrize("page", gallery.PAGES, ids=lambda page: page.stem)
def test_an_example_has_a_small_picture_and_output(page):
    text = page.read_text("utf-8")
    assert f"]({page.stem}.svg)" in text and "```text\n" in text
    picture = page.with_suffix(".svg")
    assert picture.read_text("utf-8").startswith("<?xml") and picture.stat().st_size < LARGEST


@pytest.mark.real
@pytest.mark.filterwarnings(*THIRD_PARTY)
@pytest.mark.parametrize("page", gallery.PAGES, ids=lambda page: page.stem)
def test_an_example_prints_what_its_page_says(page, tmp_path, monkeypatch):
    text = page.read_text("utf-8")
    for name in ("smollm2", "minilm"):
        if f'"{name}"' in text and embedded.find(name) is None:
            pytest.skip(f"{name} is not in the cache; run `interact fetch {name}`")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(interact, "load_model", load_once, raising=False)
    made = gallery.run(page)
    assert NUMBER.sub("#", made).split() == NUMBER.sub("#", text).split(), "make gallery writes the page anew"
    for ours, theirs in zip(NUMBER.findall(made), NUMBER.findall(text), strict=True):
        # Another processor adds in another order, which a training carries further.
        assert float(ours) == pytest.approx(float(theirs), rel=0.05, abs=0.05), (ours, theirs)
    assert [path.name for path in tmp_path.glob("*.svg")] == [f"{page.stem}.svg"]
