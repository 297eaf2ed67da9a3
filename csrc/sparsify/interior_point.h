// Primal-dual interior point on one programme; see interior_point.cpp for the algorithm.
#pragma once
#include <array>
#include <functional>
#include <limits>

#include "sparsify/normal_matrix.h"

namespace interact::sparsify {

// Complementary pairs: a+, a-, b+, b- with their slacks, then q + delta and delta - q with theirs.
constexpr int kPairs = 6;
using Pairs = std::array<Vector, kPairs>;

struct Direction {
  Pairs x, s;
  Vector z;
  double primal_length, dual_length;
};

class InteriorPoint {
 public:
  InteriorPoint(const Programme& programme, NormalMatrix& normal, const InteriorPointOptions& options);

  // Starts from nothing, or from an earlier point of a similar programme.
  void start();
  void start_from(const Point& earlier);
  // Goes on where the solver of a programme of the same lattice stands.
  void start_at(const InteriorPoint& other);

  // Iterates until the gap is `rtol`, the cost is known to lie above or below `decision`, or a limit is met,
  // keeping the best point.
  void run(double rtol, double deadline, double decision = std::numeric_limits<double>::quiet_NaN());
  // With a ridge and a price: from near the optimum to it, by Newton's method on the dual; false: not for
  // this one.
  bool sharpen(double deadline);
  const Point& best() const { return best_; }
  const Pairs& x() const { return x_; }
  const Pairs& s() const { return s_; }

 private:
  void set_box(const Vector& q);
  void record();
  Vector effects_at(const Vector& z, bool by_slack, Point& next);
  bool factor();
  void residual(Vector& out) const;
  void newton(const Pairs& target, const Vector& primal_residual, double tolerance, Direction& out);
  void lengths(Direction& d) const;
  double complementarity(const Direction* d) const;
  void weigh(const Direction& d, Direction& more) const;
  void correct(double mu, Direction& d);
  void move(const Direction& d);

  void still(Pairs& pairs, double value) const;
  // What a change of x costs its slack: with a ridge the slack grows with x.
  double slack(int k, std::size_t i) const { return s_[k][i] + p_.ridge * x_[k][i]; }
  Vector noise() const;

  const Programme& p_;
  NormalMatrix& normal_;
  const InteriorPointOptions& options_;
  const int pairs_;    // 6, or 4 without a box
  const bool paired_;  // one step for both sides: the slacks hold the ridge, the noise is that of the dual
  Pairs x_, s_;
  Vector z_, d1_, d2_, d3_;
  Point best_;
  bool single_;
  bool active_ = true;  // a factor of the active columns has served so far
  int hardest_ = 0;     // most conjugate-gradient steps of the current iteration
};

// Seconds of a steady clock.
double now();

}  // namespace interact::sparsify
