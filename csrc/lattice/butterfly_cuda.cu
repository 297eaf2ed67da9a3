// The CUDA transforms: which kernel for which levels. The kernels are in butterfly_cuda.h.
#include "lattice/butterfly_cuda.h"

namespace interact::lattice {

namespace {

constexpr unsigned kMaxBlocks = 1 << 16;

unsigned blocks_for(std::int64_t wanted, unsigned most) {
  return wanted < most ? static_cast<unsigned>(wanted) : most;
}

template <class T, class O>
void passes(const T* src, T* dst, std::int64_t count, int n, T scale, unsigned most, cudaStream_t stream,
            const O& op) {
  const std::int64_t pairs = count / 2;
  for (int level = 0; level < n; ++level, src = dst)
    INTERACT_LAUNCH((pass_kernel<T, O>), blocks_for((pairs + kThreads - 1) / kThreads, most), kThreads,
                    stream, src, dst, pairs, level, level ? T{1} : scale, op);
}

template <class T, class O>
void tiled(const T* src, T* dst, std::int64_t count, int n, T scale, unsigned most, cudaStream_t stream,
           const O& op) {
  const std::int64_t tiles = (count + (1 << kTile) - 1) >> kTile;
  INTERACT_LAUNCH((tile_kernel<T, O>), blocks_for(tiles, most), kThreads, stream, src, dst, count,
                  n < kTile ? n : kTile, scale, op);
  for (int done = kTile; done < n;) {
    const int left = n - done, stages = (left + kColumnLevels - 1) / kColumnLevels;
    const int r = (left + stages - 1) / stages;
    INTERACT_LAUNCH((columns_kernel<T, O>), blocks_for(tiles, most), kThreads, stream,
                    static_cast<const T*>(dst), dst, tiles, done, r, op);
    done += r;
  }
}

}  // namespace

// `most` bounds the grid; the tests make it small.
template <class T>
int kronecker_cuda_bounded(const T* src, T* dst, std::int64_t batch, int n, Matrix2 m, double scale,
                           void* stream, unsigned most) {
  const std::int64_t count = batch << n;
  if (count == 0) return cudaSuccess;
  const auto s = static_cast<cudaStream_t>(stream);
  if (n == 0 && src != dst) return cudaMemcpyAsync(dst, src, count * sizeof(T), cudaMemcpyDeviceToDevice, s);
  const auto bits = reinterpret_cast<std::uintptr_t>(src) | reinterpret_cast<std::uintptr_t>(dst);
  const bool packed = n >= Pack<T>::bits && bits % 16 == 0;
  with_op<T>(m, [&](const auto& op) {
    const T factor = static_cast<T>(scale);
    packed ? tiled(src, dst, count, n, factor, most, s, op) : passes(src, dst, count, n, factor, most, s, op);
  });
  return cudaGetLastError();
}

template <class T>
int kronecker_cuda(const T* src, T* dst, std::int64_t batch, int n, Matrix2 m, double scale, void* stream) {
  return kronecker_cuda_bounded(src, dst, batch, n, m, scale, stream, kMaxBlocks);
}

template int kronecker_cuda<float>(const float*, float*, std::int64_t, int, Matrix2, double, void*);
template int kronecker_cuda<double>(const double*, double*, std::int64_t, int, Matrix2, double, void*);

}  // namespace interact::lattice
