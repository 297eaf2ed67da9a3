// Sixteen float32 at once, and the products and the softmax of attention in them. Included by attend_simd.h.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace interact::attention::INTERACT_ISA {

namespace {

constexpr float kNothing = -std::numeric_limits<float>::infinity();
constexpr std::int64_t kLanes = 16;
constexpr std::int64_t kTile = INTERACT_WIDE_VECTORS * kLanes;
typedef float Lanes __attribute__((vector_size(64), aligned(4)));
typedef std::int32_t Ints __attribute__((vector_size(64)));

inline const Lanes& load(const float* at) { return *reinterpret_cast<const Lanes*>(at); }
inline void store(float* at, const Lanes& x) { *reinterpret_cast<Lanes*>(at) = x; }

inline std::int64_t padded(std::int64_t x) { return (x + kLanes - 1) / kLanes * kLanes; }

// All lanes joined, by halves: a chain of sixteen would take as long as a block's products.
template <class Join>
inline float joined(const Lanes& x, const Join& join) {
  float lane[kLanes];
  store(lane, x);
  for (std::int64_t half = kLanes / 2; half; half /= 2)
    for (std::int64_t i = 0; i < half; ++i) lane[i] = join(lane[i], lane[i + half]);
  return lane[0];
}

// exp(x) for x <= 0 to about 2 ulp: 2^n times a polynomial (the classical Cephes coefficients).
inline void exponential(const Lanes& x, float* result) {
  const Lanes zero = {};
  // Below -87, minus infinity included, the result is 0 and n must stay in range.
  const Lanes low = x < -87.0f ? zero - 87.0f : x;
  const Ints n = __builtin_convertvector(low * 1.44269504f - 0.5f, Ints);
  const Lanes whole = __builtin_convertvector(n, Lanes);
  const Lanes r = low - whole * 0.693359375f + whole * 2.12194440e-4f;
  Lanes y = r * 1.9875691500e-4f + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * r * r + r + 1.0f;
  Ints power = (n + 127) << 23;
  Lanes two_to_n;
  std::memcpy(&two_to_n, &power, sizeof two_to_n);
  y *= two_to_n;
  store(result, x < -87.0f ? zero : y);
}

// s[r][0 .. 16 V) = q[r] . keys for R rows at once.
template <int R, int V>
inline void score_block(const float* q, std::int64_t size, const float* keys_t, std::int64_t capacity,
                        float* s) {
  Lanes sum[R][V] = {};
  for (std::int64_t c = 0; c < size; ++c) {
    Lanes key[V];
    for (int v = 0; v < V; ++v) key[v] = load(keys_t + c * capacity + v * kLanes);
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < V; ++v) sum[r][v] += q[r * padded(size) + c] * key[v];
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) store(s + r * capacity + v * kLanes, sum[r][v]);
}

// out[r][0 .. 16 V) += sum of s[r][j] values[j] for low <= j < high, R rows at once; where it is the first
// sum, `out` is not read.
template <int R, int V>
inline void value_block(const float* s, std::int64_t capacity, const float* values, std::int64_t stride,
                        std::int64_t low, std::int64_t high, bool first, float* out) {
  Lanes sum[R][V] = {};
  if (!first)
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < V; ++v) sum[r][v] = load(out + r * stride + v * kLanes);
  for (std::int64_t j = low; j < high; ++j) {
    Lanes value[V];
    for (int v = 0; v < V; ++v) value[v] = load(values + j * stride + v * kLanes);
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < V; ++v) sum[r][v] += s[r * capacity + j] * value[v];
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) store(out + r * stride + v * kLanes, sum[r][v]);
}

// Scores become exp(score - max) inside [low, high) and 0 in the rest of [from, to), whole vectors; `own` (a
// further key's score) too; returns 1 / their sum. `sink` takes part in the sum alone.
inline float softmax(float* s, std::int64_t from, std::int64_t to, std::int64_t low, std::int64_t high,
                     float softcap, float sink, float* own) {
  if (softcap != 0.0f)
    for (std::int64_t j = low; j < high; ++j) s[j] = softcap * std::tanh(s[j] / softcap);
  for (std::int64_t j = from; j < low; ++j) s[j] = kNothing;
  for (std::int64_t j = high; j < to; ++j) s[j] = kNothing;
  // By lanes: a compiler may not change the order of a maximum, and one number after another takes as long as
  // the products.
  Lanes most = Lanes{} + kNothing;
  for (std::int64_t j = from; j < to; j += kLanes) most = load(s + j) > most ? load(s + j) : most;
  const float largest = std::max({sink, *own, joined(most, [](float a, float b) { return b > a ? b : a; })});
  Lanes sums = {};
  for (std::int64_t j = from; j < to; j += kLanes) {
    exponential(load(s + j) - largest, s + j);
    sums += load(s + j);
  }
  *own = *own == kNothing ? 0.0f : std::exp(*own - largest);
  const float others = *own + (sink == kNothing ? 0.0f : std::exp(sink - largest));
  return 1.0f / (others + joined(sums, [](float a, float b) { return a + b; }));
}

}  // namespace

}  // namespace interact::attention::INTERACT_ISA
