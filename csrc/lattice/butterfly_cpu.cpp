// The driver of the CPU transforms: which levels when, by whom, with which instruction set.
//
// 1. From the top: a stage takes several of the highest levels of a block in one pass over it, then each of
// its
//    sub-blocks is finished before the next one, so that a block fits a cache level from some depth on.
// 2. Blocks of a tile or less run all their levels in the first-level cache, then the epilogue.
// 3. Few rows: the top stages are shared by the threads column-wise until there are enough blocks for all.
#include <omp.h>

#include <cstring>
#include <vector>

#include "isa.h"
#include "lattice/butterfly.h"
#include "lattice/butterfly_isa.h"

namespace interact::lattice {

namespace {

// Blocks of 2^17 floats sit in a second-level cache of 1 MB beside what else is there.
template <class T>
constexpr int kBlockBits = sizeof(T) == 4 ? 17 : 16;
// Three levels of power-of-two stride need 8 ways of a cache set; 16 or 32 rows evict each other, which only
// pays where memory is the limit anyway.
constexpr int kCacheRadix = 3;

template <class T>
Kernels<T> kernels() {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
  if (chosen_isa() == Isa::avx512) return avx512::kernels<T>();
  if (chosen_isa() == Isa::avx2) return avx2::kernels<T>();
#endif
  return baseline::kernels<T>();
}

template <class T>
struct Transform {
  const T* src;
  T* dst;
  Matrix2 m;
  const Epilogue<T>& epilogue;
  int n;
  Kernels<T> k;
  bool finishes;  // the epilogue has something to do before y(empty) - y

  // How many levels the next stage of a block of 2^bits values takes.
  int levels(int bits) const {
    const bool cached = bits <= kBlockBits<T>;
    const int left = bits - (cached ? kTileBits<T> : kBlockBits<T>), most = cached ? kCacheRadix : k.radix;
    const int radix = most < k.radix ? most : k.radix, stages = (left + radix - 1) / radix;
    return (left + stages - 1) / stages;
  }

  // All levels below `bits` of the block at `at`; `in` is where its values are now.
  void block(const T* in, std::int64_t at, int bits, double* orders) const {
    if (bits <= kTileBits<T>) {
      k.tiles(m, in, dst + at, bits, 1);
      if (finishes) finish(at, bits, orders);
      return;
    }
    const int r = levels(bits);
    const std::int64_t stride = std::int64_t{1} << (bits - r);
    k.columns(m, in, dst + at, r, stride, 0, stride);
    for (std::int64_t i = 0; i < 1 << r; ++i) block(dst + at + i * stride, at + i * stride, bits - r, orders);
  }

  void finish(std::int64_t at, int bits, double* orders) const {
    const std::int64_t first = at & ((std::int64_t{1} << n) - 1);
    k.finish(epilogue, dst + at, epilogue.add ? epilogue.add + at : nullptr, bits, first, orders, n + 1);
  }

  double* orders_of(std::int64_t row) const {
    return epilogue.orders ? epilogue.orders + row * 2 * (n + 1) : nullptr;
  }

  void from_first(T* y, std::int64_t begin, std::int64_t end, T first) const {
    for (std::int64_t i = begin; i < end; ++i) y[i] = first - y[i];
  }

