// Numbers as they lie in memory, and as float32. Included by attend_simd.h.
#pragma once
#include <cstdint>
#include <cstring>

namespace interact::attention::INTERACT_ISA {

namespace {

template <class T>
inline T bits_of(const void* from) {
  T bits;
  std::memcpy(&bits, from, sizeof bits);
  return bits;
}

struct Bfloat16 {
  std::uint16_t bits;
};

struct Float16 {
  std::uint16_t bits;
};

inline float widened(float x) { return x; }

inline float widened(Bfloat16 x) {
  const std::uint32_t bits = std::uint32_t(x.bits) << 16;
  return bits_of<float>(&bits);
}

inline float widened(Float16 x) {
  // The exponent's bias differs by 112; the product also makes subnormal numbers normal.
  const std::uint32_t magnitude = std::uint32_t(x.bits & 0x7fff) << 13;
  const float scaled = bits_of<float>(&magnitude) * 0x1p112f;
  const std::uint32_t finite = bits_of<std::uint32_t>(&scaled);
  const std::uint32_t special = magnitude | 0x7f800000u;
  const std::uint32_t sign = std::uint32_t(x.bits & 0x8000) << 16;
  const std::uint32_t bits = sign | ((x.bits & 0x7c00) == 0x7c00 ? special : finite);
  return bits_of<float>(&bits);
}

// To nearest, ties to even.
inline void narrow(float x, float* to) { *to = x; }

inline void narrow(float x, Bfloat16* to) {
  const std::uint32_t bits = bits_of<std::uint32_t>(&x);
  const std::uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
  to->bits = x != x ? 0x7fc0 : std::uint16_t(rounded);
}

inline void narrow(float x, Float16* to) {
  const std::uint32_t bits = bits_of<std::uint32_t>(&x), sign = bits >> 16 & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  // 0.5 has the last place of a subnormal float16, so adding it rounds there.
  const float shifted = bits_of<float>(&magnitude) + 0.5f;
  const std::uint32_t subnormal = bits_of<std::uint32_t>(&shifted) - 0x3f000000u;
  const std::uint32_t normal = (magnitude - (112u << 23) + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
  std::uint32_t result = magnitude < 0x38800000u ? subnormal : normal;  // below 2^-14
  if (magnitude >= 0x477ff000u) result = 0x7c00u;                       // rounds to 2^16
  if (x != x) result = 0x7e00u;
  to->bits = std::uint16_t(sign | result);
}

template <class T>
inline void widen(const T* from, float* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = widened(from[i]);
}

}  // namespace

}  // namespace interact::attention::INTERACT_ISA
