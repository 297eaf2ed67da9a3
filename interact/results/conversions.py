"""Results in the neighbours' formats: shapiq and SHAP.

shapiq and shap are optional; each function that needs one says how to get it. Indices are computed by
`interact.indices`; with all 2^n scores at hand they are those of the scores, with terms only those of the terms.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby
from numbers import Integral
from typing import Any

import numpy as np

from interact import indices
from interact.formats.extras import require
from interact.indices import IndexValues
from interact.indices.games import read_game

_INDICES: dict[str, tuple[Callable[..., IndexValues], int | None]] = {
    "SV": (indices.sii, 1),
    "BV": (indices.bii, 1),
    "SII": (indices.sii, 2),
    "BII": (indices.bii, 2),
    "k-SII": (indices.k_sii, 2),
    "STII": (indices.stii, 2),
    "FSII": (indices.fsii, 2),
    "FBII": (indices.fbii, 2),
    "Moebius": (indices.moebius, None),
    "Co-Moebius": (indices.co_moebius, None),
}
"""Each index with the order that is taken when none is given."""


def to_shapiq(result: Any, index: str | None = None, max_order: int | None = None) -> Any:
    """Return an index as shapiq's `InteractionValues`, for its plots and tools.

    Args:
        result: Interactions (exact or sampled), all 2**n scores, or what `interact.indices` returned.
        index: ``"Moebius"`` (the default), ``"Co-Moebius"``, ``"SV"``, ``"BV"``, ``"SII"``, ``"BII"``, ``"k-SII"``,
            ``"STII"``, ``"FSII"`` or ``"FBII"``.
        max_order: Largest set; None for every order of the (co-)Moebius coefficients, 1 for SV and BV, else 2.

    Returns:
        `shapiq.InteractionValues`; player i is its player i, its `baseline_value` phi(empty).

    Raises:
        ValueError: An index that is not known, or as the index's function.
        RuntimeError: shapiq is missing.

    >>> to_shapiq([0.0, 1.0, 1.0, 4.0], "SII")[(0, 1)]
    2.0
    """
    if isinstance(result, IndexValues) and index in (None, result.index):
        values = result if max_order is None else _up_to(result, max_order)
    else:
        name = "Moebius" if index is None else index
        if name not in _INDICES:
            raise ValueError(f"The index {name!r:.60} is not known; choose one of {', '.join(_INDICES)}.")
        function, usual = _INDICES[name]
        order = usual if max_order is None else max_order
        if name in ("SV", "BV") and order != 1:
            raise ValueError(f"{name} has values of single players only, but max_order={order} was asked for.")
        values = function(result, order=order)
    return _as_shapiq(values)


def _up_to(values: IndexValues, max_order: int) -> IndexValues:
    whole = isinstance(max_order, Integral) and not isinstance(max_order, bool)
    if values.index not in ("SII", "BII", "Moebius", "Co-Moebius") and max_order != values.order:
        raise ValueError(
            f"These {values.index} values have order {values.order}, but max_order={max_order!r:.60}; compute "
            "them again with order=, because those of another order differ."
        )
    if not whole or not 1 <= max_order <= max(values.order, 1):
        raise ValueError(f"There are values of the orders 1 to {values.order}, but max_order={max_order!r:.60}.")
    keep = int(max_order) + 1
    return replace(
        values, order=min(int(max_order), values.order), sets=values.sets[:keep], effects=values.effects[:keep]
    )


def _as_shapiq(values: IndexValues) -> Any:
    shapiq = import_extra("shapiq", "shapley")
    keys = [tuple(players) for sets in values.sets for players in sets.tolist()]
    return shapiq.InteractionValues(
        values=np.concatenate(values.effects),
        interaction_lookup={key: place for place, key in enumerate(keys)},
        index=values.index,
        n_players=values.n,
        min_order=0,
        max_order=values.order,
        estimated=values.estimated,
        baseline_value=values.bias,
    )


def from_shapiq(values: Any, *, players: Sequence[str] = ()) -> IndexValues:
    """Return shapiq's `InteractionValues` as `IndexValues`.

    Moebius coefficients of all orders are a game by themselves: every function of `interact.indices` takes them.

    Args:
        values: Of any index.
        players: The players in words, n of them, or none.

    Raises:
        ValueError: It is no `InteractionValues`, names a player that is not there, or `players` are not n.

    >>> from_shapiq(to_shapiq([0.0, 1.0, 1.0, 4.0]))[0, 1]
    2.0
    """
    missing = [name for name in ("interactions", "index", "n_players", "max_order") if not hasattr(values, name)]
    if missing:
        raise ValueError(
            f"from_shapiq takes shapiq.InteractionValues, but got {type(values).__name__}, which has no {missing[0]}."
        )
    n, order = int(values.n_players), int(values.max_order)
    if players and len(players) != n:
        raise ValueError(f"The values are of {n} players, but {len(players)} names were given.")
    found = {tuple(sorted(int(i) for i in key)): float(value) for key, value in values.interactions.items()}
    for key in found:
        if len(set(key)) != len(key) or len(key) > order or (key and not 0 <= key[0] <= key[-1] < n):
            raise ValueError(f"The values hold the set {key}, which is not a set of at most {order} of {n} players.")
    bias = float(values.baseline_value)
    found.setdefault((), bias)
    sorted_keys = sorted(found, key=lambda key: (len(key), key))
    by_size = {size: list(keys) for size, keys in groupby(sorted_keys, key=len)}
    sizes = [by_size.get(size, []) for size in range(order + 1)]
    return IndexValues(
        index=str(values.index),
        n=n,
        order=order,
        bias=bias,
        sets=tuple(np.array(keys, dtype=np.int64).reshape(len(keys), size) for size, keys in enumerate(sizes)),
        effects=tuple(np.array([found[key] for key in keys], dtype=np.float64) for keys in sizes),
        players=tuple(players),
        estimated=bool(getattr(values, "estimated", True)),
    )


def to_shap(result: Any, *, order: int = 1) -> Any:
    """Return Shapley values as SHAP's `Explanation`, for its plots.

    Args:
        result: As `to_shapiq`.
        order: 1 for Shapley values; 2 for interactions as SHAP lays them out: half of the SII of a pair at (i, j) and
            at (j, i), on the diagonal what is left of the Shapley value, so that a row sums to it.

    Returns:
        `shap.Explanation` of one sample: values float64, shape [n] or [n, n]; base value phi(empty); the players' words
        as data and names.

    Raises:
        ValueError: Another order, or as `interact.indices.shapley`.
        RuntimeError: shap is missing.

    Source: Lundberg & Lee 2017; Lundberg et al. 2020 (interaction values).

    >>> shap.plots.text(to_shap(result))  # doctest: +SKIP
    """
    if order not in (1, 2):
        raise ValueError(
            f"An Explanation holds values of single players or of pairs (order 1 or 2), not {order!r:.60}."
        )
    game = read_game(result)
    values = indices.shapley(game)
    if order == 2:
        half = indices.pairwise(game) / 2
        values = half + np.diag(values - half.sum(axis=1))
    shap = import_extra("shap", "shap")
    names = list(game.names or (str(i) for i in range(game.n)))
    # SHAP's text plot writes the data one after another, so each word brings its space.
    data = np.array([f"{name} " for name in names], dtype=object)
    return shap.Explanation(values=values, base_values=game.bias, data=data, feature_names=names)


def import_extra(library: str, extra: str) -> Any:
    """Import a library that only an extra brings.

    Raises:
        MissingPackage: It is not installed.
    """
    require(extra, "This conversion", library)
    return importlib.import_module(library)
