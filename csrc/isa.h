// Which instruction set the CPU kernels use: one portable build, chosen at run time.
#pragma once

namespace interact {

enum class Isa { baseline, avx2, avx512 };

Isa chosen_isa();

// "avx512", "avx2" or "baseline".
const char* instruction_set();

// Use `name` instead where the machine has it ("auto": the best one); false when it does not.
bool use_instruction_set(const char* name);

}  // namespace interact
