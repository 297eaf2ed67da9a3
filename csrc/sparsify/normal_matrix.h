// The normal matrix H = D1 + U D2 U^T + L D3 L^T: two look-ups an entry, a Cholesky factor, solves.
#pragma once
#include <memory>

#include "sparsify/active_factor.h"
#include "sparsify/programme.h"
#include "sparsify/split.h"

namespace interact::sparsify {

// Triangular kernels on a column-major lower factor whose order is a multiple of 16 (or below 16).
void solve_factor(const float* factor, std::int64_t order, std::int64_t stride, float* x);
void solve_factor(const double* factor, std::int64_t order, std::int64_t stride, double* x);

// Lower triangle of r[i] r[j] (upper[i | j] + lower[i & j] + [i == j] diagonal[i]).
void assemble(const float* upper, const float* lower, const float* r, std::int64_t order, std::int64_t stride,
              float* out);
void assemble(const double* upper, const double* lower, const double* r, std::int64_t order,
              std::int64_t stride, double* out);

class NormalMatrix {
 public:
  NormalMatrix(Lattice lattice, const Lapack& lapack)
      : lattice_(lattice), lapack_(lapack), active_(lattice, lapack) {}

  // Keeps the three diagonals (entry 0 ignored) and factors in the precision asked for; false: not positive.
  bool factor(const Vector& d1, const Vector& d2, const Vector& d3, bool single_precision);
  // Keeps other diagonals, but the factor of the last ones.
  void reweigh(const Vector& d1, const Vector& d2, const Vector& d3);

  // Factors the columns that outweigh the noise only; false: more than `most` of them (unless `cut`) or a
  // failure.
  bool factor_active(const Vector& d1, const Vector& d2, const Vector& d3, std::int64_t most, bool cut);

  // Conjugate gradients on the exact operator, preconditioned by the factor; returns the steps taken.
  int solve(const Vector& rhs, Vector& x, double tolerance, int most) const;

  bool is_single() const { return single_ && !few_; }
  bool is_active() const { return few_; }

 private:
  template <class T>
  bool factor_as(std::unique_ptr<T[]>& matrix, double shift);
  void apply(const Vector& x, Vector& y) const;
  void precondition(const Vector& x, Vector& y) const;

  Lattice lattice_;
  Lapack lapack_;
  Vector d1_, d2_, d3_, r_;
  std::unique_ptr<float[]> single_factor_;
  std::unique_ptr<double[]> double_factor_;
  ActiveFactor active_;
  bool single_ = false, few_ = false;
};

}  // namespace interact::sparsify
