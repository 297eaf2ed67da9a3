// The kernels of the CUDA transforms. A block of 128 threads works on 4096 values, 32 in the registers of
// each thread.
//
// 1. tile: the 12 lowest levels of 4096 neighbouring values (or all levels of several shorter rows). Loads of
// 16
//    bytes; the lowest levels lie inside a load, the next five between the lanes of a warp (shuffles), the
//    highest between registers; one exchange through shared memory turns the two levels between warps into
//    registers.
// 2. columns: up to 7 levels of a stride of 4096 or more, 32 neighbouring columns a warp; five levels between
//    registers, two after an exchange. Every pass reads and writes each value once.
// 3. pass: one level a launch, for rows and pointers that loads of 16 bytes cannot serve.
#pragma once
#include "lattice/butterfly_ops.h"
#include "lattice/launch.h"

namespace interact::lattice {

namespace {

constexpr int kThreads = 128, kTile = 12, kColumnLevels = 7;

template <class T>
struct alignas(16) Pack {
  static constexpr int size = 16 / sizeof(T), bits = sizeof(T) == 4 ? 2 : 1;
  T v[size];
};

// Levels inside the packs, between lanes, between registers; those of n and above do not exist.
template <class T, int Count, class O>
__device__ INTERACT_INLINE void tile_levels(Pack<T> (&x)[Count], int lane, int n, const O& op) {
  constexpr int bits = Pack<T>::bits;
#pragma unroll
  for (int level = 0; level < bits; ++level)
#pragma unroll
    for (int i = 0; i < Count; ++i)
#pragma unroll
      for (int e = 0; e < Pack<T>::size; ++e)
        if (!(e >> level & 1)) op.pair(x[i].v[e], x[i].v[e | 1 << level]);
#pragma unroll
  for (int level = 0; level < 5; ++level)
    if (bits + level < n)
#pragma unroll
      for (int i = 0; i < Count; ++i)
#pragma unroll
        for (int e = 0; e < Pack<T>::size; ++e) {
          const T other = __shfl_xor_sync(~0u, x[i].v[e], 1 << level);
          x[i].v[e] = op.lane(x[i].v[e], other, (lane >> level & 1) != 0);
        }
#pragma unroll
  for (int level = 0; 1 << level < Count; ++level)
    if (bits + 7 + level < n)
#pragma unroll
      for (int i = 0; i < Count; ++i)
        if (!(i >> level & 1))
#pragma unroll
          for (int e = 0; e < Pack<T>::size; ++e) op.pair(x[i].v[e], x[i | 1 << level].v[e]);
}

template <class T, class O>
__global__ void __launch_bounds__(kThreads)
    tile_kernel(const T* src, T* dst, std::int64_t count, int n, T scale, O op) {
  using P = Pack<T>;
  constexpr int packs = 32 / P::size;
  __shared__ P buffer[kThreads * packs];
  INTERACT_SHARED(buffer);
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  for (std::int64_t tile = blockIdx.x; tile << kTile < count; tile += gridDim.x) {
    const std::int64_t base = tile << kTile;
    P x[packs];
#pragma unroll
    for (int i = 0; i < packs; ++i) {
      const int at = (i << 7 | static_cast<int>(threadIdx.x)) * P::size;
      x[i] = base + at < count ? *reinterpret_cast<const P*>(src + base + at) : P{};
    }
    tile_levels(x, lane, n, op);
    // All levels are linear: the factor of the whole transform costs nothing here.
#pragma unroll
    for (int i = 0; i < packs; ++i)
#pragma unroll
      for (int e = 0; e < P::size; ++e) x[i].v[e] *= scale;
#pragma unroll
    for (int i = 0; i < packs; ++i) buffer[i << 7 | threadIdx.x] = x[i];
    __syncthreads();
    // Now the warp is the two highest bits of the pack's number and a register the bits above the lane.
#pragma unroll
    for (int i = 0; i < packs; ++i) x[i] = buffer[(warp * packs + i) << 5 | lane];
    __syncthreads();
#pragma unroll
    for (int level = 0; level < 2; ++level)
      if (P::bits + 5 + level < n)
#pragma unroll
        for (int i = 0; i < packs; ++i)
          if (!(i >> level & 1))
#pragma unroll
            for (int e = 0; e < P::size; ++e) op.pair(x[i].v[e], x[i | 1 << level].v[e]);
#pragma unroll
    for (int i = 0; i < packs; ++i) {
      const int at = ((warp * packs + i) << 5 | lane) * P::size;
      if (base + at < count) *reinterpret_cast<P*>(dst + base + at) = x[i];
    }
  }
}

// Where a row of a column tile is, in one vector of at most 2^30 values: 32 bits, since 64 would cost
// registers.
INTERACT_INLINE unsigned offset_of(unsigned row, int s, int r) {
  return ((row & ((1u << r) - 1)) << s) + (row >> r << 5);
}

// Levels s .. s + r - 1, s >= 12. Of 128 rows of 32 columns, 2^r are a level's rows, the others more columns.
template <class T, class O>
__global__ void __launch_bounds__(kThreads)
    columns_kernel(const T* src, T* dst, std::int64_t tiles, int s, int r, O op) {
  __shared__ T buffer[kThreads][32];
  INTERACT_SHARED(buffer);
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int across = s + r - kTile;  // 2^across tiles lie side by side
  for (std::int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const std::int64_t aside = tile & ((std::int64_t{1} << across) - 1);
    const std::int64_t base = ((tile >> across) << (s + r)) + (aside << (kTile - r)) + lane;
    T x[32];
#pragma unroll
    for (int i = 0; i < 32; ++i) {
      const int row = warp << 5 | i;
      x[i] = src[base + offset_of(row, s, r)];
    }
#pragma unroll
    for (int level = 0; level < 5; ++level)
      if (level < r)
#pragma unroll
        for (int i = 0; i < 32; ++i)
          if (!(i >> level & 1)) op.pair(x[i], x[i | 1 << level]);
    if (r <= 5) {
#pragma unroll
      for (int i = 0; i < 32; ++i) {
        const int row = warp << 5 | i;
        dst[base + offset_of(row, s, r)] = x[i];
      }
      continue;
    }
#pragma unroll
    for (int i = 0; i < 32; ++i) buffer[warp << 5 | i][lane] = x[i];
    __syncthreads();
    // Now the two lowest bits of a register are the row's bits 5 and 6, the warp its bits 3 and 4.
#pragma unroll
    for (int i = 0; i < 32; ++i) x[i] = buffer[(i & 3) << 5 | warp << 3 | i >> 2][lane];
    __syncthreads();
#pragma unroll
    for (int level = 0; level < 2; ++level)
      if (5 + level < r)
#pragma unroll
        for (int i = 0; i < 32; ++i)
          if (!(i >> level & 1)) op.pair(x[i], x[i | 1 << level]);
#pragma unroll
    for (int i = 0; i < 32; ++i) {
      const int row = (i & 3) << 5 | warp << 3 | i >> 2;
      dst[base + offset_of(row, s, r)] = x[i];
    }
  }
}

template <class T, class O>
__global__ void pass_kernel(const T* src, T* dst, std::int64_t pairs, int level, T scale, O op) {
  const std::int64_t half = std::int64_t{1} << level, step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < pairs; i += step) {
    const std::int64_t at = (i & ~(half - 1)) * 2 + (i & (half - 1));
    T lo = src[at], hi = src[at + half];
    op.pair(lo, hi);
    dst[at] = lo * scale;
    dst[at + half] = hi * scale;
  }
}

}  // namespace
}  // namespace interact::lattice
