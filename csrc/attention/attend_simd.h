// Blocks of queries against keys and values in one dense scratch. Include in a file that sets the instruction
// set and INTERACT_ISA (a namespace).
//
// 1. Who asks fills the scratch: keys transposed, values as rows, both float32 whatever lies in memory.
// 2. Rows (token, query head) go in blocks of a few: scores, softmax, and values stay in registers and L1.
// 3. A row sees one range of the scratch, and where its token is hidden from the others, its own key besides.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "attention/storage_simd.h"
#include "attention/tensors.h"

namespace interact::attention::INTERACT_ISA {

namespace {

constexpr std::int64_t kMostChannels = 256;
constexpr float kNothing = -std::numeric_limits<float>::infinity();
constexpr std::int64_t kLanes = 16;
typedef float Lanes __attribute__((vector_size(64), aligned(4)));
typedef std::int32_t Ints __attribute__((vector_size(64)));

inline const Lanes& load(const float* at) { return *reinterpret_cast<const Lanes*>(at); }
inline void store(float* at, const Lanes& x) { *reinterpret_cast<Lanes*>(at) = x; }

inline std::int64_t padded(std::int64_t x) { return (x + kLanes - 1) / kLanes * kLanes; }

// exp(x) for x <= 0 to about 2 ulp: 2^n times a polynomial (the classical Cephes coefficients).
inline void exponential(float* at) {
  const Lanes x = load(at), zero = {};
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
  store(at, x < -87.0f ? zero : y);
}

struct Scratch {
  std::int64_t capacity;  // keys, a multiple of kLanes, odd in units of kLanes against cache-set conflicts
  std::int64_t size, value_size, value_stride;
  std::vector<float> keys_t;  // [size][capacity]
  std::vector<float> values;  // [capacity][value_stride]
  std::vector<std::int64_t> position;
  std::vector<float> scores;  // [rows][capacity]

  Scratch(const Tensors& t, std::int64_t longest, int rows)
      : capacity(padded(longest + kLanes) / kLanes % 2 ? padded(longest + kLanes)
                                                       : padded(longest + kLanes) + kLanes),
        size(t.size),
        value_size(t.value_size),
        value_stride(padded(t.value_size)),
        keys_t(t.size * capacity + kLanes),
        values(capacity * value_stride),
        position(capacity),
        scores(rows * capacity) {}

  template <class T>
  void put(std::int64_t at, const T* k, const T* v, std::int64_t place) {
    for (std::int64_t c = 0; c < size; ++c) keys_t[c * capacity + at] = widened(k[c]);
    widen(v, &values[at * value_stride], value_size);
    position[at] = place;
  }

  // How many of the first `count` keys have a position below `bound`.
  std::int64_t below(std::int64_t bound, std::int64_t count) const {
    return std::lower_bound(position.begin(), position.begin() + count, bound) - position.begin();
  }
};

// s[r][j .. j + 16 V) = q_r . key_j for R rows at once.
template <int R, int V>
inline void score_block(const float* const* q, std::int64_t size, const float* keys_t, std::int64_t capacity,
                        float* s) {
  Lanes sum[R][V] = {};
  for (std::int64_t c = 0; c < size; ++c) {
    Lanes key[V];
    for (int v = 0; v < V; ++v) key[v] = load(keys_t + c * capacity + v * kLanes);
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < V; ++v) sum[r][v] += q[r][c] * key[v];
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) store(s + r * capacity + v * kLanes, sum[r][v]);
}

// out[r][c .. c + 16 V) = sum_j s[r][j] value_j[c ..] for R rows at once.
template <int R, int V>
inline void value_block(const float* s, std::int64_t capacity, const float* values, std::int64_t stride,
                        std::int64_t low, std::int64_t high, float* out, std::int64_t out_stride) {
  Lanes sum[R][V] = {};
  for (std::int64_t j = low; j < high; ++j) {
    Lanes value[V];
    for (int v = 0; v < V; ++v) value[v] = load(values + j * stride + v * kLanes);
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < V; ++v) sum[r][v] += s[r * capacity + j] * value[v];
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) store(out + r * out_stride + v * kLanes, sum[r][v]);
}

inline float capped(float score, float scale, float softcap) {
  const float scaled = score * scale;
  return softcap == 0.0f ? scaled : softcap * std::tanh(scaled / softcap);
}

