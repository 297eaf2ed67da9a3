// Attention inside rows of tokens, from which a coalition may hide tokens.
#pragma once
#include "attention/tensors.h"

namespace interact::attention {

struct RowsProblem {
  Tensors tensors;
  std::int64_t rows;
  std::int64_t length;  // tokens of each row, where there are no offsets
  const std::int64_t*
      offsets;  // [rows + 1] where each row begins among the tokens of one batch entry; or null
  const std::int64_t* position;  // [tokens] grows inside each row; null: the index in the row
  // Token t is hidden in row r unless player[t] < 0 or bit player[t] of coalitions[r] is set; null: none is.
  // A hidden token is seen by itself alone.
  const std::int64_t* coalitions;  // [rows]
  const std::int64_t* player;      // [length], below 63
  bool causal;
  std::int64_t window;  // tokens see each other at distances below this; 0: at any
};

void row_attention_cpu(const RowsProblem& problem, int threads);

}  // namespace interact::attention
