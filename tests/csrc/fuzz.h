// What the fuzzers share: bytes become small numbers, and a difference from the plain loop is a crash.
//
// Built with clang's -fsanitize=fuzzer, the bytes are steered to new branches; built with g++ and
// -DFUZZ_COUNT=N, they are N random inputs, which reach the AVX2 and AVX-512 kernels that clang leaves out.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "isa.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

struct Bytes {
  const std::uint8_t* data;
  std::size_t size, at = 0;

  std::uint8_t byte() { return at < size ? data[at++] : 0; }
  // From low to high, both included.
  int in(int low, int high) { return low + (byte() << 8 | byte()) % (high - low + 1); }
  bool flag() { return byte() & 1; }
  double small() { return (byte() - 128) / 32.0; }
  // Any bit pattern at all: infinities, NaN, denormals.
  float any() {
    std::uint32_t bits = 0;
    for (int i = 0; i < 4; ++i) bits = bits << 8 | byte();
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
  }
};

inline void instruction_set(Bytes& in) {
  const char* names[] = {"baseline", "avx2", "avx512"};
  interact::use_instruction_set(names[in.in(0, 2)]);
}

inline void agree(double found, double wanted, double tolerance, const char* what) {
  if (std::abs(found - wanted) <= tolerance * (1 + std::abs(wanted))) return;
  std::printf("%s is %.9g, not %.9g (%s)\n", what, found, wanted, interact::instruction_set());
  std::abort();
}

#ifdef FUZZ_COUNT
int main(int count, char** arguments) {
  const unsigned seed = count > 1 ? std::atoi(arguments[1]) : 0;
  std::mt19937 random(seed);
  for (int i = 0; i < FUZZ_COUNT; ++i) {
    std::vector<std::uint8_t> data(random() % 512);
    for (auto& byte : data) byte = random();
    LLVMFuzzerTestOneInput(data.data(), data.size());
  }
  std::printf("%d inputs\n", FUZZ_COUNT);
}
#endif
