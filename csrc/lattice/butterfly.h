// Kronecker power of a 2x2 matrix, applied in place to vectors of 2^n values (Moebius, zeta and relatives).
#pragma once
#include <cstdint>

namespace interact::lattice {

// Row-major: (lo, hi) becomes (a lo + b hi, c lo + d hi), where hi differs from lo by one player being
// present.
struct Matrix2 {
  double a, b, c, d;
};

// x holds `batch` contiguous vectors of 2^n values; `threads` is an upper bound.
template <class T>
void kronecker_cpu(T* x, std::int64_t batch, int n, Matrix2 m, int threads);

// The same on the current CUDA device; `stream` is a cudaStream_t. Returns a cudaError_t (0: success).
template <class T>
int kronecker_cuda(T* x, std::int64_t batch, int n, Matrix2 m, void* stream);

}  // namespace interact::lattice
