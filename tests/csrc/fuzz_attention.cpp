// Attention over trees and rows, against a softmax over all pairs, and lists of keys; in half precision and
// with any bit pattern only for what the sanitizers see.
#include "attention/key_lists.h"
#include "attention/rows.h"
#include "attention/tree.h"
#include "fuzz.h"

using namespace interact::attention;

namespace {

struct Heads {
  std::vector<float> q, k, v, out, sinks;
  std::vector<std::uint16_t> half;
  Tensors tensors;
  std::int64_t entries, keys, queries;
  bool exact;
};

// Tokens lie with gaps between them, or end to end.
Heads heads(Bytes& in, std::int64_t entries, std::int64_t keys, std::int64_t queries) {
  Heads h;
  h.entries = entries, h.keys = keys, h.queries = queries;
  Tensors& t = h.tensors;
  t.kv_heads = in.in(1, 3), t.q_heads = t.kv_heads * in.in(1, 3);
  t.size = in.in(1, 40), t.value_size = in.in(1, 40);
  const std::int64_t gap = in.in(0, 2);
  const auto view = [&](std::int64_t tokens, std::int64_t heads, std::int64_t size) {
    const std::int64_t head = size + gap, token = head * heads;
    return View{nullptr, token * tokens, token, head};
  };
  t.q = view(queries, t.q_heads, t.size);
  t.k = view(keys, t.kv_heads, t.size);
  t.v = view(keys, t.kv_heads, t.value_size);
  h.q.resize(entries * t.q.entry_stride), h.k.resize(entries * t.k.entry_stride);
  h.v.resize(entries * t.v.entry_stride);
  h.out.resize(entries * queries * t.q_heads * t.value_size);
  t.scale = in.small(), t.softcap = in.flag() ? 0.5f + in.byte() / 16.0f : 0.0f;
  if (in.flag())
    for (std::int64_t i = 0; i < t.q_heads; ++i) h.sinks.push_back(in.small());
  t.sinks = h.sinks.empty() ? nullptr : h.sinks.data();
  h.exact = in.in(0, 3) > 0;
  for (auto* part : {&h.q, &h.k, &h.v})
    for (float& value : *part) value = h.exact ? in.small() : in.any();
  t.storage = h.exact ? Storage::float32 : Storage(in.in(0, 2));
  if (t.storage == Storage::float32) {
    t.q.data = h.q.data(), t.k.data = h.k.data(), t.v.data = h.v.data(), t.out = h.out.data();
    return h;
  }
  // Exactly as many numbers of 16 bits as the views reach.
  h.half.resize(h.q.size() + h.k.size() + h.v.size() + h.out.size());
  for (auto& value : h.half) value = in.byte() << 8 | in.byte();
  t.q.data = h.half.data(), t.k.data = h.half.data() + h.q.size();
  t.v.data = h.half.data() + h.q.size() + h.k.size();
  t.out = h.half.data() + h.q.size() + h.k.size() + h.v.size();
  return h;
}

// One query against the keys that `sees` says; the first key is at `base` of its entry.
template <class Sees>
void check(const Heads& h, std::int64_t entry, std::int64_t query, std::int64_t base, std::int64_t tokens,
           const Sees& sees) {
  const Tensors& t = h.tensors;
  for (std::int64_t head = 0; head < t.q_heads; ++head) {
    const std::int64_t of = head / (t.q_heads / t.kv_heads);
    std::vector<double> logits(tokens, -INFINITY), sum(t.value_size);
    double largest = t.sinks ? t.sinks[head] : -INFINITY, total = 0;
    for (std::int64_t j = 0; j < tokens; ++j) {
      if (!sees(j)) continue;
      double dot = 0;
      for (std::int64_t c = 0; c < t.size; ++c)
        dot += double(h.q[entry * t.q.entry_stride + query * t.q.token_stride + head * t.q.head_stride + c]) *
               h.k[entry * t.k.entry_stride + (base + j) * t.k.token_stride + of * t.k.head_stride + c];
      dot *= t.scale;
      logits[j] = t.softcap > 0 ? t.softcap * std::tanh(dot / t.softcap) : dot;
      largest = std::fmax(largest, logits[j]);
    }
    if (t.sinks) total += std::exp(t.sinks[head] - largest);
    for (std::int64_t j = 0; j < tokens; ++j) {
      if (!sees(j)) continue;
      const double weight = std::exp(logits[j] - largest);
      total += weight;
      for (std::int64_t c = 0; c < t.value_size; ++c)
        sum[c] +=
            weight * h.v[entry * t.v.entry_stride + (base + j) * t.v.token_stride + of * t.v.head_stride + c];
    }
    for (std::int64_t c = 0; c < t.value_size; ++c)
      agree(h.out[((entry * h.queries + query) * t.q_heads + head) * t.value_size + c], sum[c] / total, 5e-3,
            "A channel");
  }
}

void rows(Bytes& in) {
  const bool packed = in.flag();
  const std::int64_t count = in.in(0, 4);
  std::vector<std::int64_t> offsets{0}, position, coalitions, player;
  for (std::int64_t row = 0; row < count; ++row) offsets.push_back(offsets.back() + in.in(0, 20));
  const std::int64_t length = packed ? offsets.back() : in.in(1, 20);
  if (in.flag()) {
    for (std::int64_t row = 0, at; row < (packed ? count : 1); ++row) {
      at = in.in(0, 5);
      const std::int64_t tokens = packed ? offsets[row + 1] - offsets[row] : length;
      for (std::int64_t i = 0; i < tokens; ++i) position.push_back(at), at += in.in(1, 4);
    }
  }
  if (!packed && in.flag()) {
    for (std::int64_t row = 0; row < count; ++row)
      coalitions.push_back((std::int64_t{in.in(0, 32767)} << 48) | in.in(0, 255));
    for (std::int64_t i = 0; i < length; ++i) player.push_back(in.flag() ? in.in(-1, 7) : in.in(-1, 62));
  }
  const bool causal = in.flag();
  const std::int64_t window = in.flag() ? in.in(1, 12) : 0;
  const int threads = in.in(1, 3);
  Heads h = heads(in, packed ? 1 : count, length, length);
  const auto pointer = [](const std::vector<std::int64_t>& x) { return x.empty() ? nullptr : x.data(); };
  if (h.out.empty()) return;
  row_attention_cpu({h.tensors, count, length, packed ? offsets.data() : nullptr, pointer(position),
                     pointer(coalitions), pointer(player), causal, window},
                    threads);
  if (!h.exact) return;
  for (std::int64_t row = 0; row < count; ++row) {
    const std::int64_t low = packed ? offsets[row] : 0, tokens = packed ? offsets[row + 1] - low : length;
    for (std::int64_t i = 0; i < tokens; ++i)
      check(h, packed ? 0 : row, low + i, low, tokens, [&](std::int64_t j) {
        const auto at = [&](std::int64_t token) { return position.empty() ? token : position[low + token]; };
        const bool hidden = !player.empty() && player[j] >= 0 && !(coalitions[row] >> player[j] & 1);
        return (!causal || at(j) <= at(i)) && (!window || std::llabs(at(i) - at(j)) < window) &&
               (!hidden || i == j);
      });
  }
}

// Each pair that sees is listed once, no other is, and tiles count as seen whole while every token of the
// block sees them.
template <class Sees>
void check_lists(Bytes& in, const Tree& tree, std::int64_t keys, std::int64_t queries, const Sees& sees) {
  const std::int64_t tokens = in.in(1, 64), tile = in.in(1, 20);
  const KeyLists lists = key_lists(tree, keys, queries, tokens, tile);
  const std::int32_t* key = lists.packed.data();
  const std::int32_t* bits = key + lists.entries;
  const std::int32_t* offset = bits + lists.words * lists.entries;
  const std::int32_t* full = offset + lists.blocks + 1;
  agree(full + lists.blocks - key, lists.packed.size(), 0, "The size of the lists");
  agree(lists.blocks, (queries + tokens - 1) / tokens, 0, "The number of blocks");
  for (std::int64_t block = 0; block < lists.blocks; ++block) {
    std::int64_t whole = 0;
    bool leading = true;
    for (std::int64_t at = offset[block] * tile; at < offset[block + 1] * tile; ++at) {
      bool all = true;
      for (std::int64_t r = 0; r < tokens && block * tokens + r < queries; ++r)
        all = all && (bits[r / 32 * lists.entries + at] >> (r % 32) & 1);
      leading = leading && all;
      whole += leading;
    }
    agree(full[block] - offset[block], whole / tile, 0, "The number of tiles that are seen whole");
  }
  for (std::int64_t query = 0; query < queries; ++query)
    for (std::int64_t j = 0; j < keys; ++j) {
      const std::int64_t block = query / tokens, r = query % tokens;
      int times = 0;
      for (std::int64_t at = offset[block] * tile; at < offset[block + 1] * tile; ++at)
        times += key[at] == j && (bits[r / 32 * lists.entries + at] >> (r % 32) & 1);
      agree(times, sees(keys - queries + query, j), 0, "How often a key is listed");
    }
}

void tree(Bytes& in) {
  const int segments = in.in(1, 9);
  std::vector<std::int64_t> start, length, parent, position, first, owner, path;
  std::vector<std::int64_t> next(segments);
  for (int s = 0; s < segments; ++s) {
    for (int up = in.in(0, 2); up > 0 && !path.empty(); --up) path.pop_back();
    parent.push_back(path.empty() ? -1 : path.back());
    start.push_back(position.size());
    length.push_back(in.in(1, 7));
    std::int64_t at = path.empty() ? in.in(0, 3) : next[path.back()];
    for (std::int64_t i = 0; i < length[s]; ++i) {
      owner.push_back(s);
      position.push_back(at);
      first.push_back(in.flag() ? in.in(0, static_cast<int>(at)) : 0);
      at += in.in(1, 3);
    }
    next[s] = at;
    path.push_back(s);
  }
  const std::int64_t keys = position.size(), queries = in.in(0, static_cast<int>(keys));
  const Tree shape{segments, start.data(), length.data(), parent.data(), position.data(), first.data()};
  const auto sees = [&](std::int64_t i, std::int64_t j) {
    bool above = false;
    for (std::int64_t s = owner[i]; s >= 0; s = parent[s]) above |= s == owner[j];
    return above && j <= i && position[j] >= first[i];
  };
  check_lists(in, shape, keys, queries, sees);
  const int threads = in.in(1, 3);
  Heads h = heads(in, 1, keys, queries);
  if (h.out.empty()) return;
  tree_attention_cpu({h.tensors, shape, keys, queries}, threads);
  if (!h.exact) return;
  for (std::int64_t query = 0; query < queries; ++query)
    check(h, 0, query, 0, keys, [&](std::int64_t j) { return sees(keys - queries + query, j); });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes in{data, size};
  instruction_set(in);
  if (in.flag())
    rows(in);
  else
    tree(in);
  return 0;
}
