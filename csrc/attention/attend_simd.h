// Panels of queries against keys and values in one dense scratch. Include in a file that sets the instruction
// set and INTERACT_ISA (a namespace).
//
// 1. Who asks fills the scratch: keys transposed, values as rows, both float32 whatever lies in memory.
// 2. Rows (token, query head) wait until a panel of them is full. A tile of keys, later of values, is then
//    read from L1 by all its blocks of a few rows, whose sums stay in registers.
// 3. A row sees one range of the scratch, and where its token is hidden from the others, its own key besides.
#pragma once
#include <algorithm>
#include <type_traits>
#include <vector>

#include "attention/lanes_simd.h"
#include "attention/storage_simd.h"
#include "attention/tensors.h"

namespace interact::attention::INTERACT_ISA {

namespace {

struct Scratch {
  std::int64_t capacity;  // keys, a multiple of kLanes, odd in units of kLanes against cache-set conflicts
  std::int64_t size, value_size, value_stride;
  std::vector<float> keys_t;  // [size][capacity]
  std::vector<float> values;  // [capacity][value_stride]
  std::vector<std::int64_t> position;

  Scratch(const Tensors& t, std::int64_t longest)
      : capacity(padded(longest + kLanes) / kLanes % 2 ? padded(longest + kLanes)
                                                       : padded(longest + kLanes) + kLanes),
        size(t.size),
        value_size(t.value_size),
        value_stride(padded(t.value_size)),
        keys_t(t.size * capacity + kTile),
        values(capacity * value_stride),
        position(capacity) {}

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

// One query of one head: it sees keys [low, high) of the scratch, and its own key if there is one.
template <class T>
struct Row {
  const T *own_key, *own_value;
  T* out;
  float sink;
  std::int64_t low, high;
};

// Rows that are multiplied at once, and all keys that one of them sees.
struct RowBlock {
  std::int64_t first, rows, low, high;
};

// Keys and values of short paths stay in L1 by themselves, if no long panel's scores drive them out; at the
// other end, scores of more than half a megabyte would drive them out of L2.
inline std::int64_t blocks_of_a_panel(std::int64_t capacity) {
  if (capacity <= 3 * kTile) return 1;
  return std::clamp<std::int64_t>((1 << 17) / capacity / INTERACT_ROWS, 1, 8);
}

// Call `run` with a count of 1 to `Most` as a constant, so that the sums of so many rows or vectors are
// registers.
template <int Most, class Run>
inline void with_constant(std::int64_t count, const Run& run) {
  if (count == Most) return run(std::integral_constant<int, Most>());
  if constexpr (Most > 1) with_constant<Most - 1>(count, run);
}

template <class T>
class Panel {
 public:
  Panel(const Tensors& tensors, Scratch& scratch)
      : t_(tensors),
        scratch_(scratch),
        most_(INTERACT_ROWS * blocks_of_a_panel(scratch.capacity)),
        queries_(most_ * padded(t_.size)),
        scores_(most_ * scratch.capacity),
        results_(most_ * scratch.value_stride),
        own_key_(padded(t_.size)),
        own_(most_),
        inverse_(most_) {}

  // All query heads of one token; `own_key` null for a token that is among the keys it sees.
  void add(std::int64_t kv_head, const T* query, T* out, std::int64_t low, std::int64_t high,
           const T* own_key, const T* own_value) {
    const std::int64_t group = t_.q_heads / t_.kv_heads;
    for (std::int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      float* q = &queries_[rows_.size() * padded(t_.size)];
      widen(query + head * t_.q.head_stride, q, t_.size);
      for (std::int64_t c = 0; c < t_.size; ++c) q[c] *= t_.scale;
      const float sink = t_.sinks ? t_.sinks[head] : kNothing;
      rows_.push_back({own_key, own_value, out + head * t_.value_size, sink, low, high});
      if (std::int64_t(rows_.size()) == most_) flush();
    }
  }

  void flush() {
    cut();
    for (std::int64_t tile = lowest_ / kTile * kTile; tile < highest_; tile += kTile)
      for (const RowBlock& block : blocks_)
        if (tile < block.high && block.low < tile + kTile) score(block, tile);
    for (const RowBlock& block : blocks_) weigh(block);
    for (std::int64_t tile = lowest_ / kTile * kTile; tile < highest_; tile += kTile)
      for (const RowBlock& block : blocks_)
        if (tile < block.high && block.low < tile + kTile) add_values(block, tile);
    for (std::size_t row = 0; row < rows_.size(); ++row) finish(row);
    rows_.clear();
  }

