#include <algorithm>
#include <vector>

#include "attention/pieces.h"
#include "isa.h"

namespace interact::attention {

namespace {

using RunTree = void (*)(const TreeProblem&, const TreePiece&, std::int64_t);

RunTree kernel() {
  switch (chosen_isa()) {
    case Isa::avx512:
      return avx512::run_tree;
    case Isa::avx2:
      return avx2::run_tree;
    default:
      return baseline::run_tree;
  }
}

// Cut the preorder into pieces of about equal numbers of tokens; their results do not depend on the cuts.
std::vector<TreePiece> pieces_of(const TreeProblem& p, int threads) {
  const std::int64_t wanted =
      threads == 1 ? 1 : 4 * threads / std::min<std::int64_t>(p.tensors.kv_heads, 4) + 1;
  const std::int64_t most = p.queries / wanted + 1;
  std::vector<TreePiece> pieces;
  for (std::int64_t head = 0; head < p.tensors.kv_heads; ++head) {
    std::int64_t first = 0, tokens = 0;
    for (std::int64_t segment = 0; segment < p.tree.segments; ++segment) {
      tokens += p.tree.length[segment];
      if (tokens >= most || segment + 1 == p.tree.segments) {
        pieces.push_back({head, first, segment + 1});
        first = segment + 1;
        tokens = 0;
      }
    }
  }
  return pieces;
}

}  // namespace

void tree_attention_cpu(const TreeProblem& p, int threads) {
  std::vector<std::int64_t> end(p.tree.segments);
  std::int64_t longest = 0;
  for (std::int64_t i = 0; i < p.tree.segments; ++i) {
    end[i] = (p.tree.parent[i] < 0 ? 0 : end[p.tree.parent[i]]) + p.tree.length[i];
    longest = std::max(longest, end[i]);
  }
  const RunTree run_tree = kernel();
  const std::vector<TreePiece> pieces = pieces_of(p, threads);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
  for (std::size_t i = 0; i < pieces.size(); ++i) run_tree(p, pieces[i], longest);
}

}  // namespace interact::attention
