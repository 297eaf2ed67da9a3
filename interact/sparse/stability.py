"""How sure each term is: the fit is repeated on bootstrap samples of the coalitions.

The error of an effect is the standard deviation of its refits on the same terms. The stability of a term is the share
of samples on which a new choice, among the terms reported and what they may be mistaken for, takes it again with its
sign (the lasso chooses among the terms reported only; shrunk effects are all fitted again with the same prior). The
terms of a Gaussian process need no samples: their error is the posterior standard deviation, their stability the
posterior probability of their sign.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from interact.sparse.dictionary import Term, columns, products
from interact.sparse.recovery import Recovered, Sample, term_cost
from interact.sparse.screening import kin
from interact.sparse.selection import backward, forward, lasso, least_squares
from interact.sparse.shrinkage import shrink

_MOST_RIVALS = 400
_CHOICE = 150


def bootstrap(
    sample: Sample, found: Recovered, *, max_order: int, times: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the standard error and the stability of each term, float64 [terms] each; NaN where there is too little
    to draw from.

    Args:
        sample: What the terms were fitted to.
        found: The terms.
        max_order: Most players of a term.
        times: Number of bootstrap samples.
        rng: Source of the draws.
    """
    count = len(found.terms)
    if found.written is not None:
        return found.written.errors, found.written.sure
    if found.weak and times > 1 and count:
        return _of_weak(sample, found, max_order, times, rng)
    if times < 2 or not count or len(sample) < 2 * count + 8:
        return np.full(count, np.nan), np.full(count, np.nan)
    # With hundreds of terms a new choice costs too much; then a term need only survive among those reported.
    rivals = [t for t in kin(found.terms) if t not in set(found.terms)][:_MOST_RIVALS] if count <= _CHOICE else []
    x = columns(sample.masks, [*found.terms, *rivals])
    penalty = term_cost(len(sample), sample.masks.shape[1], max_order)
    own = np.arange(count)
    effects, again = np.empty((times, count)), np.zeros(count)
    for turn in range(times):
        rows = sample.resampled(rng)
        data = products(x[rows], sample.values[rows])
        fit = least_squares(data, own)
        effects[turn] = fit.effects
        if rivals:
            fit = forward(data, fit, penalty, count + 8)
        fit = backward(data, fit, penalty)
        kept = fit.chosen < count
        chosen = fit.chosen[kept]
        again[chosen] += np.sign(fit.effects[kept]) == np.sign(found.effects[chosen])
    return effects.std(axis=0, ddof=1), again / times


def with_spread(errors: np.ndarray, terms: Sequence[Term], masks: np.ndarray, spread: float) -> np.ndarray:
    """Return errors that are at least what the randomness of single scores alone makes of them.

    No unbiased estimate of the effect of a column x from m scores of standard deviation `spread` has a smaller error
    than ``spread / sqrt(sum (x - mean x)^2)``. If all 2**n coalitions were scored, an effect of order k is a signed sum
    of 2**k scores, and its error ``spread 2**(k/2)``.

    Args:
        errors: Standard errors, float64, one per term; NaN where there is none.
        terms: The terms.
        masks: The coalitions that they were fitted to, bool, shape [m, n].
        spread: Standard deviation of one score from call to call.
    """
    if not spread or not len(terms):
        return errors
    if len(masks) == 1 << masks.shape[1]:
        return np.fmax(errors, spread * 2.0 ** (np.array([len(members) for _, members in terms]) / 2))
    x = columns(masks, terms)
    moved = ((x - x.mean(axis=0)) ** 2).sum(axis=0)
    return np.fmax(errors, spread / np.sqrt(np.maximum(moved, 1e-9)))


def _of_weak(
    sample: Sample, found: Recovered, max_order: int, times: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    effects = np.zeros((times, len(found.terms)))
    for turn in range(times):
        again = _refitted(sample.take(sample.resampled(rng)), found, max_order)
        effects[turn] = [again.get(term, 0.0) for term in found.terms]
    return effects.std(axis=0, ddof=1), (np.sign(effects) == np.sign(found.effects)).mean(axis=0)


def _refitted(sample: Sample, found: Recovered, max_order: int) -> dict[Term, float]:
    """Fit weak terms again with the same penalty and prior."""
    if found.parts:
        fits = [_refitted(sample, part, max_order) for part in found.parts]
        return {term: sum(fit.get(term, 0.0) for fit in fits) / len(fits) for term in found.terms}
    if found.prior is not None:
        ors = {members for kind, members in found.terms if kind == "or"}
        again = shrink(sample.masks, sample.values, max_order=max_order, prior=found.prior, ors=ors)
        return dict(zip(again.terms, again.effects.tolist(), strict=True))
    data = products(columns(sample.masks, found.terms), sample.values)
    fits = [fit for _, fit in lasso(data, len(found.terms), np.array([found.alpha]))]
    return {found.terms[i]: float(e) for fit in fits for i, e in zip(fit.chosen, fit.effects, strict=True)}
