"""A prior on what is absent together, in closed form: b prod_i (1 + s [i absent in both]) / (1 + s).

A text of which little is left is read as another text. So the scores of coalitions with few players vary more than
other scores, and say little about them. The product, in which [...] is 1 or 0, is a prior on the coefficients of "all
of T absent" (1 minus an OR term), of variance proportional to s^|T|. It is largest without players. Each player that is
present in one of the two coalitions, or in both, divides it by 1 + s.

Source: ours; see `interact.sparse.gaussian` for the prior beside it.

Coalitions are -1 for an absent player and 1 for a present one, float64 [m, n]; sets of players are bool [sets, n].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Absence:
    """The prior's parameters.

    Attributes:
        reach: How far it reaches to coalitions that lack other players, s.
        extent: The variance b of the empty coalition, in that of the scores; 0 for no such prior.
    """

    reach: float = 1.0
    extent: float = 0.0

    def covariance(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return the covariance of coalitions, [a, b]."""
        return self.by_count(a.shape[1] - both_absent(a, b))

    def by_count(self, present: np.ndarray) -> np.ndarray:
        """Return the covariance of coalitions by how many players are present in one of the two or in both."""
        return self.extent * np.exp(-np.log1p(self.reach) * present)

    def coefficients(self, z: np.ndarray, members: np.ndarray) -> np.ndarray:
        """Return the covariance of coalitions with the Walsh coefficients of sets, [m, sets].

        Where player i is absent in a coalition, the factor of another is 1 + s / 2 - (s / 2) z_i; else it is 1.
        """
        half = self.reach / 2
        whole = np.exp(np.log1p(half) * (z < 0).sum(axis=1) - z.shape[1] * np.log1p(self.reach))
        return self.extent * whole[:, None] * _lacks(z, members) * (-half / (1 + half)) ** members.sum(axis=1)

    def coefficient_means(self, z: np.ndarray, members: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return what coalitions of these weights expect of the coefficients of many sets, [sets], in little memory."""
        if not self.extent:
            return np.zeros(len(members))
        parts = np.array_split(members, max(1, len(members) // 500))
        return np.concatenate([self.coefficients(z, part).T @ weights for part in parts])

    def coefficient_variance(self, members: np.ndarray) -> np.ndarray:
        """Return the covariance of the Walsh coefficients of sets, [sets, sets]."""
        inside, n, quarter = members.astype(np.float64), members.shape[1], self.reach / 4
        both = inside @ inside.T
        either = inside.sum(axis=1)[:, None] + inside.sum(axis=1) - both
        logs = either * np.log(quarter) + (n - either) * np.log1p(quarter) - n * np.log1p(self.reach)
        return self.extent * (1 - 2 * ((either - both) % 2)) * np.exp(logs)

    def derivatives(self, z: np.ndarray, members: np.ndarray, p: float) -> np.ndarray:
        """Return the covariance of coalitions with derivatives by sets, others present with chance p, [m, sets]."""
        among = np.log1p(self.reach * (1 - p))
        whole = np.exp(among * (z < 0).sum(axis=1) - z.shape[1] * np.log1p(self.reach))
        slope = (-self.reach / np.exp(among)) ** members.sum(axis=1)
        return self.extent * whole[:, None] * _lacks(z, members) * slope

    def derivative_variance(self, members: np.ndarray, p: float, q: np.ndarray) -> np.ndarray:
        """Return the covariances of each set's derivatives at the densities p and q (float64 [k]), [sets, k]."""
        among = 1 + self.reach * (1 - p) * (1 - q)
        least = self.extent * np.exp(members.shape[1] * (np.log(among) - np.log1p(self.reach)))
        return least * (self.reach / among) ** members.sum(axis=1)[:, None]


def both_absent(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return how many players two coalitions both lack, [a, b]."""
    return (a < 0).astype(np.float64) @ (b < 0).astype(np.float64).T


def _lacks(z: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Return whether a coalition lacks all players of a set, bool [m, sets]."""
    return (z > 0).astype(np.float64) @ members.T.astype(np.float64) == 0
