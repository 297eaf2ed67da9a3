#include <cuda_runtime.h>

#include "lattice/butterfly.h"

namespace interact::lattice {

namespace {

// One pass: thread i owns the i-th pair of values that differ by the player of stride `half`.
template <class T>
__global__ void butterfly_pass(T* x, std::int64_t pairs, std::int64_t half, T a, T b, T c, T d) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < pairs; i += step) {
    const std::int64_t at = (i & ~(half - 1)) * 2 + (i & (half - 1));
    const T lo = x[at], hi = x[at + half];
    x[at] = a * lo + b * hi;
    x[at + half] = c * lo + d * hi;
  }
}

}  // namespace

template <class T>
int kronecker_cuda(T* x, std::int64_t batch, int n, Matrix2 m, void* stream) {
  if (n == 0 || batch == 0) return cudaSuccess;
  const std::int64_t pairs = batch << (n - 1), wanted = (pairs + 255) / 256;
  const unsigned blocks = static_cast<unsigned>(wanted < (1 << 20) ? wanted : (1 << 20));
  for (std::int64_t half = 1; half < std::int64_t{1} << n; half *= 2)
    butterfly_pass<T><<<blocks, 256, 0, static_cast<cudaStream_t>(stream)>>>(
        x, pairs, half, static_cast<T>(m.a), static_cast<T>(m.b), static_cast<T>(m.c), static_cast<T>(m.d));
  return cudaGetLastError();
}

template int kronecker_cuda<float>(float*, std::int64_t, int, Matrix2, void*);
template int kronecker_cuda<double>(double*, std::int64_t, int, Matrix2, void*);

}  // namespace interact::lattice
