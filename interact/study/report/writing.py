"""Write the report of a study: figures and page."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from interact.formats.files import whole
from interact.results import Interactions
from interact.study.report.figures import write_figures
from interact.study.report.measures import Measures
from interact.study.report.page import results_page, study_page
from interact.study.report.results import Results
from interact.study.report.store import open_study


def write(store: Path | str, out: Path | str | None = None) -> Path:
    """Write the figures (SVG and PNG, in `out`/figures) and the page (`out`/index.html) of a study.

    Args:
        store: The folder that `interact study run --store` wrote.
        out: Where to write; without it, `store`/report.

    Returns:
        The page. What is there already is written anew.

    Raises:
        ValueError: The store is missing, of another version, damaged or empty.
        RuntimeError: `out` cannot be written.

    A result of a single cell that cannot be read is left out, with a warning and a sentence on the page.

    >>> write("runs/demo")  # doctest: +SKIP
    PosixPath('runs/demo/report/index.html')
    """
    study = open_study(Path(store))
    folder = Path(out) if out is not None else study.folder / "report"
    measures, results = Measures(study.metrics), Results(study)
    write_figures(study, measures, results, folder / "figures")
    content = study_page(study, measures, results)
    for note in results.notes:
        warnings.warn(note, stacklevel=2)
    return _write_page(folder / "index.html", content)


def write_results(results: Sequence[Interactions], path: Path | str) -> Path:
    """Write one page of single results that opens offline, in the style of a study's page; return its path.

    Args:
        results: What `interact.extract` or `interact.load` returned.
        path: The HTML file.

    Raises:
        RuntimeError: It cannot be written.

    >>> write_results([result], "movie.html")  # doctest: +SKIP
    PosixPath('movie.html')
    """
    return _write_page(Path(path), results_page(results))


def _write_page(path: Path, content: str) -> Path:
    """Write a page at once or not at all."""
    with whole(path, "The page") as place:
        # JSON may hold half of a surrogate pair, which no file can.
        place.write_text(content, encoding="utf-8", errors="replace")
    return path
