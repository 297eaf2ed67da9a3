"""Which terms may explain what is left of the scores: pairs from all pairs at once, larger sets grown from smaller.

1. Within coalitions of one density p, z_i = x_i - p; the mean of r z_i z_j / (p (1-p))^2 estimates the sum of
   a p^(|T|-2) over the AND terms T around i, j minus the sum of o (1-p)^(|T|-2) over the OR terms: near the full
   input AND terms act, near the empty one OR terms. One matrix product screens all pairs.
2. A term T grows by each player i. Given T, the new column differs from T's only where T already acts (AND) or is
   silent (OR); its gain is the squared correlation of the residual with that difference. Again one product for all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from interact.sparse.dictionary import Term, columns, merged


def pair_candidates(masks: np.ndarray, residual: np.ndarray, strata: np.ndarray, most: int) -> list[Term]:
    """Return the AND and OR terms of the pairs that stand out most in any stratum of density.

    Args:
        masks: bool, shape [m, n].
        residual: float64, shape [m].
        strata: Number of the stratum of each coalition, int, shape [m].
        most: Number of pairs.
    """
    n = masks.shape[1]
    if n < 2:
        return []
    best = np.zeros((n, n), dtype=np.float32)
    for stratum in np.unique(strata):
        rows = strata == stratum
        if rows.sum() < 8:
            continue
        x = masks[rows].astype(np.float32)
        p = x.mean(axis=0)
        z = (x - p) / np.sqrt(np.maximum(p * (1 - p), 1e-3))
        r = residual[rows] - residual[rows].mean()
        scale = float(np.sqrt((r @ r) or 1.0))
        found = z.T @ (z * (r / scale).astype(np.float32)[:, None])
        best = np.maximum(best, np.abs(found))
    upper = np.triu_indices(n, 1)
    strength = best[upper]
    chosen = np.argpartition(-strength, min(most, len(strength)) - 1)[:most]
    return [(kind, frozenset((int(upper[0][c]), int(upper[1][c])))) for c in chosen for kind in ("and", "or")]


def grown(masks: np.ndarray, residual: np.ndarray, terms: Sequence[Term], max_order: int, most: int) -> list[Term]:
    """Return the terms of one player more that explain most of the residual.

    Args:
        masks: bool, shape [m, n].
        residual: float64, shape [m], centred.
        terms: Terms to grow; of one player, both kinds of pairs come out.
        max_order: Most players of a term.
        most: Number of terms returned.
    """
    x = masks.astype(np.float32)
    r = residual - residual.mean()
    # A power of two, which changes no digit: squares of very small and very large scores are no float32.
    r = (r / 2.0 ** np.round(np.log2(float(np.abs(r).max()) or 1.0))).astype(np.float32)
    scored: list[tuple[float, Term]] = []
    for kind in ("and", "or"):
        parents = [members for k, members in terms if len(members) < max_order and (k == kind or len(members) == 1)]
        if not parents:
            continue
        # For OR, both the term and the players are read as absences.
        here = x if kind == "and" else 1 - x
        speaks = columns(masks, [(kind, m) for m in parents]).astype(np.float32)
        speaks = speaks if kind == "and" else 1 - speaks
        inside = speaks.sum(axis=0)[:, None]
        both = speaks.T @ here
        overlap = (speaks * r[:, None]).T @ here
        level = (speaks.T @ r)[:, None] / np.maximum(inside, 1)
        spread = both * (1 - both / np.maximum(inside, 1))
        gain = np.where(spread > 3, (overlap - level * both) ** 2 / np.maximum(spread, 1e-6), 0)
        for parent, members in enumerate(parents):
            gain[parent, list(members)] = 0
        flat = gain.reshape(-1)
        count = min(most, len(flat))
        for c in np.argpartition(-flat, count - 1)[:count]:
            if flat[c] > 0:
                parent, player = divmod(int(c), x.shape[1])
                scored.append((float(flat[c]), merged(kind, parents[parent] | {player})))
    scored.sort(key=lambda pair: -pair[0])
    return list(dict.fromkeys(term for _, term in scored))[:most]


def kin(terms: Sequence[Term]) -> list[Term]:
    """Return what a term may be mistaken for: its subsets of one player less, and the other kind of all of these."""
    found: dict[Term, None] = {}
    for kind, members in terms:
        if len(members) > 1:
            found[("or" if kind == "and" else "and", members)] = None
            for player in members:
                smaller = members - {player}
                found[merged("and", smaller)] = None
                found[merged("or", smaller)] = None
    return list(found)
