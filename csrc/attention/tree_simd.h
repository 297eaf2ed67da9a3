// Include once in a file that sets the instruction set and INTERACT_ISA (a namespace).
//
// 1. A scratch holds the keys (transposed) and values of the path to the current segment, end to end, so
// every
//    query meets its ancestors as one dense product. Walking in preorder, a segment overwrites what lies
//    behind its parent's end; nothing is gathered twice.
// 2. Rows (token, query head) go in blocks of a few: scores, softmax, and values stay in registers and L1.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "attention/tree_isa.h"

namespace interact::attention::INTERACT_ISA {

namespace {

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
  std::int64_t value_size;
  std::vector<float> keys_t;  // [size][capacity]
  std::vector<float> values;  // [capacity][value_size padded]
  std::vector<std::int64_t> position;
  std::vector<float> scores;  // [rows][capacity]

  Scratch(const Problem& p, std::int64_t longest, int rows)
      : capacity(padded(longest + kLanes) / kLanes % 2 ? padded(longest + kLanes)
                                                       : padded(longest + kLanes) + kLanes),
        value_size(padded(p.value_size)),
        keys_t(p.size * capacity + kLanes),
        values(capacity * value_size),
        position(capacity),
        scores(rows * capacity) {}
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

// Scores become exp(score - max) inside [low, high) and 0 outside; returns 1 / their sum.
inline float softmax(float* s, std::int64_t from, std::int64_t to, std::int64_t low, std::int64_t high,
                     float scale, float softcap, const float* sink) {
  for (std::int64_t j = from; j < to; ++j) s[j] *= scale;
  if (softcap != 0.0f)
    for (std::int64_t j = low; j < high; ++j) s[j] = softcap * std::tanh(s[j] / softcap);
  float largest = sink ? *sink : -std::numeric_limits<float>::infinity();
  for (std::int64_t j = low; j < high; ++j) largest = s[j] > largest ? s[j] : largest;
  for (std::int64_t j = from; j < low; ++j) s[j] = -std::numeric_limits<float>::infinity();
  for (std::int64_t j = high; j < to; ++j) s[j] = -std::numeric_limits<float>::infinity();
  for (std::int64_t j = low; j < high; ++j) s[j] -= largest;
  Lanes sums = {};
  for (std::int64_t j = from; j < to; j += kLanes) {
    exponential(s + j);
    sums += load(s + j);
  }
  float total = sink ? std::exp(*sink - largest) : 0.0f;
  for (int lane = 0; lane < kLanes; ++lane) total += sums[lane];
  return 1.0f / total;
}

// One block of R rows that see keys [low_r, high_r) of the scratch.
template <int R>
void attend(const Problem& p, Scratch& scratch, const float* const* q, const float* const* sinks,
            float* const* out, const std::int64_t* low, const std::int64_t* high) {
  std::int64_t from = low[0], to = high[0];
  for (int r = 1; r < R; ++r) from = std::min(from, low[r]), to = std::max(to, high[r]);
  from = from / kLanes * kLanes;
  to = padded(to);
  float* s = scratch.scores.data();
  std::int64_t j = from;
  constexpr int kWide = INTERACT_WIDE_VECTORS;
  for (; j + kWide * kLanes <= to; j += kWide * kLanes)
    score_block<R, kWide>(q, p.size, scratch.keys_t.data() + j, scratch.capacity, s + j);
  for (; j < to; j += kLanes)
    score_block<R, 1>(q, p.size, scratch.keys_t.data() + j, scratch.capacity, s + j);
  float inverse[R];
  for (int r = 0; r < R; ++r)
    inverse[r] = softmax(s + r * scratch.capacity, from, to, low[r], high[r], p.scale, p.softcap, sinks[r]);
  float result[R * 256];
  std::int64_t c = 0;
  const std::int64_t stride = scratch.value_size;
  for (; c + kWide * kLanes <= stride; c += kWide * kLanes)
    value_block<R, kWide>(s, scratch.capacity, scratch.values.data() + c, stride, from, to, result + c, 256);
  for (; c < stride; c += kLanes)
    value_block<R, 1>(s, scratch.capacity, scratch.values.data() + c, stride, from, to, result + c, 256);
  for (int r = 0; r < R; ++r)
    for (std::int64_t i = 0; i < p.value_size; ++i) out[r][i] = result[r * 256 + i] * inverse[r];
}

// Put one segment's keys and values at [at, at + length) of the scratch.
void append(const Problem& p, Scratch& scratch, std::int64_t head, std::int64_t segment, std::int64_t at) {
  for (std::int64_t i = 0; i < p.tree.length[segment]; ++i) {
    const std::int64_t token = p.tree.start[segment] + i;
    const float* k = p.k.data + token * p.k.token_stride + head * p.k.head_stride;
    const float* v = p.v.data + token * p.v.token_stride + head * p.v.head_stride;
    for (std::int64_t c = 0; c < p.size; ++c) scratch.keys_t[c * scratch.capacity + at + i] = k[c];
    std::memcpy(&scratch.values[(at + i) * scratch.value_size], v, sizeof(float) * p.value_size);
    scratch.position[at + i] = p.tree.position[token];
  }
}

class Walk {
 public:
  Walk(const Problem& problem, const Piece& piece, std::int64_t longest)
      : p_(problem), piece_(piece), scratch_(problem, longest, kRows), end_(problem.tree.segments, 0) {}

