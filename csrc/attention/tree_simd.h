// Include once in a file that sets the instruction set and INTERACT_ISA (a namespace).
//
// The scratch holds the keys and values of the path to the current segment, end to end, so every query meets
// its ancestors as one dense product. Walking in preorder, a segment overwrites what lies behind its parent's
// end; nothing is gathered twice.
#include "attention/attend_simd.h"
#include "attention/pieces.h"

namespace interact::attention::INTERACT_ISA {

namespace {

template <class T>
class Walk {
 public:
  Walk(const TreeProblem& problem, const TreePiece& piece, std::int64_t longest)
      : p_(problem),
        t_(problem.tensors),
        piece_(piece),
        scratch_(t_, longest),
        panel_(t_, scratch_),
        end_(problem.tree.segments, 0) {}

  void run() {
    enter(p_.tree.parent[piece_.first_segment]);
    for (std::int64_t segment = piece_.first_segment; segment < piece_.last_segment; ++segment) {
      const std::int64_t at = add(segment);
      for (std::int64_t i = 0; i < p_.tree.length[segment]; ++i) ask(p_.tree.start[segment] + i, at + i + 1);
      // The next segment may overwrite what these rows see.
      panel_.flush();
    }
  }

 private:
  const T* at(const View& view, std::int64_t token) const {
    return static_cast<const T*>(view.data) + token * view.token_stride;
  }

  // Fill the scratch with the path down to `segment`.
  void enter(std::int64_t segment) {
    if (segment < 0) return;
    enter(p_.tree.parent[segment]);
    add(segment);
  }

  std::int64_t add(std::int64_t segment) {
    const std::int64_t parent = p_.tree.parent[segment], begin = parent < 0 ? 0 : end_[parent];
    for (std::int64_t i = 0; i < p_.tree.length[segment]; ++i) {
      const std::int64_t token = p_.tree.start[segment] + i;
      scratch_.put(begin + i, at(t_.k, token) + piece_.kv_head * t_.k.head_stride,
                   at(t_.v, token) + piece_.kv_head * t_.v.head_stride, p_.tree.position[token]);
    }
    end_[segment] = begin + p_.tree.length[segment];
    return begin;
  }

  void ask(std::int64_t token, std::int64_t high) {
    const std::int64_t query = token - (p_.keys - p_.queries), first = p_.tree.first[token];
    if (query < 0) return;
    const std::int64_t low = first <= 0 ? 0 : scratch_.below(first, high);
    T* out = static_cast<T*>(t_.out) + query * t_.q_heads * t_.value_size;
    panel_.add(piece_.kv_head, at(t_.q, query), out, low, high, nullptr, nullptr);
  }

  const TreeProblem& p_;
  const Tensors& t_;
  const TreePiece& piece_;
  Scratch scratch_;
  Panel<T> panel_;
  std::vector<std::int64_t> end_;
};

}  // namespace

void run_tree(const TreeProblem& problem, const TreePiece& piece, std::int64_t longest_path) {
  switch (problem.tensors.storage) {
    case Storage::bfloat16:
      return Walk<Bfloat16>(problem, piece, longest_path).run();
    case Storage::float16:
      return Walk<Float16>(problem, piece, longest_path).run();
    default:
      return Walk<float>(problem, piece, longest_path).run();
  }
}

}  // namespace interact::attention::INTERACT_ISA
