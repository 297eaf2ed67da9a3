"""How figures look and where they go: colours, marks, the axis of steps, shaded stages, saving.

Colours are Okabe and Ito's, darkened for thin lines on white; each class has a mark and a dash of its own as well, so a
figure can be read in grey. matplotlib's state is changed only inside `style()`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interact.formats.fonts import QuietFigure, fit_fonts, quiet_glyphs
from interact.formats.labels import shortened
from interact.study.report.measures import Measures, Series, StepScale

COLOURS = {"removed": "#b87a00", "preserved": "#0067a8", "emerged": "#b4508a", "all": "#33383f"}
POSITIVE, NEGATIVE, CONTROL = "#00795a", "#c44e00", "#767d86"
_MARKS = {"removed": "s", "preserved": "o", "emerged": "^", "all": "D"}
_DASHES = {"removed": (0, (4, 1.5)), "preserved": "-", "emerged": (0, (6, 1.5, 1, 1.5)), "all": "-"}
_DENOISING, _OVERFITTING = "#f0d9a8", "#ecc9dd"

_STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#7a8088",
    "axes.grid": True,
    "grid.color": "#e4e6e9",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.6,
    "figure.dpi": 100,
    # Letters stay letters in an SVG: they can be searched and read aloud.
    "svg.fonttype": "none",
    "svg.hashsalt": "interact",
}


@contextmanager
def style() -> Iterator[None]:
    """Draw and save in the style of all figures."""
    with mpl.rc_context(_STYLE), quiet_glyphs():
        yield


def plain(text: str, width: int = 60) -> str:
    """Make a user's text safe to draw: no mathematics, no control characters, not too long."""
    shown = "".join(c if c.isprintable() or c in "\u200c\u200d" else " " for c in text)
    # Dollar signs would start mathematics.
    return shortened(shown, width).replace("$", r"\$")


def canvas(rows: int, columns: int, *, width: float = 3.4, height: float = 2.3) -> tuple[Figure, np.ndarray]:
    """Make a figure with a grid of axes, shape [rows, columns]; sizes are inches an axis."""
    figure = QuietFigure(figsize=(max(4.2, width * columns + 0.3), height * rows + 0.5), layout="constrained")
    return figure, np.asarray(figure.subplots(rows, columns, squeeze=False))


def draw_series(
    axis: Axes, scale: StepScale, series: Series | None, kind: str, *, label: str, faint: bool = False
) -> bool:
    """Draw a metric of one class with its interval; say whether there was anything to draw."""
    if series is None or not np.isfinite(series.values).any():
        return False
    where = scale(series.steps)
    look: dict[str, Any] = {"color": COLOURS[kind], "linestyle": _DASHES[kind]}
    if faint:
        axis.plot(where, series.values, alpha=0.4, linewidth=0.8, **look)
        return True
    if np.isfinite(series.low).any():
        axis.fill_between(where, series.low, series.high, color=COLOURS[kind], alpha=0.16, linewidth=0)
    axis.plot(where, series.values, marker=_MARKS[kind], label=label, **look)
    return True


def draw_control(axis: Axes, scale: StepScale, series: Series | None, kind: str, *, label: str) -> bool:
    """Draw a control: thin, dotted, in the colour of the class it belongs to."""
    if series is None or not np.isfinite(series.values).any():
        return False
    colour = CONTROL if kind == "all" else COLOURS[kind]
    axis.plot(
        scale(series.steps), series.values, ":", color=colour, linewidth=1.2, label=label, marker="x", markersize=3
    )
    return True


def step_axis(axis: Axes, scale: StepScale) -> None:
    """Label an axis with the steps."""
    ticks = scale.ticks()
    axis.set_xticks([float(scale(step)) for step in ticks], [str(step) for step in ticks])
    low, high = (float(scale(step)) for step in (scale.steps[0], scale.steps[-1]))
    edge = 0.03 * (high - low) or 0.5
    axis.set_xlim(low - edge, high + edge)
    axis.set_xlabel("step, log(1 + step)" if scale.logarithmic else "step")


def shade_stages(axis: Axes, scale: StepScale, measures: Measures, run: str) -> None:
    """Shade the denoising and the overfitting stage of a run, and mark where they end and begin."""
    left, right = axis.get_xlim()
    ends = measures.stage(run, "denoising_end")
    starts = measures.stage(run, "overfitting_start")
    for height, stage, colour, begin in ((0.02, ends, _DENOISING, False), (0.05, starts, _OVERFITTING, True)):
        if stage is None or not np.isfinite(stage.step):
            continue
        at = float(scale(stage.step))
        axis.axvspan(*((at, right) if begin else (left, at)), color=colour, alpha=0.35, zorder=0, linewidth=0)
        axis.axvline(at, color="#6b7078", linewidth=0.9, linestyle="--" if begin else "-", zorder=1)
        if np.isfinite(stage.low) and np.isfinite(stage.high):
            # The interval of the step, along the lower edge.
            between = [float(scale(stage.low)), float(scale(stage.high))]
            look = {"color": "#6b7078", "linewidth": 2.0, "linestyle": (0, (2, 0.6)) if begin else "-"}
            axis.plot(between, [height, height], transform=axis.get_xaxis_transform(), **look)


def title(figure: Figure, text: str) -> None:
    """Write the title of a figure, in as many lines as its width asks for."""
    figure.suptitle("\n".join(textwrap.wrap(text, int(13 * figure.get_figwidth()))), fontsize=9)


def one_legend(figure: Figure) -> None:
    """Put one legend for all axes below them, where it hides no line."""
    entries: dict[str, Any] = {}
    for axis in figure.axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=6, handlelength=2.6)


def say(axis: Axes, sentence: str) -> None:
    """Write into an axis why it is empty."""
    axis.text(0.5, 0.5, sentence, transform=axis.transAxes, ha="center", va="center", fontsize=7.5, color="#5b626b")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(visible=False)


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as SVG and PNG; return both paths.

    Raises:
        RuntimeError: It cannot be written.
    """
    written = []
    fit_fonts(figure)
    # Laid out once, for both files: that is most of the work.
    figure.draw_without_rendering()
    figure.set_layout_engine(None)
    for kind in ("svg", "png"):
        path = folder / f"{name}.{kind}"
        try:
            # No date: the same store gives the same bytes.
            figure.savefig(path, dpi=160, metadata={"Date": None} if kind == "svg" else None)
        except OSError as error:
            raise RuntimeError(f"The figure {path} could not be written: {error}. Choose another place.") from error
        written.append(path)
    return written
