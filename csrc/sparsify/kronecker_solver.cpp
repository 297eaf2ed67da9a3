// 1. U U^T and L L^T are Kronecker powers of [[2, 1], [1, 1]] and [[1, 1], [1, 2]]. One 2x2 matrix C
//    diagonalises a pair of such powers at once: two butterflies solve with the pair.
// 2. Without noise the pair is (I, U U^T) and the solve is exact. With noise it is (U U^T, L L^T), and
//    conjugate gradients add the identity.
#include "sparsify/kronecker_solver.h"

#include <algorithm>
#include <cmath>

#include "lattice/butterfly.h"

namespace interact::sparsify {

namespace {

const double kRoot = std::sqrt(5.0);

}  // namespace

KroneckerSolver::KroneckerSolver(Lattice lattice, double weight) : lattice_(lattice), weight_(weight) {
  const std::int64_t size = lattice.size();
  const double big = (3 + kRoot) / 2, small = (3 - kRoot) / 2, golden = (1 + kRoot) / 2;
  double first[2], second[2];  // diagonals of the pair after the change of basis
  if (weight_ > 0) {
    // Columns x = (1, t) with U U^T x = ratio L L^T x, ratio = big and small: t = -(2 - ratio) / (1 - ratio).
    const double ratio[2] = {big, small};
    for (int k = 0; k < 2; ++k) {
      const double t = -(2 - ratio[k]) / (1 - ratio[k]);
      c_[k] = 1, c_[2 + k] = t;
      first[k] = 2 + 2 * t + t * t, second[k] = 1 + 2 * t + 2 * t * t;
    }
  } else {
    const double norm = std::sqrt(1 + golden * golden);
    c_[0] = golden / norm, c_[1] = -1 / norm, c_[2] = 1 / norm, c_[3] = golden / norm;
    first[0] = big, first[1] = small, second[0] = second[1] = 1;
  }
  inverse_.resize(size);
  const double share = weight_ > 0 ? weight_ : 1;
  for (std::int64_t i = 0; i < size; ++i) {
    const int ones = __builtin_popcountll(static_cast<unsigned long long>(i));
    const double u = std::pow(first[0], lattice.n - ones) * std::pow(first[1], ones);
    const double l = std::pow(second[0], lattice.n - ones) * std::pow(second[1], ones);
    inverse_[i] = 1 / (u + share * l);
  }
  Vector unit(size, 0.0), column;
  unit[0] = 1;
  precondition(unit, column);
  column_ = column;
}

void KroneckerSolver::precondition(const Vector& x, Vector& y) const {
  y = x;
  lattice::kronecker_cpu(y.data(), 1, lattice_.n, {c_[0], c_[2], c_[1], c_[3]}, 1);
  for (std::size_t i = 0; i < y.size(); ++i) y[i] *= inverse_[i];
  lattice::kronecker_cpu(y.data(), 1, lattice_.n, {c_[0], c_[1], c_[2], c_[3]}, 1);
  if (column_.empty()) return;
  const double share = y[0] / column_[0];
  for (std::size_t i = 0; i < y.size(); ++i) y[i] -= share * column_[i];
  y[0] = 0;
}

void KroneckerSolver::apply(const Vector& x, Vector& y) {
  y = x;
  work_ = x;
  lattice_.lower(work_);
  lattice_.upper(work_);
  for (std::size_t i = 0; i < x.size(); ++i) y[i] += work_[i];
  if (weight_ > 0) {
    work_ = x;
    lattice_.upper(work_);
    lattice_.lower(work_);
    for (std::size_t i = 0; i < x.size(); ++i) y[i] += weight_ * work_[i];
  }
  y[0] = 0;
}

void KroneckerSolver::solve(const Vector& rhs, Vector& x, double tolerance, int most) {
  if (!(weight_ > 0)) {
    precondition(rhs, x);
    return;
  }
  apply(x, image_);
  residual_ = rhs;
  for (std::size_t i = 0; i < x.size(); ++i) residual_[i] -= image_[i];
  residual_[0] = 0;
  const double enough = tolerance * tolerance * dot(rhs, rhs);
  double product = 0;
  for (int step = 0; step < most && dot(residual_, residual_) > enough; ++step) {
    precondition(residual_, solved_);
    const double next = dot(residual_, solved_);
    if (step == 0) direction_.assign(x.size(), 0.0), product = next;
    for (std::size_t i = 0; i < x.size(); ++i)
      direction_[i] = solved_[i] + (step ? next / product : 0) * direction_[i];
    product = next;
    apply(direction_, image_);
    const double length = product / dot(direction_, image_);
    if (!std::isfinite(length)) return;
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] += length * direction_[i], residual_[i] -= length * image_[i];
  }
}

}  // namespace interact::sparsify
