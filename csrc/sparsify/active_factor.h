// A small stand-in for the normal matrix near the optimum of noisy scores.
#pragma once
#include <cstdint>
#include <vector>

#include "sparsify/programme.h"
#include "sparsify/split.h"

namespace interact::sparsify {

class ActiveFactor {
 public:
  ActiveFactor(Lattice lattice, const Lapack& lapack) : lattice_(lattice), lapack_(lapack) {}

  // Takes the columns that outweigh the noise; more than `most`: none and false, or the heaviest when `cut`.
  bool factor(const Vector& d1, const Vector& d2, const Vector& d3, std::int64_t most, bool cut);

  // y = (L D3 L^T + the taken columns)^-1 x.
  void precondition(const Vector& x, Vector& y) const;

 private:
  bool choose(const Vector& d1, const Vector& d2, std::int64_t most, bool cut);
  bool assemble(const Vector& d1, const Vector& d2);
  void gather(Vector& p, double* out) const;                   // A^T p; p is overwritten
  void spread(const std::vector<double>& x, Vector& p) const;  // A x
  std::int64_t order() const { return static_cast<std::int64_t>(r_.size()); }

  Lattice lattice_;
  Lapack lapack_;
  Vector weight_;                   // 1 / D3
  std::vector<std::int64_t> sets_;  // the AND columns taken, then the OR columns
  std::int64_t meetings_ = 0;       // how many of them are AND columns
  Vector r_;                        // scaling of the factor, padded
  std::vector<double> factor_;
};

}  // namespace interact::sparsify
