"""The gallery: every page runs, prints what it says it prints, and draws its picture, which is small."""

import functools
import re
from pathlib import Path

import pytest

import interact
from interact.models import embedded
from tests.docs.pages import loaded
from tests.sft.conftest import THIRD_PARTY, one_thread

__all__ = ["one_thread"]

ROOT = Path(__file__).parents[2]
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
LARGEST = 60_000


gallery = loaded("gallery")
LOAD = interact.load_model
ONCE = functools.cache(LOAD)


def load_once(name, **more):
    return ONCE(name) if name == "smollm2" and not more else LOAD(name, **more)


def printed(page: str) -> dict[str, list[float]]:
    """Return the lines of output of a page, as their words and numbers."""
    lines = [line for block in re.findall(r"```text\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    rows = enumerate(line for line in lines if line.strip())
    labels = [(re.sub(r"[\u2588-\u258f]", "", NUMBER.sub("", line)), line, place) for place, line in rows]
    # Lines of the same words are told apart by their place.
    known, found = set[str](), dict[str, list[float]]()
    for label, line, place in labels:
        name = " ".join(label.split())
        found[f"{name} {place}" if name in known else name] = [float(number) for number in NUMBER.findall(line)]
        known.add(name)
    return found


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
    ours, theirs = printed(made), printed(text)
    # Another processor adds in another order, which a training carries further: rows change places, bars their length.
    assert abs(len(ours) - len(theirs)) <= 2, "make gallery writes the page anew"
    same = [label for label in ours if label in theirs]
    assert len(same) >= len(ours) / 2, (ours, theirs)
    pairs = [pair for label in same for pair in zip(ours[label], theirs[label], strict=False)]
    near = [one == pytest.approx(other, rel=0.05, abs=0.05) for one, other in pairs]
    assert sum(near) >= 0.8 * len(near), pairs
    assert [path.name for path in tmp_path.glob("*.svg")] == [f"{page.stem}.svg"]
