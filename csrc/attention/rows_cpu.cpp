#include <algorithm>

#include "attention/pieces.h"
#include "isa.h"

namespace interact::attention {

namespace {

using RunRows = void (*)(const RowsProblem&, RowPieces&);

RunRows kernel() {
  switch (chosen_isa()) {
    case Isa::avx512:
      return avx512::run_rows;
    case Isa::avx2:
      return avx2::run_rows;
    default:
      return baseline::run_rows;
  }
}

// Whole rows where there are many, stretches of queries where there are few; the results do not depend on the
// cuts.
void cut(const RowsProblem& p, int threads, RowPieces& out) {
  const std::int64_t units = std::max<std::int64_t>(1, p.rows * p.tensors.kv_heads);
  const std::int64_t parts = threads == 1 ? 1 : (4 * threads + units - 1) / units;
  out.longest = 0;
  for (std::int64_t row = 0; row < p.rows; ++row) {
    const std::int64_t tokens = p.offsets ? p.offsets[row + 1] - p.offsets[row] : p.length,
                       most = std::max<std::int64_t>(1, (tokens + parts - 1) / parts);
    out.longest = std::max(out.longest, tokens);
    for (std::int64_t head = 0; head < p.tensors.kv_heads; ++head)
      // The last queries of a causal row see most: first come, first served.
      for (std::int64_t last = tokens; last > 0; last -= most)
        out.pieces.push_back({row, head, std::max<std::int64_t>(0, last - most), last});
  }
}

}  // namespace

void row_attention_cpu(const RowsProblem& p, int threads) {
  const RunRows run_rows = kernel();
  RowPieces pieces;
  cut(p, threads, pieces);
#pragma omp parallel num_threads(threads)
  run_rows(p, pieces);
}

}  // namespace interact::attention
