#include "sparsify/programme.h"

#include <algorithm>
#include <cmath>

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

Programme::Programme(const double* v, double absolute_delta, int n) : lattice{n}, scale(0) {
  const std::int64_t size = lattice.size();
  w.resize(size);
  for (std::int64_t i = 0; i < size; ++i) w[i] = v[i] - v[0];
  scale = largest(w);
  const double unit = scale > 0 ? scale : 1;
  for (double& value : w) value /= unit;
  delta = absolute_delta / unit;
  g = w;
  lattice.moebius(g);
  for (std::int64_t i = 0; i < size; ++i) g[i] *= sign(i);
  g[0] = 0;
}

void Programme::complete(Vector& a, const Vector& b, const Vector& q) const {
  Vector lifted = q;
  lattice.lower(lifted);
  a = b;
  lattice.upper(a);
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = g[i] - a[i] + lifted[i];
  a[0] = 0;
}

double Programme::strength(const Vector& a, const Vector& b) const {
  double sum = 0;
  for (std::size_t i = 1; i < a.size(); ++i) sum += std::abs(a[i]) + std::abs(b[i]);
  return sum;
}

double Programme::bound(const Vector& z, double& divisor) const {
  Vector slopes = z, y = z;
  lattice.lower(slopes);
  lattice.upper(y);
  divisor = std::max(largest(z), largest(slopes));
  if (!(divisor > 0) || !std::isfinite(divisor)) return 0;
  double value = 0;
  for (std::size_t i = 1; i < z.size(); ++i) value += g[i] * z[i] - delta * std::abs(y[i]);
  return std::max(0.0, value / divisor);
}

void write(const Programme& p, const Point& point, const double* v, double delta, double* i_and, double* i_or,
           double* noise, double* y) {
  const std::int64_t size = p.lattice.size();
  Vector meeting(size);
  for (std::int64_t i = 0; i < size; ++i) {
    meeting[i] = i_or[i] = i ? p.scale * point.b[i] : 0;
    noise[i] = i ? std::clamp(sign(i) * p.scale * point.q[i], -delta, delta) : 0;
  }
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
  if (p.bound(point.z, divisor) <= 0) std::fill(multipliers.begin(), multipliers.end(), 0.0), divisor = 1;
  p.lattice.upper(multipliers);
  for (std::int64_t i = 0; i < size; ++i) y[i] = sign(i) * multipliers[i] / divisor;
}

}  // namespace interact::sparsify
