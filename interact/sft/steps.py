"""Which steps of a training are followed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def log_spaced_steps(total: int, count: int = 12) -> tuple[int, ...]:
    """Choose steps from 0 to `total`, dense at the start, where fine-tuning changes most.

    Step 0, then up to ``count - 1`` whole numbers next to ``total ** (i / (count - 2))``, without repeats.

    Args:
        total: The last step.
        count: Most steps to choose, 0 and `total` included.

    Raises:
        ValueError: total is below 1 or count below 2.

    >>> log_spaced_steps(1000, 6)
    (0, 1, 6, 32, 178, 1000)
    """
    if total < 1 or count < 2:
        raise ValueError(f"{count} steps from 0 to {total} cannot be chosen; give total >= 1 and count >= 2.")
    spaced = np.round(np.geomspace(1, total, count - 1)).astype(int) if count > 2 else np.array([total])
    return (0, *dict.fromkeys(int(step) for step in spaced))


def checked_steps(steps: Iterable[int]) -> tuple[int, ...]:
    """Return steps in order and without repeats.

    Raises:
        ValueError: One is negative or no whole number.
    """
    found = list(steps)
    bad = [step for step in found if isinstance(step, bool) or int(step) != step or step < 0]
    if bad:
        raise ValueError(
            f"Steps must be whole numbers of 0 or more (0 is the model before training), but {bad} were given."
        )
    return tuple(sorted({int(step) for step in found}))
