// The 2x2 matrices of the lattice transforms as operations on pairs, shared by the CPU and the CUDA kernels.
//
// pair(lo, hi) works on two values (or vectors) that differ by one player. lane(v, other, hi) is the same
// seen from one lane of a register or warp: v is its own value, `other` its partner's, hi says on which side
// it is.
#pragma once
#include "lattice/butterfly.h"

#ifdef __CUDACC__
#define INTERACT_INLINE __host__ __device__ __forceinline__
#else
#define INTERACT_INLINE inline __attribute__((always_inline))
#endif

namespace interact::lattice {

enum class Kind { moebius, zeta, moebius_adjoint, zeta_adjoint, or_moebius, or_zeta, walsh, general };

namespace {  // each translation unit has its own copy, compiled for its own instruction set

inline bool operator==(const Matrix2& x, const Matrix2& y) {
  return x.a == y.a && x.b == y.b && x.c == y.c && x.d == y.d;
}

// The OR transforms are one with the complement P folded in: M P = [[0, 1], [1, -1]], P Z = [[1, 1], [1, 0]].
inline Kind kind_of(const Matrix2& m) {
  if (m == Matrix2{1, 0, -1, 1}) return Kind::moebius;
  if (m == Matrix2{1, 0, 1, 1}) return Kind::zeta;
  if (m == Matrix2{1, -1, 0, 1}) return Kind::moebius_adjoint;
  if (m == Matrix2{1, 1, 0, 1}) return Kind::zeta_adjoint;
  if (m == Matrix2{0, 1, 1, -1}) return Kind::or_moebius;
  if (m == Matrix2{1, 1, 1, 0}) return Kind::or_zeta;
  if (m == Matrix2{1, 1, 1, -1}) return Kind::walsh;
  return Kind::general;
}

template <class T, Kind K>
struct Op;

#define INTERACT_LATTICE_OP(kind, pair_body, lane_value)  \
  template <class T>                                      \
  struct Op<T, Kind::kind> {                              \
    INTERACT_INLINE explicit Op(const Matrix2&) {}        \
    template <class X>                                    \
    INTERACT_INLINE void pair(X& lo, X& hi) const {       \
      pair_body;                                          \
    }                                                     \
    template <class X, class Mask>                        \
    INTERACT_INLINE X lane(X v, X other, Mask hi) const { \
      return lane_value;                                  \
    }                                                     \
  }

// clang-format off
INTERACT_LATTICE_OP(moebius, hi -= lo, hi ? v - other : v);
INTERACT_LATTICE_OP(zeta, hi += lo, hi ? v + other : v);
INTERACT_LATTICE_OP(moebius_adjoint, lo -= hi, hi ? v : v - other);
INTERACT_LATTICE_OP(zeta_adjoint, lo += hi, hi ? v : v + other);
INTERACT_LATTICE_OP(or_moebius, const X t = lo - hi; lo = hi; hi = t, hi ? other - v : other);
INTERACT_LATTICE_OP(or_zeta, const X t = lo + hi; hi = lo; lo = t, hi ? other : v + other);
INTERACT_LATTICE_OP(walsh, const X t = lo + hi; hi = lo - hi; lo = t, hi ? other - v : v + other);
// clang-format on
#undef INTERACT_LATTICE_OP

template <class T>
struct Op<T, Kind::general> {
  T a, b, c, d;
  INTERACT_INLINE explicit Op(const Matrix2& m)
      : a(static_cast<T>(m.a)), b(static_cast<T>(m.b)), c(static_cast<T>(m.c)), d(static_cast<T>(m.d)) {}
  template <class X>
  INTERACT_INLINE void pair(X& lo, X& hi) const {
    const X t = a * lo + b * hi;
    hi = c * lo + d * hi;
    lo = t;
  }
  template <class X, class Mask>
  INTERACT_INLINE X lane(X v, X other, Mask hi) const {
    return hi ? c * other + d * v : a * v + b * other;
  }
};

// Calls f(Op<T, K>) for the kind of m.
template <class T, class F>
inline __attribute__((always_inline)) void with_op(const Matrix2& m, F&& f) {
  switch (kind_of(m)) {
    case Kind::moebius:
      return f(Op<T, Kind::moebius>(m));
    case Kind::zeta:
      return f(Op<T, Kind::zeta>(m));
    case Kind::moebius_adjoint:
      return f(Op<T, Kind::moebius_adjoint>(m));
    case Kind::zeta_adjoint:
      return f(Op<T, Kind::zeta_adjoint>(m));
    case Kind::or_moebius:
      return f(Op<T, Kind::or_moebius>(m));
    case Kind::or_zeta:
      return f(Op<T, Kind::or_zeta>(m));
    case Kind::walsh:
      return f(Op<T, Kind::walsh>(m));
    case Kind::general:
      return f(Op<T, Kind::general>(m));
  }
}

}  // namespace
}  // namespace interact::lattice
