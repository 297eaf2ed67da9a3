"""From a file to the result that it holds."""

from __future__ import annotations

from pathlib import Path

from interact.results import file
from interact.results.exact import ExactInteractions
from interact.results.interactions import Interactions
from interact.results.sampled import SampledInteractions


def load(path: str | Path) -> Interactions:
    """Read a file that `Interactions.save` wrote.

    Raises:
        ValueError: It is missing, damaged, or not such a file.

    >>> load("movie.interactions").top(5)  # doctest: +SKIP
    """
    header, arrays = file.read(Path(path))
    form = SampledInteractions if "bias" in header else ExactInteractions
    try:
        return form.from_file(header, arrays)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"{path} is damaged ({error}); extract the interactions again.") from error
