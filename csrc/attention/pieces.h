// The same kernels, compiled once for each instruction set, and what a thread takes up at a time.
#pragma once
#include <atomic>
#include <vector>

#include "attention/rows.h"
#include "attention/tree.h"

namespace interact::attention {

// A contiguous run of segments for one key-value head; last is exclusive.
struct TreePiece {
  std::int64_t kv_head, first_segment, last_segment;
};

// A contiguous run of queries of one row for one key-value head; last is exclusive.
struct RowPiece {
  std::int64_t row, kv_head, first_query, last_query;
};

struct RowPieces {
  std::vector<RowPiece> pieces;
  std::int64_t longest;  // tokens of the longest row
  std::atomic<std::size_t> next{0};
};

namespace avx512 {
void run_tree(const TreeProblem& problem, const TreePiece& piece, std::int64_t longest_path);
void run_rows(const RowsProblem& problem, RowPieces& pieces);
}  // namespace avx512
namespace avx2 {
void run_tree(const TreeProblem& problem, const TreePiece& piece, std::int64_t longest_path);
void run_rows(const RowsProblem& problem, RowPieces& pieces);
}  // namespace avx2
namespace baseline {
void run_tree(const TreeProblem& problem, const TreePiece& piece, std::int64_t longest_path);
void run_rows(const RowsProblem& problem, RowPieces& pieces);
}  // namespace baseline

}  // namespace interact::attention
