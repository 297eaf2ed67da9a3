"""What is shown tells its words, never two things alike, in the direction and the letters of its script."""

import html
import io
import re
import warnings

import pytest
from matplotlib import font_manager

import interact
from interact.formats import fonts
from interact.formats.labels import labels, shortened, told_apart
from interact.formats.notebook import table_html
from interact.results import Interactions
from interact.study.report.drawing import plain, save
from interact.study.report.result_figures import draw_logic

from .ground import shown, told

LINK = "https://example.org/a/very/long/path/with/many/parts/and?query=string&more=1"


def rows_of(text):
    return [line.split("  ")[-1] for line in str(text).splitlines() if re.search(r"  (and|or) ", line)]


def ticks_of(result):
    return [tick.get_text() for tick in result.plot().axes[0].get_yticklabels()]


@pytest.fixture
def quiet_fonts(monkeypatch):
    """Fonts that this machine lacks were told already; this is not what is tested."""
    monkeypatch.setattr(fonts, "_told", type("Told", (set,), {"__contains__": lambda *_: True})())


@pytest.mark.parametrize(
    ("text", "players"),
    [
        (f"see {LINK} it is good", [LINK, "good"]),
        (f"{LINK}a and {LINK}b are {LINK}a", [f"{LINK}a", f"{LINK}b"]),
        ("good good very good", ["good", "good", "good"]),
        (
            "这部电影非常好看演员表演出色剧情紧凑" * 5 + "好，" + "这部电影非常好看演员表演出色剧情紧凑" * 5 + "坏",
            ["这部电影非常好看演员表演出色剧情紧凑" * 5 + "好", "这部电影非常好看演员表演出色剧情紧凑" * 5 + "坏"],
        ),
        (
            "antidisestablishmentarianism-of-the-first-kind antidisestablishmentarianism-of-the-second-kind x",
            "all-words",
        ),
    ],
)
def test_no_two_terms_look_alike_and_none_is_without_its_words(text, players, quiet_fonts):
    result = shown(text, players)
    found = result.top(12)
    for lines in (rows_of(result), ticks_of(result)[::-1]):
        assert len(lines) == len(set(lines)) == min(len(found), len(lines)) > 0
        for line, item in zip(lines, found, strict=False):
            assert "[...]" not in line
            for word in item.words:
                assert word[:3] in line.replace(r"\$", "$") and word[-2:] in line
    cells = re.findall(r'<td dir="auto">(.*?)</td>', result._repr_html_())
    assert len(cells) == len(set(cells)) and all(w in html.unescape(cells[0]) for w in found[0].words)


def test_labels_keep_both_ends_and_whole_signs():
    assert shortened("abc", 3) == "abc" and shortened("abcdef", 4) == "ab…f" and shortened(" a\n b ", 9) == "a b"
    assert shortened("👨‍👩‍👧" * 9, 5) == "👨‍👩‍👧" * 3 + "…" + "👨‍👩‍👧"
    assert labels(["a" * 50 + "x" + "b" * 50, "a" * 50 + "y" + "b" * 50], 9)[0] != labels(["a" * 50], 9)[0]
    assert told_apart(["a", "a", "a (2)", "a\u200b"]) == ["a", "a (3)", "a (2)", "a\u200b (4)"]
    assert len(set(labels([LINK + str(i) for i in range(20)], 12))) == 20


def test_figures_of_a_report_tell_players_apart(quiet_fonts):
    from matplotlib.figure import Figure

    result = shown(f"{LINK}a {LINK}b good good", [f"{LINK}a", f"{LINK}b", "good", "good"])
    axis = Figure().subplots()
    draw_logic(axis, result, result.top(3))
    texts = [text.get_text() for text in axis.texts][:4]
    assert len(set(texts)) == 4 and all(text[:4] in ("http", "good") or text.startswith("good") for text in texts)
    assert plain(LINK, 20) == shortened(LINK, 20)


