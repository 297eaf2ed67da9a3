#include "lattice/butterfly.h"

namespace interact::lattice {

namespace {

// One vector: a pass for each player, over pairs of values that differ by this player.
template <class T>
void kronecker_one(T* x, int n, Matrix2 m) {
  const T a = static_cast<T>(m.a), b = static_cast<T>(m.b), c = static_cast<T>(m.c), d = static_cast<T>(m.d);
  const std::int64_t size = std::int64_t{1} << n;
  for (std::int64_t half = 1; half < size; half *= 2)
    for (std::int64_t block = 0; block < size; block += 2 * half)
      for (std::int64_t i = block; i < block + half; ++i) {
        const T lo = x[i], hi = x[i + half];
        x[i] = a * lo + b * hi;
        x[i + half] = c * lo + d * hi;
      }
}

}  // namespace

template <class T>
void kronecker_cpu(T* x, std::int64_t batch, int n, Matrix2 m, int threads) {
  // Below 2^16 values in all, starting threads costs more than the work.
  const int team = batch << n < (1 << 16) ? 1 : threads;
#pragma omp parallel for num_threads(team) schedule(static)
  for (std::int64_t row = 0; row < batch; ++row) kronecker_one(x + (row << n), n, m);
}

template void kronecker_cpu<float>(float*, std::int64_t, int, Matrix2, int);
template void kronecker_cpu<double>(double*, std::int64_t, int, Matrix2, int);

}  // namespace interact::lattice
