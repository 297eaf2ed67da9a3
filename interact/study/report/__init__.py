"""Figures and the page: what a study found, drawn from its store alone (docs/formats.md); nothing is computed here.

1. `store` reads the tables and says what is missing; `runs` and `measures` look things up in them.
2. `figures` draws figures 2 to 6 and 9 of Zhang et al. 2026 (arXiv 2605.17967) with intervals, stages and controls.
3. `page` writes one offline HTML file: of a study, or of single results in the same style.
"""

from interact.study.report.writing import write, write_results

__all__ = ["write", "write_results"]
