#include "attention/key_lists.h"

#include <algorithm>

namespace interact::attention {
namespace {

using Bits = std::uint64_t;

// A number whose lowest `count` bits are set; count from 0 to 64.
Bits ones(std::int64_t count) { return count <= 0 ? 0 : ~Bits{0} >> (64 - count); }

class Lists {
 public:
  Lists(const Tree& tree, std::int64_t keys, std::int64_t tokens, std::int64_t tile)
      : tree_(tree), keys_(keys), tokens_(tokens), tile_(tile), until_(tree.segments) {
    for (std::int64_t s = tree.segments - 1; s >= 0; --s) {
      until_[s] = std::max(until_[s], tree.start[s] + tree.length[s]);
      if (tree.parent[s] >= 0) until_[tree.parent[s]] = std::max(until_[tree.parent[s]], until_[s]);
    }
    far_ = std::any_of(tree.first, tree.first + keys, [](std::int64_t first) { return first > 0; });
  }

  // `segment` holds the token `head`.
  void block(std::int64_t head, std::int64_t segment) {
    const std::int64_t tail = std::min(head + tokens_, keys_);
    const Bits all = ones(tail - head);
    path_.clear();
    for (std::int64_t s = segment; s >= 0; s = tree_.parent[s]) path_.push_back(s);
    const std::size_t begin = key_.size();
    leading_ = 0;
    whole_ = true;
    for (auto s = path_.rbegin(); s != path_.rend(); ++s) {
      const Bits bits = ones(std::min(until_[*s], tail) - head);
      const std::int64_t end = std::min(tree_.start[*s] + tree_.length[*s], head);
      for (std::int64_t key = tree_.start[*s]; key < end; ++key) add(key, bits, all, head, tail);
    }
    for (std::int64_t key = head, s = segment; key < tail; ++key) {
      while (key >= tree_.start[s] + tree_.length[s]) ++s;
      add(key, ones(std::min(until_[s], tail) - head) & ~ones(key - head), all, head, tail);
    }
    offset_.push_back(std::int32_t(begin / tile_));
    full_.push_back(std::int32_t(begin / tile_ + leading_ / tile_));
    // Nobody sees the padding: it has no bits.
    while (key_.size() % tile_) {
      key_.push_back(0);
      seen_.push_back(0);
    }
  }

  KeyLists packed() {
    const std::int64_t entries = key_.size(), words = (tokens_ + 31) / 32, blocks = offset_.size();
    offset_.push_back(std::int32_t(entries / tile_));
    KeyLists made{std::move(key_), entries, words, blocks};
    made.packed.reserve((words + 1) * entries + 2 * blocks + 1);
    for (std::int64_t word = 0; word < words; ++word)
      for (const Bits bits : seen_) made.packed.push_back(std::int32_t(std::uint32_t(bits >> (32 * word))));
    made.packed.insert(made.packed.end(), offset_.begin(), offset_.end());
    made.packed.insert(made.packed.end(), full_.begin(), full_.end());
    return made;
  }

 private:
  void add(std::int64_t key, Bits bits, Bits all, std::int64_t head, std::int64_t tail) {
    if (far_) {
      for (std::int64_t query = head; query < tail; ++query)
        if (tree_.position[key] < tree_.first[query]) bits &= ~(Bits{1} << (query - head));
      // A key that is too far away for every token of the block is not listed.
      if (!bits) return;
    }
    whole_ = whole_ && bits == all;
    leading_ += whole_;
    key_.push_back(std::int32_t(key));
    seen_.push_back(bits);
  }

  Tree tree_;
  std::int64_t keys_, tokens_, tile_;
  std::vector<std::int64_t> until_, path_;
  bool far_, whole_ = true;
  std::int64_t leading_ = 0;
  std::vector<std::int32_t> key_, offset_, full_;
  std::vector<Bits> seen_;
};

}  // namespace

KeyLists key_lists(const Tree& tree, std::int64_t keys, std::int64_t queries, std::int64_t tokens,
                   std::int64_t tile) {
  Lists lists(tree, keys, tokens, tile);
  std::int64_t segment = 0;
  for (std::int64_t head = keys - queries; head < keys; head += tokens) {
    while (head >= tree.start[segment] + tree.length[segment]) ++segment;
    lists.block(head, segment);
  }
  return lists.packed();
}

}  // namespace interact::attention
