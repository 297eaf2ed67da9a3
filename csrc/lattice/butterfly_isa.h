// The seam between the driver (threads, order of stages) and the kernels compiled per instruction set.
#pragma once
#include "lattice/butterfly.h"

namespace interact::lattice {

// A vector of 2^bits values that a core works on alone stays in half of a 32 KB first-level cache.
template <class T>
constexpr int kTileBits = sizeof(T) == 4 ? 12 : 11;

template <class T>
struct Kernels {
  // All levels of `rows` contiguous vectors of 2^n values, n <= kTileBits.
  void (*tiles)(const Matrix2& m, const T* src, T* dst, int n, std::int64_t rows);
  // The r levels of strides `stride`, 2 stride, ... of one vector, for positions begin <= j < end.
  void (*columns)(const Matrix2& m, const T* src, T* dst, int r, std::int64_t stride, std::int64_t begin,
                  std::int64_t end);
  // The epilogue of 2^n finished values at index `first` of their row; `order` is the popcount of `first`.
  void (*finish)(const Epilogue<T>& e, T* y, const T* add, int n, std::int64_t first, double* orders,
                 int stride);
  int radix;  // most levels that `columns` takes at once
};

namespace avx512 {
template <class T>
Kernels<T> kernels();
}
namespace avx2 {
template <class T>
Kernels<T> kernels();
}
namespace baseline {
template <class T>
Kernels<T> kernels();
}

}  // namespace interact::lattice
