// Include once in a file that sets the instruction set and INTERACT_ISA (a namespace).
//
// 1. The scratch holds the keys and values of one row that its coalition leaves visible, end to end: what
// nobody sees is
//    never loaded, and each query sees one contiguous range of the rest.
// 2. A hidden token sees that range and, besides, its own key.
#include "attention/attend_simd.h"
#include "attention/pieces.h"

namespace interact::attention::INTERACT_ISA {

namespace {

template <class T>
class Reader {
 public:
  Reader(const RowsProblem& problem, std::int64_t longest)
      : p_(problem), t_(problem.tensors), scratch_(t_, longest), panel_(t_, scratch_) {}

  void run(const RowPiece& piece) {
    row_ = piece.row;
    entry_ = p_.offsets ? 0 : row_;
    begin_ = p_.offsets ? p_.offsets[row_] : 0;
    const std::int64_t tokens = p_.offsets ? p_.offsets[row_ + 1] - begin_ : p_.length,
                       keys = p_.causal ? piece.last_query : tokens;
    std::int64_t count = 0;
    for (std::int64_t i = 0; i < keys; ++i)
      if (visible(i))
        scratch_.put(count++, at(t_.k, i) + piece.kv_head * t_.k.head_stride,
                     at(t_.v, i) + piece.kv_head * t_.v.head_stride, position(i));
    for (std::int64_t i = piece.first_query; i < piece.last_query; ++i) ask(piece.kv_head, i, count);
    panel_.flush();
  }

 private:
  const T* at(const View& view, std::int64_t i) const {
    return static_cast<const T*>(view.data) + entry_ * view.entry_stride + (begin_ + i) * view.token_stride;
  }

  std::int64_t position(std::int64_t i) const { return p_.position ? p_.position[begin_ + i] : i; }

  bool visible(std::int64_t i) const {
    if (!p_.coalitions) return true;
    const std::int64_t player = p_.player[i];
    return player < 0 || (std::uint64_t(p_.coalitions[row_]) >> player & 1u);
  }

  void ask(std::int64_t kv_head, std::int64_t i, std::int64_t count) {
    const std::int64_t place = position(i);
    std::int64_t low = 0, high = count;
    if (p_.causal)
      high = scratch_.below(place + 1, count);
    else if (p_.window)
      high = scratch_.below(place + p_.window, count);
    if (p_.window) low = scratch_.below(place - p_.window + 1, count);
    const bool hidden = !visible(i);
    const std::int64_t token = entry_ * p_.length + begin_ + i;
    T* out = static_cast<T*>(t_.out) + token * t_.q_heads * t_.value_size;
    panel_.add(kv_head, at(t_.q, i), out, low, high,
               hidden ? at(t_.k, i) + kv_head * t_.k.head_stride : nullptr,
               hidden ? at(t_.v, i) + kv_head * t_.v.head_stride : nullptr);
  }

  const RowsProblem& p_;
  const Tensors& t_;
  Scratch scratch_;
  Panel<T> panel_;
  std::int64_t row_ = 0, entry_ = 0, begin_ = 0;  // packed rows are all in entry 0
};

template <class T>
void run_all(const RowsProblem& problem, RowPieces& pieces) {
  Reader<T> reader(problem, pieces.longest);
  for (std::size_t i = pieces.next++; i < pieces.pieces.size(); i = pieces.next++)
    reader.run(pieces.pieces[i]);
}

}  // namespace

void run_rows(const RowsProblem& problem, RowPieces& pieces) {
  switch (problem.tensors.storage) {
    case Storage::bfloat16:
      return run_all<Bfloat16>(problem, pieces);
    case Storage::float16:
      return run_all<Float16>(problem, pieces);
    default:
      return run_all<float>(problem, pieces);
  }
}

}  // namespace interact::attention::INTERACT_ISA