 private:
  void cut() {
    blocks_.clear();
    lowest_ = scratch_.capacity, highest_ = 0;
    const std::int64_t count = rows_.size();
    for (std::int64_t first = 0; first < count; first += INTERACT_ROWS) {
      RowBlock block{first, std::min<std::int64_t>(INTERACT_ROWS, count - first), scratch_.capacity, 0};
      for (std::int64_t row = first; row < first + block.rows; ++row) {
        block.low = std::min(block.low, rows_[row].low);
        block.high = std::max(block.high, rows_[row].high);
      }
      lowest_ = std::min(lowest_, block.low), highest_ = std::max(highest_, block.high);
      blocks_.push_back(block);
    }
  }

  void score(const RowBlock& block, std::int64_t tile) {
    const float* q = &queries_[block.first * padded(t_.size)];
    float* s = &scores_[block.first * scratch_.capacity + tile];
    const float* keys = &scratch_.keys_t[tile];
    const std::int64_t left = padded(block.high - tile) / kLanes;
    with_constant<INTERACT_ROWS>(block.rows, [&](auto rows) {
      with_constant<INTERACT_WIDE_VECTORS>(
          std::min<std::int64_t>(left, INTERACT_WIDE_VECTORS),
          [&](auto vectors) { score_block<rows, vectors>(q, t_.size, keys, scratch_.capacity, s); });
    });
  }

  // Scores become weights; each row's sum, and what its own key weighs, wait for the end.
  void weigh(const RowBlock& block) {
    if (block.low >= block.high)  // no tile will write here
      std::fill_n(&results_[block.first * scratch_.value_stride], block.rows * scratch_.value_stride, 0.0f);
    for (std::int64_t r = block.first; r < block.first + block.rows; ++r) {
      const Row<T>& row = rows_[r];
      own_[r] = kNothing;
      if (row.own_key) {
        const float dot = own_score(&queries_[r * padded(t_.size)], row.own_key);
        own_[r] = t_.softcap == 0.0f ? dot : t_.softcap * std::tanh(dot / t_.softcap);
      }
      inverse_[r] = softmax(&scores_[r * scratch_.capacity], block.low / kLanes * kLanes, padded(block.high),
                            row.low, row.high, t_.softcap, row.sink, &own_[r]);
    }
  }

  float own_score(const float* q, const T* own_key) {
    widen(own_key, own_key_.data(), t_.size);
    Lanes sums = {};
    for (std::int64_t c = 0; c < t_.size; c += kLanes) sums += load(q + c) * load(&own_key_[c]);
    return joined(sums, [](float a, float b) { return a + b; });
  }

  void add_values(const RowBlock& block, std::int64_t tile) {
    const std::int64_t stride = scratch_.value_stride, low = std::max(tile, block.low),
                       high = std::min(tile + kTile, block.high);
    const float *s = &scores_[block.first * scratch_.capacity], *values = scratch_.values.data();
    const bool first = tile <= block.low;
    float* out = &results_[block.first * stride];
    with_constant<INTERACT_ROWS>(block.rows, [&](auto rows) {
      std::int64_t c = 0;
      for (; c + kTile <= stride; c += kTile)
        value_block<rows, INTERACT_WIDE_VECTORS>(s, scratch_.capacity, values + c, stride, low, high, first,
                                                 out + c);
      for (; c < stride; c += kLanes)
        value_block<rows, 1>(s, scratch_.capacity, values + c, stride, low, high, first, out + c);
    });
  }

  void finish(std::int64_t r) {
    float* sum = &results_[r * scratch_.value_stride];
    if (rows_[r].own_key)
      for (std::int64_t c = 0; c < t_.value_size; ++c) sum[c] += own_[r] * widened(rows_[r].own_value[c]);
    for (std::int64_t c = 0; c < t_.value_size; ++c) narrow(sum[c] * inverse_[r], rows_[r].out + c);
  }

  const Tensors& t_;
  Scratch& scratch_;
  const std::int64_t most_;  // rows of a panel
  std::vector<Row<T>> rows_;
  std::vector<RowBlock> blocks_;
  std::int64_t lowest_ = 0, highest_ = 0;
  std::vector<float> queries_;        // [most][size padded], times the scale
  std::vector<float> scores_;         // [most][capacity]
  std::vector<float> results_;        // [most][value_stride]
  std::vector<float> own_key_;        // [size padded]
  std::vector<float> own_, inverse_;  // [most]
};

}  // namespace

}  // namespace interact::attention::INTERACT_ISA
