// (I + U U^T + L L^T / omega)^-1 on the coalitions != empty, without a matrix.
#pragma once
#include "sparsify/programme.h"

namespace interact::sparsify {

class KroneckerSolver {
 public:
  // weight = 1 / omega; 0 drops the noise and makes `solve` exact.
  KroneckerSolver(Lattice lattice, double weight);

  // Improves x, a guess of the solution, until the residual is `tolerance` of the right-hand side.
  void solve(const Vector& rhs, Vector& x, double tolerance, int most);

 private:
  void precondition(const Vector& x, Vector& y) const;
  void apply(const Vector& x, Vector& y);

  Lattice lattice_;
  double weight_;
  double c_[4];     // the 2x2 matrix whose powers diagonalise both squares
  Vector inverse_;  // of the diagonal
  Vector column_;   // of the inverse at the empty coalition, which is then eliminated
  Vector residual_, direction_, image_, solved_, work_;
};

}  // namespace interact::sparsify
