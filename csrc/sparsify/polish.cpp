// 1. A variable is active when it is large beside its slack, both in their own units.
// 2. Inactive interactions become 0, inactive noise goes to its bound.
// 3. The rest of the scores is spread over the active ones, weighted by x / s: close to the centre of the
// face.
#include "sparsify/polish.h"

#include <algorithm>
#include <cmath>

namespace interact::sparsify {

namespace {

struct Active {
  Vector d1, d2, d3;
};

// Splits the variables; writes zeros and bounds into the point.
Active choose(const Programme& p, const InteriorPoint& solver, Point& point) {
  const std::size_t size = p.g.size();
  const Pairs &x = solver.x(), &s = solver.s();
  Active active{Vector(size, 0.0), Vector(size, 0.0), Vector(size, 0.0)};
  Vector y = point.z;
  p.lattice.upper(y);
  double price = 0;
  for (const double value : y) price += std::abs(value) / static_cast<double>(size);
  const double unit = point.primal / (2.0 * static_cast<double>(size));
  for (std::size_t i = 1; i < size; ++i) {
    double value[2];
    Vector* weights[2] = {&active.d1, &active.d2};
    for (int k = 0; k < 2; ++k) {
      const bool up = x[2 * k][i] > unit * s[2 * k][i], down = x[2 * k + 1][i] > unit * s[2 * k + 1][i];
      value[k] = up || down ? x[2 * k][i] - x[2 * k + 1][i] : 0;
      if (up) (*weights[k])[i] += x[2 * k][i] / s[2 * k][i];
      if (down) (*weights[k])[i] += x[2 * k + 1][i] / s[2 * k + 1][i];
    }
    point.a[i] = value[0], point.b[i] = value[1], point.q[i] = 0;
    if (!(p.delta > 0)) continue;
    const bool low = x[4][i] * price < p.delta * s[4][i], high = x[5][i] * price < p.delta * s[5][i];
    point.q[i] = low ? -p.delta : high ? p.delta : 0.5 * (x[4][i] - x[5][i]);
    if (!low && !high) active.d3[i] = 1 / (s[4][i] / x[4][i] + s[5][i] / x[5][i]);
  }
  return active;
}

Vector residual(const Programme& p, const Point& point) {
  Vector rest;
  p.rest(rest, point.b, point.q);
  for (std::size_t i = 0; i < rest.size(); ++i) rest[i] -= point.a[i];
  return rest;
}

}  // namespace

bool polish(const Programme& p, const InteriorPoint& solver, NormalMatrix& normal, double rtol,
            Point& point) {
  constexpr double kMatching = 1e-13;
  constexpr int kRounds = 6;
  Point exact = point;
  const Active active = choose(p, solver, exact);
  if (!normal.factor(active.d1, active.d2, active.d3, false)) return false;
  Vector rest = residual(p, exact), dz;
  for (int round = 0; round < kRounds && largest(rest) > kMatching; ++round) {
    normal.solve(rest, dz, 1e-12, 30);
    Vector df = dz, dt = dz;
    p.lattice.lower(df);
    p.lattice.upper(dt);
    for (std::size_t i = 1; i < dz.size(); ++i) {
      exact.a[i] += active.d1[i] * dz[i], exact.b[i] += active.d2[i] * df[i];
      exact.q[i] -= active.d3[i] * dt[i];
    }
    rest = residual(p, exact);
  }
  if (!(largest(rest) <= 100 * kMatching && largest(exact.q) <= p.delta)) return false;
  exact.primal = p.cost(exact.a, exact.b, exact.q);
  exact.exact = true;
  if (!(exact.gap() <= rtol)) return false;
  point = exact;
  return true;
}

}  // namespace interact::sparsify
