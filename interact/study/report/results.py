"""Results of single cells, loaded when they are drawn; one that is missing or damaged costs a note, not the report."""

from __future__ import annotations

import numpy as np
import pandas as pd

from interact.results import Interactions
from interact.study.report.store import Study


class Results:
    """The cells of a study by run, step and sample.

    Attributes:
        notes: A sentence for every cell that could not be read.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self.notes: list[str] = []
        cells = study.cells
        self._rows = {
            (str(run), int(step), str(sample)): str(key)
            for run, step, sample, key in cells[["run", "step", "sample", "key"]].itertuples(index=False, name=None)
        }

    def __contains__(self, place: tuple[str, int, str]) -> bool:
        return place in self._rows

    def samples(self, run: str | None = None) -> list[str]:
        """List the samples that were followed, in the order of the table."""
        return list(dict.fromkeys(sample for r, _, sample in self._rows if run is None or r == run))

    def steps(self, run: str, sample: str) -> list[int]:
        """List the steps at which a sample was followed."""
        return sorted(step for r, step, s in self._rows if (r, s) == (run, sample))

    def get(self, run: str, step: int, sample: str) -> Interactions | None:
        """Load the result of a cell; None where there is none that can be read."""
        key = self._rows.get((run, step, sample))
        if key is None:
            return None
        try:
            result = self._study.cell(key)
            _check(result, key)
            return result
        except ValueError as error:
            sentence = f"The result of {run}, step {step}, sample {sample} is not shown. {error}"
            if sentence not in self.notes:
                self.notes.append(sentence)
            return None


def _check(result: Interactions, key: str) -> None:
    """Refuse a file that is whole but cannot be drawn."""
    arrays = (result.values, result.i_and, result.i_or)
    spans = [player.chars for player in result.players]
    ends = [end for span in spans for end in span]
    if not isinstance(result.text, str) or not all(isinstance(end, int) for end in ends) or ends != sorted(ends):
        raise ValueError(
            f"The cell {key} is damaged (its players do not lie in its text); delete it and run the study."
        )
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError(f"The cell {key} holds scores that are not finite; look at the model of this step.")


def relative_strengths(interactions: pd.DataFrame) -> pd.Series:
    """Return |I| / max|I| of every row, the maximum taken over its own run, step and sample."""
    strength = interactions["effect"].abs()
    return strength / strength.groupby([interactions[c] for c in ("run", "step", "sample")]).transform("max")
