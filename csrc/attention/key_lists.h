// Which keys a block of query tokens meets, as lists for kernels that work on tiles.
#pragma once
#include <cstdint>
#include <vector>

#include "attention/tree.h"

namespace interact::attention {

// All numbers end to end, so that one copy brings them to a device:
// - [entries] the index of each listed key;
// - [words, entries] bit r says whether token r of the word, of 32 tokens, sees the key;
// - [blocks + 1] the first tile of each block and the end of the last;
// - [blocks] where each block's tiles end that all its tokens see whole.
struct KeyLists {
  std::vector<std::int32_t> packed;
  std::int64_t entries, words, blocks;
};

// Lists for blocks of at most 64 query tokens, padded to whole tiles; the queries are the last of the keys.
KeyLists key_lists(const Tree& tree, std::int64_t keys, std::int64_t queries, std::int64_t tokens,
                   std::int64_t tile);

}  // namespace interact::attention
