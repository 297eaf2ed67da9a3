// In the basis of the scores H = D3 + sum_c d_c A_c A_c^T over AND columns [T in S] and OR columns [T meets
// S].
// 1. Near the optimum most noise is free, so D3 is large, and most d_c are tiny: only columns with
//    d_c A_c^T D3^-1 A_c > 1 are taken. 2. Woodbury turns them into a matrix of their own number, whose rows
//    cost two butterflies each. 3. Conjugate gradients on the exact operator repair what was left out.
#include "sparsify/active_factor.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "lattice/butterfly.h"
#include "sparsify/normal_matrix.h"

namespace interact::sparsify {

namespace {

constexpr std::int64_t kPad = 16;

std::int64_t stride_of(std::int64_t order) { return order < 64 ? order : order + 16; }

void flip_signs(Vector& x) {
  for (std::size_t i = 0; i < x.size(); ++i) x[i] *= sign(static_cast<std::int64_t>(i));
}

}  // namespace

bool ActiveFactor::factor(const Vector& d1, const Vector& d2, const Vector& d3, std::int64_t most, bool cut) {
  weight_.assign(d3.size(), 0.0);
  for (std::size_t i = 1; i < d3.size(); ++i) {
    if (!(d3[i] > 0)) return false;
    weight_[i] = 1 / d3[i];
  }
  return choose(d1, d2, most, cut) && assemble(d1, d2);
}

bool ActiveFactor::choose(const Vector& d1, const Vector& d2, std::int64_t most, bool cut) {
  const std::int64_t size = lattice_.size();
  Vector above = weight_, below = weight_;
  lattice_.upper(above);
  lattice_.lower(below);
  std::vector<double> heavy;
  for (std::int64_t i = 1; i < size; ++i) {
    above[i] *= d1[i];
    if (above[i] > 1) heavy.push_back(above[i]);
  }
  Vector meeting(size, 0.0);
  for (std::int64_t i = 1; i < size; ++i) {
    meeting[i] = d2[i] * (below[size - 1] - below[size - 1 - i]);
    if (meeting[i] > 1) heavy.push_back(meeting[i]);
  }
  double bar = 1;
  if (static_cast<std::int64_t>(heavy.size()) > most) {
    if (!cut) return false;
    std::nth_element(heavy.begin(), heavy.begin() + most, heavy.end(), std::greater<>());
    bar = heavy[most];
  }
  sets_.clear();
  for (std::int64_t i = 1; i < size; ++i)
    if (above[i] > bar) sets_.push_back(i);
  meetings_ = static_cast<std::int64_t>(sets_.size());
  for (std::int64_t i = 1; i < size; ++i)
    if (meeting[i] > bar) sets_.push_back(i);
  return true;
}

bool ActiveFactor::assemble(const Vector& d1, const Vector& d2) {
  const auto taken = static_cast<std::int64_t>(sets_.size());
  const std::int64_t padded = (taken + kPad - 1) / kPad * kPad, stride = stride_of(padded);
  r_.assign(padded, 1.0);
  factor_.assign(padded * stride, 0.0);
  Vector p(weight_.size());
  for (std::int64_t j = 0; j < taken; ++j) {
    const std::int64_t set = sets_[j];
    const bool meet = j < meetings_;
    for (std::int64_t i = 0; i < lattice_.size(); ++i)
      p[i] = (meet ? (i & set) == set : (i & set) != 0) ? weight_[i] : 0.0;
    double* column = factor_.data() + j * stride;
    gather(p, column);
    column[j] += 1 / (meet ? d1[set] : d2[set]);
    r_[j] = 1 / std::sqrt(column[j]);
  }
  for (std::int64_t j = 0; j < padded; ++j) {
    for (std::int64_t i = j + 1; i < taken; ++i) factor_[j * stride + i] *= r_[i] * r_[j];
    factor_[j * stride + j] = 1 + 1e-14;
  }
  char side = 'L';
  int order_int = static_cast<int>(padded), stride_int = static_cast<int>(stride), info = 0;
  if (padded) lapack_.dpotrf(&side, &order_int, factor_.data(), &stride_int, &info);
  return info == 0;
}

void ActiveFactor::gather(Vector& p, double* out) const {
  lattice_.upper(p);
  for (std::int64_t j = 0; j < meetings_; ++j) out[j] = p[sets_[j]];
  flip_signs(p);
  lattice_.lower(p);
  for (std::size_t j = meetings_; j < sets_.size(); ++j) out[j] = p[sets_[j]];
}

void ActiveFactor::spread(const std::vector<double>& x, Vector& p) const {
  Vector either(p.size(), 0.0);
  std::fill(p.begin(), p.end(), 0.0);
  for (std::int64_t j = 0; j < meetings_; ++j) p[sets_[j]] = x[j];
  for (std::size_t j = meetings_; j < sets_.size(); ++j) either[sets_[j]] = x[j];
  lattice_.upper(either);
  flip_signs(either);
  for (std::size_t i = 1; i < p.size(); ++i) p[i] += either[i];
  lattice_.lower(p);
}

void ActiveFactor::precondition(const Vector& x, Vector& y) const {
  y = x;
  lattice_.moebius(y);
  for (std::size_t i = 0; i < y.size(); ++i) y[i] *= weight_[i];
  if (order()) {
    Vector p = y;
    flip_signs(p);
    std::vector<double> middle(order(), 0.0);
    gather(p, middle.data());
    for (std::int64_t j = 0; j < order(); ++j) middle[j] *= r_[j];
    solve_factor(factor_.data(), order(), stride_of(order()), middle.data());
    for (std::int64_t j = 0; j < order(); ++j) middle[j] *= r_[j];
    spread(middle, p);
    flip_signs(p);
    for (std::size_t i = 0; i < y.size(); ++i) y[i] -= weight_[i] * p[i];
  }
  lattice::kronecker_cpu(y.data(), 1, lattice_.n, {1, -1, 0, 1}, 1);
  y[0] = 0;
}

}  // namespace interact::sparsify
