// One sample as the programme the solvers see. After a change of basis and of signs, with L[S,T] = [T subset
// S] and U = L^T over the sets S, T != empty, the split is
//   minimise |a|_1 + |b|_1 + ridge/2 (|a|^2 + |b|^2) + |q|^2 / (2 gamma)  subject to  a + U b - L q = g,
// with |q| <= delta and gamma infinite (the box), or with a price gamma and no box (soft), or q = 0; its
// dual:
//   maximise <g, z> - delta |L^T z|_1 - gamma/2 |L^T z|^2 - sum_T (|slope_T| - 1)+^2 / (2 ridge)
// over the slopes z of a and U^T z of b, which stay within 1 where there is no ridge.
// Entry 0 of every vector is zero. Frozen columns are at rest, and their slopes are free.
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

// One column that is held: the AND (family 0) or the OR (family 1) interaction of a set, in units of scale.
struct Column {
  int family;
  std::int64_t set;
  double level;
};

struct Programme {
  Lattice lattice;
  Vector w;         // (v - v[0]) / scale
  Vector g;         // signed Moebius transform of w, less what the frozen columns give
  double delta;     // in units of scale
  double gamma;     // in units of scale; 0 without a price
  double ridge;     // in units of 1 / scale
  double scale;     // max |v - v[0]|
  double base = 0;  // what the frozen columns cost
  std::vector<Column> frozen;

  Programme(const double* v, double bound, int n, bool soft, double ridge);
  bool noisy() const { return delta > 0 || gamma > 0; }
  // Steps of both sides are one where the two are coupled.
  bool quadratic() const { return gamma > 0 || ridge > 0; }
  // For single players AND and OR are one function; their ORs rest.
  void rest_single_ors();
  // Takes a column out and what it gives off g.
  void freeze(Column column);
  // a = g - U b + L q, so that (a, b, q) is feasible when q is; b moves where a frozen AND would not rest.
  void complete(Vector& a, Vector& b, const Vector& q) const;
  // g - U b + L q
  void rest(Vector& out, const Vector& b, const Vector& q) const;
  double cost(const Vector& a, const Vector& b, const Vector& q) const;
  // Lower bound from any z, which is to be divided by `divisor` (its largest slope without a ridge, else 1).
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
