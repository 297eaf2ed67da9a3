// What every attention here reads and writes: queries, keys and values of many heads, in one storage format.
#pragma once
#include <cstdint>

namespace interact::attention {

// How numbers lie in memory; the arithmetic is float32 always.
enum class Storage : int { float32, bfloat16, float16 };

// Channel c of head h of token t of batch entry e is at data[e * entry_stride + t * token_stride + h *
// head_stride + c].
struct View {
  const void* data;
  std::int64_t entry_stride, token_stride, head_stride;
};

struct Tensors {
  Storage storage;
  View q, k, v;
  void* out;  // [entries][queries][q_heads][value_size], contiguous
  std::int64_t q_heads, kv_heads, size, value_size;
  float scale, softcap;  // softcap 0: none
  const float* sinks;    // [q_heads] logits that take part in the softmax but carry no value; null: none
};

}  // namespace interact::attention
