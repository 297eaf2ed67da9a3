// 32 registers of 64 bytes: 16 vectors in the low stage, 32 in a column.
#include <cstdint>
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC target("arch=x86-64-v4,prefer-vector-width=512")
#define INTERACT_ISA avx512
#define INTERACT_VECTOR_BYTES 64
#define INTERACT_RADIX 5
#define INTERACT_LOW_RADIX 4
#include "lattice/butterfly_simd.h"
#endif