  void rows(std::int64_t begin, std::int64_t end) const {
    if (n <= kTileBits<T> && !finishes && !epilogue.from_first) {
      k.tiles(m, src + (begin << n), dst + (begin << n), n, end - begin);
      return;
    }
    for (std::int64_t row = begin; row < end; ++row) {
      block(src + (row << n), row << n, n, orders_of(row));
      T* y = dst + (row << n);
      if (epilogue.from_first) from_first(y, 0, std::int64_t{1} << n, y[0]);
    }
  }
};

// One row shared by the threads: top stages by columns until there are enough blocks, then block by block.
template <class T>
void shared_row(const Transform<T>& t, std::int64_t row, int threads) {
  const std::int64_t base = row << t.n, size = std::int64_t{1} << t.n;
  const T* in = t.src + base;
  int bits = t.n;
  double* orders = t.orders_of(row);
  std::vector<double> sums(orders ? threads * 2 * (t.n + 1) : 0);
#pragma omp parallel num_threads(threads) firstprivate(in, bits)
  {
    const int me = omp_get_thread_num(), team = omp_get_num_threads();
    while (bits > kTileBits<T> && (bits > kBlockBits<T> || size >> bits < 4 * team)) {
      const int r = t.levels(bits);
      const std::int64_t stride = std::int64_t{1} << (bits - r), blocks = size >> bits;
      const std::int64_t chunk = stride / 16, pieces = blocks * 16;
#pragma omp for schedule(static)
      for (std::int64_t p = 0; p < pieces; ++p) {
        const std::int64_t at = (p / 16) << bits, begin = p % 16 * chunk;
        t.k.columns(t.m, in + at, t.dst + base + at, r, stride, begin, begin + chunk);
      }
      in = t.dst + base;
      bits -= r;
    }
    double* mine = orders ? sums.data() + me * 2 * (t.n + 1) : nullptr;
#pragma omp for schedule(static)
    for (std::int64_t b = 0; b < size >> bits; ++b) t.block(in + (b << bits), base + (b << bits), bits, mine);
    if (t.epilogue.from_first) {
      const T first = t.dst[base];
#pragma omp barrier
      t.from_first(t.dst + base, size * me / team, size * (me + 1) / team, first);
    }
  }
  for (std::size_t i = 0; i < sums.size(); ++i) orders[i % (2 * (t.n + 1))] += sums[i];
}

template <class T>
Transform<T> prepare(const T* src, T* dst, int n, const Matrix2& m, const Epilogue<T>& e,
                     std::int64_t batch) {
  if (e.orders) std::memset(e.orders, 0, sizeof(double) * batch * 2 * (n + 1));
  const bool finishes = e.add || e.scale != 1.0 || e.threshold > 0 || e.zero_first || e.orders;
  return {src, dst, m, e, n, kernels<T>(), finishes};
}

// Below 2^17 values in all (50 us) waking threads that sleep between calls costs more than the work.
int team_for(std::int64_t batch, int n, int threads) {
  return batch << n < (1 << 17) || threads < 1 ? 1 : threads;
}

}  // namespace

template <class T>
void kronecker_cpu(const T* src, T* dst, std::int64_t batch, int n, Matrix2 m, const Epilogue<T>& epilogue,
                   int threads) {
  const Transform<T> t = prepare(src, dst, n, m, epilogue, batch);
  const int team = team_for(batch, n, threads);
  if (team == 1) return t.rows(0, batch);
  if (batch < 4 * team && n > kTileBits<T>) {
    for (std::int64_t row = 0; row < batch; ++row) shared_row(t, row, team);
    return;
  }
#pragma omp parallel for num_threads(team) schedule(static)
  for (int part = 0; part < team; ++part) t.rows(batch * part / team, batch * (part + 1) / team);
}

template <class T>
void kronecker_cpu(T* x, std::int64_t batch, int n, Matrix2 m, int threads) {
  kronecker_cpu<T>(x, x, batch, n, m, Epilogue<T>{}, threads);
}

template <class T>
void kronecker_pair_cpu(const T* x, T* y, Matrix2 m, const Epilogue<T>& after_m, const T* z, T* w, Matrix2 k,
                        const Epilogue<T>& after_k, std::int64_t batch, int n, int threads) {
  const Transform<T> first = prepare(x, y, n, m, after_m, batch);
  const Transform<T> second = prepare(z, w, n, k, after_k, batch);
  const int team = team_for(batch, n + 1, threads);
  if (team > 1 && batch < 4 * team && n > kTileBits<T>) {
    for (std::int64_t row = 0; row < batch; ++row) {
      shared_row(first, row, team);
      shared_row(second, row, team);
    }
    return;
  }
#pragma omp parallel for num_threads(team) schedule(static) if (team > 1)
  for (std::int64_t row = 0; row < batch; ++row) {
    first.rows(row, row + 1);
    second.rows(row, row + 1);
  }
}

#define INTERACT_INSTANTIATE(T)                                                                         \
  template void kronecker_cpu<T>(const T*, T*, std::int64_t, int, Matrix2, const Epilogue<T>&, int);    \
  template void kronecker_cpu<T>(T*, std::int64_t, int, Matrix2, int);                                  \
  template void kronecker_pair_cpu<T>(const T*, T*, Matrix2, const Epilogue<T>&, const T*, T*, Matrix2, \
                                      const Epilogue<T>&, std::int64_t, int, int);
INTERACT_INSTANTIATE(float)
INTERACT_INSTANTIATE(double)

}  // namespace interact::lattice
