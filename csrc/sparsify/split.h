// The AND-OR split of scores, solved to a certified gap (docs/split.md states the programme).
#pragma once
#include <cstdint>

namespace interact::sparsify {

// Cholesky factorizations of a LAPACK already in the process; nothing is linked.
struct Lapack {
  using Spotrf = void (*)(char*, int*, float*, int*, int*);
  using Dpotrf = void (*)(char*, int*, double*, int*, int*);
  Spotrf spotrf;
  Dpotrf dpotrf;
};

struct Limits {
  double rtol;
  int max_iterations;
  double seconds;
};

struct InteriorPointOptions {
  Limits limits;
  bool single_precision;  // Factor in float32 while that is enough.
  bool polish;
  int correctors;
  bool proves = false;  // Only a bound is wanted, whatever point proves it.
};

// One row a sample, each of 2^n values; `bound` is what |noise| stays within, or, if `soft`, its gamma: a
// price noise^2 / (2 gamma). `ridge` is in units of 1 / max |v - v[0]|; with it OR effects of single players
// rest.
struct Samples {
  const double* v;
  const double* bound;
  std::int64_t count;
  int n;
  bool soft = false;
  double ridge = 0;
};

// A split in the units of the scores with the dual vector y; as a start it may hold an earlier solution.
struct Splits {
  double* i_and;
  double* i_or;
  double* noise;
  double* y;
  std::int64_t* iterations;
};

// Warm starts read `start` (null: cold); every array of `out` is overwritten.
void interior_point(const Samples& samples, const Splits* start, const Splits& out,
                    const InteriorPointOptions& options, const Lapack& lapack, int threads);

// Columns to hold, one after another, each at its level (in the units of the scores).
struct Held {
  const std::int64_t* families;  // 0 AND, 1 OR
  const std::int64_t* sets;
  const double* levels;
  std::int64_t count;
};

// The split of one sample with each column held in turn, until its cost is known to lie above or below
// `decision` (or its gap is `rtol`); OR effects of single players rest. Row i of `out` is the split with
// column i held.
void hold_columns(const Samples& sample, const Held& held, double decision, const Splits& out,
                  const InteriorPointOptions& options, const Lapack& lapack, int threads);

struct AdmmOptions {
  Limits limits;
  double rho;
};

// Alternating directions with Kronecker projections: no matrix, for many players.
void admm(const Samples& samples, const Splits& out, const AdmmOptions& options, int threads);

}  // namespace interact::sparsify
