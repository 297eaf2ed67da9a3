// The same kernel for one group of queries, compiled once for each instruction set.
#pragma once
#include "attention/tree.h"

namespace interact::attention {

// A contiguous run of segments for one key-value head: what one thread works on at a time.
struct Piece {
  std::int64_t kv_head, first_segment, last_segment;  // last is exclusive
};

namespace avx512 {
void run_piece(const Problem& problem, const Piece& piece, std::int64_t longest_path);
}
namespace avx2 {
void run_piece(const Problem& problem, const Piece& piece, std::int64_t longest_path);
}
namespace baseline {
void run_piece(const Problem& problem, const Piece& piece, std::int64_t longest_path);
}

}  // namespace interact::attention
