// 1. Start at a strictly feasible pair: the OR part takes half the scores, slacks 1, z = 0.
// 2. Newton's matrix is H = D1 + U D2 U^T + L D3 L^T (normal_matrix.cpp), factored once an iteration.
// 3. Mehrotra's predictor and corrector, then Gondzio's multiple centrality correctors: a solve is cheap
//    beside the factor. 4. The duals stay feasible by construction; each iterate proves a gap.
// Mehrotra 1992; Gondzio 1996, "Multiple centrality corrections".
#include "sparsify/interior_point.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <limits>

namespace interact::sparsify {

namespace {

constexpr double kDamping = 0.995;  // share of the way to the boundary
constexpr double kLoose = 1e-3, kTight = 1e-5,
                 kExact = 1e-7;  // residuals of directions that guide, and that count
constexpr int kMostSteps = 48;   // conjugate-gradient steps with a float32 factor
// Above this many the next factor is float64; where a factor is dear, steps are cheap.
constexpr int kEnoughSteps = 6, kEnoughLarge = 16, kLarge = 11;
constexpr int kLargestDense = 14;
constexpr std::int64_t kMostActive = 2048;  // columns taken, and steps, where there is no room for the matrix
constexpr int kMostFree = 600;
constexpr double kFree = 0.01;  // inexact steps cost the repaired primal there
constexpr int kEnoughActive = 60, kMostActiveSteps = 120;
constexpr double kNear = 0.6, kFew = 0.3;  // gap below which that many of the columns are tried
constexpr double kLoosest = 1e-3;          // relative gap from which on float32 factors serve a face
constexpr double kMostCentring = 0.3;      // the correctors centre as well

constexpr int kGrid = 8;  // weights of a corrector that are tried
using Steepness = std::array<double, kGrid>;

// The larger one, `most` if the other is no number: a column at rest gives 0 / 0.
inline double larger(double value, double most) { return value > most ? value : most; }

// The largest share of x that the step -dx takes; the way to the boundary is its inverse.
double steepness(const Vector& x, const Vector& dx, double most) {
  double second = most;
  std::size_t i = 1;
  for (; i + 1 < x.size(); i += 2) {
    most = larger(-dx[i] / x[i], most);
    second = larger(-dx[i + 1] / x[i + 1], second);
  }
  for (; i < x.size(); ++i) most = larger(-dx[i] / x[i], most);
  return larger(second, most);
}

// The same along dx + w more, for each weight w = 1 / kGrid, 2 / kGrid, ... 1. One division for all weights.
void steepness(const Vector& x, const Vector& dx, const Vector& more, Steepness& most) {
  Steepness found = most;
  for (std::size_t i = 1; i < x.size(); ++i) {
    const double inverse = -1 / x[i], base = dx[i] * inverse, slope = more[i] * inverse / kGrid;
    for (int g = 0; g < kGrid; ++g) found[g] = larger(base + (g + 1) * slope, found[g]);
  }
  most = found;
}

}  // namespace

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

InteriorPoint::InteriorPoint(const Programme& programme, NormalMatrix& normal,
                             const InteriorPointOptions& options)
    : p_(programme),
      normal_(normal),
      options_(options),
      pairs_(programme.delta > 0 ? kPairs : 4),
      paired_(programme.quadratic()) {
  const std::size_t size = p_.g.size();
  for (int k = 0; k < kPairs; ++k) x_[k].assign(size, 1.0), s_[k].assign(size, 1.0);
  z_.assign(size, 0.0);
  d1_ = d2_ = d3_ = z_;
  best_.b = best_.q = best_.z = z_;
  p_.complete(best_.a, best_.b, best_.q);
  best_.primal = p_.cost(best_.a, best_.b, best_.q);
  best_.dual = p_.base;
  // Without a ridge the optimal face has flat directions, along which only exact steps agree from run to run.
  // A proof is one, however its point was found.
  const bool unique = p_.ridge > 0 || options.proves,
             loose = options.limits.rtol >= kLoosest && !options.polish;
  single_ = options.single_precision && p_.lattice.n >= 7 && (unique || loose);
  active_ = unique || loose;
}

void InteriorPoint::set_box(const Vector& q) {
  for (std::size_t i = 1; i < q.size(); ++i) x_[4][i] = p_.delta + q[i], x_[5][i] = p_.delta - q[i];
}

// Frozen columns: nothing, with slacks that stand still.
void InteriorPoint::still(Pairs& pairs, double value) const {
  for (const Column& column : p_.frozen)
    for (int k = 2 * column.family; k < 2 * column.family + 2; ++k) pairs[k][column.set] = value;
}

// A priced noise follows from the dual, one in a box is a variable.
Vector InteriorPoint::noise() const {
  Vector q(z_.size(), 0.0);
  if (p_.gamma > 0) {
    q = z_;
    p_.lattice.upper(q);
    for (double& value : q) value *= -p_.gamma;
  } else if (pairs_ == kPairs) {
    for (std::size_t i = 1; i < q.size(); ++i) q[i] = 0.5 * (x_[4][i] - x_[5][i]);
  }
  return q;
}

void InteriorPoint::start() {
  const std::int64_t size = p_.lattice.size();
  const Vector none(size, 0.0);
  Vector a, b(size);
  for (std::int64_t i = 0; i < size; ++i) b[i] = -0.5 * p_.w[size - 1 - i];
  p_.lattice.moebius(b);
  b[0] = 0;
  for (const Column& column : p_.frozen)
    if (column.family == 1) b[column.set] = 0;
  p_.rest(a, b, none);
  double margin = 0;
  for (std::int64_t i = 1; i < size; ++i)
    margin += (std::abs(a[i]) + std::abs(b[i])) / (2.0 * static_cast<double>(size));
  for (std::int64_t i = 1; i < size; ++i) {
    x_[0][i] = std::max(a[i], 0.0) + margin, x_[1][i] = std::max(-a[i], 0.0) + margin;
    x_[2][i] = std::max(b[i], 0.0) + margin, x_[3][i] = std::max(-b[i], 0.0) + margin;
    for (int k = 0; k < 4; ++k) s_[k][i] = 1 + p_.ridge * x_[k][i];
    s_[4][i] = s_[5][i] = pairs_ == kPairs ? margin / p_.delta : 1;
  }
  still(x_, 0), still(s_, 1);
  set_box(none);
}

void InteriorPoint::start_at(const InteriorPoint& other) {
  x_ = other.x_, s_ = other.s_, z_ = other.z_;
  still(x_, 0), still(s_, 1);
}

void InteriorPoint::start_from(const Point& earlier) {
  const std::int64_t size = p_.lattice.size();
  Vector q = earlier.q, a, slopes = earlier.z, y = earlier.z;
  if (p_.gamma == 0)
    for (double& value : q) value = std::clamp(0.9 * value, -0.9 * p_.delta, 0.9 * p_.delta);
  p_.rest(a, earlier.b, q);
  double margin = 0;
  for (std::int64_t i = 1; i < size; ++i)
    margin += 0.3 * (std::abs(a[i]) + std::abs(earlier.b[i])) / (2.0 * static_cast<double>(size));
  p_.lattice.lower(slopes);
  p_.lattice.upper(y);
  // A ridge lets slopes pass 1.
  const double kShrink = 0.9 / std::max({1.0, largest(earlier.z), largest(slopes)});
  for (std::int64_t i = 1; i < size; ++i) {
    const double both[2] = {a[i], earlier.b[i]}, slope[2] = {kShrink * earlier.z[i], kShrink * slopes[i]};
    for (int k = 0; k < 2; ++k) {
      x_[2 * k][i] = std::max(both[k], 0.0) + margin, x_[2 * k + 1][i] = std::max(-both[k], 0.0) + margin;
      s_[2 * k][i] = 1 + p_.ridge * x_[2 * k][i] - slope[k];
      s_[2 * k + 1][i] = 1 + p_.ridge * x_[2 * k + 1][i] + slope[k];
    }
    z_[i] = slope[0];
    s_[4][i] = std::max(kShrink * y[i], 0.0) + 0.1, s_[5][i] = std::max(-kShrink * y[i], 0.0) + 0.1;
  }
  still(x_, 0), still(s_, 1);
  set_box(q);
}

void InteriorPoint::record() {
  const std::size_t size = z_.size();
  Vector a, b(size, 0.0), q = noise();
  for (std::size_t i = 1; i < size; ++i) b[i] = x_[2][i] - x_[3][i];
  if (pairs_ == kPairs)
    for (double& value : q) value = std::clamp(value, -p_.delta, p_.delta);
  p_.complete(a, b, q);
  const double primal = p_.cost(a, b, q);
  if (primal < best_.primal) best_.a = a, best_.b = b, best_.q = q, best_.primal = primal;
  double divisor;
  const double dual = p_.bound(z_, divisor);
  if (dual > best_.dual) best_.z = z_, best_.dual = dual;
}

bool InteriorPoint::factor() {
  for (std::size_t i = 1; i < z_.size(); ++i) {
    d1_[i] = x_[0][i] / slack(0, i) + x_[1][i] / slack(1, i);
    d2_[i] = x_[2][i] / slack(2, i) + x_[3][i] / slack(3, i);
    d3_[i] = pairs_ == kPairs ? 1 / (s_[4][i] / x_[4][i] + s_[5][i] / x_[5][i]) : p_.gamma;
  }
  if (!normal_.is_active() && hardest_ > (p_.lattice.n < kLarge ? kEnoughSteps : kEnoughLarge))
    single_ = false;
  if (normal_.is_active() && hardest_ > kEnoughActive) active_ = false;
  hardest_ = 0;
  const bool noisy = p_.noisy();
  if (p_.lattice.n > kLargestDense) return noisy && normal_.factor_active(d1_, d2_, d3_, kMostActive, true);
  const auto few = static_cast<std::int64_t>(kFew * static_cast<double>(p_.lattice.size()));
  if (noisy && active_ && best_.gap() < kNear && p_.lattice.n >= kLarge &&
      normal_.factor_active(d1_, d2_, d3_, few, true))
    return true;
  if (single_ && normal_.factor(d1_, d2_, d3_, true)) return true;
  single_ = false;
  return normal_.factor(d1_, d2_, d3_, false);
}

void InteriorPoint::residual(Vector& out) const {
  const std::size_t size = z_.size();
  Vector b(size, 0.0);
  for (std::size_t i = 1; i < size; ++i) b[i] = x_[2][i] - x_[3][i];
  p_.rest(out, b, noise());
  for (std::size_t i = 1; i < size; ++i) out[i] -= x_[0][i] - x_[1][i];
}

void InteriorPoint::newton(const Pairs& target, const Vector& primal_residual, double tolerance,
                           Direction& d) {
  const std::size_t size = z_.size();
  Vector rhs = primal_residual, hb(size, 0.0), hq(size, 0.0);
  for (std::size_t i = 1; i < size; ++i) {
    rhs[i] -= target[0][i] / slack(0, i) - target[1][i] / slack(1, i);
    hb[i] = target[2][i] / slack(2, i) - target[3][i] / slack(3, i);
    if (pairs_ == kPairs) hq[i] = d3_[i] * (target[4][i] / x_[4][i] - target[5][i] / x_[5][i]);
  }
  Vector lifted = hq;
  p_.lattice.upper(hb);
  p_.lattice.lower(lifted);
  for (std::size_t i = 1; i < size; ++i) rhs[i] -= hb[i] - lifted[i];
  if (p_.lattice.n > kLargestDense) {
    normal_.solve(rhs, d.z, best_.gap() < kNear ? kFree * tolerance : tolerance, kMostFree);
  } else if (normal_.is_active()) {
    hardest_ = std::max(hardest_, normal_.solve(rhs, d.z, tolerance, kMostActiveSteps));
    if (hardest_ == kMostActiveSteps) {
      active_ = false, hardest_ = 0;
      single_ = single_ && normal_.factor(d1_, d2_, d3_, true);
      if (!single_) normal_.factor(d1_, d2_, d3_, false);
    }
  }
  if (normal_.is_single()) {
    const int steps = normal_.solve(rhs, d.z, tolerance, kMostSteps);
    hardest_ = std::max(hardest_, steps);
    // A direction that float32 cannot find costs more iterations than a second factorization.
    if (steps == kMostSteps) {
      single_ = false;
      normal_.factor(d1_, d2_, d3_, false);
    }
  }
  if (!normal_.is_single() && !normal_.is_active()) normal_.solve(rhs, d.z, kExact, 4);
  Vector df = d.z, dt = d.z;
  p_.lattice.lower(df);
  p_.lattice.upper(dt);
  for (int k = 0; k < kPairs; ++k) d.x[k].assign(size, 0.0), d.s[k].assign(size, 0.0);
  for (std::size_t i = 1; i < size; ++i) {
    const double slope[4] = {d.z[i], -d.z[i], df[i], -df[i]};
    for (int k = 0; k < 4; ++k) {
      d.x[k][i] = (target[k][i] + x_[k][i] * slope[k]) / slack(k, i);
      d.s[k][i] = p_.ridge * d.x[k][i] - slope[k];
    }
    if (pairs_ < kPairs) continue;
    const double dq = hq[i] - d3_[i] * dt[i];
    d.x[4][i] = dq, d.x[5][i] = -dq;
    d.s[4][i] = (target[4][i] - s_[4][i] * dq) / x_[4][i];
    d.s[5][i] = (target[5][i] + s_[5][i] * dq) / x_[5][i];
  }
  still(d.x, 0), still(d.s, 0);
  lengths(d);
}

void InteriorPoint::lengths(Direction& d) const {
  double primal = 1, dual = 1;
  for (int k = 0; k < pairs_; ++k)
    primal = steepness(x_[k], d.x[k], primal), dual = steepness(s_[k], d.s[k], dual);
  d.primal_length = 1 / primal, d.dual_length = 1 / dual;
  if (paired_) d.primal_length = d.dual_length = std::min(d.primal_length, d.dual_length);
}

// Mean of x s, now or after the step d.
double InteriorPoint::complementarity(const Direction* d) const {
  double sum = 0;
  const std::size_t size = z_.size();
  for (int k = 0; k < pairs_; ++k)
    for (std::size_t i = 1; i < size; ++i)
      sum += d ? (x_[k][i] + d->primal_length * d->x[k][i]) * (s_[k][i] + d->dual_length * d->s[k][i])
               : x_[k][i] * s_[k][i];
  return sum / (static_cast<double>(pairs_) * static_cast<double>(size - 1) -
                2 * static_cast<double>(p_.frozen.size()));
}

// Colombo and Gondzio: turns `more` into d + w more, w in (0, 1] chosen on either side for the longest step.
void InteriorPoint::weigh(const Direction& d, Direction& more) const {
  Steepness steep[2];
  steep[0].fill(1), steep[1].fill(1);
  for (int k = 0; k < pairs_; ++k)
    steepness(x_[k], d.x[k], more.x[k], steep[0]), steepness(s_[k], d.s[k], more.s[k], steep[1]);
  double best[2] = {-1, -1}, weight[2] = {1, 1};
  for (int g = kGrid - 1; g >= 0; --g) {
    double length[2] = {1 / steep[0][g], 1 / steep[1][g]};
    if (paired_) length[0] = length[1] = std::min(length[0], length[1]);
    for (int side = 0; side < 2; ++side)
      if (length[side] > best[side] + 1e-9)
        best[side] = length[side], weight[side] = static_cast<double>(g + 1) / kGrid;
  }
  for (int k = 0; k < kPairs; ++k)
    for (std::size_t i = 1; i < z_.size(); ++i) {
      more.x[k][i] = d.x[k][i] + weight[0] * more.x[k][i];
      more.s[k][i] = d.s[k][i] + weight[1] * more.s[k][i];
    }
  for (std::size_t i = 1; i < z_.size(); ++i) more.z[i] = d.z[i] + weight[1] * more.z[i];
}

// Gondzio: aim further, pull the products that would leave [0.1, 10] mu back in, keep what lengthens the
// step.
void InteriorPoint::correct(double mu, Direction& d) {
  const std::size_t size = z_.size();
  const Vector none(size, 0.0);
  Pairs target;
  for (Vector& part : target) part.assign(size, 0.0);
  Direction more;
  for (int round = 0; round < options_.correctors; ++round) {
    const double primal = std::min(1.0, d.primal_length + 0.3), dual = std::min(1.0, d.dual_length + 0.3);
    for (int k = 0; k < pairs_; ++k)
      for (std::size_t i = 1; i < size; ++i) {
        const double value = (x_[k][i] + primal * d.x[k][i]) * (s_[k][i] + dual * d.s[k][i]);
        target[k][i] = std::max(std::clamp(value, 0.1 * mu, 10 * mu) - value, -10 * mu);
      }
    still(target, 0);
    newton(target, none, kLoose, more);
    weigh(d, more);
    lengths(more);
    const bool longer = more.primal_length + more.dual_length > d.primal_length + d.dual_length + 0.02;
    if (!longer || more.primal_length < 0.9 * d.primal_length || more.dual_length < 0.9 * d.dual_length)
      return;
    std::swap(d, more);
  }
}

void InteriorPoint::move(const Direction& d) {
  const double primal = std::min(1.0, kDamping * d.primal_length);
  const double dual = std::min(1.0, kDamping * d.dual_length);
  for (int k = 0; k < pairs_; ++k)
    for (std::size_t i = 1; i < z_.size(); ++i) x_[k][i] += primal * d.x[k][i], s_[k][i] += dual * d.s[k][i];
  for (std::size_t i = 1; i < z_.size(); ++i) z_[i] += dual * d.z[i];
}

void InteriorPoint::run(double rtol, double deadline, double decision) {
  Pairs target;
  for (Vector& part : target) part.assign(z_.size(), 0.0);
  Vector rest;
  Direction d;
  for (record(); best_.gap() > rtol && !(best_.dual > decision) && !(best_.primal <= decision); record()) {
    if (best_.iterations >= options_.limits.max_iterations || now() > deadline || !factor()) return;
    ++best_.iterations;
    residual(rest);
    const double mu = complementarity(nullptr);
    for (int k = 0; k < pairs_; ++k)
      for (std::size_t i = 1; i < z_.size(); ++i) target[k][i] = -x_[k][i] * s_[k][i];
    newton(target, rest, kLoose, d);
    const double ahead = complementarity(&d) / mu, aim = std::min(ahead * ahead * ahead, kMostCentring) * mu;
    if (!std::isfinite(aim)) return;
    for (int k = 0; k < pairs_; ++k)
      for (std::size_t i = 1; i < z_.size(); ++i)
        target[k][i] = aim - x_[k][i] * s_[k][i] - d.x[k][i] * d.s[k][i];
    still(target, 0);
    newton(target, rest, kTight, d);
    correct(aim, d);
    if (!(d.primal_length + d.dual_length > 1e-8)) return;
    move(d);
  }
}

// The split that z stands for, in `next`, and its weights in Newton's matrix. Which effects there are: those
// whose slope passes 1, or those that exceed their slacks. Returns the slope of the dual at z.
Vector InteriorPoint::effects_at(const Vector& z, bool by_slack, Point& next) {
  const std::size_t size = z.size();
  Vector slope[2] = {z, z}, q = z, rest;
  p_.lattice.lower(slope[1]);
  p_.lattice.upper(q);
  for (double& value : q) value *= -p_.gamma;
  Vector* effects[2] = {&next.a, &next.b};
  Vector* weights[2] = {&d1_, &d2_};
  for (int family = 0; family < 2; ++family) {
    const int k = 2 * family;
    for (std::size_t i = 1; i < size; ++i) {
      const double s = slope[family][i];
      double way = std::abs(s) > 1 ? std::copysign(1.0, s) : 0;
      if (by_slack) way = x_[k][i] > s_[k][i] ? 1 : x_[k + 1][i] > s_[k + 1][i] ? -1 : 0;
      (*effects[family])[i] = way != 0 ? (s - way) / p_.ridge : 0;
      (*weights[family])[i] = way != 0 ? 1 / p_.ridge : 0;
    }
  }
  for (const Column& column : p_.frozen)
    (*effects[column.family])[column.set] = (*weights[column.family])[column.set] = 0;
  p_.rest(rest, next.b, q);
  for (std::size_t i = 0; i < size; ++i) rest[i] -= next.a[i], d3_[i] = p_.gamma;
  next.q = rest;
  p_.lattice.moebius(next.q);
  for (std::size_t i = 0; i < size; ++i) next.q[i] = i ? q[i] - next.q[i] : 0;
  return rest;
}

// The dual is smooth, and quadratic where no effect comes or goes: once the interior point has found which
// effects there are, a step or two end at the optimum, with true zeros. The first step takes the effects that
// exceed their slacks, since slopes tell them apart only very near the optimum. Whatever a and b are, q =
// L^-1 (a + U b - g) makes them a split.
bool InteriorPoint::sharpen(double deadline) {
  constexpr int kRounds = 5, kSteps = 60, kDear = 9;
  constexpr double kSharp = 1e-12;
  if (!(p_.gamma > 0 && p_.ridge > 0) || p_.lattice.n > kLargestDense) return false;
  Vector z = best_.z, dz;
  for (int round = 0; round < kRounds && now() < deadline; ++round) {
    Point next = best_;
    Vector rest = effects_at(z, false, next);
    double divisor;
    next.z = z, next.dual = p_.bound(z, divisor);
    next.primal = p_.cost(next.a, next.b, next.q);
    next.exact = true;
    if (next.gap() <= best_.gap()) best_ = next;
    if (best_.gap() <= kSharp || round + 1 == kRounds) break;
    if (round == 0) rest = effects_at(z, true, next);
    bool solved = false;
    // Few effects come or go after the first step, so its factor still serves where a new one is dear.
    if (round > 0 && (!normal_.is_single() || p_.lattice.n >= kDear)) {
      normal_.reweigh(d1_, d2_, d3_);
      solved = normal_.solve(rest, dz, kSharp, kSteps) < kSteps;
    }
    if (!solved) {
      if (!(single_ && normal_.factor(d1_, d2_, d3_, true)) && !normal_.factor(d1_, d2_, d3_, false)) break;
      normal_.solve(rest, dz, kSharp, kSteps);
    }
    for (std::size_t i = 1; i < z.size(); ++i) z[i] += dz[i];
  }
  return true;
}

}  // namespace interact::sparsify
