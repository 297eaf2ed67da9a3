#include "sparsify/normal_matrix.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

namespace interact::sparsify {

namespace {

// A stride that is no power of two keeps columns from sharing the cache's sets.
std::int64_t stride_of(std::int64_t order) { return order < 64 ? order : order + 16; }

}  // namespace

template <class T>
bool NormalMatrix::factor_as(std::unique_ptr<T[]>& matrix, double shift) {
  const std::int64_t order = lattice_.size(), stride = stride_of(order);
  if (!matrix) matrix.reset(new T[order * stride]);
  Vector upper = d2_, lower = d3_;
  lattice_.upper(upper);
  lattice_.lower(lower);
  r_.resize(order);
  std::vector<T> up(order), low(order), r(order);
  for (std::int64_t i = 0; i < order; ++i) {
    r_[i] = i ? 1 / std::sqrt(d1_[i] + upper[i] + lower[i]) : 0;
    up[i] = static_cast<T>(upper[i]), low[i] = static_cast<T>(lower[i]), r[i] = static_cast<T>(r_[i]);
  }
  assemble(up.data(), low.data(), r.data(), order, stride, matrix.get());
  // The scaled diagonal is 1 by definition; row 0 (no coalition) is a unit row.
  for (std::int64_t i = 0; i < order; ++i) matrix[i * stride + i] = static_cast<T>(1 + shift);
  char side = 'L';
  int order_int = static_cast<int>(order), stride_int = static_cast<int>(stride), info = 0;
  if constexpr (std::is_same_v<T, float>)
    lapack_.spotrf(&side, &order_int, matrix.get(), &stride_int, &info);
  else
    lapack_.dpotrf(&side, &order_int, matrix.get(), &stride_int, &info);
  return info == 0;
}

void NormalMatrix::reweigh(const Vector& d1, const Vector& d2, const Vector& d3) {
  d1_ = d1, d2_ = d2, d3_ = d3;
  d1_[0] = d2_[0] = d3_[0] = 0;
}

bool NormalMatrix::factor(const Vector& d1, const Vector& d2, const Vector& d3, bool single_precision) {
  reweigh(d1, d2, d3);
  single_ = single_precision, few_ = false;
  if (single_) {
    double_factor_.reset();
    return factor_as(single_factor_, 2e-6);
  }
  single_factor_.reset();
  return factor_as(double_factor_, 1e-14) || factor_as(double_factor_, 1e-11);
}

bool NormalMatrix::factor_active(const Vector& d1, const Vector& d2, const Vector& d3, std::int64_t most,
                                 bool cut) {
  reweigh(d1, d2, d3);
  few_ = active_.factor(d1_, d2_, d3_, most, cut);
  return few_;
}

void NormalMatrix::apply(const Vector& x, Vector& y) const {
  Vector middle = x;
  y = x;
  lattice_.lower(middle);
  lattice_.upper(y);
  for (std::size_t i = 0; i < x.size(); ++i) middle[i] *= d2_[i], y[i] *= d3_[i];
  lattice_.upper(middle);
  lattice_.lower(y);
  for (std::size_t i = 0; i < x.size(); ++i) y[i] += middle[i] + d1_[i] * x[i];
  y[0] = 0;
}

void NormalMatrix::precondition(const Vector& x, Vector& y) const {
  const std::int64_t order = lattice_.size(), stride = stride_of(order);
  if (few_) {
    active_.precondition(x, y);
    return;
  }
  y.resize(order);
  if (single_) {
    std::vector<float> work(order);
    for (std::int64_t i = 0; i < order; ++i) work[i] = static_cast<float>(r_[i] * x[i]);
    solve_factor(single_factor_.get(), order, stride, work.data());
    for (std::int64_t i = 0; i < order; ++i) y[i] = r_[i] * static_cast<double>(work[i]);
  } else {
    for (std::int64_t i = 0; i < order; ++i) y[i] = r_[i] * x[i];
    solve_factor(double_factor_.get(), order, stride, y.data());
    for (std::int64_t i = 0; i < order; ++i) y[i] *= r_[i];
  }
}

int NormalMatrix::solve(const Vector& rhs, Vector& x, double tolerance, int most) const {
  x.assign(rhs.size(), 0.0);
  // Float32 cannot hold residuals of any size: the right-hand side is solved in its own unit.
  const double unit = largest(rhs);
  if (!(unit > 0) || !std::isfinite(unit)) return 0;
  Vector residual = rhs, direction, image, solved;
  for (double& value : residual) value /= unit;
  residual[0] = 0;
  precondition(residual, solved);
  direction = solved;
  double product = dot(residual, solved);
  int steps = 0;
  while (steps < most) {
    ++steps;
    apply(direction, image);
    const double curvature = dot(direction, image);
    if (!(curvature > 0) || !std::isfinite(curvature)) break;
    const double length = product / curvature;
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] += length * direction[i], residual[i] -= length * image[i];
    if (largest(residual) <= tolerance || steps == most) break;
    precondition(residual, solved);
    const double next = dot(residual, solved);
    for (std::size_t i = 0; i < x.size(); ++i) direction[i] = solved[i] + next / product * direction[i];
    product = next;
  }
  for (double& value : x) value *= unit;
  return steps;
}

}  // namespace interact::sparsify
