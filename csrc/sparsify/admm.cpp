// Alternating directions on  minimise |a|_1 + |b|_1 + [|q| <= delta]  over the plane a + U b - L q = g, and
// with a ridge and a price on q.
// 1. Project on the plane, exactly without noise, else by warm-started conjugate gradients
// (kronecker_solver.cpp).
// 2. Soft-threshold a and b (a ridge shrinks them), clip q (a price shrinks it); over-relaxed. 3. Every so
// often balance the penalty and prove a gap: the scaled multipliers projected on the range of (I, U^T, -L^T)
// give a dual vector. Boyd et al. 2011.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "sparsify/interior_point.h"
#include "sparsify/kronecker_solver.h"

namespace interact::sparsify {

namespace {

constexpr double kRelaxation = 1.6;
constexpr int kPeriod = 25;      // iterations between proofs
constexpr double kBalance = 3;   // ratio of the residuals that moves the penalty
constexpr double kInner = 1e-3;  // residual of a projection, relative to the gap
constexpr int kMostInner = 30;
constexpr double kNoisyRho = 20;  // noise wants a stiffer penalty

struct Triple {
  Vector a, b, q;
};

class Admm {
 public:
  Admm(const Programme& p, double rho)
      : p_(p),
        noisy_(p.noisy()),
        rho_(
            (p.noisy() ? kNoisyRho : 1) * rho * static_cast<double>(p.g.size()) /
            std::accumulate(p.g.begin(), p.g.end(), 0.0, [](double s, double x) { return s + std::abs(x); })),
        omega_(0.03),
        solver_(p.lattice, noisy_ ? 1 / omega_ : 0) {
    const Vector zero(p.g.size(), 0.0);
    kept_ = u_ = {zero, zero, zero};
    lambda_ = dual_ = zero;
    best_.a = p.g, best_.b = best_.q = best_.z = zero;
    best_.primal = p.cost(p.g, zero, zero), best_.dual = 0;
  }

  Point run(const Limits& limits) {
    const double deadline = now() + limits.seconds;
    while (best_.gap() > limits.rtol && best_.iterations < limits.max_iterations && now() < deadline) {
      ++best_.iterations;
      project();
      const bool prove = best_.iterations % kPeriod == 0;
      threshold();
      if (prove) record(), balance();
    }
    return best_;
  }

 private:
  // out = a + U b - L q
  void combine(const Triple& t, Vector& out) const {
    out = t.b;
    p_.lattice.upper(out);
    Vector lifted = t.q;
    if (noisy_) p_.lattice.lower(lifted);
    for (std::size_t i = 1; i < out.size(); ++i) out[i] += t.a[i] - lifted[i];
    out[0] = 0;
  }

  void project() {
    moved_ = kept_;
    for (std::size_t i = 1; i < moved_.a.size(); ++i)
      moved_.a[i] -= u_.a[i], moved_.b[i] -= u_.b[i], moved_.q[i] -= u_.q[i];
    Vector rhs, slopes, lifted;
    combine(moved_, rhs);
    for (std::size_t i = 1; i < rhs.size(); ++i) rhs[i] -= p_.g[i];
    solver_.solve(rhs, lambda_, kInner * std::min(best_.gap(), 0.1), kMostInner);
    slopes = lifted = lambda_;
    p_.lattice.lower(slopes);
    if (noisy_) p_.lattice.upper(lifted);
    for (std::size_t i = 1; i < rhs.size(); ++i) {
      moved_.a[i] -= lambda_[i], moved_.b[i] -= slopes[i];
      if (noisy_) moved_.q[i] += lifted[i] / omega_;
    }
  }

  static double soft(double x, double t) { return x > t ? x - t : x < -t ? x + t : 0; }

  void threshold() {
    primal_residual_ = dual_residual_ = 0;
    const double t = 1 / rho_, delta = p_.delta, less = rho_ / (rho_ + p_.ridge);
    const double weak = rho_ * omega_ * p_.gamma, kept_noise = weak / (1 + weak);
    const auto update = [this](double moved, double& kept, double& u, double weight, auto shrink) {
      const double ahead = kRelaxation * moved + (1 - kRelaxation) * kept + u, next = shrink(ahead);
      primal_residual_ += weight * (moved - next) * (moved - next);
      dual_residual_ += weight * (next - kept) * (next - kept);
      u = ahead - next, kept = next;
    };
    for (std::size_t i = 1; i < lambda_.size(); ++i) {
      const bool rests = p_.ridge > 0 && (i & (i - 1)) == 0;
      update(moved_.a[i], kept_.a[i], u_.a[i], 1, [&](double x) { return less * soft(x, t); });
      update(moved_.b[i], kept_.b[i], u_.b[i], 1, [&](double x) { return rests ? 0 : less * soft(x, t); });
      if (noisy_)
        update(moved_.q[i], kept_.q[i], u_.q[i], omega_,
               [&](double x) { return p_.gamma > 0 ? kept_noise * x : std::clamp(x, -delta, delta); });
    }
  }

  void balance() {
    const double ratio = std::sqrt(primal_residual_ / std::max(dual_residual_, 1e-300));
    const double factor = ratio > kBalance ? 1.6 : ratio < 1 / kBalance ? 1 / 1.6 : 1;
    rho_ *= factor;
    for (std::size_t i = 1; i < lambda_.size(); ++i) u_.a[i] /= factor, u_.b[i] /= factor, u_.q[i] /= factor;
  }

  void record() {
    Vector a, rhs;
    p_.complete(a, kept_.b, kept_.q);
    const double primal = p_.cost(a, kept_.b, kept_.q);
    if (primal < best_.primal) best_.a = a, best_.b = kept_.b, best_.q = kept_.q, best_.primal = primal;
    combine(u_, rhs);
    solver_.solve(rhs, dual_, kInner * best_.gap(), 2 * kMostInner);
    for (const Vector* scaled : {&dual_, &u_.a}) {
      Vector z = *scaled;
      for (double& value : z) value *= rho_;
      double divisor;
      const double dual = p_.bound(z, divisor);
      if (dual > best_.dual) best_.z = z, best_.dual = dual;
    }
  }

  const Programme& p_;
  const bool noisy_;
  double rho_, omega_;
  KroneckerSolver solver_;
  Triple kept_, moved_, u_;
  Vector lambda_, dual_;
  Point best_;
  double primal_residual_ = 0, dual_residual_ = 0;
};

}  // namespace

void admm(const Samples& samples, const Splits& out, const AdmmOptions& options, int threads) {
  const std::int64_t size = std::int64_t{1} << samples.n;
  const int team = static_cast<int>(std::min<std::int64_t>(threads, samples.count));
#pragma omp parallel for num_threads(team) schedule(dynamic, 1)
  for (std::int64_t row = 0; row < samples.count; ++row) {
    const std::int64_t first = row * size;
    Programme p(samples.v + first, samples.bound[row], samples.n, samples.soft, samples.ridge);
    if (samples.ridge > 0) p.rest_single_ors();
    Point point;
    if (p.scale > 0) {
      point = Admm(p, options.rho).run(options.limits);
    } else {
      point.a = point.b = point.q = point.z = Vector(size, 0.0);
      point.primal = point.dual = 0;
    }
    write(p, point, samples.v + first, samples.bound[row], out.i_and + first, out.i_or + first,
          out.noise + first, out.y + first);
    out.iterations[row] = point.iterations;
  }
}

}  // namespace interact::sparsify
