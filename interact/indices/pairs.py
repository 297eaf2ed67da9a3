"""Interactions of pairs of players, by the size of their context.

The multi-order interaction of order m is what a pair adds together, over contexts of m other players:
I^(m)(i, j) = mean over |S| = m, S without i and j, of v(S+ij) - v(S+i) - v(S+j) + v(S).
Its mean over m = 0..n-2 is the pairwise interaction of Wang et al., which is the SII of the pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np

from interact.indices.cardinal import sii
from interact.indices.games import read_game
from interact.indices.rules import multi_order_rule
from interact.indices.spread import spread

_LARGEST_ARRAY = 1 << 26


def multi_order(result: Any, *, m: int | Sequence[int] | None = None) -> np.ndarray:
    """Multi-order interactions: ``I^(m)(i,j) = mean_{|S|=m} v(S+ij) - v(S+i) - v(S+j) + v(S)``.

    Args:
        result: Interactions, exact or sampled, or all 2**n scores, float, shape [2**n].
        m: Sizes of the context, each in [0, n-2]; None for all of them.

    Returns:
        float64, symmetric with a zero diagonal: shape [n, n] for one m, [len(m), n, n] for several.

    Raises:
        ValueError: A context outside [0, n-2], more than 2**26 numbers to return, or as `interact.indices.shapley`.

    Source: Deng et al. 2021 (arXiv 2111.06236); Zhang et al. 2020 (arXiv 2009.11729).

    >>> multi_order([0.0, 1.0, 1.0, 4.0], m=0)
    array([[0., 2.],
           [2., 0.]])
    """
    game = read_game(result)
    n = game.n
    single = m is not None and np.ndim(m) == 0
    given: Any = range(n - 1) if m is None else [m] if single else m
    asked = list(given)
    for size in asked:
        if isinstance(size, bool) or not isinstance(size, Integral) or not 0 <= int(size) <= n - 2:
            raise ValueError(
                f"The context of a pair out of {n} players has 0 to {n - 2} players, but m={size!r:.60} was asked for."
                if n > 1
                else f"A pair needs two players, but the game has {n}."
            )
    if len(asked) * n * n > _LARGEST_ARRAY:
        raise ValueError(
            f"Interactions of {n} players in {len(asked)} contexts are {len(asked)} * {n} * {n} numbers, too many at "
            "once; name a few contexts with m=."
        )
    found = np.zeros((len(asked), n, n))
    if len(asked):
        sets, effects = spread(game, [multi_order_rule(n, int(size)) for size in asked], [2])[0]
        first, second = sets.T
        found[:, first, second] = found[:, second, first] = effects
    return found[0] if single else found


def pairwise(result: Any) -> np.ndarray:
    """Pairwise interactions: ``I(i,j) = phi(ij as one player) - phi(i without j) - phi(j without i)``, phi = Shapley.

    It equals the mean of the multi-order interactions over m = 0..n-2, and the SII of the pair.

    Args:
        result: As `multi_order`.

    Returns:
        float64, shape [n, n], symmetric with a zero diagonal.

    Raises:
        ValueError: As `interact.indices.shapley`.

    Source: Wang et al. 2020 (arXiv 2010.04055).

    >>> pairwise([0.0, 1.0, 1.0, 4.0])
    array([[0., 2.],
           [2., 0.]])
    """
    game = read_game(result)
    return sii(game, order=2).array(2) if game.n > 1 else np.zeros((game.n, game.n))
