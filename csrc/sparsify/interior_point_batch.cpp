// The interior point over a batch: one thread a sample, so the bits do not depend on the number of threads.
#include <algorithm>

#include "sparsify/interior_point.h"
#include "sparsify/polish.h"

namespace interact::sparsify {

namespace {

Point read_start(const Programme& p, const Splits& start, std::int64_t row) {
  const std::int64_t size = p.lattice.size(), first = row * size;
  Point point;
  point.a = point.b = point.q = point.z = Vector(size, 0.0);
  for (std::int64_t i = 1; i < size; ++i) {
    point.b[i] = start.i_or[first + i] / p.scale;
    point.q[i] = sign(i) * start.noise[first + i] / p.scale;
    point.z[i] = start.y[first + i] * sign(i);
  }
  // y = L^T z up to signs, so z = L^-T y: Moebius on the reversed order.
  std::reverse(point.z.begin(), point.z.end());
  p.lattice.moebius(point.z);
  std::reverse(point.z.begin(), point.z.end());
  point.z[0] = 0;
  return point;
}

Point solve_one(const Programme& p, const Point* earlier, NormalMatrix& normal,
                const InteriorPointOptions& options) {
  const double deadline = now() + options.limits.seconds;
  InteriorPoint solver(p, normal, options);
  if (p.scale == 0) return solver.best();
  if (earlier)
    solver.start_from(*earlier);
  else
    solver.start();
  // The active set shows only near the optimum.
  constexpr int kTries = 4;
  constexpr double kSharp = 1e-6, kSharper = 0.03, kOptimal = 1e-9;
  if (p.quadratic() && !options.polish) {
    double rtol = options.limits.rtol;
    for (int t = 0; t < kTries; ++t, rtol *= kSharper) {
      solver.run(rtol, deadline);
      if (solver.best().gap() > rtol || !solver.sharpen(deadline) || solver.best().gap() <= kOptimal) break;
    }
    return solver.best();
  }
  if (!options.polish) {
    solver.run(options.limits.rtol, deadline);
    return solver.best();
  }
  double rtol = std::min(options.limits.rtol, kSharp);
  Point point;
  for (int t = 0; t < kTries; ++t, rtol *= kSharper) {
    solver.run(rtol, deadline);
    point = solver.best();
    if (point.gap() > options.limits.rtol || polish(p, solver, normal, options.limits.rtol, point)) break;
  }
  return point;
}

}  // namespace

void interior_point(const Samples& samples, const Splits* start, const Splits& out,
                    const InteriorPointOptions& options, const Lapack& lapack, int threads) {
  const std::int64_t size = std::int64_t{1} << samples.n;
  const int team = static_cast<int>(std::min<std::int64_t>(threads, samples.count));
#pragma omp parallel num_threads(team)
  {
    NormalMatrix normal(Lattice{samples.n}, lapack);
#pragma omp for schedule(dynamic, 1)
    for (std::int64_t row = 0; row < samples.count; ++row) {
      const double* v = samples.v + row * size;
      const std::int64_t first = row * size;
      Programme p(v, samples.bound[row], samples.n, samples.soft, samples.ridge);
      if (samples.ridge > 0) p.rest_single_ors();
      Point earlier;
      if (start && p.scale > 0) earlier = read_start(p, *start, row);
      const Point point = solve_one(p, start ? &earlier : nullptr, normal, options);
      write(p, point, v, samples.bound[row], out.i_and + first, out.i_or + first, out.noise + first,
            out.y + first);
      out.iterations[row] = point.iterations;
    }
  }
}

}  // namespace interact::sparsify
