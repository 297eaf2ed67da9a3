"""A Gaussian process on coalitions: what it expects of every score, how sure it is, and what to score next.

1. With z_i = 1 for a present player and -1 for an absent one, the scores have the covariance
   k(z, z') = a prod_i (1 + r_i z_i z'_i) / (1 + r_i), beside noise and a few given terms. This is
   a prior on the coefficients of prod_{i in T} z_i (the Walsh basis): independent, of variance proportional to
   prod_{i in T} r_i. High orders of players that matter little are small; players that matter may interact at any
   order.
2. What is absent together has a covariance of its own (`interact.sparse.absence`), of the reach s and the extent b.
3. The scales r_i and s, the amplitudes a and b and the noise are those of the greatest marginal likelihood (L-BFGS with
   the exact gradient, all of it products of matrices), with a weak prior on the logits of r_i and on log s and log b.
4. What is expected is multilinear in presence, and the covariance is a product over players. So every effect that is
   a derivative by players at some density of the others, or an integral of such, has a mean and a variance in closed
   form.

Source: the kernel is an ANOVA kernel (Saunders et al. 1998) in the Walsh basis, in which SPEX (arXiv 2502.13870) seeks
few coefficients; one scale a player is the automatic relevance determination of Rasmussen and Williams 2006, 5.1, with
their marginal likelihood (5.4.1) and leave-one-out (5.4.2). The effects and their errors are ours.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from operator import index
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, get_lapack_funcs, solve_triangular
from scipy.optimize import minimize

from interact.sparse.absence import Absence, both_absent
from interact.sparse.dictionary import Term, columns

MOST_ROWS = 8000
"""Coalitions beyond these are not fitted: the factor takes m**3 / 3 operations and m**2 numbers."""
_MOST_ROWS_OF_A_CHOICE = 1500
_STEPS = 60
_FREE = 10.0
"""Standard deviation of the level, in that of the scores: as good as free."""
GIVEN = (0.1, 0.4)
"""The same of the effects of given terms: what is tried. They were chosen by the scores that they are fitted to, so
free ones are believed too much, and real texts are predicted worse than by the process alone. With the first, texts are
predicted as well as without them; where a few strong terms are there, the second does not pull them to zero."""
_END = 2.0
"""The same of what the empty and the full coalition have of their own: a prompt without any of its words, or with all
of them, is often like no other, and tells little of the others."""
_START, _START_OF_ALL = 0.12, 5.0
"""Where a scale begins, and what all scales are together there at most: larger ones make every coalition a stranger."""
_WIDTH = 1.5
"""Standard deviation of the prior of the logit of a scale; 0.8 pulls together the many words of a text that do nothing
and the few that do much."""
_LOG_REACH, _LOG_EXTENT = (-1.0, 2.0), (-3.0, 5.0)
"""Mean and standard deviation of the priors of log s and log b."""
CARE = 1.35
"""Errors of effects are wider by so much, because they take the scales, and which terms were given, as known."""
_UNLIKE, _LEAST_UNLIKE = 0.75, 0.2
"""How inputs of few players are unlike the others: u of `_near_empty`, and the least standard deviation there."""
_JITTER = 1e-8
_LAPACK: Any = get_lapack_funcs(("potrf", "potri"), dtype=np.float64)
_POTRF, _POTRI = _LAPACK
KINDS = ("and", "or", "banzhaf", "shapley")


@dataclass(frozen=True)
class Scales:
    """What the marginal likelihood chose, in units of the variance of the scores.

    Attributes:
        players: How far each player reaches, r_i in (0, 1), float64, shape [n].
        amplitude: The variance a.
        noise: Variance of what no coalition tells of another.
        given: Standard deviation of the effects of given terms, in that of the scores; no likelihood chooses it.
        absent: The prior on what is absent together.
    """

    players: np.ndarray
    amplitude: float
    noise: float
    given: float = GIVEN[0]
    absent: Absence = field(default_factory=Absence)

    def variance(self, z: np.ndarray) -> np.ndarray:
        """Return the variance of coalitions (-1 or 1, [m, n]) before any score was seen, without level and terms."""
        return self.amplitude + self.absent.by_count((z > 0).sum(axis=1))


@dataclass(frozen=True)
class GaussianProcess:
    """The posterior of all scores, given some; made by `fit`.

    Attributes:
        z: The coalitions fitted, -1 or 1, float64, shape [m, n].
        terms: Terms whose effects are fitted beside the process.
        scales: The kernel's parameters.
        level: Mean of the fitted scores.
        unit: Standard deviation of the fitted scores, in which everything else is told.
        factor: Lower Cholesky factor of the covariance of the scores, shape [m, m].
        weights: Its inverse times the scores, shape [m].
        random: Variance of one score from call to call, in units; the rest of the noise is part of the true scores.
    """

    z: np.ndarray
    terms: tuple[Term, ...]
    scales: Scales
    level: float
    unit: float
    factor: np.ndarray
    weights: np.ndarray
    random: float = 0.0

    @property
    def n(self) -> int:
        """Number of players."""
        return self.z.shape[1]

    def predict(self, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the posterior mean and standard deviation of scores of coalitions (bool, [m, n]), float64 [m]."""
        masks = np.asarray(masks)
        if masks.dtype != bool or masks.ndim != 2 or masks.shape[1] != self.n:
            raise ValueError(
                f"Coalitions are booleans of shape [m, {self.n}], but {masks.dtype} of shape {masks.shape} was given."
            )
        z, told = _signs(masks), _told(masks, self.terms, self.scales.given)
        cross = _covariance(z, told, self.z, self._told, self.scales)
        before = self.scales.variance(z) + (told**2).sum(axis=1)
        left = np.maximum(before - (self.whitened(cross.T) ** 2).sum(axis=0), 0) + self.scales.noise
        return self.level + self.unit * (cross @ self.weights), self.unit * np.sqrt(left)

    def covariance(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return the prior covariance, in units, of the scores of coalitions (bool, [a, n] and [b, n]), [a, b]."""
        given = self.scales.given
        of_a, of_b = (_told(masks, self.terms, given) for masks in (a, b))
        return _covariance(_signs(a), of_a, _signs(b), of_b, self.scales)

    def effects(self, kind: str, sets: Sequence[Collection[int]]) -> tuple[np.ndarray, np.ndarray]:
        """Return the effects of sets of players and their standard errors, float64, one per set.

        Args:
            kind: With D_T(p) the mean change of the score by the players T together, others present with chance p:
                ``"and"``, the Harsanyi dividend D_T(0) (of a player alone its score minus that of no players), whose
                error holds how far the empty input is from what the others predict;
                ``"or"``, what the set adds as an OR term, -(-1)^|T| D_T(1); ``"banzhaf"``, D_T(1/2); ``"shapley"``, the
                integral of D_T(p): for one player its Shapley value, for more the Shapley interaction index.
            sets: Players of each effect, at least one each.
        """
        at = densities(kind, self.n)
        members = _members(sets, self.n)
        cross, before = self._derivatives(members, *at), self._own_variance(members, *at)
        sign = -((-1.0) ** members.sum(axis=1)) if kind == "or" else np.ones(len(members))
        left = CARE**2 * np.maximum(before - (self.whitened(cross) ** 2).sum(axis=0), 0)
        if kind == "and":
            left += self._near_empty(members)
        return self.unit * sign * (cross.T @ self.weights), self.unit * np.sqrt(left)

    def pulled(self) -> np.ndarray:
        """Return how far the prior pulled the effect of each given term to zero, in units, float64 [terms].

        With the posterior mean m and variance v of an effect of prior variance s, scores alone say m / (1 - v / s).
        """
        own = columns(self.z > 0, self.terms) * self.scales.given**2
        left = 1 - (self.whitened(own) ** 2).sum(axis=0) / self.scales.given**2
        return (own.T @ self.weights) * np.clip(left, 0, 0.95) / (1 - np.clip(left, 0, 0.95))

    def _near_empty(self, members: np.ndarray) -> np.ndarray:
        """Return what the effects of sets at the empty input have of their own, by how wrong that input is predicted.

        Were that a process of covariance v (1 - u)^|S + S'|, known at the empty input alone, the effect of a set T
        would have the variance v (u^|T| - u^(2 |T|)). An effect of which all 2^|T| scores are known has none.
        """
        order = members.sum(axis=1)
        inside = ((self.z > 0) @ (~members).T.astype(np.float64) == 0).sum(axis=0)
        return np.where(inside < 2.0**order, self._unlike() * (_UNLIKE**order - _UNLIKE ** (2 * order)), 0.0)

    def _unlike(self) -> float:
        """Return the squared error of what is expected of the empty input without its score, in units."""
        row = np.flatnonzero((self.z < 0).all(axis=1))
        if not len(row):
            return 1.0
        unit = np.zeros(len(self.z))
        unit[row[0]] = 1.0
        alone = self.weights[row[0]] / (self.whitened(unit) ** 2).sum()
        return float(max(abs(alone), _LEAST_UNLIKE) ** 2)

    def left_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Return what is expected of each fitted score without it, and the standard deviation, float64 [m]."""
        inverse = _inverse(self.factor)
        variance = 1 / np.diag(inverse)
        own = _centred(self)
        return self.level + self.unit * (own - self.weights * variance), self.unit * np.sqrt(variance)

    def next(self, pool: np.ndarray, judges: np.ndarray, count: int) -> np.ndarray:
        """Return which coalitions to score next: the rows of `pool` that reduce the summed variance of `judges` most.

        Args:
            pool: Candidates, bool, shape [p, n].
            judges: Coalitions whose scores are to be predicted, bool, shape [j, n].
            count: How many to choose, one after another.
        """
        p, j = (_signs(masks) for masks in (pool, judges))
        of_p, of_j = (_told(masks, self.terms, self.scales.given) for masks in (pool, judges))
        known_p = self.whitened(_covariance(self.z, self._told, p, of_p, self.scales))
        known_j = self.whitened(_covariance(self.z, self._told, j, of_j, self.scales))
        among = _covariance(p, of_p, p, of_p, self.scales) - known_p.T @ known_p
        across = _covariance(j, of_j, p, of_p, self.scales) - known_j.T @ known_p
        chosen: list[int] = []
        for _ in range(min(count, len(pool))):
            variance = np.diag(among) + self.scales.noise
            gain = (across**2).sum(axis=0) / variance
            gain[chosen] = -1
            best = int(gain.argmax())
            chosen.append(best)
            step = among[best] / variance[best]
            across, among = across - np.outer(across[:, best], step), among - np.outer(among[best], step)
        return np.array(chosen, dtype=np.int64)

    @property
    def _own(self) -> float:
        """Variance of what a coalition has of its own, without the randomness of its score."""
        return max(self.scales.noise - self.random, 0.0)

    @property
    def _told(self) -> np.ndarray:
        return _told(self.z > 0, self.terms, self.scales.given)

    def whitened(self, cross: np.ndarray) -> np.ndarray:
        """Return covariances with the scores, [m, ...], so that their squares are the variance that these take away."""
        return solve_triangular(self.factor, cross, lower=True, check_finite=False)

    def _derivatives(self, members: np.ndarray, at: np.ndarray, share: np.ndarray) -> np.ndarray:
        """Return the covariance of the fitted scores with the derivatives of sets, shape [m, sets]."""
        r = self.scales.players
        cross = np.zeros((len(self.z), len(members)))
        for p, weight in zip(at, share, strict=True):
            others = 1 + r * (2 * p - 1) * self.z
            whole = self.scales.amplitude * np.exp(np.log(others).sum(axis=1) - np.log1p(r).sum())
            ratio = 2 * r * self.z / others
            # What no coalition tells of another is known where it was scored.
            there = np.where(self.z > 0, p, 1 - p)
            for k, row in enumerate(members):
                alone = self._own * there[:, ~row].prod(axis=1) * self.z[:, row].prod(axis=1)
                cross[:, k] += weight * (whole * ratio[:, row].prod(axis=1) + alone)
            cross += weight * self.scales.absent.derivatives(self.z, members, p)
        return cross + self._told @ _derived(self.terms, self.scales.given, members, at, share).T

    def _own_variance(self, members: np.ndarray, at: np.ndarray, share: np.ndarray) -> np.ndarray:
        """Return the variance of the derivatives of sets before any score was seen, shape [sets]."""
        r, q = self.scales.players, 2 * at - 1
        variance = np.zeros(len(members))
        for first, weight in zip(q, share, strict=True):
            others = 1 + r * (first * q)[:, None]
            whole = self.scales.amplitude * np.exp(np.log(others).sum(axis=1) - np.log1p(r).sum())
            ratio = 4 * r / others
            both = (1 + first * q) / 2
            for k, row in enumerate(members):
                alone = self._own * 2.0 ** row.sum() * both ** (self.n - row.sum())
                variance[k] += weight * share @ (whole * ratio[:, row].prod(axis=1) + alone)
            variance += weight * self.scales.absent.derivative_variance(members, (1 + first) / 2, at) @ share
        return variance + (_derived(self.terms, self.scales.given, members, at, share) ** 2).sum(axis=1)


def fit(
    masks: np.ndarray,
    values: np.ndarray,
    terms: Sequence[Term] = (),
    *,
    given: float = GIVEN[0],
    scales: Scales | None = None,
    spread: float = 0.0,
) -> GaussianProcess:
    """Fit a Gaussian process to the scores of coalitions.

    Args:
        masks: bool, shape [m, n]; of more than 8,000 the first are taken, and the first 1,500 choose the scales.
        values: float64, shape [m].
        terms: Terms whose effects are fitted too; the process takes what they leave.
        given: Standard deviation of their effects before any score was seen, in that of the scores.
        scales: Those of an earlier fit, its `given` included; None chooses.
        spread: Standard deviation of one score from call to call; the noise is at least that.

    >>> import numpy as np
    >>> masks = np.random.default_rng(0).random((200, 12)) < 0.5
    >>> process = fit(masks, 2.0 * masks[:, [1, 4]].all(1))
    >>> mean, error = process.effects("banzhaf", [{1}, {1, 4}])
    >>> [round(float(effect), 2) for effect in mean]
    [1.0, 2.0]
    """
    masks, values = np.asarray(masks, dtype=bool)[:MOST_ROWS], np.asarray(values, dtype=np.float64)[:MOST_ROWS]
    level, unit = float(values.mean()), float(values.std()) or 1.0
    given = given if scales is None else scales.given
    z, told, y = _signs(masks), _told(masks, terms, given), (values - level) / unit
    few = slice(_MOST_ROWS_OF_A_CHOICE)
    scales = _likeliest(z[few], told[few] @ told[few].T, y[few]) if scales is None else scales
    random = (spread / unit) ** 2
    scales = replace(scales, noise=max(scales.noise, random), given=given)
    factor, scales = _factored(_covariance(z, told, z, told, scales), scales)
    whitened = solve_triangular(factor, y, lower=True, check_finite=False)
    weights = solve_triangular(factor, whitened, lower=True, trans=1, check_finite=False)
    return GaussianProcess(z, tuple(terms), scales, level, unit, factor, weights, random)


def expected_error(process: GaussianProcess, masks: np.ndarray, judges: np.ndarray) -> float:
    """Return the mean squared error to expect at coalitions once others are scored; it depends on no score.

    Args:
        process: Whose kernel is taken.
        masks: What would be scored, bool, shape [m, n].
        judges: Where the error is, bool, shape [j, n].
    """
    given = process.scales.given
    z, told = _signs(masks), _told(masks, process.terms, given)
    of_judges = _told(judges, process.terms, given)
    factor, scales = _factored(_covariance(z, told, z, told, process.scales), process.scales)
    cross = _covariance(z, told, _signs(judges), of_judges, scales)
    seen = solve_triangular(factor, cross, lower=True, check_finite=False)
    left = scales.variance(_signs(judges)) + (of_judges**2).sum(axis=1) - (seen**2).sum(axis=0)
    return process.unit**2 * float(np.maximum(left, 0).mean() + scales.noise)


def _likeliest(z: np.ndarray, free: np.ndarray, y: np.ndarray) -> Scales:
    """Return the scales of the greatest marginal likelihood."""
    m, n = z.shape
    usual = _logit(min(_START, _START_OF_ALL / max(n, 1)))
    present = n - both_absent(z, z)
    (mean_s, width_s), (mean_b, width_b) = _LOG_REACH, _LOG_EXTENT

    def loss(t: np.ndarray) -> tuple[float, np.ndarray]:
        scales = _scales(t)
        kernel = scales.amplitude * _kernel(z, z, scales.players)
        absent = scales.absent.by_count(present)
        whole = kernel + absent + free
        whole[np.diag_indices(m)] += scales.noise
        try:
            factor = _factor(whole)
        except LinAlgError:
            return 1e10, np.zeros_like(t)
        inverse = _inverse(factor)
        weights = inverse @ y
        value = y @ weights / 2 + np.log(np.diag(factor)).sum() + ((t[:n] - usual) ** 2).sum() / (2 * _WIDTH**2)
        of_s, of_b = (t[n + 2] - mean_s) / width_s, (t[n + 3] - mean_b) / width_b
        value += (of_s**2 + of_b**2) / 2
        slope = (inverse - np.outer(weights, weights)) / 2
        by_kernel = slope * kernel
        total = by_kernel.sum()
        # By w_i = log (1 - r_i) / (1 + r_i), what one player that differs multiplies the kernel by.
        by_w = (total - np.einsum("ji,ji->i", z, by_kernel @ z)) / 2
        by_r = by_w * (-2 * scales.players / (1 + scales.players)) + (t[:n] - usual) / _WIDTH**2
        by_absent = slope * absent
        reach = scales.absent.reach
        by_s = -(by_absent * present).sum() * reach / (1 + reach) + of_s / width_s
        others = [total, np.trace(slope) * np.exp(t[n + 1]), by_s, by_absent.sum() + of_b / width_b]
        return value, np.concatenate([by_r, others])

    begin = np.concatenate([np.full(n, usual), [0.0, -5.0, mean_s, -1.0]])
    bounds = [(-12.0, 8.0)] * n + [(-12.0, 12.0), (-16.0, 3.0), (-4.0, 3.0), (-12.0, 6.0)]
    options: Any = {"maxiter": _STEPS}
    return _scales(minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x)


def _scales(t: np.ndarray) -> Scales:
    amplitude, noise, reach, extent = np.exp(t[-4:]).tolist()
    return Scales(1 / (1 + np.exp(-t[:-4])), amplitude, noise + _JITTER, absent=Absence(reach, extent))


def _logit(share: Any) -> Any:
    return np.log(share) - np.log1p(-np.asarray(share))


def _signs(masks: np.ndarray) -> np.ndarray:
    return np.where(masks, 1.0, -1.0)


def _told(masks: np.ndarray, terms: Sequence[Term], given: float) -> np.ndarray:
    """Return the columns of the level, both ends and the terms, each times its standard deviation, [m, 3 + terms]."""
    ends = np.stack([np.ones(len(masks), dtype=bool), ~masks.any(axis=1), masks.all(axis=1)], axis=1)
    return np.concatenate([ends, columns(masks, terms)], axis=1) * _loads(len(terms), given)


def _loads(terms: int, given: float) -> np.ndarray:
    return np.array([_FREE, _END, _END] + [given] * terms)


def _kernel(a: np.ndarray, b: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Return the kernel of amplitude 1 between coalitions: its logarithm is linear in the inner products."""
    w = np.log1p(-r) - np.log1p(r)
    inner = (a * w) @ b.T
    inner *= -0.5
    inner += w.sum() / 2
    return np.exp(inner, out=inner)


def _covariance(a: np.ndarray, of_a: np.ndarray, b: np.ndarray, of_b: np.ndarray, scales: Scales) -> np.ndarray:
    whole = scales.amplitude * _kernel(a, b, scales.players) + of_a @ of_b.T
    return whole + scales.absent.covariance(a, b) if scales.absent.extent else whole


def _factor(covariance: np.ndarray) -> np.ndarray:
    factor, info = _POTRF(covariance, lower=1, clean=1)
    if info:
        raise LinAlgError("The covariance is not positive definite.")
    return factor


def _factored(covariance: np.ndarray, scales: Scales) -> tuple[np.ndarray, Scales]:
    """Return the factor of a covariance without noise and the scales, with as much noise as the factor needs."""
    own = np.diag(covariance).copy()
    while True:
        covariance[np.diag_indices_from(covariance)] = own + scales.noise
        try:
            return _factor(covariance), scales
        except LinAlgError:
            # Rounding of hundreds of given terms.
            scales = replace(scales, noise=10 * scales.noise)


def _inverse(factor: np.ndarray) -> np.ndarray:
    inverse, _ = _POTRI(factor, lower=1)
    return np.tril(inverse) + np.tril(inverse, -1).T


def _centred(process: GaussianProcess) -> np.ndarray:
    """Return the fitted scores in units: L L^T weights."""
    return process.factor @ (process.factor.T @ process.weights)


def _members(sets: Sequence[Collection[int]], n: int) -> np.ndarray:
    """Return which players are in each set, bool [sets, n]."""
    found = np.zeros((len(sets), n), dtype=bool)
    for row, members in zip(found, sets, strict=True):
        try:
            players = [index(i) for i in members]
        except TypeError:
            players = []
        if not players or not all(0 <= i < n for i in players):
            raise ValueError(
                f"An effect is of a set of one or more of the players 0 to {n - 1}, such as {{0}}, but {members!r:.60} "
                "was given."
            )
        row[players] = True
    return found


def densities(kind: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the densities at which derivatives are taken and their shares."""
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r} is not known; choose one of {list(KINDS)}.")
    if kind == "shapley":
        # Exact for polynomials of degree n; of hundreds of players 24 nodes are exact to rounding.
        nodes, weights = np.polynomial.legendre.leggauss(min(n // 2 + 1, 24))
        return (nodes + 1) / 2, weights / 2
    return np.array([{"and": 0.0, "banzhaf": 0.5, "or": 1.0}[kind]]), np.ones(1)


def _derived(terms: Sequence[Term], given: float, members: np.ndarray, at: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return the derivatives of the columns of `_told` by sets, [sets, 3 + terms]."""
    found = np.zeros((len(members), 3 + len(terms)))
    sets = [frozenset(np.flatnonzero(row).tolist()) for row in members]
    everyone = frozenset(range(members.shape[1]))
    # Nobody is there where OR of all players is not.
    for t, (kind, inside) in enumerate([("or", everyone), ("and", everyone), *terms], 1):
        for k, players in enumerate(sets):
            if players <= inside:
                # OR is 1 minus the product of absences.
                density, sign = (at, 1.0) if kind == "and" else (1 - at, -((-1.0) ** len(players)))
                found[k, t] = sign * (share @ density ** len(inside - players))
    found[:, 1] *= -1
    return found * _loads(len(terms), given)
