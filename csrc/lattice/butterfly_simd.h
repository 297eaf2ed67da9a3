// The CPU kernels, included once per instruction set after its target pragma, in its own namespace.
//
// 1. low: 2^R neighbouring vectors are loaded; the levels inside a vector are shuffles, the next R are
//    register pairs; each value is read and written once for all of them.
// 2. column: 2^R vectors at a stride are loaded; R levels are register pairs.
// 3. A tile runs low over its values and column over the rest, all in the first-level cache.
// No header with inline functions may be included here: the linker could keep a copy of this instruction set.
#include "lattice/butterfly_isa.h"
#include "lattice/butterfly_ops.h"

#pragma GCC diagnostic ignored "-Wpsabi"

namespace interact::lattice::INTERACT_ISA {
namespace {

template <class T>
struct Lane;
template <>
struct Lane<float> {
  typedef std::int32_t Int;
};
template <>
struct Lane<double> {
  typedef std::int64_t Int;
};

template <class T>
struct Simd {
  typedef T Vec __attribute__((vector_size(INTERACT_VECTOR_BYTES)));
  typedef T Loose __attribute__((vector_size(INTERACT_VECTOR_BYTES), aligned(alignof(T)), may_alias));
  typedef typename Lane<T>::Int Mask __attribute__((vector_size(INTERACT_VECTOR_BYTES)));
  static constexpr int lanes = INTERACT_VECTOR_BYTES / sizeof(T);
  static constexpr int bits = __builtin_ctz(lanes);
};

template <class T>
INTERACT_INLINE typename Simd<T>::Vec load(const T* p) {
  return *reinterpret_cast<const typename Simd<T>::Loose*>(p);
}

template <class T>
INTERACT_INLINE void store(T* p, typename Simd<T>::Vec v) {
  *reinterpret_cast<typename Simd<T>::Loose*>(p) = v;
}

// Level L inside a vector: each lane meets the lane whose number differs in bit L.
template <int L, class T, class O>
INTERACT_INLINE typename Simd<T>::Vec within(typename Simd<T>::Vec v, const O& op) {
  typename Simd<T>::Mask partner{}, hi{};
  for (int i = 0; i < Simd<T>::lanes; ++i) {
    partner[i] = i ^ (1 << L);
    hi[i] = (i >> L & 1) ? -1 : 0;
  }
#ifdef __clang__
  // Clang has no shuffle by a vector; once unrolled, this is one for it.
  typename Simd<T>::Vec other{};
  for (int i = 0; i < Simd<T>::lanes; ++i) other[i] = v[partner[i]];
  return op.lane(v, other, hi);
#else
  return op.lane(v, __builtin_shuffle(v, partner), hi);
#endif
}

// `count` vectors at a time give the shuffles of one level something to overlap with.
template <int L, int Count, class T, class O>
INTERACT_INLINE void within_all(typename Simd<T>::Vec* v, int levels, const O& op) {
  if constexpr (L < Simd<T>::bits) {
    if (L >= levels) return;
#pragma GCC unroll 8
    for (int i = 0; i < Count; ++i) v[i] = within<L, T>(v[i], op);
    within_all<L + 1, Count, T>(v, levels, op);
  }
}

template <int R, class V, class O>
INTERACT_INLINE void across(V* v, const O& op) {
#pragma GCC unroll 8
  for (int level = 0; level < R; ++level)
#pragma GCC unroll 32
    for (int i = 0; i < 1 << R; ++i)
      if (!(i >> level & 1)) op.pair(v[i], v[i | 1 << level]);
}

template <int R, class T, class O>
void low(const T* src, T* dst, std::int64_t count, const O& op) {
  constexpr int step = Simd<T>::lanes << R, group = (1 << R) < 8 ? 1 << R : 8;
  for (std::int64_t at = 0; at < count; at += step) {
    typename Simd<T>::Vec v[1 << R];
#pragma GCC unroll 32
    for (int i = 0; i < 1 << R; ++i) v[i] = load(src + at + i * Simd<T>::lanes);
#pragma GCC unroll 8
    for (int i = 0; i < 1 << R; i += group) within_all<0, group, T>(v + i, Simd<T>::bits, op);
    across<R>(v, op);
#pragma GCC unroll 32
    for (int i = 0; i < 1 << R; ++i) store(dst + at + i * Simd<T>::lanes, v[i]);
  }
}

// Rows shorter than a vector (n < bits): several in one vector, the rest one by one.
template <class T, class O>
void tiny(const T* src, T* dst, int n, std::int64_t count, const O& op) {
  std::int64_t at = 0;
  for (; at + Simd<T>::lanes <= count; at += Simd<T>::lanes) {
    typename Simd<T>::Vec v = load(src + at);
    within_all<0, 1, T>(&v, n, op);
    store(dst + at, v);
  }
  if (at == count) return;
  T rest[Simd<T>::lanes];
  const int left = static_cast<int>(count - at);
  for (int i = 0; i < left; ++i) rest[i] = src[at + i];
  for (int half = 1; half < 1 << n; half *= 2)
    for (int i = 0; i < left; ++i)
      if (!(i & half)) op.pair(rest[i], rest[i | half]);
  for (int i = 0; i < left; ++i) dst[at + i] = rest[i];
}

template <int R, class T, class O>
void column(const T* src, T* dst, std::int64_t stride, std::int64_t begin, std::int64_t end, const O& op) {
  for (std::int64_t j = begin; j < end; j += Simd<T>::lanes) {
    typename Simd<T>::Vec v[1 << R];
#pragma GCC unroll 32
    for (int i = 0; i < 1 << R; ++i) v[i] = load(src + i * stride + j);
    across<R>(v, op);
#pragma GCC unroll 32
    for (int i = 0; i < 1 << R; ++i) store(dst + i * stride + j, v[i]);
  }
}

template <class T, class O>
void column_of(int r, const T* src, T* dst, std::int64_t stride, std::int64_t begin, std::int64_t end,
               const O& op) {
  switch (r) {
    case 1:
      return column<1>(src, dst, stride, begin, end, op);
    case 2:
      return column<2>(src, dst, stride, begin, end, op);
    case 3:
      return column<3>(src, dst, stride, begin, end, op);
#if INTERACT_RADIX > 3
    case 4:
      return column<4>(src, dst, stride, begin, end, op);
    case 5:
      return column<5>(src, dst, stride, begin, end, op);
#endif
  }
}

// The low levels of one row (or of `count` contiguous values); returns how many were done.
template <class T, class O>
int low_of(const T* src, T* dst, int n, std::int64_t count, const O& op) {
  constexpr int bits = Simd<T>::bits;
  const int r = n - bits < INTERACT_LOW_RADIX ? n - bits : INTERACT_LOW_RADIX;
  switch (r) {
    case 0:
      low<0>(src, dst, count, op);
      break;
    case 1:
      low<1>(src, dst, count, op);
      break;
    case 2:
      low<2>(src, dst, count, op);
      break;
    case 3:
      low<3>(src, dst, count, op);
      break;
#if INTERACT_LOW_RADIX > 3
    case 4:
      low<4>(src, dst, count, op);
      break;
#endif
    default:
      tiny(src, dst, n, count, op);
      return n;
  }
  return bits + r;
}

template <class T>
void tiles(const Matrix2& m, const T* src, T* dst, int n, std::int64_t rows) {
  with_op<T>(m, [=](const auto& op) __attribute__((always_inline)) {
    if (n <= Simd<T>::bits + INTERACT_LOW_RADIX) {
      low_of(src, dst, n, rows << n, op);
      return;
    }
    for (std::int64_t row = 0; row < rows; ++row) {
      T* y = dst + (row << n);
      int done = low_of(src + (row << n), y, n, std::int64_t{1} << n, op);
      while (done < n) {
        const int left = n - done, stages = (left + INTERACT_RADIX - 1) / INTERACT_RADIX, r = left / stages;
        const std::int64_t stride = std::int64_t{1} << done;
        for (std::int64_t block = 0; block < std::int64_t{1} << n; block += stride << r)
          column_of(r, y + block, y + block, stride, 0, stride, op);
        done += r;
      }
    }
  });
}

template <class T>
void columns(const Matrix2& m, const T* src, T* dst, int r, std::int64_t stride, std::int64_t begin,
             std::int64_t end) {
  with_op<T>(m, [=](const auto& op)
                    __attribute__((always_inline)) { column_of(r, src, dst, stride, begin, end, op); });
}

// Sums by order: the order of a value is the popcount of its index, so a whole vector adds to one
// accumulator.
template <class T>
void add_orders(const T* y, int n, std::int64_t first, double* orders, int stride) {
  constexpr int lanes = Simd<T>::lanes;
  const int above = __builtin_popcountll(first);
  const std::int64_t size = std::int64_t{1} << n;
  if (size < lanes) {
    for (std::int64_t i = 0; i < size; ++i)
      orders[above + __builtin_popcountll(i) + (y[i] < 0 ? stride : 0)] += static_cast<double>(y[i]);
    return;
  }
  typename Simd<T>::Vec positive[kTileBits<T> + 1] = {}, negative[kTileBits<T> + 1] = {}, zero = {};
  for (std::int64_t i = 0; i < size; i += lanes) {
    const int k = __builtin_popcountll(i);
    const auto v = load(y + i);
    positive[k] += v > zero ? v : zero;
    negative[k] += v < zero ? v : zero;
  }
  for (int k = 0; k <= n - Simd<T>::bits; ++k)
    for (int lane = 0; lane < lanes; ++lane) {
      const int order = above + k + __builtin_popcount(lane);
      orders[order] += static_cast<double>(positive[k][lane]);
      orders[order + stride] += static_cast<double>(negative[k][lane]);
    }
}

template <class T>
void finish(const Epilogue<T>& e, T* y, const T* add, int n, std::int64_t first, double* orders, int stride) {
  const std::int64_t size = std::int64_t{1} << n;
  const T scale = static_cast<T>(e.scale), weight = static_cast<T>(e.add_scale);
  const T cut = static_cast<T>(e.threshold);
  if (add)
    for (std::int64_t i = 0; i < size; ++i) y[i] = scale * y[i] + weight * add[i];
  else if (e.scale != 1.0)
    for (std::int64_t i = 0; i < size; ++i) y[i] *= scale;
  if (e.threshold > 0)
    for (std::int64_t i = 0; i < size; ++i) {
      const T above = y[i] - cut, below = y[i] + cut;
      y[i] = above > 0 ? above : below < 0 ? below : y[i] != y[i] ? y[i] : T{0};
    }
  if (e.zero_first && first == 0) y[0] = 0;
  if (orders) add_orders(y, n, first, orders, stride);
}

}  // namespace

template <class T>
Kernels<T> kernels() {
  return {&tiles<T>, &columns<T>, &finish<T>, INTERACT_RADIX};
}

template Kernels<float> kernels<float>();
template Kernels<double> kernels<double>();

}  // namespace interact::lattice::INTERACT_ISA