@pytest.mark.parametrize(
    "text", ["好看，难看", "とても良い", "좋은 영화", "ดี มาก", "अच्छा है", "الفيلم جميل", "הסרט יפה", "movie 😍"]
)
def test_a_figure_shows_letters_or_says_once_that_it_cannot(text, monkeypatch):
    monkeypatch.setattr(fonts, "_told", set())
    with told() as sentences:
        result = shown(text, [text[:2], text[-2:]])
        pictures = [result.plot() for _ in range(2)]
        for picture in pictures:
            picture.savefig(io.BytesIO())
            picture.savefig(io.BytesIO(), bbox_inches="tight")
    assert not [s for s in sentences if "Glyph" in s] and len([s for s in sentences if "No font" in s]) <= 1
    assert result.plot().get_suptitle() == text
    _, lacking = fonts._families(frozenset(c for c in text if fonts._shown(c)))
    assert bool(lacking) == bool([s for s in sentences if "No font of this machine has the letters" in s])
    # Hebrew and Arabic are in matplotlib's own font.
    assert not lacking or ord(min(lacking)) > 0x0700


def test_a_font_of_the_machine_is_taken(monkeypatch, tmp_path):
    """DejaVu stands for a font with the letters; the default is one of mathematics that lacks them."""
    monkeypatch.setattr(fonts, "_told", set())
    fonts._families.cache_clear()
    monkeypatch.setitem(fonts.mpl.rcParams, "font.family", ["cmr10"])
    with told() as sentences:
        picture = shown("очень хороший", ["очень", "хороший"]).plot()
        picture.canvas.draw()
    fonts._families.cache_clear()
    assert not [s for s in sentences if "Glyph" in s or "No font" in s]
    families = picture.axes[0].get_yticklabels()[0].get_fontfamily()
    assert families[0] == "cmr10" and len(families) > 1
    has = font_manager.get_font(font_manager.findfont(families[1])).get_charmap()
    assert ord("о") in has


def test_a_report_says_once_what_it_cannot_show(monkeypatch, tmp_path):
    from interact.study.report.drawing import canvas, style

    monkeypatch.setattr(fonts, "_told", set())
    with told() as sentences, style():
        for number in range(2):
            figure, axes = canvas(1, 1)
            axes[0, 0].set_title("好看")
            save(figure, tmp_path, str(number))
    lacking = fonts._families(frozenset("好看"))[1]
    assert len([s for s in sentences if "No font" in s]) == bool(lacking) and not [s for s in sentences if "Glyph" in s]


@pytest.mark.parametrize("text", ["it cost $5 and made $6 a ticket", r"so \(x\) and \[y\] and $$z$$ `a`"])
def test_nothing_of_a_user_is_typeset(text):
    fragment = shown(text, [text.split()[0], text.split()[-1]])._repr_html_()
    assert re.search(r'<div class="interact tex2jax_ignore mathjax_ignore">.*', fragment, re.S)[0].count("<div") == 1
    assert "tex2jax_ignore" in table_html(text, shown(text, 1).to_frame())
    picture = shown(text, [text.split()[0], text.split()[-1]]).plot()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture.savefig(io.BytesIO())


@pytest.mark.parametrize("text", ["الفيلم جميل", "הסרט יפה", "این فیلم خوب است", "یہ اچھی فلم ہے", "a good film"])
def test_the_direction_of_a_text_is_its_own(text):
    result = shown(text, None if text != "a good film" else ["good"])
    fragment = result._repr_html_()
    assert '<p dir="auto">' in fragment and '<td dir="auto">' in fragment
    assert 'dir="auto"' in table_html(text, result.to_frame())
    assert isinstance(result, Interactions)


@pytest.mark.parametrize("scale", [1e-12, 1e-4, 1e9])
def test_small_and_large_scores_keep_their_digits(scale):
    result = interact.game_from(lambda masks: scale * (2.5 * masks[:, 0] - masks[:, 1:].any(1)), 3)
    result = result.interactions(noise="exact")
    shown = f"{2.5 * scale:+.2e}"
    assert shown in str(result) and shown in result._repr_html_() and "0.000" not in str(result).splitlines()[1]