// Scores become exp(score - max) inside [low, high) and 0 outside, `own` (a further key's score) too; returns
// 1 / their sum. `sink` takes part in the sum alone.
inline float softmax(float* s, std::int64_t from, std::int64_t to, std::int64_t low, std::int64_t high,
                     float scale, float softcap, float sink, float* own) {
  for (std::int64_t j = from; j < to; ++j) s[j] *= scale;
  if (softcap != 0.0f)
    for (std::int64_t j = low; j < high; ++j) s[j] = softcap * std::tanh(s[j] / softcap);
  float largest = std::max(sink, *own);
  for (std::int64_t j = low; j < high; ++j) largest = s[j] > largest ? s[j] : largest;
  for (std::int64_t j = from; j < low; ++j) s[j] = kNothing;
  for (std::int64_t j = high; j < to; ++j) s[j] = kNothing;
  for (std::int64_t j = low; j < high; ++j) s[j] -= largest;
  Lanes sums = {};
  for (std::int64_t j = from; j < to; j += kLanes) {
    exponential(s + j);
    sums += load(s + j);
  }
  *own = *own == kNothing ? 0.0f : std::exp(*own - largest);
  float total = *own + (sink == kNothing ? 0.0f : std::exp(sink - largest));
  for (int lane = 0; lane < kLanes; ++lane) total += sums[lane];
  return 1.0f / total;
}

// One query of one head: it sees keys [low, high) of the scratch, and its own key if there is one.
template <class T>
struct Row {
  float q[kMostChannels];
  const T *own_key, *own_value;
  T* out;
  float sink;
  std::int64_t low, high;
};

template <int R, class T>
void attend(const Tensors& t, Scratch& scratch, const Row<T>* rows) {
  std::int64_t first = rows[0].low, last = rows[0].high;
  for (int r = 1; r < R; ++r) first = std::min(first, rows[r].low), last = std::max(last, rows[r].high);
  const std::int64_t from = first / kLanes * kLanes, to = padded(last);
  const float* q[R];
  for (int r = 0; r < R; ++r) q[r] = rows[r].q;
  float* s = scratch.scores.data();
  std::int64_t j = from;
  constexpr int kWide = INTERACT_WIDE_VECTORS;
  for (; j + kWide * kLanes <= to; j += kWide * kLanes)
    score_block<R, kWide>(q, t.size, scratch.keys_t.data() + j, scratch.capacity, s + j);
  for (; j < to; j += kLanes)
    score_block<R, 1>(q, t.size, scratch.keys_t.data() + j, scratch.capacity, s + j);
  float inverse[R], own[R];
  for (int r = 0; r < R; ++r) {
    const Row<T>& row = rows[r];
    own[r] = kNothing;
    if (row.own_key) {
      float dot = 0.0f;
      for (std::int64_t c = 0; c < t.size; ++c) dot += row.q[c] * widened(row.own_key[c]);
      own[r] = capped(dot, t.scale, t.softcap);
    }
    inverse[r] =
        softmax(s + r * scratch.capacity, from, to, row.low, row.high, t.scale, t.softcap, row.sink, own + r);
  }
  float result[R * kMostChannels];
  std::int64_t c = 0;
  const std::int64_t stride = scratch.value_stride;
  for (; c + kWide * kLanes <= stride; c += kWide * kLanes)
    value_block<R, kWide>(s, scratch.capacity, scratch.values.data() + c, stride, first, last, result + c,
                          kMostChannels);
  for (; c < stride; c += kLanes)
    value_block<R, 1>(s, scratch.capacity, scratch.values.data() + c, stride, first, last, result + c,
                      kMostChannels);
  for (int r = 0; r < R; ++r) {
    float* sum = result + r * kMostChannels;
    if (rows[r].own_key)
      for (std::int64_t i = 0; i < t.value_size; ++i) sum[i] += own[r] * widened(rows[r].own_value[i]);
    for (std::int64_t i = 0; i < t.value_size; ++i) narrow(sum[i] * inverse[r], rows[r].out + i);
  }
}

// Rows that wait until a block of them is full.
template <class T>
class Block {
 public:
  Block(const Tensors& tensors, Scratch& scratch) : t_(tensors), scratch_(scratch) {}

  // All query heads of one token; `own_key` null for a token that is among the keys it sees.
  void add(std::int64_t kv_head, const T* query, T* out, std::int64_t low, std::int64_t high,
           const T* own_key, const T* own_value) {
    const std::int64_t group = t_.q_heads / t_.kv_heads;
    for (std::int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      Row<T>& row = rows_[count_];
      widen(query + head * t_.q.head_stride, row.q, t_.size);
      row.own_key = own_key;
      row.own_value = own_value;
      row.out = out + head * t_.value_size;
      row.sink = t_.sinks ? t_.sinks[head] : kNothing;
      row.low = low;
      row.high = high;
      if (++count_ == INTERACT_ROWS) flush();
    }
  }

  void flush() {
    int done = 0;
    if (count_ == INTERACT_ROWS) {
      attend<INTERACT_ROWS>(t_, scratch_, rows_);
      done = INTERACT_ROWS;
    }
    for (; done + 3 <= count_; done += 3) attend<3>(t_, scratch_, rows_ + done);
    for (; done < count_; ++done) attend<1>(t_, scratch_, rows_ + done);
    count_ = 0;
  }

 private:
  const Tensors& t_;
  Scratch& scratch_;
  int count_ = 0;
  Row<T> rows_[INTERACT_ROWS];
};

}  // namespace

}  // namespace interact::attention::INTERACT_ISA