  void run() {
    enter(p_.tree.parent[piece_.first_segment]);
    for (std::int64_t segment = piece_.first_segment; segment < piece_.last_segment; ++segment) {
      const std::int64_t at = add(segment);
      for (std::int64_t i = 0; i < p_.tree.length[segment]; ++i) {
        const std::int64_t query = p_.tree.start[segment] + i - (p_.keys - p_.queries);
        if (query >= 0) add_rows(query, at + i + 1);
      }
      flush();
    }
  }

 private:
  static constexpr int kRows = INTERACT_ROWS;

  // Fill the scratch with the path down to `segment`.
  void enter(std::int64_t segment) {
    if (segment < 0) return;
    enter(p_.tree.parent[segment]);
    add(segment);
  }

  std::int64_t add(std::int64_t segment) {
    const std::int64_t parent = p_.tree.parent[segment], at = parent < 0 ? 0 : end_[parent];
    append(p_, scratch_, piece_.kv_head, segment, at);
    end_[segment] = at + p_.tree.length[segment];
    return at;
  }

  void add_rows(std::int64_t query, std::int64_t high) {
    const std::int64_t group = p_.q_heads / p_.kv_heads, token = query + p_.keys - p_.queries;
    const auto begin = scratch_.position.begin();
    const std::int64_t first = p_.tree.first[token];
    const std::int64_t low = first <= 0 ? 0 : std::lower_bound(begin, begin + high, first) - begin;
    for (std::int64_t g = 0; g < group; ++g) {
      const std::int64_t head = piece_.kv_head * group + g;
      q_[rows_] = p_.q.data + query * p_.q.token_stride + head * p_.q.head_stride;
      sinks_[rows_] = p_.sinks ? p_.sinks + head : nullptr;
      out_[rows_] = p_.out + (query * p_.q_heads + head) * p_.value_size;
      low_[rows_] = low;
      high_[rows_] = high;
      if (++rows_ == kRows) flush();
    }
  }

  void flush() {
    int done = 0;
    if (rows_ == kRows) {
      attend<kRows>(p_, scratch_, q_, sinks_, out_, low_, high_);
      done = kRows;
    }
    for (; done + 3 <= rows_; done += 3)
      attend<3>(p_, scratch_, q_ + done, sinks_ + done, out_ + done, low_ + done, high_ + done);
    for (; done < rows_; ++done)
      attend<1>(p_, scratch_, q_ + done, sinks_ + done, out_ + done, low_ + done, high_ + done);
    rows_ = 0;
  }

  const Problem& p_;
  const Piece& piece_;
  Scratch scratch_;
  std::vector<std::int64_t> end_;
  int rows_ = 0;
  const float* q_[kRows];
  const float* sinks_[kRows];
  float* out_[kRows];
  std::int64_t low_[kRows], high_[kRows];
};

}  // namespace

void run_piece(const Problem& problem, const Piece& piece, std::int64_t longest_path) {
  Walk(problem, piece, longest_path).run();
}

}  // namespace interact::attention::INTERACT_ISA
