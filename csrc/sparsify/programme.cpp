#include "sparsify/programme.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "lattice/butterfly.h"

namespace interact::sparsify {

namespace {

void transform(Vector& x, int n, lattice::Matrix2 m) { lattice::kronecker_cpu(x.data(), 1, n, m, 1); }

}  // namespace

void Lattice::lower(Vector& x) const { transform(x, n, {1, 0, 1, 1}); }

void Lattice::upper(Vector& x) const {
  transform(x, n, {1, 1, 0, 1});
  x[0] = 0;
}

void Lattice::moebius(Vector& x) const { transform(x, n, {1, 0, -1, 1}); }

double largest(const Vector& x) {
  double top = 0;
  for (const double value : x)
    if (!(std::abs(value) <= top)) top = std::abs(value);
  return top;
}

double dot(const Vector& x, const Vector& y) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
  return sum;
}

double sign(std::int64_t set) { return __builtin_parityll(static_cast<unsigned long long>(set)) ? 1 : -1; }

Programme::Programme(const double* v, double bound, int n, bool soft, double relative_ridge)
    : lattice{n}, delta(0), gamma(0), ridge(relative_ridge), scale(0) {
  const std::int64_t size = lattice.size();
  w.resize(size);
  for (std::int64_t i = 0; i < size; ++i) w[i] = v[i] - v[0];
  scale = largest(w);
  const double unit = scale > 0 ? scale : 1;
  for (double& value : w) value /= unit;
  (soft ? gamma : delta) = bound / unit;
  g = w;
  lattice.moebius(g);
  for (std::int64_t i = 0; i < size; ++i) g[i] *= sign(i);
  g[0] = 0;
}

void Programme::rest_single_ors() {
  for (int i = 0; i < lattice.n; ++i) frozen.push_back({1, std::int64_t{1} << i, 0});
}

void Programme::freeze(Column column) {
  const double level = column.level;
  frozen.push_back(column);
  base += std::abs(level) + ridge / 2 * level * level;
  if (column.family == 0) {
    g[column.set] -= sign(column.set) * level;
    return;
  }
  for (std::int64_t i = column.set; i; i = (i - 1) & column.set) g[i] -= level;
}

void Programme::rest(Vector& out, const Vector& b, const Vector& q) const {
  Vector lifted = q;
  lattice.lower(lifted);
  out = b;
  lattice.upper(out);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = g[i] - out[i] + lifted[i];
  out[0] = 0;
}

void Programme::complete(Vector& a, Vector& b, const Vector& q) const {
  rest(a, b, q);
  for (const Column& column : frozen) {
    const double off = column.family == 0 ? a[column.set] : 0;
    if (off == 0) continue;
    // An OR of two players or more above the frozen set takes it over, at the cost of the ANDs below.
    std::int64_t above = column.set;
    if ((above & (above - 1)) == 0) above |= above == 1 ? 2 : 1;
    if (above >= lattice.size()) continue;
    b[above] += off;
    for (std::int64_t i = above; i; i = (i - 1) & above) a[i] -= off;
  }
}

double Programme::cost(const Vector& a, const Vector& b, const Vector& q) const {
  double sum = 0, squares = 0, noise = 0;
  for (std::size_t i = 1; i < a.size(); ++i) {
    sum += std::abs(a[i]) + std::abs(b[i]);
    squares += a[i] * a[i] + b[i] * b[i];
    noise += q[i] * q[i];
  }
  for (const Column& column : frozen)
    // Nothing could take over what a frozen AND must not hold.
    if (column.family == 0 && std::abs(a[column.set]) > 1e-9) return std::numeric_limits<double>::infinity();
  return base + sum + ridge / 2 * squares + (gamma > 0 ? noise / (2 * gamma) : 0);
}

double Programme::bound(const Vector& z, double& divisor) const {
  Vector slopes[2] = {z, z};
  Vector y = z;
  lattice.lower(slopes[1]);
  lattice.upper(y);
  double value = 0, price = 0;
  for (std::size_t i = 1; i < z.size(); ++i) {
    value += g[i] * z[i] - delta * std::abs(y[i]);
    price += gamma / 2 * y[i] * y[i];
  }
  for (const Column& column : frozen) slopes[column.family][column.set] = 0;
  divisor = 1;
  if (ridge > 0) {
    for (const Vector& slope : slopes)
      for (const double s : slope)
        if (std::abs(s) > 1) price += (std::abs(s) - 1) * (std::abs(s) - 1) / (2 * ridge);
  } else {
    divisor = std::max(largest(slopes[0]), largest(slopes[1]));
  }
  if (!(divisor > 0) || !std::isfinite(divisor) || !std::isfinite(price)) return base;
  return base + std::max(0.0, value / divisor - price / (divisor * divisor));
}

void write(const Programme& p, const Point& point, const double* v, double delta, double* i_and, double* i_or,
           double* noise, double* y) {
  const std::int64_t size = p.lattice.size();
  Vector meeting(size);
  for (std::int64_t i = 0; i < size; ++i) {
    i_or[i] = i ? p.scale * point.b[i] : 0;
    noise[i] = i ? sign(i) * p.scale * point.q[i] : 0;
    if (p.gamma == 0) noise[i] = std::clamp(noise[i], -delta, delta);
  }
  for (const Column& column : p.frozen)
    if (column.family == 1) i_or[column.set] += p.scale * column.level;
  meeting.assign(i_or, i_or + size);
  p.lattice.lower(meeting);
  Vector rest(size);
  for (std::int64_t i = 0; i < size; ++i)
    rest[i] = v[i] - v[0] + noise[i] - (meeting[size - 1] - meeting[size - 1 - i]);
  p.lattice.moebius(rest);
  for (std::int64_t i = 0; i < size; ++i)
    i_and[i] = i == 0 || (point.exact && point.a[i] == 0)
                   ? 0
                   : (point.exact ? sign(i) * p.scale * point.a[i] : rest[i]);
  double divisor = 1;
  Vector multipliers = point.z;
  if (p.bound(point.z, divisor) <= p.base)
    std::fill(multipliers.begin(), multipliers.end(), 0.0), divisor = 1;
  p.lattice.upper(multipliers);
  for (std::int64_t i = 0; i < size; ++i) y[i] = sign(i) * multipliers[i] / divisor;
}

}  // namespace interact::sparsify
