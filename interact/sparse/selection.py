"""Choosing few terms of a pool: a lasso path, then forward and backward steps, by an information criterion.

All of it happens on inner products, so its cost depends on the pool and not on the number of coalitions.

EBIC = m log(RSS / m) + s (log m + log P): s terms of P possible ones. The lasso prefers one OR term to the three AND
terms that say the same; the steps then remove what is redundant and exchange what is nearly right.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from interact.formats.extras import require
from interact.sparse.dictionary import Products, Term

_RIDGE = 1e-9


@dataclass(frozen=True)
class Fit:
    """A least-squares fit on some terms of a pool.

    Attributes:
        chosen: Indices into the pool, in no order.
        effects: Their coefficients.
        rss: What is left, the sum of squared residuals.
    """

    chosen: np.ndarray
    effects: np.ndarray
    rss: float


def least_squares(data: Products, chosen: np.ndarray) -> Fit:
    """Fit the scores on the chosen columns and an intercept."""
    if not len(chosen):
        return Fit(chosen, np.zeros(0), data.power)
    gram = data.gram[np.ix_(chosen, chosen)]
    diagonal = np.diag(gram).copy()
    gram = gram + np.diag(_RIDGE * diagonal + 1e-9)
    effects = cho_solve(cho_factor(gram), data.target[chosen])
    left = data.power - 2 * effects @ data.target[chosen] + effects @ data.gram[np.ix_(chosen, chosen)] @ effects
    return Fit(chosen, effects, max(float(left), 1e-12 * data.power))


def lasso(data: Products, most: int, alphas: np.ndarray | None = None) -> Iterator[tuple[float, Fit]]:
    """Yield (alpha, fit) along a lasso path on standardised columns, from few terms to at most `most`.

    The fit minimises |y - X b|^2 / (2 m) + alpha sum of |b_j| std_j; without `alphas` a path of 24 is taken.
    """
    require("sparse", "The lasso", "sklearn")
    # Imported late: it takes a second that an exact result need not spend.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import lasso_path

    scale = np.sqrt(np.maximum(np.diag(data.gram), 1e-12) / data.rows)
    usable = (np.diag(data.gram) > 1e-6).nonzero()[0]
    if not len(usable) or data.power <= 0:
        return
    gram = data.gram[np.ix_(usable, usable)]
    for row, width in zip(gram, scale[usable], strict=True):
        row /= width * scale[usable]
    target = data.target[usable] / scale[usable]
    gram[np.diag_indices_from(gram)] += 1e-6 * data.rows
    # The descent reads the inner products alone, given unchecked: of the columns it wants the shape, of y the length.
    x, y = np.zeros((1, len(usable))), np.array([np.sqrt(data.power)])
    if alphas is None:
        alphas = float(np.abs(target).max()) / data.rows * np.geomspace(0.7, 0.003, 24)
    path: Any = lasso_path  # Its stubs do not allow arrays.
    start = None
    for alpha in alphas:
        options = {"precompute": gram, "Xy": target, "coef_init": start, "tol": 1e-3, "max_iter": 300}
        options["check_input"] = False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            _, coefficients, _ = path(x, y, alphas=[alpha * data.rows], **options)
        start = coefficients[:, 0]
        taken = np.flatnonzero(start)
        if len(taken) > most:
            break
        chosen = usable[taken]
        effects = start[taken] / scale[chosen]
        left = data.power - 2 * effects @ data.target[chosen] + effects @ data.gram[np.ix_(chosen, chosen)] @ effects
        yield float(alpha), Fit(chosen, effects, max(float(left), 1e-12 * data.power))


def ebic(data: Products, fit: Fit, penalty: float) -> float:
    """Return the criterion of a fit; `penalty` is what one term costs."""
    return data.rows * float(np.log(max(fit.rss, 1e-300) / data.rows)) + penalty * len(fit.chosen)


def backward(data: Products, fit: Fit, penalty: float) -> Fit:
    """Drop terms, the least useful first, while the criterion falls."""
    score = ebic(data, fit, penalty)
    while len(fit.chosen):
        gram = data.gram[np.ix_(fit.chosen, fit.chosen)]
        gram = gram + np.diag(_RIDGE * np.diag(gram) + 1e-9)
        inverse = np.linalg.inv(gram)
        loss = fit.effects**2 / np.maximum(np.diag(inverse), 1e-12)
        # Many at once as long as together they cannot matter, then one by one.
        harmless = np.argsort(loss)
        cheap = loss[harmless] < 0.05 * penalty * fit.rss / data.rows
        count = max(1, int(cheap.sum()) // 4)
        smaller = least_squares(data, np.delete(fit.chosen, harmless[:count]))
        after = ebic(data, smaller, penalty)
        if after >= score and count > 1:
            smaller = least_squares(data, np.delete(fit.chosen, harmless[:1]))
            after = ebic(data, smaller, penalty)
        if after >= score:
            break
        fit, score = smaller, after
    return fit


def forward(data: Products, fit: Fit, penalty: float, most: int) -> Fit:
    """Add terms, the most useful first, while the criterion falls."""
    score = ebic(data, fit, penalty)
    while len(fit.chosen) < most:
        left = data.target - data.gram[:, fit.chosen] @ fit.effects
        power = np.diag(data.gram).copy()
        if len(fit.chosen):
            gram = data.gram[np.ix_(fit.chosen, fit.chosen)]
            cross = data.gram[fit.chosen]
            factor = cho_factor(gram + np.diag(_RIDGE * np.diag(gram) + 1e-9))
            power -= np.einsum("sp,sp->p", cross, cho_solve(factor, cross))
        gain = np.where(power > 1e-3 * np.maximum(np.diag(data.gram), 1.0), left**2 / np.maximum(power, 1e-9), 0.0)
        gain[fit.chosen] = 0
        larger = least_squares(data, np.append(fit.chosen, int(gain.argmax())))
        after = ebic(data, larger, penalty)
        if after >= score:
            break
        fit, score = larger, after
    return fit


def select(data: Products, penalty: float, most: int, start: np.ndarray) -> Fit:
    """Choose the terms of a pool: the best support of the lasso path or of before, improved by steps."""
    supports = [start, *(fit.chosen for _, fit in lasso(data, most))]
    best: Fit | None = None
    for support in supports:
        fit = least_squares(data, support)
        if best is None or ebic(data, fit, penalty) < ebic(data, best, penalty):
            best = fit
    assert best is not None
    for _ in range(4):
        before = ebic(data, best, penalty)
        best = backward(data, forward(data, best, penalty, most), penalty)
        if ebic(data, best, penalty) >= before - 1e-9:
            break
    return best


def exchange(data: Products, fit: Fit, penalty: float, pool: Sequence[Term]) -> Fit:
    """Rewrite pairs where the criterion falls: AND{i,j} + OR{i,j} = x_i + x_j, which no single step can undo.

    Single players are preferred to both kinds of a pair: they are taken too where the criterion rises by less than one
    term costs, for with equal weights both readings say the same.
    """
    place = {term: index for index, term in enumerate(pool)}
    score = ebic(data, fit, penalty)
    improved = True
    while improved:
        improved = False
        for members in sorted({pool[i][1] for i in fit.chosen if len(pool[i][1]) == 2}, key=sorted):
            kinds = [place[t] for t in (("and", members), ("or", members)) if t in place]
            alone = [place[t] for t in (("and", frozenset((i,))) for i in members) if t in place]
            kept = np.setdiff1d(fit.chosen, kinds)
            for back in ([], *([k] for k in kinds)):
                chosen = np.union1d(kept, np.array([*alone, *back], dtype=np.int64))
                other = backward(data, least_squares(data, chosen), penalty)
                after = ebic(data, other, penalty)
                both = len(kinds) == 2 and np.isin(kinds, fit.chosen).all()
                plainer = both and len(other.chosen) <= len(fit.chosen) and _order(other, pool) < _order(fit, pool)
                if after < score - 1e-6 or (plainer and after < score + penalty):
                    fit, score, improved = other, min(score, after), True
                    break
            if improved:
                break
    return fit


def _order(fit: Fit, pool: Sequence[Term]) -> int:
    """Return how many players the terms of a fit name."""
    return sum(len(pool[i][1]) for i in fit.chosen)
