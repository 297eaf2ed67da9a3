// 16 registers of 32 bytes: 8 vectors at a time leave room for what the operations need.
#include <cstdint>
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC target("arch=x86-64-v3")
#define INTERACT_ISA avx2
#define INTERACT_VECTOR_BYTES 32
#define INTERACT_RADIX 3
#define INTERACT_LOW_RADIX 3
#include "lattice/butterfly_simd.h"
#endif
