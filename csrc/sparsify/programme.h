// One sample as the programme the solvers see. After a change of basis and of signs, with L[S,T] = [T subset
// S] and U = L^T over the sets S, T != empty, the split is
//   minimise |a|_1 + |b|_1  subject to  a + U b - L q = g,  |q| <= delta,
// and its dual: maximise <g, z> - delta |L^T z|_1 subject to |z| <= 1 and |U^T z| <= 1.
// Entry 0 of every vector is zero.
#pragma once
#include <cstdint>
#include <vector>

namespace interact::sparsify {

using Vector = std::vector<double>;

struct Lattice {
  int n;
  std::int64_t size() const { return std::int64_t{1} << n; }
  void lower(Vector& x) const;    // L x, which is also U^T x: sums over subsets
  void upper(Vector& x) const;    // U x, which is also L^T x: sums over supersets, entry 0 dropped
  void moebius(Vector& x) const;  // L^-1 x
};

// Largest |x|, NaN when one is.
double largest(const Vector& x);
double dot(const Vector& x, const Vector& y);

// +1 for sets of odd order, -1 for even order.
double sign(std::int64_t set);

struct Programme {
  Lattice lattice;
  Vector w;      // (v - v[0]) / scale
  Vector g;      // signed Moebius transform of w
  double delta;  // in units of scale
  double scale;  // max |v - v[0]|

  Programme(const double* v, double absolute_delta, int n);
  // a = g - U b + L q, so that (a, b, q) is feasible when q is.
  void complete(Vector& a, const Vector& b, const Vector& q) const;
  double strength(const Vector& a, const Vector& b) const;
  // Lower bound from any z: divided by its largest slope; `divisor` receives this.
  double bound(const Vector& z, double& divisor) const;
};

// A primal point and a dual vector with what they prove.
struct Point {
  Vector a, b, q, z;
  double primal, dual;
  std::int64_t iterations = 0;
  bool exact = false;  // a holds true zeros and must not be recomputed
  double gap() const { return primal > 0 ? (primal - dual) / primal : 0; }
};

// Writes the point in the units and signs of the scores; row pointers are for this sample.
void write(const Programme& programme, const Point& point, const double* v, double delta, double* i_and,
           double* i_or, double* noise, double* y);

}  // namespace interact::sparsify
