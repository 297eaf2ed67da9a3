"""A lattice transform as data: its 2x2 matrix and what follows it."""

from __future__ import annotations

from dataclasses import dataclass

Matrix2 = tuple[float, float, float, float]

MOEBIUS: Matrix2 = (1.0, 0.0, -1.0, 1.0)
ZETA: Matrix2 = (1.0, 0.0, 1.0, 1.0)
WALSH: Matrix2 = (1.0, 1.0, 1.0, -1.0)
OR_MOEBIUS: Matrix2 = (0.0, 1.0, 1.0, -1.0)
"""Moebius after the complement, M P: still one matrix a player, so the reversal costs no pass."""
OR_ZETA: Matrix2 = (1.0, 1.0, 1.0, 0.0)
"""The complement after zeta, P Z."""


@dataclass(frozen=True)
class Transform:
    """``y = scale K x``, K the n-fold Kronecker power of `matrix` (row-major), then at most one of two changes.

    Args:
        matrix: (a, b, c, d): the pair (lo, hi) becomes (a lo + b hi, c lo + d hi).
        scale: Factor on every value.
        zero_first: Set y(empty) = 0 (the OR effects).
        from_first: Replace y by y(empty) - y (the OR values).
    """

    matrix: Matrix2
    scale: float = 1.0
    zero_first: bool = False
    from_first: bool = False

    @property
    def plain(self) -> bool:
        """Whether nothing follows K."""
        return self.scale == 1.0 and not (self.zero_first or self.from_first)


def transposed(matrix: Matrix2) -> Matrix2:
    """Return the transpose of a 2x2 matrix; its Kronecker power is the adjoint."""
    return (matrix[0], matrix[2], matrix[1], matrix[3])
