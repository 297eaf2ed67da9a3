// What it costs to hold one interaction at a level: one more split for each, from where the free split stood.
// 1. The free split runs to gap 0.1, where its point is central, and is kept. 2. For each column: g less what
// the column gives, the column at rest, and the kept point, which is dual feasible; what is missing of the
// scores goes in the first Newton steps. 3. Each iterate bounds the cost from both sides; the first bound
// that passes the decision ends it, and float32 factors serve for that. 4. After `kWarm` iterations the split
// starts again from nothing, in float64.
#include <algorithm>
#include <cmath>

#include "sparsify/interior_point.h"

namespace interact::sparsify {

namespace {

constexpr double kKept = 0.1;
constexpr int kWarm = 12;

bool decided(const Point& point, double decision, double rtol) {
  return point.gap() <= rtol || point.dual > decision || point.primal <= decision;
}

Point solve_held(const Programme& p, const InteriorPoint& kept, double decision, double deadline,
                 NormalMatrix& normal, const InteriorPointOptions& options) {
  InteriorPointOptions few = options;
  few.proves = !std::isnan(decision);
  few.limits.max_iterations = std::min(kWarm, options.limits.max_iterations);
  InteriorPoint warm(p, normal, few);
  warm.start_at(kept);
  warm.run(options.limits.rtol, deadline, decision);
  if (decided(warm.best(), decision, options.limits.rtol)) return warm.best();
  InteriorPoint cold(p, normal, options);
  cold.start();
  cold.run(options.limits.rtol, deadline, decision);
  Point best = cold.best();
  best.iterations += warm.best().iterations;
  const Point& other = warm.best();
  if (other.primal < best.primal) best.b = other.b, best.q = other.q, best.primal = other.primal;
  if (other.dual > best.dual) best.z = other.z, best.dual = other.dual;
  return best;
}

}  // namespace

void hold_columns(const Samples& sample, const Held& held, double decision, const Splits& out,
                  const InteriorPointOptions& options, const Lapack& lapack, int threads) {
  const std::int64_t size = std::int64_t{1} << sample.n;
  const double deadline = now() + options.limits.seconds;
  Programme free(sample.v, *sample.bound, sample.n, sample.soft, sample.ridge);
  free.rest_single_ors();
  NormalMatrix first(Lattice{sample.n}, lapack);
  InteriorPoint kept(free, first, options);
  kept.start();
  kept.run(kKept, deadline);
  const int team = static_cast<int>(std::min<std::int64_t>(threads, held.count));
#pragma omp parallel num_threads(team)
  {
    NormalMatrix normal(Lattice{sample.n}, lapack);
#pragma omp for schedule(dynamic, 1)
    for (std::int64_t i = 0; i < held.count; ++i) {
      Programme p = free;
      p.freeze({static_cast<int>(held.families[i]), held.sets[i], held.levels[i] / free.scale});
      const Point point = solve_held(p, kept, decision / free.scale, deadline, normal, options);
      write(p, point, sample.v, *sample.bound, out.i_and + i * size, out.i_or + i * size,
            out.noise + i * size, out.y + i * size);
      out.iterations[i] = point.iterations;
    }
  }
}

}  // namespace interact::sparsify
