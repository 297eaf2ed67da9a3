// Attention over a tree of token segments packed end to end: each token sees the segments on its path to the
// root, and the earlier tokens of its own segment.
#pragma once
#include "attention/tensors.h"

namespace interact::attention {

// Segments are in preorder: a parent precedes its children, and each subtree is contiguous.
struct Tree {
  std::int64_t segments;
  const std::int64_t* start;     // [segments] its first token
  const std::int64_t* length;    // [segments]
  const std::int64_t* parent;    // [segments] -1 for a root
  const std::int64_t* position;  // [keys] of each token in its prompt; grows along every path
  const std::int64_t* first;     // [keys] lowest position that a token sees (0: all), for windows and chunks
};

struct TreeProblem {
  Tensors tensors;  // one entry
  Tree tree;
  std::int64_t keys, queries;  // the queries are the last `queries` of the `keys` tokens
};

void tree_attention_cpu(const TreeProblem& problem, int threads);

}  // namespace interact::attention
