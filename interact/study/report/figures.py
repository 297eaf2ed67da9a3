"""All figures of a study, as SVG and PNG (Zhang et al. 2026, arXiv 2605.17967: figures 2, 3, 4, 5, 6 and 9)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from matplotlib.figure import Figure

from interact.study.report import drawing, evolution_figures, result_figures
from interact.study.report.measures import Measures
from interact.study.report.results import Results
from interact.study.report.runs import runs_of, settings_of
from interact.study.report.store import Study


def write_figures(study: Study, measures: Measures, results: Results, folder: Path) -> list[Path]:
    """Draw every figure that the store has the numbers for; return the files, two a figure.

    Raises:
        RuntimeError: A file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RuntimeError(f"The folder {folder} could not be made: {error}. Choose another place.") from error
    written: list[Path] = []
    with drawing.style():
        for name, draw in _plan(study, measures, results):
            figure = draw()
            if figure is not None:
                written += drawing.save(figure, folder, _free(name, written))
    return written


def _plan(study: Study, measures: Measures, results: Results) -> Iterator[tuple[str, Callable[[], Figure | None]]]:
    for setting in settings_of(runs_of(study)):
        name = setting.title
        for panel in setting.panels:
            run = panel.main
            yield (
                f"fig2-orders-{run.short_model}-{name}",
                lambda run=run: evolution_figures.order_histograms(study, measures, run),
            )
        over = (study, measures, setting)
        yield f"fig2-strength-{name}", lambda over=over: evolution_figures.strength_and_number(*over)
        yield f"fig3-{name}", lambda over=over: evolution_figures.gamma_and_rho(*over)
        yield f"fig4-{name}", lambda over=over: evolution_figures.contribution_and_backbone(*over)
        yield f"losses-{name}", lambda over=over: evolution_figures.losses(*over)
        yield f"fig5-{name}", lambda setting=setting: result_figures.fidelity(study, results, setting)
        yield f"fig6-{name}", lambda setting=setting: result_figures.sparsity(study, setting)
        yield f"fig9-{name}", lambda setting=setting: result_figures.logic_models(study, results, setting)


def _free(name: str, written: list[Path]) -> str:
    """Make a file name of a title that no figure has yet."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:100]
    taken = {path.stem.lower() for path in written}
    names = (stem if i == 1 else f"{stem}-{i}" for i in range(1, len(taken) + 2))
    return next(n for n in names if n.lower() not in taken)
