// The O(4^n) loops beside the factorization: assembly by look-ups and the two triangular solves.
#include <cstdint>
#include <cstring>

#include "sparsify/normal_matrix.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define INTERACT_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define INTERACT_CLONES
#endif

namespace interact::sparsify {

namespace {

constexpr int kTile = 16;
constexpr int kPanel = 8;

// Columns j of one tile share the two table segments; a row of the tile is a permutation of 16 lanes.
template <class T>
inline __attribute__((always_inline)) void assemble_column(const T* upper, const T* lower, const T* r,
                                                           std::int64_t order, std::int64_t j, T* column) {
  const std::int64_t width = order < kTile ? order : kTile;
  const std::int64_t high = j / width * width, low = j - high;
  const T scale = r[j];
  for (std::int64_t tile = high; tile < order; tile += width) {
    const T* above = upper + (tile | high);
    const T* below = lower + (tile & high);
    for (std::int64_t lane = 0; lane < width; ++lane)
      column[tile + lane] = scale * r[tile + lane] * (above[lane | low] + below[lane & low]);
  }
}

// Four columns at once share every load of the tables and of r.
template <class T>
inline __attribute__((always_inline)) void assemble_all(const T* upper, const T* lower, const T* r,
                                                        std::int64_t order, std::int64_t stride, T* out) {
  for (std::int64_t j = 0; j < order; ++j) assemble_column(upper, lower, r, order, j, out + j * stride);
}

template <class T>
inline __attribute__((always_inline)) void forward(const T* factor, std::int64_t order, std::int64_t stride,
                                                   T* x) {
  for (std::int64_t j = 0; j < order; j += kPanel) {
    const std::int64_t end = j + kPanel < order ? j + kPanel : order;
    for (std::int64_t k = j; k < end; ++k) {
      x[k] /= factor[k * stride + k];
      for (std::int64_t i = k + 1; i < end; ++i) x[i] -= factor[k * stride + i] * x[k];
    }
    if (end - j < kPanel) return;
    const T* f = factor + j * stride;
    T p[kPanel];
    std::memcpy(p, x + j, sizeof p);
#pragma omp simd
    for (std::int64_t i = end; i < order; ++i)
      x[i] -= ((f[i] * p[0] + f[stride + i] * p[1]) + (f[2 * stride + i] * p[2] + f[3 * stride + i] * p[3])) +
              ((f[4 * stride + i] * p[4] + f[5 * stride + i] * p[5]) +
               (f[6 * stride + i] * p[6] + f[7 * stride + i] * p[7]));
  }
}

template <class T>
inline __attribute__((always_inline)) void backward(const T* factor, std::int64_t order, std::int64_t stride,
                                                    T* x) {
  const std::int64_t panel = order < kPanel ? order : kPanel;
  for (std::int64_t j = order - panel; j >= 0; j -= panel) {
    const T* f = factor + j * stride;
    T s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0, s5 = 0, s6 = 0, s7 = 0;
    if (panel == kPanel) {
#pragma omp simd reduction(+ : s0, s1, s2, s3, s4, s5, s6, s7)
      for (std::int64_t i = j + kPanel; i < order; ++i) {
        const T value = x[i];
        s0 += f[i] * value, s1 += f[stride + i] * value;
        s2 += f[2 * stride + i] * value, s3 += f[3 * stride + i] * value;
        s4 += f[4 * stride + i] * value, s5 += f[5 * stride + i] * value;
        s6 += f[6 * stride + i] * value, s7 += f[7 * stride + i] * value;
      }
    }
    const T sums[kPanel] = {s0, s1, s2, s3, s4, s5, s6, s7};
    for (std::int64_t k = panel - 1; k >= 0; --k) {
      T value = x[j + k] - sums[k];
      for (std::int64_t i = k + 1; i < panel; ++i) value -= f[k * stride + j + i] * x[j + i];
      x[j + k] = value / f[k * stride + j + k];
    }
  }
}

}  // namespace

INTERACT_CLONES void assemble(const float* upper, const float* lower, const float* r, std::int64_t order,
                              std::int64_t stride, float* out) {
  assemble_all(upper, lower, r, order, stride, out);
}

INTERACT_CLONES void assemble(const double* upper, const double* lower, const double* r, std::int64_t order,
                              std::int64_t stride, double* out) {
  assemble_all(upper, lower, r, order, stride, out);
}

INTERACT_CLONES void solve_factor(const float* factor, std::int64_t order, std::int64_t stride, float* x) {
  forward(factor, order, stride, x);
  backward(factor, order, stride, x);
}

INTERACT_CLONES void solve_factor(const double* factor, std::int64_t order, std::int64_t stride, double* x) {
  forward(factor, order, stride, x);
  backward(factor, order, stride, x);
}

}  // namespace interact::sparsify
