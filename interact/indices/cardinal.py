"""The classical indices, one function each: Shapley, Banzhaf, SII, BII, k-SII, STII, FSII, FBII, Moebius, co-Moebius.

Each takes interactions (exact or sampled) or an array of all 2^n scores. With all scores at hand, the index is that of
the scores v; pass ``result.predict()`` for that of the split, which differs by its noise. With terms only, it is that
of the terms. See docs/indices.md for what equals what.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np

from interact.indices import rules
from interact.indices.games import Game, read_game
from interact.indices.rules import Rule
from interact.indices.spread import spread
from interact.indices.values import IndexValues


def shapley(result: Any) -> np.ndarray:
    """Shapley values: ``phi_i = sum_{S without i} |S|! (n-|S|-1)! / n! (v(S+i) - v(S)) = sum_{T with i} m(T) / |T|``.

    Args:
        result: Interactions, exact or sampled, or all 2**n scores, float, shape [2**n] (docs/math.md, bit order).

    Returns:
        float64, shape [n]; they sum to v(N) - v(empty).

    Raises:
        ValueError: `result` is no game, or holds numbers that are not finite.

    Source: Shapley 1953.

    >>> shapley([0.0, 1.0, 1.0, 4.0])
    array([2., 2.])
    """
    return _singles(read_game(result), rules.sii_rule())


def banzhaf(result: Any) -> np.ndarray:
    """Banzhaf values: the mean of v(S+i) - v(S) over all S without i, ``sum_{T with i} m(T) 2^(1-|T|)``.

    Args, returns and errors as `shapley`; they need not sum to v(N) - v(empty).

    Source: Banzhaf 1965.

    >>> banzhaf([0.0, 1.0, 1.0, 4.0])
    array([2., 2.])
    """
    return _singles(read_game(result), rules.bii_rule())


def moebius(result: Any, *, order: int | None = None) -> IndexValues:
    """Moebius coefficients (Harsanyi dividends): ``m(T) = sum_{L subset T} (-1)^(|T|-|L|) v(L)``.

    An OR term over T becomes (-1)^(|L|+1) times its effect on every nonempty L in T, so 2^|T| - 1 coefficients.

    Args:
        result: As `shapley`.
        order: Largest set to list; None lists all, which an OR term of many players makes many.

    Raises:
        ValueError: As `shapley`; or more than 2**24 sets would be listed.

    Source: Rota 1964; Harsanyi 1963.

    >>> moebius([0.0, 1.0, 1.0, 4.0])[0, 1]
    2.0
    """
    return _values(read_game(result), rules.moebius_rule(), order)


def co_moebius(result: Any, *, order: int | None = None) -> IndexValues:
    """Co-Moebius coefficients: ``sum_{S superset T} m(S)``, the discrete derivative of T at the full input.

    Args and errors as `moebius`. The empty set has v(N).

    Source: Marichal et al. 2007 (external interaction index).

    >>> co_moebius([0.0, 1.0, 1.0, 4.0])[0]
    3.0
    """
    return _values(read_game(result), rules.co_moebius_rule(), order)


def sii(result: Any, *, order: int = 2) -> IndexValues:
    """Shapley interaction index: ``sum_{S superset T} m(S) / (|S|-|T|+1)``; of single players the Shapley value.

    Args:
        result: As `shapley`.
        order: Largest set; more than n is n.

    Raises:
        ValueError: As `shapley`; `order` is no whole number of at least 1; too many sets.

    Source: Grabisch & Roubens 1999.

    >>> sii([0.0, 1.0, 1.0, 4.0])[0, 1]
    2.0
    """
    return _values(read_game(result), rules.sii_rule(), _whole(order))


def bii(result: Any, *, order: int = 2) -> IndexValues:
    """Banzhaf interaction index: ``sum_{S superset T} m(S) 2^(|T|-|S|)``, the mean discrete derivative of T.

    Args and errors as `sii`.

    Source: Grabisch & Roubens 1999.

    >>> bii([0.0, 1.0, 1.0, 4.0])[0]
    2.0
    """
    return _values(read_game(result), rules.bii_rule(), _whole(order))


def k_sii(result: Any, *, order: int = 2) -> IndexValues:
    """k-Shapley interactions: ``sum_{L superset T, |L| <= k} B_(|L|-|T|) SII(L)``, made to sum to v(N) - v(empty).

    Args and errors as `sii`; `order` is k, and the values depend on it.

    Source: Bordt & von Luxburg 2023 (AISTATS).

    >>> k_sii([0.0, 1.0, 1.0, 4.0])[0]
    1.0
    """
    return _values(read_game(result), rules.k_sii_rule, _whole(order))


def stii(result: Any, *, order: int = 2) -> IndexValues:
    """Shapley-Taylor index: m(T) below order k, ``sum_{S superset T} m(S) / C(|S|, k)`` at order k.

    Args and errors as `sii`; `order` is k. The values sum to v(N) - v(empty).

    Source: Sundararajan et al. 2020 (ICML).

    >>> stii([0.0, 1.0, 1.0, 4.0], order=1)[0]
    2.0
    """
    return _values(read_game(result), rules.stii_rule, _whole(order))


def fsii(result: Any, *, order: int = 2) -> IndexValues:
    """Faithful Shapley interactions (Faith-SHAP): the polynomial of order k nearest to v under the Shapley kernel.

    ``m(T) + (-1)^(k-t) t/(k+t) C(k,t) sum_{S superset T, s > k} C(s-1,k) / C(s+k-1,k+t) m(S)``, t = |T|, s = |S|.

    Args and errors as `sii`; `order` is k. The values sum to v(N) - v(empty).

    Source: Tsai et al. 2023 (JMLR 24(94)).

    >>> fsii([0.0, 1.0, 1.0, 4.0])[0, 1]
    2.0
    """
    return _values(read_game(result), rules.fsii_rule, _whole(order))


def fbii(result: Any, *, order: int = 2) -> IndexValues:
    """Faithful Banzhaf interactions: the polynomial of order k nearest to v over all coalitions, each counted once.

    ``m(T) + (-1)^(k-t) sum_{S superset T, s > k} 2^(t-s) C(s-t-1,k-t) m(S)``, t = |T|, s = |S|, T = empty included.

    Args and errors as `sii`; `order` is k. The empty set's value is the polynomial's constant, not v(empty).

    Source: Tsai et al. 2023 (JMLR 24(94)); Hammer & Holzman 1992.

    >>> fbii([0.0, 1.0, 1.0, 4.0], order=1)[0]
    2.0
    """
    return _values(read_game(result), rules.fbii_rule, _whole(order))


def _singles(game: Game, rule: Rule) -> np.ndarray:
    return _values(game, rule, 1).array(1) if game.n else np.zeros(0)


def _values(game: Game, rule: Rule | Callable[[int], Rule], order: int | None) -> IndexValues:
    largest = game.n if order is None else min(_whole(order), game.n)
    # Beyond n nothing changes; order 0 remains for a game without players, where any k says the same.
    chosen = rule if isinstance(rule, Rule) else rule(max(largest, 1))
    found = spread(game, [chosen], range(_reach(game, largest) + 1))
    empty = (np.zeros((0, t), dtype=np.int64) for t in range(len(found), largest + 1))
    sets = (*(sets for sets, _ in found), *empty)
    effects = (*(effects[0] for _, effects in found), *(np.zeros(0) for _ in range(len(found), largest + 1)))
    return IndexValues(chosen.name, game.n, largest, game.bias, sets, effects, game.names, game.values is None)


def _reach(game: Game, largest: int) -> int:
    """Return the order beyond which no set can have a value."""
    if game.values is not None:
        return largest
    sizes = [members.shape[1] for members, _ in (*game.and_groups, *game.or_groups)]
    return min(largest, max(sizes, default=0))


def _whole(order: Any) -> int:
    if isinstance(order, bool) or not isinstance(order, Integral) or order < 1:
        raise ValueError(f"The order of an index is a whole number of at least 1, but is {order!r:.60}.")
    return int(order)
