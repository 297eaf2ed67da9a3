// Kronecker power of a 2x2 matrix, applied to vectors of 2^n values (Moebius, zeta and relatives).
#pragma once
#include <cstdint>

namespace interact::lattice {

// Row-major: (lo, hi) becomes (a lo + b hi, c lo + d hi), where hi differs from lo by one player being
// present.
struct Matrix2 {
  double a, b, c, d;
};

// What happens to y = K x while it is still in cache, in this order:
//   y *= scale;  y += add_scale * add;  y = soft(y, threshold);  y[0] = 0 or y = y[0] - y;  order sums.
template <class T>
struct Epilogue {
  double scale = 1.0;
  const T* add = nullptr;  // shaped like y
  double add_scale = 1.0;
  double threshold = 0.0;
  bool zero_first = false;   // y(empty) = 0
  bool from_first = false;   // y = y(empty) - y
  double* orders = nullptr;  // [batch][2][n + 1]: sums of the positive and of the negative values by order
};

// src and dst hold `batch` contiguous vectors of 2^n values and are the same memory or do not overlap;
// `threads` is an upper bound.
template <class T>
void kronecker_cpu(const T* src, T* dst, std::int64_t batch, int n, Matrix2 m, const Epilogue<T>& epilogue,
                   int threads);

// In place, no epilogue.
template <class T>
void kronecker_cpu(T* x, std::int64_t batch, int n, Matrix2 m, int threads);

// Two transforms row by row, so that two results of one source read it from cache: y = K_m x, w = K_k z.
template <class T>
void kronecker_pair_cpu(const T* x, T* y, Matrix2 m, const Epilogue<T>& after_m, const T* z, T* w, Matrix2 k,
                        const Epilogue<T>& after_k, std::int64_t batch, int n, int threads);

// dst = scale K_m src on the current CUDA device, n >= 1; without levels (n = 0) there is no place for the
// factor, and dst = src. `stream` is a cudaStream_t. Returns a cudaError_t (0: success).
template <class T>
int kronecker_cuda(const T* src, T* dst, std::int64_t batch, int n, Matrix2 m, double scale, void* stream);

}  // namespace interact::lattice
