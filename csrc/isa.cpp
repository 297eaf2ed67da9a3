#include "isa.h"

#include <cstring>

namespace interact {

namespace {

bool supported(Isa isa) {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
  __builtin_cpu_init();
  if (isa == Isa::avx512)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && supported(Isa::avx2);
  if (isa == Isa::avx2)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
#endif
  return isa == Isa::baseline;
}

Isa best_isa() {
  return supported(Isa::avx512) ? Isa::avx512 : supported(Isa::avx2) ? Isa::avx2 : Isa::baseline;
}

Isa& chosen() {
  static Isa isa = best_isa();
  return isa;
}

}  // namespace

Isa chosen_isa() { return chosen(); }

const char* instruction_set() {
  const Isa isa = chosen_isa();
  return isa == Isa::avx512 ? "avx512" : isa == Isa::avx2 ? "avx2" : "baseline";
}

bool use_instruction_set(const char* name) {
  const Isa wanted = !std::strcmp(name, "auto")     ? best_isa()
                     : !std::strcmp(name, "avx512") ? Isa::avx512
                     : !std::strcmp(name, "avx2")   ? Isa::avx2
                                                    : Isa::baseline;
  if (!supported(wanted)) return false;
  chosen() = wanted;
  return true;
}

}  // namespace interact
