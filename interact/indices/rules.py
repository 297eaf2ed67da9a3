"""What each index gives a set T of size t out of one AND term or one OR term over S, T in S, |S| = s.

Every index here is linear in the game and symmetric in its players, so a term over S contributes to the subsets of S
alone, by a weight that depends on s and t only:

    AND over S = the Moebius coefficient of S:    a(s, t)
    OR over S = 1 - "AND of absences":            [t = 0] a(0, 0) - (-1)^t d(s, t),

where d is what T gets of "all of S absent" with signs dropped. SII and BII treat absence like presence, so d = a.
The best polynomial of order k (FSII, FBII) of the mirrored term is the mirrored polynomial, so
d(s, t) = sum_{r=t..k} C(s-t, r-t) a(s, r). All weights are exact fractions; nothing cancels in floating point.

Sources: Grabisch & Roubens 1999 (SII, BII); Sundararajan et al. 2020 (STII); Bordt & von Luxburg 2023 (k-SII);
Tsai et al. 2023, JMLR 24(94) (FSII, FBII in Moebius coefficients); Marichal et al. 2007 (co-Moebius); Deng et al.
2021 (arXiv 2111.06236, multi-order).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import comb

Weight = Callable[[int, int], Fraction]
_ZERO, _ONE = Fraction(0), Fraction(1)


@dataclass(frozen=True)
class Rule:
    """One index.

    Attributes:
        name: Its name, as shapiq spells it.
        and_weight: a(s, t) for 0 <= t <= s.
        mirrored: d(s, t).
    """

    name: str
    and_weight: Weight
    mirrored: Weight

    def or_weight(self, s: int, t: int) -> Fraction:
        """Return what a set of size t gets of an OR term over s >= 1 players."""
        sign = -1 if t % 2 else 1
        return (self.and_weight(0, 0) if t == 0 else _ZERO) - sign * self.mirrored(s, t)


def moebius_rule() -> Rule:
    """a = [s = t]: the coefficients themselves; an OR term becomes (-1)^(t+1) on each of its subsets."""
    return Rule("Moebius", _same, lambda s, t: _ONE)


def co_moebius_rule() -> Rule:
    """a = 1: the sum over all supersets of T, the discrete derivative at the full input."""
    return Rule("Co-Moebius", lambda s, t: _ONE, _same)


def sii_rule() -> Rule:
    """a = 1 / (s - t + 1)."""
    return Rule("SII", _sii, _sii)


def bii_rule() -> Rule:
    """a = 2^-(s - t)."""

    def weight(s: int, t: int) -> Fraction:
        return Fraction(1, 1 << (s - t))

    return Rule("BII", weight, weight)


def k_sii_rule(k: int) -> Rule:
    """a = sum_{l=t..min(k, s)} C(s-t, l-t) B_(l-t) / (s - l + 1), B the Bernoulli numbers with B_1 = -1/2."""

    def aggregate(s: int, t: int, sign: int) -> Fraction:
        parts = (comb(s - t, r - t) * sign ** (r - t) * _bernoulli(r - t) * _sii(s, r) for r in range(t, min(k, s) + 1))
        return sum(parts, _ZERO)

    return Rule(
        "k-SII",
        lambda s, t: _same(s, t) if t == 0 else aggregate(s, t, 1),
        lambda s, t: _ONE if t == 0 else aggregate(s, t, -1),
    )


def stii_rule(k: int) -> Rule:
    """a = [s = t] below order k, 1 / C(s, k) at order k (there d = k / s)."""
    return Rule(
        "STII",
        lambda s, t: Fraction(1, comb(s, k)) if t == k else _same(s, t),
        lambda s, t: Fraction(k, s) if t == k else _ONE,
    )


def fsii_rule(k: int) -> Rule:
    """a = [s = t] up to s = k, beyond (-1)^(k-t) t/(k+t) C(k, t) C(s-1, k) / C(s+k-1, k+t)."""

    def weight(s: int, t: int) -> Fraction:
        if s <= k or t == 0:
            return _same(s, t)
        size = Fraction(t * comb(k, t) * comb(s - 1, k), (k + t) * comb(s + k - 1, k + t))
        return -size if (k - t) % 2 else size

    return _faithful("FSII", k, weight)


def fbii_rule(k: int) -> Rule:
    """a = [s = t] up to s = k, beyond (-1)^(k-t) 2^-(s-t) C(s-t-1, k-t), the empty set included."""

    def weight(s: int, t: int) -> Fraction:
        if s <= k:
            return _same(s, t)
        size = Fraction(comb(s - t - 1, k - t), 1 << (s - t))
        return -size if (k - t) % 2 else size

    return _faithful("FBII", k, weight)


def multi_order_rule(n: int, m: int) -> Rule:
    """Of pairs: a = C(n-s, m-s+2) / C(n-2, m), the share of contexts of m players that hold the term's other s - 2.

    An OR term is felt where the context holds none of them: d = C(n-s, m) / C(n-2, m).
    """

    def context(s: int, held: int) -> Fraction:
        return Fraction(comb(n - s, m - held), comb(n - 2, m)) if m >= held else _ZERO

    return Rule(f"I^({m})", lambda s, t: context(s, s - 2), lambda s, t: context(s, 0))


def _faithful(name: str, k: int, weight: Weight) -> Rule:
    def mirrored(s: int, t: int) -> Fraction:
        return sum((comb(s - t, r - t) * weight(s, r) for r in range(t, min(k, s) + 1)), _ZERO)

    return Rule(name, weight, mirrored)


def _same(s: int, t: int) -> Fraction:
    return _ONE if s == t else _ZERO


def _sii(s: int, t: int) -> Fraction:
    return Fraction(1, s - t + 1)


@cache
def _bernoulli(k: int) -> Fraction:
    if k == 0:
        return _ONE
    return -sum((comb(k + 1, j) * _bernoulli(j) for j in range(k)), _ZERO) / (k + 1)
