"""Boosted trees as a proxy of the scores, converted exactly into AND and OR terms.

1. LightGBM fits shallow trees to the sampled coalitions. A leaf is reached where the players P are present and the
   players Q absent: c AND(P) (1 - OR(Q)).
2. Multiplying out either side is exact: sum over L in Q of (-1)^|L| c AND(P + L), or sum over L in P of
   (-1)^|L| c (1 - OR(Q + L)). The shorter is taken, so that a leaf of absences is one OR term and not 2^|Q| AND terms.
3. Equal terms are added up; what remains names the interactions that a search from pairs may have missed.

Source: the proxy is that of ProxySPEX (arXiv 2505.17495), which reads it in the Fourier basis; the conversion is ours.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from interact.formats.extras import require
from interact.sparse.dictionary import Term, columns, merged

_PARAMETERS = {
    "objective": "regression",
    "max_depth": 5,
    "num_leaves": 24,
    "learning_rate": 0.05,
    "min_data_in_leaf": 8,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "feature_fraction": 0.7,
    "lambda_l2": 1.0,
    "min_gain_to_split": 0.0,
    "num_threads": 1,
    "deterministic": True,
    "verbosity": -1,
}


_FAR = 100.0
"""Scores whose mean is so many standard deviations from 0 are given to the trees without it."""


@dataclass(frozen=True)
class Boosted:
    """Fitted trees.

    Attributes:
        booster: LightGBM's model.
    """

    booster: Any

    def predict(self, masks: np.ndarray) -> np.ndarray:
        """Return the trees' scores of coalitions (bool, [m, n]), float64 [m]."""
        return np.asarray(self.booster.predict(masks.astype(np.float32)), dtype=np.float64)

    def terms(self) -> tuple[dict[Term, float], float]:
        """Return the AND and OR terms whose sum is exactly `predict`, and the bias."""
        total: defaultdict[Term, float] = defaultdict(float)
        bias = 0.0
        for tree in self.booster.dump_model()["tree_info"]:
            for present, absent, value in _leaves(tree["tree_structure"], (), ()):
                bias += _multiply(present, absent, value, total)
        return dict(total), bias


def boost(masks: np.ndarray, values: np.ndarray, *, seed: int, trees: int = 300) -> Boosted:
    """Fit trees to scores.

    Args:
        masks: bool, shape [m, n].
        values: float64, shape [m].
        seed: Seed of the draws of rows and players.
        trees: Number of trees.

    Raises:
        RuntimeError: LightGBM is not installed.
    """
    require("sparse", "The boosted-tree proxy", "lightgbm")
    import lightgbm

    data = lightgbm.Dataset(masks.astype(np.float32), label=values, params={"verbosity": -1, "max_bin": 3})
    return Boosted(lightgbm.train({**_PARAMETERS, "seed": seed % (1 << 31)}, data, num_boost_round=trees))


def proxy_candidates(masks: np.ndarray, values: np.ndarray, *, seed: int, max_order: int, most: int) -> list[Term]:
    """Return the terms of boosted trees that move the scores of these coalitions most, strongest first."""
    # Trees take labels in float32, and see no gain in very small ones.
    spread = float(values.std()) or 1.0
    level = float(values.mean()) if abs(float(values.mean())) > _FAR * spread else 0.0
    effects, _ = boost(masks, (values - level) / 2.0 ** np.round(np.log2(spread)), seed=seed).terms()
    fitting = [term for term in effects if len(term[1]) <= max_order]
    # Only the strongest by size are evaluated: thousands of terms are next to nothing.
    fitting = sorted(fitting, key=lambda term: -abs(effects[term]))[: 8 * most]
    share = columns(masks[:2000], fitting).mean(axis=0)
    weight = np.abs([effects[term] for term in fitting]) * np.sqrt(share * (1 - share))
    return [fitting[i] for i in np.argsort(-weight, kind="stable")[:most]]


def _leaves(
    node: dict[str, Any], present: tuple[int, ...], absent: tuple[int, ...]
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], float]]:
    """Yield (present players, absent players, value) of every leaf below a node that a coalition can reach."""
    if "leaf_value" in node:
        yield present, absent, float(node["leaf_value"])
        return
    player, threshold = int(node["split_feature"]), float(node["threshold"])
    for state, value in ((absent, 0.0), (present, 1.0)):
        side = node["left_child"] if value <= threshold else node["right_child"]
        other = present if state is absent else absent
        if player in other:
            continue
        longer = state if player in state else (*state, player)
        yield from _leaves(side, *((present, longer) if value == 0.0 else (longer, absent)))


def _multiply(present: tuple[int, ...], absent: tuple[int, ...], value: float, total: dict[Term, float]) -> float:
    """Add the terms of one leaf to `total`; return what it adds to the bias."""
    bias = 0.0
    by_and = len(absent) <= len(present)
    fixed, free = (present, absent) if by_and else (absent, present)
    for size in range(len(free) + 1):
        for extra in combinations(free, size):
            sign = -value if size % 2 else value
            members = (*fixed, *extra)
            if not by_and:
                # c (1 - OR(T)): the OR term with the other sign.
                bias += sign
                sign = -sign
            elif not members:
                bias += sign
            if members:
                total[merged("and" if by_and else "or", members)] += sign
    return bias
