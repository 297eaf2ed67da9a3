// Attention over a tree of token segments packed end to end: each token sees the segments on its path to the
// root, and the earlier tokens of its own segment.
#pragma once
#include <cstdint>

namespace interact::attention {

// Element (token t, head h, channel c) of a tensor is at data[t * token_stride + h * head_stride + c].
struct View {
  const float* data;
  std::int64_t token_stride, head_stride;
};

// Segments are in preorder: a parent precedes its children, and each subtree is contiguous.
struct Tree {
  std::int64_t segments;
  const std::int64_t* start;     // [segments] its first token
  const std::int64_t* length;    // [segments]
  const std::int64_t* parent;    // [segments] -1 for a root
  const std::int64_t* position;  // [keys] of each token in its prompt; grows along every path
  const std::int64_t* first;     // [keys] lowest position that a token sees (0: all), for windows and chunks
};

struct Problem {
  View q, k, v;
  float* out;  // [queries][q_heads][value_size], contiguous
  Tree tree;
  std::int64_t keys, queries;  // the queries are the last `queries` of the `keys` tokens
  std::int64_t q_heads, kv_heads, size, value_size;
  float scale, softcap;  // softcap 0: none
  const float* sinks;    // [q_heads] logits that take part in the softmax but carry no value; null: none
};

void tree_attention_cpu(const Problem& problem, int threads);

}  // namespace interact::attention
