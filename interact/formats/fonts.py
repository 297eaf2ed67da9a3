"""Fonts for texts of every script: matplotlib's own lacks Chinese, Japanese, Korean, Thai, Hindi and most emoji."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

_MISSING = r"Glyph .* missing from"
_UNFIT = r"Matplotlib currently does not support"
# matplotlib's own font of boxes has every letter and shows none.
_BOXES = "Last Resort"
_told: set[str] = set()


class QuietFigure(Figure):
    """A figure that says once what it cannot show, and not at every draw."""

    def draw(self, renderer: Any) -> None:
        """Draw; letters that no font has become boxes."""
        with quiet_glyphs():
            super().draw(renderer)

    def get_tightbbox(self, *given: Any, **more: Any) -> Any:
        """Measure, as notebooks do before they draw."""
        with quiet_glyphs():
            return super().get_tightbbox(*given, **more)


@contextmanager
def quiet_glyphs() -> Iterator[None]:
    """Silence matplotlib's warning of each letter that a font lacks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_MISSING)
        warnings.filterwarnings("ignore", message=_UNFIT)
        yield


def fit_fonts(figure: Figure, *, stacklevel: int = 2) -> None:
    """Give the texts of a figure fonts that have their letters; where this machine has none, say so once."""
    for axis in figure.axes:
        # Made when they are first asked for.
        _ = axis.get_xticklabels(), axis.get_yticklabels()
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    wanted = {sign for text in texts for sign in text.get_text() if _shown(sign)}
    families, lacking = _families(frozenset(wanted))
    if families:
        for text in texts:
            text.set_fontfamily([*mpl.rcParams["font.family"], *families])
    scripts = ", ".join(sorted({_script(sign) for sign in lacking}))
    if lacking and scripts not in _told:
        _told.add(scripts)
        warnings.warn(
            f"No font of this machine has the letters {''.join(sorted(lacking))[:20]!r} ({scripts}), so the "
            "figure shows boxes instead; install one, such as Noto (Debian: fonts-noto-cjk, fonts-noto-core).",
            stacklevel=stacklevel + 1,
        )


def _shown(sign: str) -> bool:
    return ord(sign) > 127 and unicodedata.category(sign) not in ("Cf", "Cc", "Mn", "Zs") and sign.isprintable()


def _script(sign: str) -> str:
    return unicodedata.name(sign, "unknown").split()[0]


@lru_cache(maxsize=64)
def _families(signs: frozenset[str]) -> tuple[list[str], set[str]]:
    """Return fonts of this machine that have the signs which the default lacks, and the signs that none has."""
    own = font_manager.findfont(font_manager.FontProperties(family=mpl.rcParams["font.family"]))
    lacking = {sign for sign in signs if ord(sign) not in _letters(own)}
    families: list[str] = []
    if not lacking:
        return families, lacking
    for entry in sorted(font_manager.fontManager.ttflist, key=lambda one: (one.style != "normal", one.weight != 400)):
        if entry.name.startswith(_BOXES) or entry.name in families:
            continue
        if has := {sign for sign in lacking if ord(sign) in _letters(entry.fname)}:
            families.append(entry.name)
            lacking -= has
        if not lacking:
            break
    return families, lacking


@lru_cache(maxsize=1024)
def _letters(path: str) -> frozenset[int]:
    try:
        return frozenset(font_manager.get_font(path).get_charmap())
    except (OSError, RuntimeError):
        # Fonts of pictures, which matplotlib cannot draw.
        return frozenset()
