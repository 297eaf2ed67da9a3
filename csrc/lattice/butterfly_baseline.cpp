// Whatever the compiler takes for granted on this architecture: vectors of 16 bytes (SSE2, NEON).
#include <cstdint>
#define INTERACT_ISA baseline
#define INTERACT_VECTOR_BYTES 16
#define INTERACT_RADIX 3
#define INTERACT_LOW_RADIX 3
#include "lattice/butterfly_simd.h"
