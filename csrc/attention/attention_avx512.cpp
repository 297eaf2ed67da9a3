// The standard headers come first: they must not be compiled for another instruction set.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#pragma GCC target("arch=x86-64-v4,prefer-vector-width=512")
#define INTERACT_ISA avx512
#define INTERACT_ROWS 6
#define INTERACT_WIDE_VECTORS 4
#include "attention/rows_simd.h"
#include "attention/tree_simd.h"
