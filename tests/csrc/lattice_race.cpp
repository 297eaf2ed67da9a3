// One transform through both kernels with barriers, small enough for the sanitizers; 1 on a mismatch.
#include <cstdio>

#ifndef INTERACT_KERNELS
#define INTERACT_KERNELS "lattice/butterfly_cuda.h"
#endif
#include INTERACT_KERNELS

int main() {
  using namespace interact::lattice;
  using Moebius = Op<float, Kind::moebius>;
  const Moebius op(Matrix2{1, 0, -1, 1});
  // Rows of 2^11: the second tile is half empty. One block does both.
  const std::int64_t row = 1 << 11, count = 3 * row;
  std::unique_ptr<float[]> x(new float[count]), y(new float[count]), truth(new float[count]);
  for (std::int64_t i = 0; i < count; ++i) truth[i] = x[i] = static_cast<float>(i * 7 % 13);
  for (std::int64_t half = 1; half < row; half *= 2)
    for (std::int64_t i = 0; i < count; ++i)
      if (!(i & half)) truth[i + half] -= truth[i];
  INTERACT_LAUNCH((tile_kernel<float, Moebius>), 1, kThreads, nullptr, x.get(), y.get(), count, 11, 1.f, op);
  for (std::int64_t i = 0; i < count; ++i)
    if (!(y[i] == truth[i]))
      return std::printf("tile: value %ld is %g, not %g\n", long(i), y[i], truth[i]), 1;

  // Two of the tiles of 2^18 values, 7 levels of stride 2^12 cut to 6: columns 0 .. 127.
  const int s = 12, r = 6, tiles = 2;
  const std::int64_t size = std::int64_t{1} << (s + r);
  std::unique_ptr<float[]> z(new float[size]), w(new float[size]);
  for (std::int64_t i = 0; i < size; ++i) w[i] = z[i] = static_cast<float>(i * 5 % 11);
  for (std::int64_t half = 1 << s; half < size; half *= 2)
    for (std::int64_t i = 0; i < size; ++i)
      if (!(i & half)) w[i + half] -= w[i];
  INTERACT_LAUNCH((columns_kernel<float, Moebius>), 1, kThreads, nullptr, z.get(), z.get(), tiles, s, r, op);
  for (std::int64_t i = 0; i < size; ++i)
    if ((i & ((1 << s) - 1)) < 128 && !(z[i] == w[i]))
      return std::printf("columns: value %ld is %g, not %g\n", long(i), z[i], w[i]), 1;
  std::puts("all equal");
  return 0;
}
